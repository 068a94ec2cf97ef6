import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from burgers_adjoint.checkpointing.binomial import Binomial, least_forward_steps
from burgers_adjoint.checkpointing.store_all import StoreAll
from tests.examples import FOLDER, load_example

EXAMPLE = FOLDER / "heat.py"
N_STEPS = 200


@pytest.fixture(scope="module")
def heat() -> ModuleType:
    return load_example("heat")


@pytest.fixture
def initial() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.5, 1.5, 23)


@pytest.mark.parametrize("snapshots", [1, 2, 5, 30, 1000])
def test_binomial_gives_the_bits_of_store_all(
    heat: ModuleType, initial: np.ndarray, snapshots: int
) -> None:
    model = heat.Rod(len(initial), dt=5e-4, radiation=5.0)
    value, slope, counts = heat.gradient(model, initial, StoreAll(N_STEPS))
    assert counts.forward_steps == N_STEPS
    value1, slope1, counts1 = heat.gradient(model, initial, Binomial(N_STEPS, snapshots))
    assert value1 == value
    assert slope1.tobytes() == slope.tobytes()
    assert counts1.forward_steps == least_forward_steps(N_STEPS, snapshots) + 1


def test_the_gradient_is_the_derivative(heat: ModuleType, initial: np.ndarray) -> None:
    model = heat.Rod(len(initial), dt=5e-4, radiation=5.0)
    value, slope, _ = heat.gradient(model, initial, Binomial(N_STEPS, 7))
    assert value == heat.objective(model, initial, N_STEPS)
    for i in range(len(initial)):
        nudge = np.zeros(len(initial))
        nudge[i] = 1e-5
        ahead = heat.objective(model, initial + nudge, N_STEPS)
        behind = heat.objective(model, initial - nudge, N_STEPS)
        assert (ahead - behind) / 2e-5 == pytest.approx(slope[i], rel=1e-7, abs=1e-10)


def test_a_billionth_of_a_restored_temperature_would_show(
    heat: ModuleType, initial: np.ndarray
) -> None:
    class Damaging(heat.Rod):
        def restore(self, snapshot: np.ndarray, state: np.ndarray) -> None:
            super().restore(snapshot, state)
            state[5] *= 1 + 1e-9

    arguments = {"dt": 5e-4, "radiation": 5.0}
    _, slope, _ = heat.gradient(heat.Rod(23, **arguments), initial, Binomial(N_STEPS, 7))
    _, other, _ = heat.gradient(Damaging(23, **arguments), initial, Binomial(N_STEPS, 7))
    assert other.tobytes() != slope.tobytes()


def test_the_example_runs_without_burgers_and_mpi() -> None:
    program = f"""
import runpy, sys
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
unwanted = ("burgers_adjoint.equations", "burgers_adjoint.parallel", "mpi4py", "h5py", "numba")
print("loaded:", *(name for name in sys.modules if name.startswith(unwanted)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=EXAMPLE.parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "loaded:"
    printed = dict(line.split("  ", maxsplit=1) for line in lines[:-1])
    assert float(printed["relative difference"]) < 1e-7
    steps = least_forward_steps(1000, 10) + 1
    assert printed["forward steps"].strip() == f"{steps} for 1000, 10 snapshots"

"""The main job as users start it: the published problem, its files, its bits on any ranks."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.runs import evaluate, reverse
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.config import Config, load
from burgers_adjoint.problem import Problem

ROOT = Path(__file__).parents[2]
MpiExec = Callable[..., subprocess.CompletedProcess[str]]

# Burgers.jl, commit a4a5b0b, test/runtests.jl; gradients recomputed, as that version linearises its
# last step at the state after it.
OBJECTIVE = 0.08426001732938161
POINTWISE_SQUARE_NORM = 1.3020741709303739e-6
# The published figure leaves out the boundary points, which are controls like all others here.
NORM_WITHOUT_BOUNDARY = 6.2446795985e-3
NORM = 6.244679612756e-3
AT_COLUMN_54_ROW_45 = 2.6125256529393e-4

KEYS = {
    "objective", "gradient_norm", "digest", "ranks", "steps", "schedule", "seconds",
    "peak_rss_bytes", "snapshot_bytes", "checks",
}  # fmt: skip
SCHEDULE_KEYS = {
    "name", "snapshots", "forward_steps", "predicted_forward_steps", "snapshots_written",
}  # fmt: skip
SECONDS_KEYS = {"startup", "sweeps", "forward", "adjoint", "snapshots", "halo", "output"}
# What a run leaves in its output folder, without pictures and dumps.
RUN_LEAVES = {"config.toml", "results.h5", "results.xdmf"}
MAY_LEAVE = {"watch"}  # of a run that takes its time, on a busy machine


def command(folder: Path, *args: str) -> list[str]:
    return ["-m", "burgers_adjoint", *args, "-o", str(folder), "--json", f"{folder}.json"]


def summary_of(folder: Path) -> dict[str, Any]:
    return json.loads(Path(f"{folder}.json").read_text(encoding="utf-8"))


def run_alone(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """One process, without mpiexec."""
    result = subprocess.run(
        [sys.executable, *command(folder, *args)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """Output folder, JSON summary and printed text of the command without arguments."""
    folder = tmp_path_factory.mktemp("default") / "output"
    result = run_alone(folder)
    return folder, summary_of(folder), result.stdout


@pytest.fixture(scope="module")
def fields(default_run: tuple[Path, dict[str, Any], str]) -> dict[str, np.ndarray]:
    with h5py.File(default_run[0] / "results.h5") as file:
        paths: list[str] = []
        file.visititems(lambda name, item: paths.append(name) if "shape" in dir(item) else None)
        return {path: file[path][()] for path in paths}


def norm(*arrays: np.ndarray) -> float:
    return math.sqrt(math.fsum(np.concatenate([array.ravel() for array in arrays]) ** 2))


def test_objective_is_the_published_one(default_run: tuple[Path, dict[str, Any], str]) -> None:
    assert default_run[1]["objective"] == pytest.approx(OBJECTIVE, rel=1e-13)


def test_gradient_is_the_published_one(
    default_run: tuple[Path, dict[str, Any], str], fields: dict[str, np.ndarray]
) -> None:
    u, v = fields["gradient/initial/u"], fields["gradient/initial/v"]
    assert norm(u**2 + v**2) == pytest.approx(POINTWISE_SQUARE_NORM, rel=1e-12)
    inner = np.s_[1:-1, 1:-1]
    assert norm(u[inner], v[inner]) == pytest.approx(NORM_WITHOUT_BOUNDARY, rel=1e-9)
    assert norm(u, v) == pytest.approx(NORM, rel=1e-12)
    assert default_run[1]["gradient_norm"]["initial"] == pytest.approx(norm(u, v), rel=1e-15)
    assert u[45, 54] == pytest.approx(AT_COLUMN_54_ROW_45, rel=1e-12)
    # this problem does not change when u and v, x and y are swapped together
    np.testing.assert_allclose(v, u.T, rtol=0, atol=1e-17)
    assert abs(u[45, 54] - u[54, 45]) > 1e-6


def test_gradient_with_respect_to_the_viscosity_is_a_difference_quotient(
    fields: dict[str, np.ndarray],
) -> None:
    problem = Problem(Config(), MPI.COMM_SELF)
    step = 1e-5
    values = []
    for sign in (1, -1):
        problem.case.inputs.set("viscosity", 0.01 + sign * step)
        values.append(evaluate(problem.case))
    problem.close()
    quotient = (values[0] - values[1]) / (2 * step)
    assert fields["gradient/viscosity"] == pytest.approx(quotient, rel=1e-6)


def test_forward_steps_are_the_least_possible(
    default_run: tuple[Path, dict[str, Any], str],
) -> None:
    """Griewank and Walther (2000): p = r N - C(s + r, s + 1), and one step to the final state."""
    n_steps, snapshots = 1000, 30
    r = next(r for r in range(1, n_steps) if comb(snapshots + r, snapshots) >= n_steps)
    least = r * n_steps - comb(snapshots + r, snapshots + 1)
    schedule = default_run[1]["schedule"]
    assert schedule["forward_steps"] == schedule["predicted_forward_steps"] == least + 1
    assert (schedule["name"], schedule["snapshots"]) == ("binomial", snapshots)
    assert schedule["snapshots_written"] >= snapshots


def test_summary_is_complete(default_run: tuple[Path, dict[str, Any], str]) -> None:
    summary = default_run[1]
    assert summary.keys() >= KEYS
    assert summary["schedule"].keys() >= SCHEDULE_KEYS
    assert summary["seconds"].keys() >= SECONDS_KEYS
    assert all(value >= 0 for value in summary["seconds"].values())
    parts = sum(summary["seconds"][name] for name in ("forward", "adjoint", "snapshots"))
    assert 0 < parts <= summary["seconds"]["sweeps"]
    assert (summary["ranks"], summary["steps"]) == (1, 1000)
    assert summary["gradient_norm"].keys() == {"initial", "viscosity"}
    assert len(summary["digest"]) == 32
    assert summary["snapshot_bytes"] == 30 * 2 * 100 * 100 * 8
    assert summary["peak_rss_bytes"] > summary["snapshot_bytes"]


def test_published_values_are_printed_beside_ours(
    default_run: tuple[Path, dict[str, Any], str],
) -> None:
    _, summary, text = default_run
    for value in ("0.08426001732938161", "1.3020729832060115e-06", summary["digest"]):
        assert value in text
    assert repr(summary["objective"]) in text
    assert "Traceback" not in text


def test_results_hold_the_run(
    default_run: tuple[Path, dict[str, Any], str], fields: dict[str, np.ndarray]
) -> None:
    folder, summary, _ = default_run
    shown = {"state/initial", "state/final", "gradient/initial"}
    paths = {f"{group}/{name}" for group in shown for name in "uv"}
    beside = {"state/initial/time", "state/final/time", "x", "y"}
    assert fields.keys() == paths | beside | {"objective", "gradient/viscosity"}
    axis = np.linspace(-4.95, 4.95, 100)
    with h5py.File(folder / "results.h5") as file:
        for path in paths:
            assert file[path].shape == (100, 100)
            assert file[path].dtype == np.float64
            # as xarray's reader and others find the coordinates
            assert [list(dim.keys()) for dim in file[path].dims] == [["y"], ["x"]]
            for dim in file[path].dims:
                np.testing.assert_array_equal(dim[0], axis)
        assert load_text(file.attrs["config"], folder) == load(None, [], str(folder))
        assert {"numpy", "h5py", "mpi4py"} <= json.loads(file.attrs["versions"]).keys()
        stored = json.loads(file.attrs["summary"])
        assert stored["digest"] == summary["digest"]
        assert stored["objective"] == summary["objective"] == file["objective"][()]
    start = np.exp(-((axis[:, None] / 1.65) ** 2) - (axis[None, :] / 1.65) ** 2)
    np.testing.assert_allclose(fields["state/initial/u"], start, rtol=1e-14)
    final = np.stack([fields["state/final/u"], fields["state/final/v"]])
    energy = math.fsum((final[:, 1:-1, 1:-1] ** 2).ravel()) / 10_000
    assert energy == pytest.approx(summary["objective"], rel=1e-15)
    np.testing.assert_array_equal(final[0, 0], fields["state/initial/u"][0])


def load_text(text: str, folder: Path) -> Config:
    path = folder.parent / "read-back.toml"
    path.write_text(text, encoding="utf-8")
    return load(str(path))


def test_nothing_but_the_results_is_left(default_run: tuple[Path, dict[str, Any], str]) -> None:
    left = set(os.listdir(default_run[0]))
    assert left - {"gradient.png", *MAY_LEAVE} == RUN_LEAVES


@pytest.mark.parametrize("snapshots", [1, 3, 10, 100, 1000])
def test_digest_does_not_depend_on_the_snapshots(
    default_run: tuple[Path, dict[str, Any], str], snapshots: int
) -> None:
    problem = Problem(Config(), MPI.COMM_SELF)
    schedule = Binomial(1000, snapshots)
    result = reverse(problem.case, schedule, problem.checkpointing.store(schedule))
    problem.close()
    assert problem.case.digest(result.final, result.gradient) == default_run[1]["digest"]
    assert result.counts.forward_steps == schedule.predicted_forward_steps
    assert schedule.slots <= snapshots


def test_digest_does_not_depend_on_the_schedule(
    default_run: tuple[Path, dict[str, Any], str],
) -> None:
    problem = Problem(Config(), MPI.COMM_SELF)
    schedule = StoreAll(1000)
    result = reverse(problem.case, schedule, problem.checkpointing.store(schedule))
    problem.close()
    assert problem.case.digest(result.final, result.gradient) == default_run[1]["digest"]


def test_digest_shows_another_problem(
    default_run: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    run_alone(tmp_path / "other", "-s", "physics.viscosity=0.010000000000000002")
    assert summary_of(tmp_path / "other")["digest"] != default_run[1]["digest"]


@pytest.mark.parametrize(("ranks", "snapshots"), [(1, 30), (2, 10), (3, 100), (4, 30), (6, 1000)])
def test_digest_does_not_depend_on_the_ranks(
    default_run: tuple[Path, dict[str, Any], str],
    mpiexec: MpiExec,
    tmp_path: Path,
    ranks: int,
    snapshots: int,
) -> None:
    folder = tmp_path / "output"
    result = mpiexec(
        ranks, *command(folder, "-s", f"checkpointing.snapshots={snapshots}"), cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    summary = summary_of(folder)
    assert summary["ranks"] == ranks
    assert summary["digest"] == default_run[1]["digest"]
    assert summary["objective"] == default_run[1]["objective"]
    assert summary["gradient_norm"] == default_run[1]["gradient_norm"]
    # one table, from rank 0
    assert result.stdout.count(summary["digest"]) == 1
    with (
        h5py.File(folder / "results.h5") as ours,
        h5py.File(default_run[0] / "results.h5") as alone,
    ):
        for path in ("state/final/u", "gradient/initial/v", "gradient/viscosity", "objective"):
            np.testing.assert_array_equal(ours[path], alone[path])
    assert set(os.listdir(folder)) - {"gradient.png", *MAY_LEAVE} == RUN_LEAVES


@pytest.mark.timeout(300)
def test_digest_on_64_ranks(mpiexec: MpiExec, tmp_path: Path) -> None:
    """Fewer steps than the default run has: here most ranks wait for a core at each of them."""
    options = ("-s", "time.steps=100", "-s", "checkpointing.snapshots=100", "-soutput.plots=false")
    run_alone(tmp_path / "alone", *options)
    result = mpiexec(64, *command(tmp_path / "many", *options), cwd=ROOT, timeout=280)
    assert result.returncode == 0, result.stderr
    alone, many = summary_of(tmp_path / "alone"), summary_of(tmp_path / "many")
    assert (many["ranks"], many["process_grid"]) == (64, [8, 8])
    assert many["digest"] == alone["digest"]


def test_oblong_periodic_problem_has_the_same_digest_on_uneven_tiles(
    mpiexec: MpiExec, tmp_path: Path
) -> None:
    options = ["-sgrid.boundary=periodic", "-sgrid.nx=37", "-sgrid.ny=29", "-sgrid.x=[0.0, 5.0]"]
    options += ["-sinitial.kind=sines", "-sinitial.amplitude=[0.7, -0.4]", "-stime.steps=60"]
    options += ["-sphysics.viscosity=0.03", "-soutput.plots=false"]
    run_alone(tmp_path / "alone", *options, "-scheckpointing.schedule=store_all")
    result = mpiexec(5, *command(tmp_path / "five", *options), cwd=ROOT)
    assert result.returncode == 0, result.stderr
    alone, five = summary_of(tmp_path / "alone"), summary_of(tmp_path / "five")
    assert five["digest"] == alone["digest"]
    assert five["gradient_norm"] == alone["gradient_norm"]
    assert alone["schedule"]["name"] == "store_all"
    assert alone["schedule"]["forward_steps"] == 60


def test_second_run_in_the_same_folder_replaces_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    small = ("-sgrid.nx=21", "-sgrid.ny=17", "-soutput.plots=false")
    run_alone(folder, *small, "-stime.steps=5")
    first = summary_of(folder)
    run_alone(folder, *small, "-stime.steps=6", "--quiet")
    second = summary_of(folder)
    assert (first["steps"], second["steps"]) == (5, 6)
    assert first["digest"] != second["digest"]
    with h5py.File(folder / "results.h5") as file:
        assert json.loads(file.attrs["summary"])["digest"] == second["digest"]
    assert load(str(folder / "config.toml")).time.steps == 6
    assert set(os.listdir(folder)) - MAY_LEAVE == RUN_LEAVES


def test_forward_reaches_the_same_state_without_a_gradient(
    default_run: tuple[Path, dict[str, Any], str], fields: dict[str, np.ndarray], tmp_path: Path
) -> None:
    folder = tmp_path / "output"
    result = run_alone(folder, "forward", "--quiet")
    assert result.stdout == ""
    summary = summary_of(folder)
    assert summary.keys() >= KEYS
    assert summary["objective"] == default_run[1]["objective"]
    assert summary["gradient_norm"] == {}
    with h5py.File(folder / "results.h5") as file:
        assert "gradient" not in file
        np.testing.assert_array_equal(file["state/final/u"], fields["state/final/u"])
        np.testing.assert_array_equal(file["state/final/v"], fields["state/final/v"])


def test_l2_gradient_is_the_euclidean_one_over_the_cell_area(
    fields: dict[str, np.ndarray], tmp_path: Path
) -> None:
    run_alone(tmp_path / "output", "-sgradient.inner_product=l2", "-soutput.plots=false")
    with h5py.File(tmp_path / "output/results.h5") as file:
        np.testing.assert_allclose(
            file["gradient/initial/u"], fields["gradient/initial/u"] / (0.1 * 0.1), rtol=1e-13
        )
        assert file["gradient/viscosity"][()] == fields["gradient/viscosity"]

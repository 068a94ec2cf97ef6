"""A second equation on the engine: transposes, Taylor orders, mass, and a device."""

import math
import re
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from water_cases import (
    CASES,
    EXAMPLE,
    N_STEPS,
    WATER,
    case_name,
    open_faces,
    run_engine,
    start,
    tangent_gap,
    water,
)

from burgers_adjoint.assembly.composition import gradient_of
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.tiling import Tiling
from burgers_adjoint.parallel.reductions import random_field
from burgers_adjoint.stepping.accelerator import Accelerator
from burgers_adjoint.verification import taylor_test
from tests.stand_in_device import StandIn

ALONE = MPI.COMM_SELF
cases = pytest.mark.parametrize("case", CASES, ids=case_name)


def test_the_example_has_at_most_a_hundred_lines() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 100


@cases
def test_adjoint_is_the_transpose_of_the_tangent(case: Any) -> None:
    model = water(case, ALONE)
    assert tangent_gap(model) <= 1e-15
    model.close()


def test_a_shore_that_the_adjoint_forgets_would_show() -> None:
    class Leaking(WATER.ShallowWater):
        def adjoint(self, c: Any, q: Any, p: Any, s: Any) -> Any:
            return super().adjoint(c, q, p, s | {"x_open": [1.0] * 3})

    assert tangent_gap(water(("euler", True), ALONE, Leaking)) > 1e-6


@cases
def test_taylor_orders(case: Any) -> None:
    model = water(case, ALONE)
    fields = start(model)
    gradient = gradient_of(model, Binomial(N_STEPS, 3), fields)
    value, direction = model.value, random_field(model.decomposition, 9, 3)

    def changed(initial: float, friction: float) -> float:
        model.set_value("friction", 0.05 + friction)
        state = model.initial_state(fields + initial * direction)
        model.advance(state, 0, N_STEPS)
        return model.evaluate(state)

    sizes = [2.0**-k * 0.1 for k in range(8)]
    slope = math.fsum((gradient["initial"] * direction).ravel())
    test = taylor_test(lambda size: changed(size, 0.0), value, slope, sizes)
    assert test.corrected_order > 1.99
    sizes = [2.0**-k * 4.0 for k in range(8)]
    test = taylor_test(lambda size: changed(0.0, size), value, gradient["friction"], sizes)
    assert test.corrected_order > 1.99
    model.close()


@cases
def test_no_water_is_lost(case: Any) -> None:
    model = water(case, ALONE)
    fields, cells = start(model), open_faces(model)[0] == 1.0
    state = model.initial_state(fields)
    model.advance(state, 0, N_STEPS)
    final = model.layout.interior(state)
    before, after = math.fsum(fields[0, cells]), math.fsum(final[0, cells])
    assert abs(after - before) <= 1e-15 * before
    assert np.abs(final - fields)[0, cells].min() > 0.0
    assert np.array_equal(final[0, ~cells], fields[0, ~cells])
    model.close()


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@cases
def test_a_device_finds_the_same_bits(case: Any) -> None:
    host = water(case, ALONE)
    device = water(case, ALONE, backend=Accelerator(StandIn(), Tiling(32, 2, 1, 5)))
    for one, other in zip(run_engine(host), run_engine(device), strict=True):
        assert np.isfinite(one).all()
        assert one.tobytes() == np.asarray(other).tobytes()
    host.close()
    device.close()


@pytest.mark.parametrize(("name", "value"), [("wind", 1.0), ("friction", np.zeros((14, 19)))])
def test_what_steps_do_not_depend_on_cannot_be_set(name: str, value: Any) -> None:
    model = water(("euler", False), ALONE)
    message = f"steps depend on the numbers friction; {name} is not one of them"
    with pytest.raises(ConfigError, match=re.escape(message)):
        model.set_value(name, value)
    model.close()


def test_the_program_prints_the_same_on_three_ranks(mpiexec: Callable[..., Any]) -> None:
    root = {"PYTHONPATH": str(EXAMPLE.parents[1])}
    printed = []
    for n_ranks in (1, 3):
        done = mpiexec(n_ranks, EXAMPLE, "--closed", "--integrator", "euler", env=root)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    lines = dict(line.split(maxsplit=1) for line in printed[0].splitlines())
    assert lines.keys() == {"J", "|dJ/d(initial)|", "dJ/d(friction)", "digest"}
    assert float(lines["dJ/d(friction)"]) < 0.0

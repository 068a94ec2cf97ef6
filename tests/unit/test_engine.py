"""One engine for every program: bits, transposes, and what devices make of it."""

import math
import shutil
from typing import Any

import numpy as np
import pytest
from engine_cases import PROGRAMS, Case, grid_of, program_name
from mpi4py import MPI

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.marching import March
from burgers_adjoint.kernels.programs import Buffer
from burgers_adjoint.kernels.tiling import Tiling, tiling_of
from burgers_adjoint.stepping.accelerator import Accelerator
from burgers_adjoint.stepping.runge_kutta import StepKinds
from burgers_adjoint.stepping.step_levels import StepLevels
from burgers_adjoint.stepping.tableaux import EULER
from tests.stand_in_device import StandIn

ALONE = MPI.COMM_SELF
ON_A_DEVICE = PROGRAMS[::5]  # each half of a method, boundary and set of fields is in some of them
programs = pytest.mark.parametrize("program", PROGRAMS, ids=program_name)


def same(one: Any, other: Any) -> bool:
    pairs = list(zip(one, other, strict=True))
    assert len(pairs) > 5
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


@programs
def test_steps_that_share_a_sweep_have_the_bits_of_single_ones(program: Any) -> None:
    together, singly = Case(program, ALONE), Case(program, ALONE, steps_per_exchange=1)
    # eight layers of halo per step leave no room for two of them in these tiles
    assert together.engine.steps_per_sweep > 1 or program[:3] == ("rk4", "upwind", True)
    found = list(together.run(6))
    assert all(np.isfinite(one).all() for one in found)
    assert same(found, singly.run(6, singly=True))
    together.engine.close()
    singly.engine.close()


@programs
def test_adjoint_is_the_transpose_of_the_tangent(program: Any) -> None:
    case, n_steps = Case(program, ALONE), 5
    found = list(case.run(n_steps))
    cotangent, perturbation = found[n_steps + 2], found[-1]
    directions, weights, direction = case.values(3), case.random(8, 2), case.random(9, 2)
    right = [*(cotangent * direction).ravel()]
    for density, name in zip(found[n_steps + 3 : -1], case.engine.new_cotangent().densities,
                             strict=True):  # fmt: skip
        value = directions[name] + directions.get(f"{name}_field", 0.0)
        right += [*(density * np.reshape(value, (-1, *np.shape(value)[-2:]))).ravel()]
    left = [*(weights * perturbation).ravel()]
    difference = math.fsum([*left, *(-one for one in right)])
    assert abs(difference) <= 1e-15 * math.fsum(map(abs, [*left, *right]))
    case.engine.close()


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("program", ON_A_DEVICE, ids=program_name)
def test_a_device_finds_the_same_bits(program: Any) -> None:
    host = Case(program, ALONE)
    expected = list(host.run(5))
    # blocks of few columns and rows, so that tiles have many: two points of a thread, and one
    for tiling, most_steps in ((Tiling(32, 2, 1, 5), (3, 3)), (Tiling(32, 1, 0, 7), (2, 1))):
        device = StandIn()
        blocks = Case(program, ALONE, backend=Accelerator(device, tiling, most_steps))
        assert same(expected, blocks.run(5))
        assert sum(call[:2] == ("launch", "sweep") for call in device.calls) > 5
        blocks.engine.close()
    host.engine.close()


def test_sweeps_that_fit_no_block_are_refused() -> None:
    kinds = StepKinds(Case(PROGRAMS[0], ALONE).equation, EULER, (), bounded=True)
    buffers = [Buffer(2, "start"), *(Buffer(2) for _ in range(200)), Buffer(2, "end")]
    march = March(StepLevels(kinds).forward(buffers))
    with pytest.raises(ConfigError, match="more than a block of the device has room for"):
        tiling_of(march, 100, 100, 132, 227 * 1024)


@programs
def test_what_is_kept_of_stages_gives_the_bits_of_those_computed_anew(program: Any) -> None:
    case = Case(program, ALONE)
    engine, state = case.engine, case.array(0.5 * case.random(7, 2))
    anew, kept = engine.new_cotangent(), engine.new_cotangent()
    for cotangent in (anew, kept):
        engine.layout.interior(cotangent.field)[...] = case.random(8, 2)
    engine.adjoint(anew, [state], 2)
    engine.keep(state, 2)
    stages = [stage.copy() for stage in engine.stage_fields()]
    expected, after = case.array(), case.array()
    engine.advance(state, after, 2, 4)
    engine.forget_stages()
    engine.advance(state, expected, 2, 4)
    assert case.own(after).tobytes() == case.own(expected).tobytes()
    for place, stage in zip(engine.stage_fields(), stages, strict=True):
        place[...] = stage
    engine.restore_stages()
    engine.adjoint(kept, [state], 2)
    for one, other in zip(case.of(anew), case.of(kept), strict=True):
        assert one.tobytes() == other.tobytes()
    engine.close()


def test_points_on_the_boundary_keep_the_bits_of_zeros_and_subnormals() -> None:
    case = Case(("rk4", "upwind", False, ()), ALONE)
    fields = 0.3 * case.random(1, 2)
    fields[:, 0, 1:5] = [-0.0, 5e-324, -3e-310, 1e-300]
    fields[:, 4, 0], fields[:, 5, -1] = -0.0, 2e-320
    state = case.array(fields)
    case.engine.advance(state, state, 0, 9)
    inner = np.zeros(case.grid.shape, dtype=bool)
    inner[1:-1, 1:-1] = True
    found = case.own(state)
    assert found[:, ~inner].tobytes() == fields[:, ~inner].tobytes()
    assert (found[:, inner] != fields[:, inner]).all()
    case.engine.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("forcing", 1.0), ("viscosity", np.zeros((13, 19))), ("viscosity_field", np.zeros((13, 19))),
     ("gravity", 9.81)],
)  # fmt: skip
def test_what_steps_do_not_depend_on_cannot_be_set(name: str, value: Any) -> None:
    case = Case(("euler", "central", False, ()), ALONE)
    with pytest.raises(ConfigError, match=f"steps do not depend on {name}"):
        case.engine.set_control(name, value)


def test_small_periodic_tiles_are_their_own_neighbours() -> None:
    """Where a step reaches beyond the tile, stages exchange one by one."""
    program = ("rk4", "upwind", True, ())
    small = Case(program, ALONE, grid_of(True, 5, 6))
    whole = Case(program, ALONE, grid_of(True, 5, 6), backend=small.engine._backend)
    assert same(small.run(4), whole.run(4, singly=True))

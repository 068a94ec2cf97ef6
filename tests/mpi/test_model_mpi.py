"""Whole runs on all ranks have the bits of the same runs on one."""

import math
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.runs import Reversal, evaluate, reverse
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import ConfigError, NumericalError
from burgers_adjoint.parallel.agreement import largest
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.reductions import digest, exact_sum, norm, random_field
from burgers_adjoint.problem import Problem

COMM, ALONE = MPI.COMM_WORLD, MPI.COMM_SELF
SIZE = COMM.size
PROCESS_GRIDS = [(py, SIZE // py) for py in range(1, SIZE + 1) if SIZE % py == 0]
N_STEPS = 13

over_process_grids = pytest.mark.parametrize("process_grid", PROCESS_GRIDS, ids=str)
over_boundaries = pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])


def problem(comm: MPI.Comm, boundary: str, **sections: Any) -> Problem:
    """Nothing alike: nx and ny, dx and dy, u and v; tiles of several sizes on two ranks or more."""
    data = {
        "grid": {"nx": 23, "ny": 19, "x": [-1, 2], "y": [-1.5, 3], "boundary": boundary},
        "physics": {"viscosity": 0.05},
        "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
        "time": {"dt": 0.02, "steps": N_STEPS},
        "checkpointing": {"snapshots": 3},
    }
    for name, section in sections.items():
        data[name] = {**data.get(name, {}), **section}
    return Problem(from_dict(data), comm)


@pytest.mark.parametrize("factor", [1.0, 1e-200, 1e200, 1e300])
def test_norm_has_the_same_bits_on_any_number_of_ranks(factor: float) -> None:
    """The largest value, which sets the scale, is on one rank; the last rank has none."""
    values = np.random.default_rng(7).normal(size=977) * 10.0 ** np.linspace(0, -40, 977) * factor
    cuts = np.linspace(0, 977, max(SIZE, 2)).astype(int)[: SIZE - 1]
    own = np.split(values, cuts[1:])[COMM.rank] if COMM.rank < SIZE - 1 else values[:0]
    own = values if SIZE == 1 else own
    found = norm(COMM, own)
    assert found == norm(ALONE, values)
    assert found == pytest.approx(norm(ALONE, values / factor) * factor, rel=1e-14)
    if factor == 1.0:
        assert found == math.sqrt(exact_sum(COMM, np.square(own)))


def gradient(one: Problem, schedule: Any = None) -> tuple[str, Reversal]:
    schedule = schedule or one.checkpointing.schedule()
    result = reverse(one.case, schedule, one.checkpointing.store(schedule))
    return one.case.digest(result.final, result.gradient), result


@pytest.fixture(scope="module", params=["dirichlet", "periodic"])
def serial(request: pytest.FixtureRequest) -> tuple[str, str, Reversal]:
    """The boundary, and digest and results of one rank, one step at a time, nothing recomputed."""
    one = problem(ALONE, request.param, parallel={"steps_per_exchange": 1})
    found, result = gradient(one, StoreAll(N_STEPS))
    one.close()
    assert math.isfinite(result.objective)
    return request.param, found, result


def assert_same(
    one: Problem, found: str, result: Reversal, serial: tuple[str, str, Reversal]
) -> None:
    _, expected_digest, expected = serial
    tile = np.s_[:, one.case.decomposition.rows, one.case.decomposition.columns]
    np.testing.assert_array_equal(result.final, expected.final[tile])
    np.testing.assert_array_equal(result.gradient["initial"], expected.gradient["initial"][tile])
    assert result.gradient["viscosity"] == expected.gradient["viscosity"]
    assert result.objective == expected.objective
    assert found == expected_digest


@over_process_grids
@pytest.mark.parametrize("steps_per_exchange", [1, 2, 3, None])
def test_gradient_has_the_bits_of_one_rank(
    serial: tuple[str, str, Reversal],
    process_grid: tuple[int, int],
    steps_per_exchange: int | None,
) -> None:
    parallel: dict[str, Any] = {"process_grid": process_grid}
    if steps_per_exchange is not None:
        parallel["steps_per_exchange"] = steps_per_exchange
    one = problem(COMM, serial[0], parallel=parallel)
    found, result = gradient(one)
    assert_same(one, found, result, serial)
    assert norm(COMM, result.gradient["initial"]) == norm(ALONE, serial[2].gradient["initial"])
    assert evaluate(one.case) == serial[2].objective
    one.close()


@pytest.mark.parametrize("snapshots", [1, 2, 5, 13, 100])
def test_every_schedule_has_the_bits_of_one_rank(
    serial: tuple[str, str, Reversal], snapshots: int
) -> None:
    one = problem(COMM, serial[0])
    for schedule in (Binomial(N_STEPS, snapshots), StoreAll(N_STEPS)):
        found, result = gradient(one, schedule)
        assert_same(one, found, result, serial)
        assert result.counts.forward_steps == schedule.predicted_forward_steps
    one.close()


@over_boundaries
@pytest.mark.parametrize("axis", [0, 1])
def test_tiles_of_one_row_or_one_column(boundary: str, axis: int) -> None:
    """The boundary's own points may be all that a rank has."""
    points = [11, 13]
    points[axis] = max(SIZE, 3)
    process_grid = [1, 1]
    process_grid[axis] = SIZE
    grid = {"ny": points[0], "nx": points[1]}
    one = problem(COMM, boundary, grid=grid, parallel={"process_grid": process_grid})
    if SIZE >= 3:
        assert one.case.decomposition.tile_shape[axis] == 1
    reference = problem(ALONE, boundary, grid=grid)
    found, result = gradient(one)
    expected, serial_result = gradient(reference)
    assert_same(one, found, result, (boundary, expected, serial_result))
    one.close()
    reference.close()


@over_boundaries
@over_process_grids
def test_sines_and_the_tangent_have_the_bits_of_one_rank(
    boundary: str, process_grid: tuple[int, int]
) -> None:
    results = []
    for comm, parallel in ((COMM, {"process_grid": process_grid}), (ALONE, {})):
        one = problem(comm, boundary, parallel=parallel, initial={"kind": "sines"})
        model = one.case.model
        state = model.initial_state(one.case.fields)
        direction = model.initial_state(random_field(one.case.decomposition, 3, 2))
        for n in range(5):
            direction = model.tangent_step(direction, state, {"viscosity": 0.3}, n)
            model.advance(state, n, n + 1)
        fields = [*model.layout.interior(state), *model.layout.interior(direction)]
        slope = model.objective_tangent(direction, state, 5, last=True)
        results.append((slope, digest(one.case.decomposition, fields, [slope])))
        one.close()
    assert results[0] == results[1]
    assert results[0][0] != 0


def test_sums_over_the_ranks_are_the_sums_of_one() -> None:
    whole = np.random.default_rng(4).normal(size=(19, 23)) * 1e20
    whole[3, 4] = 1e-20
    decomposition = Decomposition(COMM, whole.shape, periodic=False)
    tile = whole[decomposition.rows, decomposition.columns]
    assert exact_sum(COMM, tile) == math.fsum(whole.ravel())
    assert norm(COMM, tile) == math.sqrt(math.fsum((whole**2).ravel()))
    assert largest(COMM, tile.max()) == whole.max()
    # one rank alone has something to say
    one = np.array([1e300, 1.0, -1e300]) if COMM.rank == SIZE - 1 else np.array([])
    assert exact_sum(COMM, one) == 1.0
    bad = np.array([math.nan if COMM.rank == SIZE - 1 else 1.0])
    assert math.isnan(exact_sum(COMM, bad))


@over_boundaries
@pytest.mark.parametrize("n_steps", [40, 300])
def test_state_that_is_not_finite_is_told_alike_on_all_ranks(boundary: str, n_steps: int) -> None:
    time = {"dt": 0.6, "steps": n_steps, "allow_unstable": True}
    messages = []
    for comm in (COMM, ALONE):
        one = problem(comm, boundary, time=time)
        with pytest.raises(NumericalError, match="no longer finite after step") as error:
            evaluate(one.case)
        assert error.value.agreed
        one.close()
        messages.append(str(error.value))
    together, alone = (text.split(", on rank ") for text in messages)
    assert together[0] == alone[0]
    assert alone[1] == "0 of 1; a smaller time.dt may help"
    assert together[1].endswith(f" of {SIZE}; a smaller time.dt may help")
    assert COMM.allgather(messages[0]) == [messages[0]] * SIZE


def test_process_grid_that_does_not_fit_is_an_error_of_all_ranks() -> None:
    with pytest.raises(
        ConfigError, match=f"needs {2 * SIZE} ranks, but there are {SIZE}$"
    ) as error:
        problem(COMM, "dirichlet", parallel={"process_grid": [2, SIZE]})
    assert error.value.agreed

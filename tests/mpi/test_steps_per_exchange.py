"""How many steps share a halo exchange is a matter of speed alone, and of the tiles' size."""

import pytest
from mpi4py import MPI

from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.problem import Problem

pytestmark = pytest.mark.mpi


def problem(
    comm: MPI.Comm,
    steps_per_exchange: int | None,
    boundary: str = "periodic",
    **sections: dict[str, object],
) -> Problem:
    given: dict[str, object] = {
        "grid": {"nx": 23, "ny": 31, "x": [0.0, 2.0], "y": [0.0, 3.0], "boundary": boundary},
        "time": {"steps": 11, "dt": 1e-3},
        "parallel": {}
        if steps_per_exchange is None
        else {"steps_per_exchange": steps_per_exchange},
        "gradient": {"controls": ["initial", "viscosity"]},
        "checkpointing": {"schedule": "store_all"},
    }
    return Problem(from_dict(given | sections), comm)


def digest(problem: Problem) -> str:
    schedule = problem.schedule()
    result = problem.reverse(schedule, problem.store(schedule), problem.fields)
    problem.close()
    return problem.digest(result.final, result.gradient)


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
@pytest.mark.parametrize("steps_per_exchange", [1, 2, 3, 5])
def test_bits_do_not_depend_on_the_steps_per_exchange(
    steps_per_exchange: int, boundary: str
) -> None:
    alone = digest(problem(MPI.COMM_SELF, 1, boundary))
    assert digest(problem(MPI.COMM_WORLD, steps_per_exchange, boundary)) == alone
    assert digest(problem(MPI.COMM_WORLD, None, boundary)) == alone


@pytest.mark.parametrize("steps_per_exchange", [None, 1, 2])
def test_bits_do_not_depend_on_overlapping_the_exchange(steps_per_exchange: int | None) -> None:
    comm = MPI.COMM_WORLD
    parallel: dict[str, object] = {"overlap": True, "process_grid": [comm.size, 1]}
    if steps_per_exchange is not None:
        parallel["steps_per_exchange"] = steps_per_exchange
    time = {"steps": 40, "dt": 1e-3}
    schedule = {"schedule": "binomial", "snapshots": 2}
    alone = problem(MPI.COMM_SELF, 1, "dirichlet", time=time)
    overlapped = problem(
        comm, None, "dirichlet", time=time, parallel=parallel, checkpointing=schedule
    )
    assert digest(overlapped) == digest(alone)


def test_overlap_without_an_interior_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"parallel.overlap = true: only ranks that own whole"):
        problem(MPI.COMM_WORLD, None, "periodic", parallel={"overlap": True})
    with pytest.raises(ConfigError, match=r"parallel.overlap = true: there is an interior with"):
        problem(
            MPI.COMM_WORLD,
            None,
            parallel={"overlap": True},
            time={"steps": 3, "dt": 1e-3, "integrator": "rk4"},
        )


def test_halo_wider_than_a_tile_is_refused() -> None:
    smallest = min(problem(MPI.COMM_WORLD, None).decomposition.smallest_tile)
    message = (
        f"parallel.steps_per_exchange = {smallest + 1}: a halo of {smallest + 1} layers reaches "
        f"beyond the neighbours, the smallest of whose tiles is {smallest} points wide"
    )
    with pytest.raises(ConfigError) as caught:
        problem(MPI.COMM_WORLD, smallest + 1)
    assert str(caught.value) == message
    assert caught.value.agreed


def test_methods_that_exchange_for_every_stage_say_so() -> None:
    with pytest.raises(ConfigError, match=r"parallel.steps_per_exchange = 2: several steps share"):
        problem(MPI.COMM_WORLD, 2, time={"steps": 3, "dt": 1e-3, "integrator": "rk4"})

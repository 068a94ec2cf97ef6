"""How many steps share a halo exchange is a matter of speed alone, and of the tiles' size."""

import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.runs import reverse
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
    schedule = problem.checkpointing.schedule()
    result = reverse(problem.case, schedule, problem.checkpointing.store(schedule))
    problem.close()
    return problem.case.digest(result.final, result.gradient)


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
@pytest.mark.parametrize("steps_per_exchange", [1, 2, 3, 5])
def test_bits_do_not_depend_on_the_steps_per_exchange(
    steps_per_exchange: int, boundary: str
) -> None:
    alone = digest(problem(MPI.COMM_SELF, 1, boundary))
    assert digest(problem(MPI.COMM_WORLD, steps_per_exchange, boundary)) == alone
    assert digest(problem(MPI.COMM_WORLD, None, boundary)) == alone


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
@pytest.mark.parametrize("advection", ["central", "upwind"])
@pytest.mark.parametrize(("nx", "ny"), [(23, 31), (13, 12), (61, 47)])
def test_bits_of_several_stages_do_not_depend_on_the_tiles(
    nx: int, ny: int, advection: str, boundary: str
) -> None:
    """Stages share an exchange where tiles are large enough, and have their own where not."""
    given: dict[str, dict[str, object]] = {
        "grid": {"nx": nx, "ny": ny, "x": [0.0, 2.0], "y": [0.0, 3.0], "boundary": boundary},
        "physics": {"advection": advection},
        "time": {"steps": 6, "dt": 1e-3, "integrator": "rk4"},
    }
    alone = digest(problem(MPI.COMM_SELF, None, **given))
    assert digest(problem(MPI.COMM_WORLD, None, **given)) == alone


@pytest.mark.parametrize("integrator", ["euler", "rk4"])
@pytest.mark.parametrize("steps_per_exchange", [None, 1, 2])
def test_bits_do_not_depend_on_overlapping_the_exchange(
    steps_per_exchange: int | None, integrator: str
) -> None:
    comm = MPI.COMM_WORLD
    parallel: dict[str, object] = {"overlap": True, "process_grid": [comm.size, 1]}
    if steps_per_exchange is not None:
        parallel["steps_per_exchange"] = steps_per_exchange
    if integrator == "rk4" and comm.size > 3 and steps_per_exchange == 2:
        pytest.skip("tiles of five rows are too small for two steps of four stages")
    time = {"steps": 40, "dt": 1e-3, "integrator": integrator}
    schedule = {"schedule": "binomial", "snapshots": 2}
    alone = problem(MPI.COMM_SELF, 1, "dirichlet", time=time)
    overlapped = problem(
        comm, None, "dirichlet", time=time, parallel=parallel, checkpointing=schedule
    )
    assert digest(overlapped) == digest(alone)


def test_overlap_without_an_interior_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"parallel.overlap = true: only ranks that own whole"):
        problem(MPI.COMM_WORLD, None, "periodic", parallel={"overlap": True})


def test_halo_wider_than_a_tile_is_refused() -> None:
    smallest = min(problem(MPI.COMM_WORLD, None).case.decomposition.smallest_tile)
    message = (
        f"parallel.steps_per_exchange = {smallest + 1}: a halo of {smallest + 1} layers reaches "
        f"beyond the neighbours, the smallest of whose tiles is {smallest} points wide"
    )
    with pytest.raises(ConfigError) as caught:
        problem(MPI.COMM_WORLD, smallest + 1)
    assert str(caught.value) == message
    assert caught.value.agreed


def test_layers_are_counted_by_the_stages_of_a_step() -> None:
    smallest = min(problem(MPI.COMM_WORLD, None).case.decomposition.smallest_tile)
    steps = smallest // 4 + 1
    with pytest.raises(ConfigError, match=rf"a halo of {4 * steps} layers reaches beyond"):
        problem(MPI.COMM_WORLD, steps, time={"steps": 3, "dt": 1e-3, "integrator": "rk4"})

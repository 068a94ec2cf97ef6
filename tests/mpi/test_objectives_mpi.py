"""Every term of the objective, and its gradient, has the bits of one rank."""

import pytest
from mpi4py import MPI

from burgers_adjoint.config import from_dict
from burgers_adjoint.problem import Problem

COMM = MPI.COMM_WORLD
TERMS = {"final_energy": 0.5, "running_energy": 2.0, "running_enstrophy": 0.3}


def objective_and_digest(comm: MPI.Comm, boundary: str, schedule: str) -> tuple[float, str]:
    sections = {
        "grid": {"nx": 17, "ny": 13, "x": [-1, 2], "y": [-1.5, 3], "boundary": boundary},
        "physics": {"viscosity": 0.05},
        "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
        "time": {"dt": 0.02, "steps": 9},
        "objective": {"kind": "weighted_sum", "weights": TERMS},
        "checkpointing": {"snapshots": 3},
    }
    one = Problem(from_dict(sections), comm)
    planned = one.schedule(schedule)
    result = one.reverse(planned, one.store(planned), one.fields)
    assert one.evaluate(one.fields) == result.objective
    found = one.digest(result.final, result.gradient)
    one.close()
    return result.objective, found


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
def test_weighted_sum_has_the_bits_of_one_rank(boundary: str) -> None:
    alone = objective_and_digest(MPI.COMM_SELF, boundary, "store_all")
    assert objective_and_digest(COMM, boundary, "binomial") == alone

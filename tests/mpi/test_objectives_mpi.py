"""Every term of the objective, and its gradient, has the bits of one rank."""

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.objective import recorder
from burgers_adjoint.assembly.runs import evaluate, reverse, sweep
from burgers_adjoint.config import from_dict
from burgers_adjoint.inverse.observation_file import write
from burgers_adjoint.problem import Problem

COMM = MPI.COMM_WORLD
TERMS = {"final_energy": 0.5, "running_energy": 2.0, "running_enstrophy": 0.3, "misfit": 1.5}


@pytest.fixture(scope="module", params=["fields", "sensors"])
def observations(request, tmp_path_factory) -> str:
    """Observations that all ranks made together, between and on the points, one per tile corner."""
    folder = COMM.bcast(tmp_path_factory.mktemp("seen") if COMM.rank == 0 else None, root=0)
    path = str(folder / "seen.h5")
    section = {"kind": request.param, "count": 3, "sensor_grid": [9, 11], "noise": 0.05}
    data = sections("periodic") | {"observations": section}
    one = Problem(from_dict(data), COMM)
    seen = recorder(one.case.setting)
    sweep(one.case, recorder=seen)
    write(path, seen.observations, one.case.grid, one.case.decomposition, {}, {}, {})
    one.close()
    alone = Problem(from_dict(data), MPI.COMM_SELF)
    expected = recorder(alone.case.setting)
    sweep(alone.case, recorder=expected)
    rows, columns = one.case.decomposition.rows, one.case.decomposition.columns
    fields = expected.observations.fields[:, :, rows, columns]
    np.testing.assert_array_equal(seen.observations.fields, fields)
    np.testing.assert_array_equal(seen.observations.values, expected.observations.values)
    alone.close()
    return path


def sections(boundary: str) -> dict[str, Any]:
    return {
        "grid": {"nx": 17, "ny": 13, "x": [-1, 2], "y": [-1.5, 3], "boundary": boundary},
        "physics": {"viscosity": 0.05},
        "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
        "time": {"dt": 0.02, "steps": 9},
        "checkpointing": {"snapshots": 3},
    }


def objective_and_digest(
    comm: MPI.Comm, boundary: str, schedule: str, path: str
) -> tuple[float, str]:
    data = sections(boundary)
    data["objective"] = {"kind": "weighted_sum", "weights": TERMS}
    data["observations"] = {"path": path}
    data["initial"]["amplitude"] = [0.9, -0.5]
    one = Problem(from_dict(data), comm)
    planned = one.checkpointing.schedule(schedule)
    result = reverse(one.case, planned, one.checkpointing.store(planned))
    assert evaluate(one.case) == result.objective
    found = one.case.digest(result.final, result.gradient)
    one.close()
    return result.objective, found


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
def test_weighted_sum_has_the_bits_of_one_rank(boundary: str, observations: str) -> None:
    alone = objective_and_digest(MPI.COMM_SELF, boundary, "store_all", observations)
    assert objective_and_digest(COMM, boundary, "binomial", observations) == alone

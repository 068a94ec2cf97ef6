"""Covariances and the objective with them have the same bits on all ranks as on one."""

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.config import from_dict
from burgers_adjoint.problem import Problem

COMM = MPI.COMM_WORLD


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
def test_bits_are_those_of_one_rank(boundary: str) -> None:
    controls = ["initial", "viscosity_field", "viscosity"]
    controls += ["boundary"] if boundary == "dirichlet" else ["forcing"]
    deviation = {"viscosity": 0.1, "boundary": 0.5, "forcing": 0.4}
    config = from_dict(
        {
            "grid": {"nx": 13, "ny": 11, "x": [-1, 2], "y": [-1.5, 3], "boundary": boundary},
            "physics": {"viscosity": 0.05},
            "time": {"dt": 0.02, "steps": 4},
            "gradient": {"controls": controls},
            "background": {
                "deviation": {name: deviation[name] for name in controls[2:]},
                "initial": {"kind": "matern", "length": 1.0, "deviation": 0.5},
                "viscosity_field": {"kind": "matern", "length": 2.0, "deviation": 0.01},
            },
        }
    )
    digests = []
    for comm in (COMM, MPI.COMM_SELF):
        with Problem(config, comm) as problem:
            case = problem.case
            away = {
                name: value + 0.01 * case.controls[name].masked(case.controls[name].random(seed))
                for seed, (name, value) in enumerate(problem.controls().items())
            }
            value, gradient = problem.value_and_gradient(away)
            found = [value, case.digest(case.fields, gradient)]
            for power in (1.0, 0.5, -0.5, -1.0):
                applied = {
                    name: covariance.applied(away[name], power)
                    for name, covariance in case.prior.covariances().items()
                }
                found.append(case.digest(case.fields, applied))
            variances = {
                name: np.broadcast_to(one.variance(), case.controls[name].shape)
                for name, one in case.prior.covariances().items()
                if case.controls[name].shape
            }
            found.append(case.digest(case.fields, variances))
            digests.append(found)
    assert digests[0] == digests[1]

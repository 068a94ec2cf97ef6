"""Products with the Hessian on many ranks: the bits of one rank, of every kind of configuration."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import burgers_adjoint as ba
from burgers_adjoint.parallel.agreement import from_rank
from tests.mpi.pin_cases import NX, NY, Case, configuration, numbers
from tests.mpi.pins import inputs

COMM, ALONE = MPI.COMM_WORLD, MPI.COMM_SELF
# every two of integrator, scheme and boundary; each objective, store and most schedules once
CASES = [
    Case("euler", "central", "dirichlet", "initial+boundary+viscosity", "binomial", "memory",
         "running_enstrophy", "recompute"),
    Case("euler", "upwind", "periodic", "all", "two_level", "tiered", "misfit_to_sensors",
         "recompute"),
    Case("ssprk3", "central", "periodic", "all", "online", "hdf5", "weighted_sum", "keep"),
    Case("ssprk3", "upwind", "dirichlet", "all", "periodic", "hdf5_shared", "running_energy",
         "recompute"),
    Case("rk4", "central", "periodic", "initial+viscosity", "store_all", "memory",
         "misfit_to_fields", "recompute"),
    Case("rk4", "upwind", "dirichlet", "all", "multistage", "tiered", "final_energy", "keep"),
    Case("euler", "central", "dirichlet", "all", "binomial", "memory", "misfit_to_sensors",
         "recompute", "background"),
    Case("rk4", "central", "periodic", "all", "online", "memory", "running_energy", "recompute",
         "cfl+until"),
]  # fmt: skip
KINDS = ("hessian_product", "gauss_newton_product")


@pytest.fixture(scope="module")
def folder():
    with inputs() as made:
        yield made


def found_by(sections: dict[str, Any], comm: Any, product: str) -> dict[str, Any]:
    """A product at the configured values, whole fields on rank 0."""
    with ba.Problem(sections, comm) as problem:
        rows, columns = problem.case.decomposition.rows, problem.case.decomposition.columns
        direction: dict[str, Any] = {}
        for place, (name, control) in enumerate(problem.case.controls.items()):
            whole = numbers(3 + 11 * place, *control.shape[:-2])
            direction[name] = whole.reshape(*control.shape[:-2], NY, NX)[..., rows, columns]
            if not control.shape:
                direction[name] = 0.25
        found = getattr(problem, product)(None, direction)
        return {
            name: problem.gather(part) if np.ndim(part) else part for name, part in found.items()
        }


@pytest.mark.parametrize("product", KINDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_products_have_the_bits_of_one_rank(case: Case, product: str, folder: Path) -> None:
    sections = configuration(case, folder)
    found = found_by(sections, COMM, product)
    if COMM.rank:
        return
    sections["snapshots"] = {"store": "memory"}
    expected = found_by(sections, ALONE, product)
    for name, part in expected.items():
        assert np.array_equal(found[name], part), name
        assert np.any(part), name


def test_ranks_refuse_a_wrong_direction_together(folder: Path) -> None:
    with ba.Problem(configuration(CASES[0], folder)) as problem:
        shape = (2, 5, 3) if COMM.rank == COMM.size - 1 else problem.controls()["initial"].shape
        with pytest.raises(ba.ConfigError, match=r"initial has values of the shape .* \(2, 5, 3\)"):
            problem.hessian_product(None, {"initial": np.zeros(shape)})
        one = problem.hessian_product(None, {"viscosity": 1.0})
        assert one["viscosity"] == from_rank(COMM, one["viscosity"])

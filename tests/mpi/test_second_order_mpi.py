"""Products with the Hessian on many ranks: the bits of one rank, of every kind of configuration."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import burgers_adjoint as ba
from burgers_adjoint.inverse.vector import ControlVector
from burgers_adjoint.parallel.agreement import from_rank
from burgers_adjoint.second_order.entries import EntryProducts
from burgers_adjoint.second_order.near_inverse import NearInverse
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
CONTROLS = ["initial", "viscosity", "viscosity_field", "forcing_in_time"]
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


KEPT = [
    Case("euler", "upwind", "periodic", "all", "two_level", "tiered", "final_energy", "recompute"),
    Case("rk4", "upwind", "dirichlet", "all", "store_all", "memory", "final_energy", "recompute"),
    Case("euler", "upwind", "dirichlet", "all", "binomial", "hdf5_asynchronous", "final_energy",
         "recompute"),
    Case("rk4", "upwind", "periodic", "all", "binomial", "memory", "final_energy", "keep"),
]  # fmt: skip


def products_at_two_points(sections: dict[str, Any], comm: Any, keep: bool) -> list[np.ndarray]:
    """Gauss-Newton's at a point, again, where one value of one rank is another, and back."""
    with ba.Problem(sections | {"hessian": {"keep_states": keep}}, comm) as problem:
        here, tile = problem.controls(), problem.case.decomposition
        moved = {name: np.array(value) for name, value in here.items()}
        row, column = NY - 3 - tile.rows.start, NX - 3 - tile.columns.start
        ny, nx = tile.tile_shape
        if 0 <= row < ny and 0 <= column < nx:
            moved["initial"][0, row, column] += 0.125
        whole = numbers(3, 2)
        direction = {"initial": whole[:, tile.rows, tile.columns]}
        found = []
        for point in (here, here, moved, moved, here):
            product = problem.gauss_newton_product(point, direction)
            assert problem.second_order.of(1, False).keeps_states == keep
            found.append(problem.gather(np.asarray(product["initial"])))
        return found


@pytest.mark.parametrize("case", KEPT, ids=str)
def test_products_along_kept_states_have_the_bits_of_one_rank(case: Case, folder: Path) -> None:
    sections = configuration(case, folder)
    found = products_at_two_points(sections, COMM, True)
    if COMM.rank:
        return
    sections["snapshots"] = {"store": "memory"}
    expected = products_at_two_points(sections, ALONE, False)
    assert not np.array_equal(expected[0], expected[2])
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


def test_ranks_refuse_a_wrong_direction_together(folder: Path) -> None:
    with ba.Problem(configuration(CASES[0], folder)) as problem:
        shape = (2, 5, 3) if COMM.rank == COMM.size - 1 else problem.controls()["initial"].shape
        with pytest.raises(ba.ConfigError, match=r"initial has values of the shape .* \(2, 5, 3\)"):
            problem.hessian_product(None, {"initial": np.zeros(shape)})
        one = problem.hessian_product(None, {"viscosity": 1.0})
        assert one["viscosity"] == from_rank(COMM, one["viscosity"])


def near_inverse_of(comm: Any) -> dict[str, Any]:
    """What a search's preconditioner makes of numbers, whole fields on rank 0."""
    sections = {
        "grid": {"nx": NX, "ny": NY, "x": [-1, 2], "y": [-1.5, 1.0]},
        "time": {"steps": 6, "dt": 0.01},
        "objective": {"kind": "misfit"},
        "truth": {"twin": True},
        "observations": {"count": 3},
        "gradient": {"controls": CONTROLS},
        "controls": {"knots": [0.0, 0.02, 0.06], "scale": {"viscosity": 0.01}},
        "background": {
            "deviation": {"viscosity": 0.02},
            "smoothness": {"initial": 5.0, "forcing_in_time": 3.0},
            "viscosity_field": {"kind": "matern", "length": 1.0, "deviation": 0.02},
        },
    }
    with ba.Problem(sections, comm) as problem:
        case = problem.case
        vector = ControlVector(comm, case.controls)
        products = EntryProducts(case, vector, full=False)
        rows, columns = case.decomposition.rows, case.decomposition.columns
        values: dict[str, Any] = {
            name: numbers(3 + 11 * place, *control.shape[:-2])
            .reshape(*control.shape[:-2], NY, NX)[..., rows, columns] if control.shape else 0.25
            for place, (name, control) in enumerate(case.controls.items())
        }  # fmt: skip
        entries = np.empty(vector.size)
        vector.put_gradient(values, entries)
        found = vector.values(NearInverse(case, vector, products)(entries))
        products.close()
        assert products.count == len(CONTROLS)
        return {
            name: problem.gather(part) if np.ndim(part) else part for name, part in found.items()
        }


def test_the_preconditioner_of_a_search_has_the_bits_of_one_rank() -> None:
    found = near_inverse_of(COMM)
    if COMM.rank:
        return
    for name, part in near_inverse_of(ALONE).items():
        assert np.array_equal(found[name], part), name
        assert np.any(part), name

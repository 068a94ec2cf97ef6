"""Newton's methods in a search: no more products than a quadratic needs, and no point twice."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.config import Config, from_dict
from burgers_adjoint.inverse import tao
from burgers_adjoint.inverse.vector import ControlVector
from burgers_adjoint.problem import Problem
from burgers_adjoint.second_order.entries import EntryProducts
from burgers_adjoint.second_order.near_inverse import NearInverse, shares_of

pytest.importorskip("petsc4py")
ALONE = MPI.COMM_SELF
CURVATURE = np.geomspace(1.0, 1e4, 20)
MINIMUM = np.linspace(-2.0, 3.0, 20)


class Quadratic:
    """J = 1/2 sum c (m - minimum)^2, its exact inverse, and what was asked of it."""

    def __init__(self, inverse: np.ndarray = 1.0 / CURVATURE) -> None:
        self.inverse = inverse
        self.points: list[bytes] = []
        self.products = 0
        self.seen: list[tao.Iteration] = []

    def evaluate(self, entries: np.ndarray, gradient: np.ndarray) -> float:
        self.points.append(entries.tobytes())
        gradient[...] = CURVATURE * (entries - MINIMUM)
        return float(0.5 * gradient @ (entries - MINIMUM))

    def multiply(self, point: np.ndarray, direction: np.ndarray, out: np.ndarray) -> None:
        self.products += 1
        out[...] = CURVATURE * direction

    def searched(self, method: str, bounds: Any = None, **tolerances: float) -> tao.Outcome:
        settings = tao.Settings(
            method, **{"gatol": 0.0, "grtol": 0.0, "gttol": 1e-8} | tolerances,
            iterations=50, evaluations=200,
        )  # fmt: skip
        functions = tao.Functions(self.evaluate, self.multiply, lambda part: part * self.inverse)
        petsc = tao.load_petsc("")
        return tao.minimize(
            petsc, ALONE, functions, np.zeros(20), bounds, settings, self.seen.append
        )


@pytest.mark.parametrize("method", tao.NEWTON)
def test_an_exact_inverse_finds_the_minimum_by_one_product(method: str) -> None:
    asked = Quadratic()
    outcome = asked.searched(method)
    assert outcome.converged
    np.testing.assert_allclose(outcome.entries, MINIMUM, atol=1e-6)
    assert (outcome.iterations, asked.products) == (1, 1)


@pytest.mark.parametrize("method", tao.NEWTON)
def test_no_point_is_evaluated_twice_in_turn(method: str) -> None:
    asked = Quadratic()
    asked.searched(method)
    assert len(asked.points) == 2
    assert len(set(asked.points)) == 2


def test_entries_that_bounds_hold_leave_the_inverse_of_the_others() -> None:
    held = np.arange(20) % 2 == 1
    lower, upper = np.full(20, -10.0), np.where(held & (MINIMUM > 0.0), 0.0, 10.0)
    asked = Quadratic()
    outcome = asked.searched("bnls", (lower, upper))
    assert outcome.converged
    np.testing.assert_allclose(outcome.entries, np.minimum(MINIMUM, upper), atol=1e-6)
    assert (outcome.iterations, asked.products) == (1, 1)


@pytest.mark.parametrize("method", ["blmvm", "bnls"])
def test_the_first_norm_is_that_of_the_gradient_where_bounds_are_near(method: str) -> None:
    asked = Quadratic(np.ones(20))
    outcome = asked.searched(method, (np.full(20, -5.0), np.full(20, 5.0)), gttol=1e-4)
    assert outcome.converged
    norms = [at.gradient_norm for at in asked.seen]
    assert norms[0] == pytest.approx(np.linalg.norm(CURVATURE * MINIMUM), rel=1e-14)
    assert norms[-1] <= 1e-4 * norms[0] < norms[-2]


def forced(**sections: Any) -> Config:
    return from_dict(
        {
            "grid": {"nx": 14, "ny": 11},
            "time": {"steps": 10, "dt": 0.02},
            "physics": {"viscosity": 0.03},
            "objective": {"kind": "misfit"},
            "truth": {"twin": True, "forcing_bump": [0.5, -0.8], "viscosity": 0.03},
            "observations": {"count": 3},
            "gradient": {"controls": ["forcing_in_time"]},
            "controls": {"knots": [0.0, 0.1, 0.2], "scale": {"forcing_in_time": 0.5}},
            "background": {"smoothness": {"forcing_in_time": 20.0}},
            **sections,
        }
    )


def test_knots_that_undo_each_other_are_weighed_together() -> None:
    """H = B^-1 + D between knots, whose inverse is exact."""
    coupling = np.array([[5.0, 3.0, 1.0], [3.0, 4.0, 2.0], [1.0, 2.0, 2.0]])
    with Problem(forced()) as problem:
        case = problem.case
        vector = ControlVector(case.comm, case.controls)
        asked = []

        def of_data(direction: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            asked.append(direction)
            return {name: np.tensordot(coupling, part, 1) for name, part in direction.items()}

        near: Any = NearInverse(case, vector, SimpleNamespace(of_data=of_data))  # type: ignore[arg-type]
        control = case.controls["forcing_in_time"]
        value = np.random.default_rng(2).normal(size=control.shape)
        product = {"forcing_in_time": np.tensordot(coupling, value, 1)}
        case.prior.add_product({"forcing_in_time": value}, product)
        entries, expected = np.empty(vector.size), np.empty(vector.size)
        vector.put_gradient(product, entries)
        vector.put_values({"forcing_in_time": value}, expected)
        np.testing.assert_allclose(near(entries), expected, atol=1e-12)
        assert len(asked) == 1
        shares = shares_of(control)
        assert np.count_nonzero(np.any(np.stack(shares) != 0.0, axis=(0, 2)), axis=0).max() == 1


def test_weighing_knots_together_saves_products(monkeypatch: pytest.MonkeyPatch) -> None:
    def searched(config: Config) -> int:
        counts: list[EntryProducts] = []
        close = EntryProducts.close

        def noted(self: EntryProducts) -> None:
            counts.append(self)
            close(self)

        with Problem(config) as problem, monkeypatch.context() as patched:
            patched.setattr(EntryProducts, "close", noted)
            assert problem.optimize().converged
        return counts[-1].count

    config = forced(tao={"type": "nls", "gttol": 1e-4})
    together = searched(config)
    with monkeypatch.context() as patched:
        patched.setattr(NearInverse, "__call__", lambda self, entries: entries.copy())
        assert together < searched(config) / 2

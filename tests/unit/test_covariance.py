"""Covariances as functions of the Laplacian: against dense matrices, and as a part of J."""

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.inverse.covariance import Covariance, matern, rectangle_of, tikhonov
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.problem import Problem

WHOLE, INNER = (slice(0, 8), slice(0, 11)), (slice(1, 7), slice(1, 10))


def on_grid(periodic: bool) -> tuple[Decomposition, Grid]:
    grid = Grid(11, 8, (0.0, 3.0), (-1.0, 2.0), periodic)
    return Decomposition(MPI.COMM_SELF, grid.shape, periodic), grid


def dense(covariance: Covariance, power: float) -> np.ndarray:
    units = np.eye(88).reshape(88, 8, 11)
    return np.asarray(covariance.applied(units, power)).reshape(88, 88)


def laplacian(n: int, step: float, beyond: str) -> np.ndarray:
    """Minus the second difference of n points."""
    found = 2.0 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    if beyond == "mirrored":
        found[0, 0] = found[-1, -1] = 1.0
    if beyond == "repeated":
        found[0, -1] = found[-1, 0] = -1.0
    return found / step**2


def laplacian_2d(n_y: int, n_x: int, dy: float, dx: float, beyond: str) -> np.ndarray:
    along_y, along_x = laplacian(n_y, dy, beyond), laplacian(n_x, dx, beyond)
    return np.kron(along_y, np.eye(n_x)) + np.kron(np.eye(n_y), along_x)


@pytest.mark.parametrize("periodic", [False, True])
def test_matern_is_the_square_of_an_elliptic_solve(periodic: bool) -> None:
    decomposition, grid = on_grid(periodic)
    length, deviation = 1.2, 0.3
    covariance = matern(decomposition, grid, WHOLE, length, deviation)
    elliptic = laplacian_2d(8, 11, grid.dy, grid.dx, "repeated" if periodic else "mirrored")
    elliptic += 8.0 / length**2 * np.eye(88)
    expected = np.linalg.inv(elliptic @ elliptic)
    expected *= deviation**2 / expected.reshape(8, 11, 8, 11)[4, 5, 4, 5]
    found = dense(covariance, 1.0)
    np.testing.assert_allclose(found, expected, atol=1e-13 * expected.max())
    np.testing.assert_allclose(
        np.asarray(covariance.variance()).ravel(), np.diag(expected), rtol=1e-12
    )


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("rectangle", [WHOLE, INNER], ids=["whole", "inner"])
@pytest.mark.parametrize("kind", ["matern", "tikhonov"])
def test_powers_belong_together(kind: str, rectangle: tuple[slice, slice], periodic: bool) -> None:
    decomposition, grid = on_grid(periodic)
    if kind == "matern":
        covariance = matern(decomposition, grid, rectangle, 1.2, 0.3)
    else:
        covariance = tikhonov(decomposition, grid, rectangle, 0.3, 20.0)
    whole, root = dense(covariance, 1.0), dense(covariance, 0.5)
    inverse, root_of_inverse = dense(covariance, -1.0), dense(covariance, -0.5)
    own = np.zeros((8, 11))
    own[rectangle] = 1.0
    for matrix in (whole, root, inverse, root_of_inverse):
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-13 * np.abs(matrix).max())
    condition = np.abs(whole).max() * np.abs(inverse).max()
    np.testing.assert_allclose(whole @ inverse, np.diag(own.ravel()), atol=1e-14 * condition)
    np.testing.assert_allclose(root @ root, whole, atol=1e-14 * np.abs(whole).max())
    np.testing.assert_allclose(
        root_of_inverse @ root_of_inverse, inverse, atol=1e-13 * np.abs(inverse).max()
    )
    variance = np.asarray(covariance.variance())
    np.testing.assert_allclose(variance.ravel(), np.diag(whole), atol=1e-13)
    assert (variance[own == 0] == 0).all()
    assert np.linalg.eigvalsh(whole)[0] > -1e-15


def test_variance_is_the_formula_s_away_from_the_edges() -> None:
    """tau^2 / (4 pi kappa^2) of a white noise of variance 1 / (dx dy) (Lindgren et al. 2011)."""
    grid = Grid(160, 150, (0.0, 8.0), (0.0, 7.0), False)
    decomposition = Decomposition(MPI.COMM_SELF, grid.shape, False)
    covariance = matern(decomposition, grid, (slice(0, 150), slice(0, 160)), 1.0, 0.3)
    variance = np.sqrt(np.asarray(covariance.variance()))
    np.testing.assert_allclose(variance[30:-30, 30:-30], 0.3, rtol=2e-3)
    assert variance[0, 80] == pytest.approx(0.3 * np.sqrt(2.0), rel=0.01)
    assert variance[0, 0] == pytest.approx(0.6, rel=0.02)
    unit = np.zeros(grid.shape)
    unit[75, 80] = 1.0
    kernel = np.asarray(covariance.applied(unit, 1.0))
    assert kernel[75, 100] / kernel[75, 80] == pytest.approx(0.14, abs=0.005)
    # the lowest eigenvalue of C^-1 is kappa^4 / tau^2, with the noise's 1 / (dx dy) in tau^2
    constant = np.asarray(covariance.applied(np.ones(grid.shape), -1.0))
    tau2 = 64.0 / constant[0, 0] * grid.dx * grid.dy
    assert np.sqrt(tau2 / (4.0 * np.pi * 8.0)) == pytest.approx(0.3, rel=1e-2)


def test_points_of_no_rectangle_are_refused() -> None:
    decomposition, _ = on_grid(False)
    points = np.zeros((8, 11), dtype=bool)
    points[2:5, 3:9] = True
    assert rectangle_of(decomposition, points, "initial") == (slice(2, 5), slice(3, 9))
    points[3, 4] = False
    with pytest.raises(ConfigError, match=r"^the points of initial fill no rectangle$"):
        rectangle_of(decomposition, points, "initial")


def configured(**sections: dict) -> dict:
    return {
        "grid": {"nx": 12, "ny": 10, "x": [0.0, 3.0], "y": [-1.0, 1.0]},
        "initial": {"center": [1.2, 0.1], "width": 0.7, "amplitude": [0.6, -0.2]},
        "physics": {"viscosity": 0.03},
        "time": {"steps": 6, "dt": 0.02},
        "gradient": {"controls": ["initial", "boundary", "viscosity_field", "viscosity"]},
        "background": {
            "deviation": {"boundary": 0.5, "viscosity": 0.1},
            "initial": {"kind": "matern", "length": 0.8, "deviation": 0.5},
            "viscosity_field": {"kind": "matern", "length": 1.5, "deviation": 0.01},
        },
        **sections,
    }


def test_gradient_and_product_are_derivatives() -> None:
    rng = np.random.default_rng(5)
    with Problem(configured()) as problem:
        controls = problem.case.controls
        start, direction = (
            {name: controls[name].masked(rng.normal(size=np.shape(value))) for name, value in one}
            for one in [list(problem.controls().items())] * 2
        )
        sizes = {"initial": 0.1, "boundary": 0.1, "viscosity_field": 1e-3, "viscosity": 1e-3}
        here = {
            name: value + sizes[name] * start[name] for name, value in problem.controls().items()
        }

        def at(step: float) -> tuple[float, dict]:
            return problem.value_and_gradient(
                {name: value + step * sizes[name] * direction[name] for name, value in here.items()}
            )

        def along(gradient: dict) -> float:
            return sum(
                controls[name].dot(part, sizes[name] * direction[name])
                for name, part in gradient.items()
            )

        along_here = {name: sizes[name] * value for name, value in direction.items()}
        value, gradient = at(0.0)
        product = problem.hessian_product(here, along_here)
        slope, curvature = along(gradient), along(product)
        steps = 0.5 ** np.arange(4)
        values = np.array([at(step)[0] for step in steps])
        second = np.abs(values - value - steps * slope)
        third = np.abs(values - value - steps * slope - 0.5 * steps**2 * curvature)
        assert (np.log2(second[:-1] / second[1:]) > 1.95).all()
        assert (np.log2(third[:-1] / third[1:]) > 2.8).all()


def test_the_term_is_the_inverse_covariance_s_quadratic_form() -> None:
    rng = np.random.default_rng(3)
    with Problem(configured()) as problem:
        start, covariances = problem.controls(), problem.case.prior.covariances()
        away = {
            name: value
            + 0.01 * problem.case.controls[name].masked(rng.normal(size=np.shape(value)))
            for name, value in start.items()
        }
        problem.value(away)
        expected = 0.0
        for name, covariance in covariances.items():
            root = covariance.applied(away[name] - start[name], -0.5)
            expected += 0.5 * float(np.sum(np.square(root)))
        assert problem.case.objective.parts["background"] == pytest.approx(expected, rel=1e-11)


def test_what_has_no_covariance_is_named() -> None:
    sections = configured(background={"smoothness": {"initial": 3.0}})
    config = from_dict(sections)
    with Problem(config) as problem:
        message = "^background.smoothness alone leaves the mean of initial open"
        with pytest.raises(ConfigError, match=message):
            problem.case.prior.covariances()
    with Problem(configured(background={"deviation": {"initial": 3.0}})) as problem:
        message = "^nothing is known of boundary before the observations: expected background.dev"
        with pytest.raises(ConfigError, match=message):
            problem.case.prior.covariances()

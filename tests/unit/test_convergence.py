"""The discrete steps approach the equation: Cole and Hopf's exact solution of it."""

import math
from itertools import pairwise

import numpy as np
import pytest
from mpi4py import MPI
from reference import model_on, rates

from burgers_adjoint.assembly.model import Recipe
from burgers_adjoint.equations.burgers.controls import Traits
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.time_steps import TimeSteps

NU = 0.1
K, L = 1.0, 2.0  # wave numbers
END = 0.25


def grid_of(nx: int) -> Grid:
    """One wave along x, three halves as many points and two waves along y: dx and dy differ."""
    return Grid(nx, nx * 3 // 2, (0.0, 2 * np.pi), (0.0, 2 * np.pi), periodic=True)


def exact(t: float, grid: Grid, sign: float = 1.0) -> np.ndarray:
    """(u, v) = -2 nu grad(phi) / phi, where phi solves the heat equation (Cole 1951, Hopf 1950).

    phi = a + b exp(-nu (k^2 + l^2) t) cos(k x) cos(l y), a = 2, b = 1, x and y moved by some
    phase so that no symmetry falls on the points.
    """
    x, y = K * (grid.x[None, :] - 0.3), L * (grid.y[:, None] - 0.2)
    decayed = math.exp(-NU * (K**2 + L**2) * t)
    phi = 2 + decayed * np.cos(x) * np.cos(y)
    phi_x = -K * decayed * np.sin(x) * np.cos(y)
    phi_y = -L * decayed * np.cos(x) * np.sin(y)
    return sign * -2 * NU * np.stack([phi_x / phi, phi_y / phi])


def residual(t: float, sign: float) -> float:
    """Largest |u_t + u u_x + v u_y - nu (u_xx + u_yy)|, derivatives by Fourier and differences."""
    grid = grid_of(64)
    fields = exact(t, grid, sign)
    kx = np.fft.fftfreq(grid.nx, 1 / grid.nx)[None, None, :]
    ky = np.fft.fftfreq(grid.ny, 1 / grid.ny)[None, :, None]
    spectrum = np.fft.fft2(fields)
    along_x, along_y, laplacian = (
        np.fft.ifft2(factor * spectrum).real for factor in (1j * kx, 1j * ky, -(kx**2) - ky**2)
    )
    step = 1e-4
    rate = (exact(t + step, grid, sign) - exact(t - step, grid, sign)) / (2 * step)
    u, v = fields
    return float(abs(rate + u * along_x + v * along_y - NU * laplacian).max())


def error(nx: int, dt: float) -> float:
    """Root of the mean square of u and v at END, computed less exact."""
    grid = grid_of(nx)
    model = model_on(grid, NU, dt)
    state = model.initial_state(exact(0.0, grid))
    n_steps = round(END / dt)
    assert n_steps * dt == pytest.approx(END, rel=1e-12)
    model.advance(state, 0, n_steps)
    difference = model.layout.interior(state) - exact(END, grid)
    return float(np.sqrt((difference**2).mean()))


def test_exact_solution_solves_the_equation() -> None:
    for t in (0.0, END, 1.0):
        assert residual(t, 1.0) < 1e-9
        assert residual(t, -1.0) > 1e-2


def test_second_order_in_space() -> None:
    # dt like dx^2, so that the error in time falls as fast as that in space
    errors = [error(nx, END / n_steps) for nx, n_steps in ((16, 25), (32, 100), (64, 400))]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert errors[0] < 0.01
    assert orders == pytest.approx([2, 2], abs=0.06)
    assert min(orders) > 1.95


def test_first_order_in_time() -> None:
    """Against the semi-discrete solution on the same grid, made by plain RK4 in small steps."""
    grid = grid_of(24)
    limit = exact(0.0, grid)
    dt = END / 200
    for _ in range(200):
        k0 = rates(limit, NU, grid)
        k1 = rates(limit + dt / 2 * k0, NU, grid)
        k2 = rates(limit + dt / 2 * k1, NU, grid)
        k3 = rates(limit + dt * k2, NU, grid)
        limit = limit + dt / 6 * (k0 + 2 * k1 + 2 * k2 + k3)
    errors = []
    for n_steps in (50, 100, 200):
        model = model_on(grid, NU, END / n_steps)
        state = model.initial_state(exact(0.0, grid))
        model.advance(state, 0, n_steps)
        errors.append(float(np.sqrt(((model.layout.interior(state) - limit) ** 2).mean())))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([1, 1], rel=0.02)


def final(
    fields: np.ndarray,
    grid: Grid,
    method: tuple[str, str],
    n_steps: int,
    forces: np.ndarray | None = None,
    end: float = END,
) -> np.ndarray:
    """Fields at the end; forces at the times 0 and `end`, linear in between."""
    controls = ("initial",) if forces is None else ("initial", "forcing_in_time")
    whole = Decomposition(MPI.COMM_SELF, grid.shape, grid.periodic)
    recipe = Recipe(controls, NU, *method, traits=Traits(knots=(0.0, end)))
    model = recipe.model(grid, whole, TimeSteps(end / n_steps))
    if forces is not None:
        model.set_value("forcing_in_time", forces)
    state = model.initial_state(fields)
    model.advance(state, 0, n_steps)
    result = model.layout.interior(state).copy()
    model.close()
    return result


def orders(errors: list[float]) -> list[float]:
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a - b) ** 2).mean()))


@pytest.mark.parametrize("advection", ["central", "upwind"])
@pytest.mark.parametrize("integrator", ["ssprk3", "rk4"])
def test_runge_kutta_steps_approach_the_exact_solution(integrator: str, advection: str) -> None:
    """Diffusion is of second order with either advection; the steps' own error is far below."""
    errors = []
    for nx, n_steps in ((16, 8), (32, 16), (64, 32)):
        grid = grid_of(nx)
        found = final(exact(0.0, grid), grid, (integrator, advection), n_steps)
        errors.append(distance(found, exact(END, grid)))
    assert errors[-1] < 3e-4
    assert orders(errors) == pytest.approx([2, 2], abs=0.1)


@pytest.mark.parametrize(("advection", "order"), [("central", 2), ("upwind", 3)])
def test_advection_of_the_exact_solution(advection: str, order: int) -> None:
    """u u_x + v u_y alone, as one step without viscosity has it; derivatives by Fourier."""
    errors = []
    for nx in (64, 128, 256):
        grid = grid_of(nx)
        fields = exact(0.0, grid)
        kx = np.fft.fftfreq(grid.nx, 1 / grid.nx)[None, None, :]
        ky = np.fft.fftfreq(grid.ny, 1 / grid.ny)[None, :, None]
        spectrum = np.fft.fft2(fields)
        along_x, along_y = (np.fft.ifft2(1j * k * spectrum).real for k in (kx, ky))
        whole = Decomposition(MPI.COMM_SELF, grid.shape, periodic=True)
        model = Recipe(("initial",), 0.0, "euler", advection).model(grid, whole, TimeSteps(1.0))
        state = model.initial_state(fields)
        model.advance(state, 0, 1)
        found = fields - model.layout.interior(state)
        model.close()
        errors.append(distance(found, fields[0] * along_x + fields[1] * along_y))
    assert orders(errors) == pytest.approx([order, order], abs=0.1)


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
@pytest.mark.parametrize(("integrator", "order"), [("ssprk3", 3), ("rk4", 4)])
def test_order_in_time_from_the_exact_solution(integrator: str, order: int, boundary: str) -> None:
    """Against small steps on the same grid, with a forcing that changes in time.

    Points on a kept boundary stay at their initial values: what is solved then is another system
    of ordinary equations, at whose solution the steps arrive with their full order.
    """
    grid = grid_of(24)
    grid = Grid(grid.nx, grid.ny, grid.x_range, grid.y_range, boundary == "periodic")
    start = exact(0.0, grid)
    forces = np.stack([0.3 * start[::-1], start - 0.1])
    for advection in ("central", "upwind"):
        method = (integrator, advection)
        limit = final(start, grid, ("rk4", advection), 200, forces, end=1.0)
        finals = [final(start, grid, method, n, forces, end=1.0) for n in (12, 24, 48)]
        found = orders([distance(one, limit) for one in finals])
        assert found == pytest.approx([order, order], abs=0.25)
        assert found[-1] > order - 0.1
        if boundary == "dirichlet":
            for one in finals:
                np.testing.assert_array_equal(one[:, [0, -1], :], start[:, [0, -1], :])
                np.testing.assert_array_equal(one[:, :, [0, -1]], start[:, :, [0, -1]])


def test_a_kept_boundary_with_a_steady_exact_solution() -> None:
    """Cole and Hopf's solution of a phi that is harmonic is steady, and so are its boundaries."""
    errors = []
    for nx, n_steps in ((13, 16), (25, 64), (49, 256)):
        grid = Grid(nx, nx * 3 // 2, (0.0, 1.0), (0.2, 1.4), periodic=False)
        x, y = np.meshgrid(grid.x, grid.y)
        phi = 3 + np.exp(2 * x) * np.cos(2 * y - 1)
        gradient = 2 * np.exp(2 * x) * np.stack([np.cos(2 * y - 1), -np.sin(2 * y - 1)])
        steady = -2 * NU * gradient / phi
        found = final(steady, grid, ("rk4", "central"), n_steps)
        errors.append(distance(found, steady))
    assert errors[0] < 1e-4
    assert orders(errors) == pytest.approx([1.8, 1.95], abs=0.06)

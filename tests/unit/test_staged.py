"""Runge-Kutta steps with any advection, viscosity field and forcing, tangent and adjoint."""

from itertools import pairwise, product

import numpy as np
import pytest
from mpi4py import MPI
from reference import euler_step, oblong_grid, random_fields, rates

from burgers_adjoint.assembly.model import Recipe
from burgers_adjoint.equations.burgers.controls import Traits
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.time_steps import TimeSteps

CONTROLS = ("initial", "viscosity", "viscosity_field", "forcing", "forcing_in_time")
KNOTS = (0.0, 0.02, 0.1)
DT = 0.03
NU = 0.02
CASES = list(product((False, True), ("euler", "ssprk3", "rk4"), ("central", "upwind")))


def model_of(grid: Grid, integrator: str, advection: str, dt: float = DT) -> Model:
    whole = Decomposition(MPI.COMM_SELF, grid.shape, grid.periodic)
    recipe = Recipe(CONTROLS, NU, integrator, advection, 0.3, Traits(knots=KNOTS))
    return recipe.model(grid, whole, TimeSteps(dt))


def values_of(grid: Grid, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "viscosity_field": 0.01 * random.normal(size=grid.shape),
        "forcing": random.normal(size=(2, *grid.shape)),
        "forcing_in_time": random.normal(size=(len(KNOTS), 2, *grid.shape)),
    }


def step_of(model: Model, fields: np.ndarray, values: dict[str, np.ndarray]) -> np.ndarray:
    """The fields after step 1, with values of the controls."""
    model.set_value("viscosity", float(values.get("viscosity", NU)))
    for name in CONTROLS[2:]:
        model.set_value(name, values[name])
    state = model.initial_state(fields)
    model.advance(state, 1, 2)
    return model.layout.interior(state).copy()


@pytest.mark.parametrize(("periodic", "integrator", "advection"), CASES)
def test_adjoint_is_the_transposed_tangent_and_that_the_derivative(
    periodic: bool, integrator: str, advection: str
) -> None:
    grid = oblong_grid(13, 9, periodic)
    model = model_of(grid, integrator, advection)
    fields, direction, weight = (random_fields(grid, seed) for seed in (1, 2, 3))
    values, directions = values_of(grid, 4), {**values_of(grid, 5), "viscosity": 0.5}
    step_of(model, fields, values)
    state, perturbation = model.initial_state(fields), model.initial_state(direction)
    tangent = model.layout.interior(model.tangent_step(perturbation, state, directions, 1))
    cotangent = model.new_cotangent()
    model.layout.interior(cotangent.field)[...] = weight
    model.stepper.adjoint(cotangent, [state], 1)
    parts = model.gradient(cotangent)
    right = np.sum(parts["initial"] * direction)
    right += sum(np.sum(parts[name] * value) for name, value in directions.items())
    scale = np.linalg.norm(weight) * np.linalg.norm(tangent)
    assert abs(np.sum(weight * tangent) - right) <= 1e-15 * scale
    size = 1e-6
    ends = [
        step_of(
            model,
            fields + sign * size * direction,
            {
                name: {**values, "viscosity": NU}[name] + sign * size * value
                for name, value in directions.items()
            },
        )
        for sign in (1, -1)
    ]
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * size), tangent, atol=1e-9 * scale)
    model.close()


@pytest.mark.parametrize("periodic", [False, True])
def test_euler_with_central_differences_is_the_textbook_step(periodic: bool) -> None:
    grid = oblong_grid(11, 8, periodic)
    fields, values = random_fields(grid, 1), values_of(grid, 2)
    force = values["forcing"] + (
        values["forcing_in_time"][1] * 7 / 8 + values["forcing_in_time"][2] * 1 / 8
    )
    if not periodic:
        force[:, [0, -1], :] = 0
        force[:, :, [0, -1]] = 0
    expected = euler_step(fields, NU + values["viscosity_field"], DT, grid) + DT * force
    model = model_of(grid, "euler", "central")
    np.testing.assert_allclose(step_of(model, fields, values), expected, rtol=1e-12, atol=1e-13)
    model.close()


@pytest.mark.parametrize(("integrator", "order"), [("euler", 1), ("ssprk3", 3), ("rk4", 4)])
def test_orders_in_time(integrator: str, order: int) -> None:
    grid = Grid(12, 10, (0.0, 6.0), (0.0, 5.0), periodic=True)
    x, y = np.meshgrid(grid.x, grid.y)
    fields = np.stack([np.sin(np.pi * x / 3), np.cos(2 * np.pi * y / 5)])
    values = {name: np.zeros_like(value) for name, value in values_of(grid, 1).items()}
    finals = []
    for n_steps in (10, 20, 40):
        model = model_of(grid, integrator, "upwind", 1.0 / n_steps)
        step_of(model, fields, values)
        state = model.initial_state(fields)
        model.advance(state, 0, n_steps)
        finals.append(model.layout.interior(state).copy())
        model.close()
    errors = [np.abs(a - b).max() for a, b in pairwise(finals)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize(("advection", "order"), [("central", 2), ("upwind", 3)])
def test_orders_in_space(advection: str, order: int) -> None:
    errors = []
    for n in (48, 96):
        grid = Grid(n, n + 6, (0.0, 1.0), (0.0, 1.0), periodic=True)
        x, y = np.meshgrid(2 * np.pi * grid.x, 2 * np.pi * grid.y)
        fields = np.stack([2 + np.sin(x) * np.cos(y), 3 + np.cos(x + y)])
        u, v = fields
        exact = np.stack(
            [
                -u * 2 * np.pi * np.cos(x) * np.cos(y) + v * 2 * np.pi * np.sin(x) * np.sin(y),
                (u + v) * 2 * np.pi * np.sin(x + y),
            ]
        )
        model = model_of(grid, "euler", advection, dt=1.0)
        values = {name: np.zeros_like(value) for name, value in values_of(grid, 1).items()}
        found = step_of(model, fields, {**values, "viscosity": 0.0}) - fields
        errors.append(np.abs(found - exact).max())
        model.close()
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


def test_upwind_is_central_beside_the_boundary_whose_points_stay() -> None:
    grid = oblong_grid(9, 8, periodic=False)
    fields = random_fields(grid, 6)
    values = {name: np.zeros_like(value) for name, value in values_of(grid, 1).items()}
    model = model_of(grid, "euler", "upwind")
    rate = (step_of(model, fields, values) - fields) / DT
    expected = rates(fields, NU, grid)
    corners = [(slice(None), j, i) for j in (1, -2) for i in (1, -2)]
    for corner in corners:
        np.testing.assert_allclose(rate[corner], expected[corner], rtol=1e-9)
    assert np.all(rate[:, [0, -1], :] == 0)
    assert np.all(rate[:, :, [0, -1]] == 0)
    assert np.abs(rate - expected)[:, 3, 4].min() > 1e-3
    model.close()

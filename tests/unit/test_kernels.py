"""The step, its tangent and its adjoint on whole grids, against plain NumPy and each other."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import euler_step, final_energy, model_on, oblong_grid, random_fields

from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.snapshots.memory import MemoryStore
from burgers_adjoint.stepping.model import Model

EPSILON = np.finfo(float).eps
BOUNDARIES = pytest.mark.parametrize("periodic", [False, True], ids=["dirichlet", "periodic"])
# one, a few, and more than a cache line or a vector register, never a multiple of them
SHAPES = [(3, 4), (4, 3), (5, 17), (31, 9), (70, 41)]
extents = st.integers(3, 40)
seeds = st.integers(0, 2**32 - 1)


def advanced(model: Model, fields: np.ndarray, *ends: int) -> np.ndarray:
    """The fields after the last of the ends, with one call of `advance` up to each of them."""
    state = model.initial_state(fields)
    for start, end in zip((0, *ends), ends, strict=False):
        model.advance(state, start, end)
    return model.layout.interior(state).copy()


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def tangent(
    model: Model, fields: np.ndarray, direction: np.ndarray, d_viscosity: float
) -> np.ndarray:
    perturbation, state = model.initial_state(direction), model.initial_state(fields)
    return model.layout.interior(
        model.tangent_step(perturbation, state, {"viscosity": d_viscosity}, 0)
    ).copy()


def adjoint(model: Model, fields: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Transposed Jacobian of one step, applied: parts of the fields and of the viscosity."""
    cotangent = model.new_cotangent()
    model.layout.interior(cotangent.field)[...] = weights
    model.adjoint_step(cotangent, model.initial_state(fields), 0)
    density = model.layout.interior(cotangent.densities["viscosity"])
    return model.layout.interior(cotangent.field).copy(), math.fsum(density.ravel())


@settings(deadline=None, max_examples=40)
@given(extents, extents, st.booleans(), st.integers(1, 20), seeds)
def test_steps_from_state_to_state_have_the_bits_of_steps_in_place(
    ny: int, nx: int, periodic: bool, n_steps: int, seed: int
) -> None:
    model = model_on(oblong_grid(nx, ny, periodic))
    states = [model.initial_state(random_fields(model.grid, seed))]
    states += [np.full_like(states[0], np.nan) for _ in range(n_steps)]
    model.advance_along(states, 0)
    single = model.initial_state(random_fields(model.grid, seed))
    for n, state in enumerate(states):
        assert same_bits(model.layout.interior(state), model.layout.interior(single))
        model.advance(single, n, n + 1)


@settings(deadline=None, max_examples=40)
@given(extents, extents, st.booleans(), st.integers(1, 20), seeds)
def test_steps_reversed_together_have_the_bits_of_single_ones(
    ny: int, nx: int, periodic: bool, n_steps: int, seed: int
) -> None:
    model = model_on(oblong_grid(nx, ny, periodic))
    states = [model.initial_state(random_fields(model.grid, seed + n)) for n in range(n_steps)]
    together, singly = model.new_cotangent(), model.new_cotangent()
    for cotangent in (together, singly):
        model.layout.interior(cotangent.field)[...] = random_fields(model.grid, seed + n_steps)
    model.adjoint_steps(together, states[::-1], n_steps - 1)
    for n in reversed(range(n_steps)):
        model.adjoint_step(singly, states[n], n)
    for name, part in model.tile_fields(together).items():
        assert same_bits(part, model.tile_fields(singly)[name])


@BOUNDARIES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_step_is_that_of_the_textbook(shape: tuple[int, int], periodic: bool) -> None:
    grid = oblong_grid(shape[1], shape[0], periodic)
    fields = random_fields(grid, 1)
    expected = euler_step(fields, 0.02, 0.03, grid)
    result = advanced(model_on(grid), fields, 1)
    np.testing.assert_allclose(result, expected, rtol=0, atol=8 * EPSILON * abs(expected).max())
    assert abs(result - fields).max() > 0.01


@BOUNDARIES
def test_many_steps_are_those_of_the_textbook(periodic: bool) -> None:
    grid = oblong_grid(23, 14, periodic)
    fields = expected = 0.3 * random_fields(grid, 2)
    for _ in range(50):
        expected = euler_step(expected, 0.05, 0.01, grid)
    result = advanced(model_on(grid, 0.05, 0.01), fields, 50)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-14)


@given(extents, extents, st.booleans(), st.integers(1, 16), st.integers(1, 40), seeds)
@settings(max_examples=80, deadline=None)
def test_steps_in_one_sweep_have_the_bits_of_single_steps(
    nx: int, ny: int, periodic: bool, steps_per_sweep: int, n_steps: int, seed: int
) -> None:
    if periodic:
        steps_per_sweep = min(steps_per_sweep, nx, ny)
    grid = oblong_grid(nx, ny, periodic)
    fields = 0.3 * random_fields(grid, seed)
    single = model_on(grid, 0.05, 0.01, 1)
    swept = model_on(grid, 0.05, 0.01, steps_per_sweep)
    expected = advanced(single, fields, *range(1, n_steps + 1))
    assert np.isfinite(expected).all()
    assert same_bits(advanced(swept, fields, n_steps), expected)
    assert same_bits(advanced(swept, fields, n_steps // 2, n_steps), expected)
    assert same_bits(advanced(model_on(grid, 0.05, 0.01), fields, n_steps), expected)


@pytest.mark.parametrize("steps_per_sweep", [1, 2, 7, 16])
def test_dirichlet_boundary_keeps_its_bits(steps_per_sweep: int) -> None:
    grid = oblong_grid(13, 9, periodic=False)
    fields = 0.3 * random_fields(grid, 3)
    fields[:, 0, 1:5] = [-0.0, 5e-324, -3e-310, 1e-300]
    fields[:, 4, 0], fields[:, 5, -1] = -0.0, 2e-320
    result = advanced(model_on(grid, steps_per_exchange=steps_per_sweep), fields, 37)
    inner = np.zeros(grid.shape, dtype=bool)
    inner[1:-1, 1:-1] = True
    assert same_bits(result[:, ~inner], fields[:, ~inner])
    assert (result[:, inner] != fields[:, inner]).all()


@pytest.mark.parametrize("steps_per_sweep", [1, 5])
def test_nothing_beyond_a_dirichlet_boundary_is_read(steps_per_sweep: int) -> None:
    grid = oblong_grid(11, 8, periodic=False)
    model = model_on(grid, steps_per_exchange=steps_per_sweep)
    fields = 0.3 * random_fields(grid, 4)
    state = model.initial_state(fields)
    outside = np.ones(state.shape, dtype=bool)
    model.layout.interior(outside)[...] = False
    state[outside] = np.nan
    model.advance(state, 0, 12)
    assert same_bits(model.layout.interior(state), advanced(model, fields, 12))
    # what was written there, if anything, is the zeros that keep the padding clean
    assert (np.isnan(state[outside]) | (state[outside] == 0)).all()


def test_adjoint_step_depends_on_nothing_beyond_a_dirichlet_boundary() -> None:
    grid = oblong_grid(11, 8, periodic=False)
    model = model_on(grid)
    fields, weights = random_fields(grid, 5), random_fields(grid, 6)
    expected, expected_viscosity = adjoint(model, fields, weights)
    state, cotangent = model.initial_state(fields), model.new_cotangent()
    for array, own in ((state, fields), (cotangent.field, weights)):
        array[...] = 1e3
        model.layout.interior(array)[...] = own
    model.adjoint_step(cotangent, state, 0)
    np.testing.assert_array_equal(model.layout.interior(cotangent.field), expected)
    density = model.layout.interior(cotangent.densities["viscosity"])
    assert math.fsum(density.ravel()) == expected_viscosity


@BOUNDARIES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_tangent_is_the_complex_step_derivative(shape: tuple[int, int], periodic: bool) -> None:
    grid = oblong_grid(shape[1], shape[0], periodic)
    fields, direction = random_fields(grid, 7), random_fields(grid, 8)
    tiny = 1e-100
    moved = euler_step(fields + 1j * tiny * direction, 0.02 + 1j * tiny * 0.7, 0.03, grid)
    expected = moved.imag / tiny
    result = tangent(model_on(grid), fields, direction, 0.7)
    np.testing.assert_allclose(result, expected, rtol=0, atol=16 * EPSILON * abs(expected).max())


@given(extents, extents, st.booleans(), seeds, st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_adjoint_is_the_transpose_of_the_tangent(
    nx: int, ny: int, periodic: bool, seed: int, viscosity: float
) -> None:
    grid = oblong_grid(nx, ny, periodic)
    model = model_on(grid, viscosity)
    fields, direction = random_fields(grid, seed), random_fields(grid, seed + 1)
    weights, d_viscosity = random_fields(grid, seed + 2), 0.7
    forward = (weights * tangent(model, fields, direction, d_viscosity)).ravel()
    gathered, gathered_viscosity = adjoint(model, fields, weights)
    backward = [*(gathered * direction).ravel(), gathered_viscosity * d_viscosity]
    difference = math.fsum([*forward, *(-part for part in backward)])
    scale = math.fsum(map(abs, [*forward, *backward]))
    assert abs(difference) <= 4 * EPSILON * scale


@BOUNDARIES
def test_matrices_of_tangent_and_adjoint_are_transposed(periodic: bool) -> None:
    grid = oblong_grid(5, 4, periodic)
    model = model_on(grid)
    fields = random_fields(grid, 9)
    units = np.eye(fields.size).reshape(-1, *fields.shape)
    columns = [tangent(model, fields, unit, 0.0).ravel() for unit in units]
    columns.append(tangent(model, fields, np.zeros_like(fields), 1.0).ravel())
    rows = [
        np.append(field.ravel(), viscosity)
        for field, viscosity in (adjoint(model, fields, unit) for unit in units)
    ]
    tangent_matrix, adjoint_matrix = np.array(columns).T, np.array(rows)
    np.testing.assert_allclose(adjoint_matrix, tangent_matrix, rtol=0, atol=4 * EPSILON)
    # a point depends on u and v at itself and on its own component at four neighbours, and on nu
    moving = grid.nx * grid.ny if periodic else (grid.nx - 2) * (grid.ny - 2)
    assert np.count_nonzero(tangent_matrix) == 2 * (moving * 7 + grid.nx * grid.ny - moving)


@BOUNDARIES
@pytest.mark.parametrize("snapshots", [1, 2, 7])
def test_gradient_of_several_steps_is_the_complex_step_derivative(
    periodic: bool, snapshots: int
) -> None:
    grid = oblong_grid(5, 4, periodic)
    viscosity, dt, n_steps = 0.05, 0.04, 7
    fields = random_fields(grid, 10)

    def objective(initial: np.ndarray, nu: complex) -> complex:
        for _ in range(n_steps):
            initial = euler_step(initial, nu, dt, grid)
        return final_energy(initial, grid)

    model = model_on(grid, viscosity, dt)
    schedule = Binomial(n_steps, snapshots)
    executor = Executor(model, schedule, MemoryStore(model.new_snapshot, schedule.slots))
    executor.run(model.initial_state(fields))
    assert executor.cotangent is not None
    gradient = model.gradient(executor.cotangent)
    assert model.value == pytest.approx(objective(fields, viscosity).real, rel=1e-14)

    step = 1e-100
    assert gradient["viscosity"] == pytest.approx(
        objective(fields, viscosity + 1j * step).imag / step, rel=1e-13
    )
    expected = np.zeros_like(fields)
    for place in np.ndindex(fields.shape):
        moved = fields.astype(complex)
        moved[place] += 1j * step
        expected[place] = objective(moved, viscosity).imag / step
    np.testing.assert_allclose(
        gradient["initial"], expected, rtol=0, atol=1e-14 * abs(expected).max()
    )
    # the boundary points, corners apart, are controls that count
    boundary = expected.copy()
    boundary[:, 1:-1, 1:-1] = 0
    boundary[:, ::3, ::4] = 0
    assert np.count_nonzero(boundary) == 2 * (2 * 3 + 2 * 2)


def test_energy_counts_no_boundary_point_unless_periodic() -> None:
    for periodic, counted in ((False, 3 * 2), (True, 5 * 4)):
        grid = Grid(5, 4, (0.0, 1.0), (0.0, 3.0), periodic)
        fields = np.full((2, 4, 5), 2.0)
        fields[1] = 3.0
        model = model_on(grid)
        assert model.evaluate(model.initial_state(fields)) == counted * 13 / 20
        cotangent = model.seed(model.initial_state(fields))
        derivative = model.layout.interior(cotangent.field)
        assert np.count_nonzero(derivative) == 2 * counted
        assert derivative[:, 1, 1].tolist() == [4 / 20, 6 / 20]

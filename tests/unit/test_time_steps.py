import math

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.model import Recipe
from burgers_adjoint.errors import ConfigError, NumericalError
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.time_steps import TimeSteps


def model_with(time_steps: TimeSteps, viscosity: float = 0.05) -> Model:
    grid = Grid(11, 8, (0.0, 1.1), (0.0, 2.0), periodic=True)
    whole = Decomposition(MPI.COMM_SELF, grid.shape, periodic=True)
    return Recipe(viscosity=viscosity).model(grid, whole, time_steps)


def waves(model: Model, amplitude: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[0:8, 0:11] * 2 * np.pi
    return amplitude * np.array([np.sin(x / 11) * np.cos(y / 8), 0.6 * np.cos(x / 11 + y / 8)])


@pytest.mark.parametrize(
    ("until", "dt", "n_steps", "last"),
    [(1.0, 0.1, 10, 0.1), (1.0, 0.001, 1000, 0.001), (0.95, 0.1, 10, 0.05), (0.05, 0.1, 1, 0.05)],
)
def test_equal_steps_end_at_the_stop_time(
    until: float, dt: float, n_steps: int, last: float
) -> None:
    steps = TimeSteps(dt, steps=7, until=until)
    assert steps.n_steps == n_steps
    assert steps.length(n_steps - 1) == pytest.approx(last, rel=1e-9)
    assert steps.time(n_steps) == until
    assert steps.alike(0, n_steps) == (n_steps - 1 or 1)
    assert all(steps.length(n) == dt for n in range(n_steps - (last < 0.999 * dt)))


@pytest.mark.parametrize(("dt", "until"), [(0.01, 313819.09), (0.1, 1e9), (1e-3, 1e4), (0.7, 7e8)])
def test_round_off_adds_no_step_to_millions(dt: float, until: float) -> None:
    steps = TimeSteps(dt, until=until)
    assert steps.n_steps == round(until / dt)
    assert steps.length(steps.n_steps - 1) == dt
    assert steps.time(steps.n_steps) == until


def test_the_rest_of_a_step_after_millions_is_one() -> None:
    steps = TimeSteps(0.01, until=313819.095)
    assert steps.n_steps == 31381910
    assert steps.length(31381909) == pytest.approx(0.005, rel=1e-6)


def test_round_off_adds_no_step_to_those_that_follow_the_state() -> None:
    lengths = [1e7, 0.1, 0.1, 0.1]
    total = 0.0
    for length in lengths:
        total += length
    steps = TimeSteps(1e7, until=math.nextafter(total, math.inf), cfl=1.0)
    for length in lengths:
        assert steps.n_steps is None
        steps.choose(length)
    assert steps.n_steps == 4
    assert steps.length(3) == pytest.approx(0.1, rel=1e-6)


def test_steps_follow_the_limit_up_to_dt_and_end_at_the_stop_time() -> None:
    steps = TimeSteps(0.1, until=0.32, cfl=0.5)
    for limit in (1.0, 0.1, 0.1, 1.0):
        assert steps.n_steps is None
        steps.choose(limit)
    assert steps.n_steps is None
    steps.choose(1.0)
    assert steps.n_steps == 5
    lengths = [steps.length(n) for n in range(5)]
    assert lengths == pytest.approx([0.1, 0.05, 0.05, 0.1, 0.02], abs=1e-15)
    assert steps.alike(1, 5) == 3
    assert steps.time(5) == pytest.approx(0.32, rel=1e-15)
    steps.forget()
    assert steps.n_steps is None
    assert steps.chosen == 0


def explored(model: Model, state: np.ndarray, longest: int) -> list[int]:
    reached = [0]
    while model.n_steps is None:
        reached.append(model.explore(state, reached[-1], reached[-1] + longest))
    return reached


def test_a_replay_takes_the_very_steps_of_the_run() -> None:
    model = model_with(TimeSteps(0.05, until=0.9, cfl=0.4))
    fields = waves(model)
    state = model.initial_state(fields)
    reached = explored(model, state, 3)
    n_steps = model.n_steps
    assert n_steps == reached[-1] + 1
    model.advance(state, reached[-1], n_steps)
    steps = model.time_steps
    lengths = [steps.length(n) for n in range(n_steps)]
    assert len(set(lengths)) > 5
    assert sum(lengths) == pytest.approx(0.9, rel=1e-12)
    again = model.initial_state(fields, replay=True)
    model.advance(again, 0, n_steps)
    interior = model.layout.interior
    assert interior(again).tobytes() == interior(state).tobytes()
    other = model.initial_state(1.1 * fields, replay=True)
    model.advance(other, 0, n_steps)
    assert [steps.length(n) for n in range(n_steps)] == lengths
    # a run of its own chooses steps of its own, whoever takes them
    model.initial_state(1.1 * fields)
    assert model.n_steps is None
    state = model.initial_state(fields)
    model.advance(state, 0, n_steps)
    assert interior(state).tobytes() == interior(again).tobytes()


def test_every_step_keeps_to_its_share_of_both_limits() -> None:
    for viscosity, which in ((0.05, 0), (1e-3, 1)):
        model = model_with(TimeSteps(10.0, steps=20, cfl=0.5), viscosity)
        state = model.initial_state(waves(model))
        for n in range(3):
            u, v = model.layout.interior(state)
            limits = (
                1 / (abs(u) / model.grid.dx + abs(v) / model.grid.dy).max(),
                2 * viscosity / (u * u + v * v).max(),
            )
            model.advance(state, n, n + 1)
            assert model.time_steps.length(n) == pytest.approx(0.5 * min(limits), rel=1e-14)
            assert limits[which] == min(limits)


@pytest.mark.parametrize("longest", [1, 4, 1000])
def test_a_steady_state_ends_the_run_wherever_the_ranges_end(longest: int) -> None:
    model = model_with(TimeSteps(0.01, steps=5000, steady=1e-2))
    state = model.initial_state(waves(model))
    n_steps = explored(model, state, longest)[-1]
    assert model.n_steps == n_steps == 280
    for last, changes in ((n_steps, False), (n_steps - 10, True)):
        state = model.initial_state(waves(model))
        model.advance(state, 0, last - 1)
        before = model.layout.interior(state).copy()
        model.advance(state, last - 1, last)
        change = abs(model.layout.interior(state) - before).max() / 0.01
        assert (change >= 1e-2) == changes


def test_a_run_that_does_not_settle_ends_at_its_most_steps() -> None:
    model = model_with(TimeSteps(0.01, steps=25, steady=1e-9))
    state = model.initial_state(waves(model))
    assert explored(model, state, 1000)[-1] == 24
    assert model.n_steps == 25


def test_speeds_that_are_not_finite_are_an_error() -> None:
    model = model_with(TimeSteps(0.01, until=1.0, cfl=0.5))
    fields = waves(model)
    fields[1, 3, 4] = np.nan
    with pytest.raises(NumericalError, match=r"no longer finite after step 0 .* v at point \[3, 4"):
        model.explore(model.initial_state(fields), 0, 10)
    fields[1, 3, 4] = 1e300
    with (
        pytest.raises(NumericalError, match="the speeds before step 0 overflow"),
        np.errstate(over="ignore"),
    ):
        model.explore(model.initial_state(fields), 0, 10)


def test_the_adjoint_uses_the_length_of_its_own_step() -> None:
    model = model_with(TimeSteps(0.05, until=0.3, cfl=0.4))
    state = model.initial_state(waves(model))
    n = explored(model, state, 5)[-1]
    random = np.random.default_rng(4)
    d, w = random.normal(size=(2, 2, 8, 11))
    for step in (0, n):
        perturbation = model.state_of(d)
        tangent = model.layout.interior(model.tangent_step(perturbation, state, {}, step))
        cotangent = model.new_cotangent()
        model.layout.interior(cotangent.field)[...] = w
        model.stepper.adjoint(cotangent, [state], step)
        left, right = (w * tangent).sum(), (model.layout.interior(cotangent.field) * d).sum()
        assert left == pytest.approx(right, rel=1e-12)


def test_a_flow_that_grows_without_bound_is_an_error_and_no_endless_run() -> None:
    model = model_with(TimeSteps(0.05, until=50.0, cfl=0.5), viscosity=1e-4)
    state = model.initial_state(waves(model))
    model.time_steps.choose(0.05)
    with pytest.raises(NumericalError, match=r"step \d+ .* would have the length .* the first one"):
        model.explore(state, 0, 100_000)


@pytest.mark.parametrize("viscosity", [1e-320, 1e-17])
def test_steps_that_would_never_come_to_the_end_are_an_error(viscosity: float) -> None:
    model = model_with(TimeSteps(0.05, until=50.0, cfl=0.5), viscosity)
    with pytest.raises(NumericalError, match=r"step 0 \(t = 0\) .* the run would never end"):
        model.explore(model.initial_state(waves(model)), 0, 10)


@pytest.mark.parametrize("advection", ["central", "upwind"])
@pytest.mark.parametrize(("integrator", "imaginary"), [("ssprk3", 1.73), ("rk4", 2.82)])
def test_steps_keep_to_the_limit_of_the_method(
    integrator: str, imaginary: float, advection: str
) -> None:
    lengths = []
    for viscosity in (0.0, 1e-320, 0.01):
        recipe = Recipe(("initial",), viscosity, integrator, advection)
        grid = model_with(TimeSteps(1.0)).grid
        whole = Decomposition(MPI.COMM_SELF, grid.shape, periodic=True)
        model = recipe.model(grid, whole, TimeSteps(10.0, until=50.0, cfl=0.5))
        fields = waves(model)
        state = model.initial_state(fields)
        model.explore(state, 0, 1)
        crossing = (abs(fields[0]) / grid.dx + abs(fields[1]) / grid.dy).max()
        largest_rate = {"central": 1.0, "upwind": 1.372}[advection]
        expected = 0.5 * imaginary / largest_rate / crossing
        assert model.time_steps.length(0) == pytest.approx(expected, rel=1e-14)
        lengths.append(model.time_steps.length(0))
        model.close()
    assert len(set(lengths)) == 1


def test_times_are_found_between_steps_of_any_length() -> None:
    chosen = TimeSteps(0.1, until=0.32, cfl=0.5)
    for limit in (1.0, 0.1, 0.1, 1.0, 1.0):
        chosen.choose(limit)
    cases = [(chosen, [0.0, 0.1, 0.15, 0.175, 0.32], [0, 1, 2, 2.5, 5])]
    cases += [(TimeSteps(0.1, until=0.25), [0.1, 0.225, 0.25, 0.275], [1, 2.5, 3, 3.5])]
    cases += [(TimeSteps(0.1, steps=3), [0.1, 0.15, 0.4], [1, 1.5, 4])]
    for steps, times, places in cases:
        assert [steps.find(time, steps.n_steps) for time in times] == pytest.approx(places)


def test_a_run_that_nothing_ends_is_refused() -> None:
    model = model_with(TimeSteps(0.1))
    state = model.initial_state(waves(model))
    with pytest.raises(ConfigError, match=r"^nothing ends this run: its time steps have neither a"):
        model.explore(state, 0, 10)

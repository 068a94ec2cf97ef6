"""Products with the Hessian: formulas, whole runs against JAX, and what batches and stores keep."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import burgers_adjoint as ba
from benchmarks.against_ad.__main__ import differences, ours
from benchmarks.against_ad.setup import OBJECTIVES, arrays_of, save, setups
from burgers_adjoint.assembly import runs
from burgers_adjoint.equations.burgers.advection.central import Central
from burgers_adjoint.equations.burgers.advection.upwind import Upwind
from burgers_adjoint.equations.burgers.equation import Burgers
from burgers_adjoint.equations.burgers.euler import FusedBurgers
from burgers_adjoint.second_order.products import together
from burgers_adjoint.stepping.equation import Cross
from burgers_adjoint.verification import taylor_test
from tests.dual import Dual, dual_cross, duals, slopes_of

SPACING, SHAPE = (0.25, 0.4), (7, 9)
EQUATIONS = {
    "fused": FusedBurgers(SPACING, 0.03),
    "central": Burgers(SPACING, SHAPE, Central(), 0.03, forcing=True, knots=(0.0, 1.0)),
    "upwind": Burgers(SPACING, SHAPE, Upwind(), 0.03, smooth_speed=0.2),
    "upwind, viscosity field": Burgers(SPACING, None, Upwind(), 0.03, 0.2, viscosity_field=True),
    "central, viscosity field": Burgers(SPACING, SHAPE, Central(), 0.03, viscosity_field=True),
}
SECTIONS: dict[str, dict[str, Any]] = {
    "grid": {"nx": 15, "ny": 12, "x": [-1, 2], "y": [-1.5, 3]},
    "physics": {"viscosity": 0.05, "advection": "upwind", "smooth_speed": 0.1},
    "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
    "time": {"dt": 0.02, "steps": 9, "integrator": "ssprk3"},
    "objective": {"kind": "running_enstrophy"},
    "gradient": {"controls": ["initial", "viscosity", "viscosity_field", "forcing"]},
    "checkpointing": {"snapshots": 3},
}
Direction = dict[str, Any]


def crosses(seed: int, n_fields: int) -> list[Cross]:
    values = np.random.default_rng(seed).normal(size=(n_fields, 9))
    return [Cross(*map(float, row)) for row in values]


@pytest.mark.parametrize("viscosity_varies", [True, False])
@pytest.mark.parametrize("name", EQUATIONS)
def test_hand_written_derivatives_of_adjoints_are_those_of_dual_numbers(
    name: str, viscosity_varies: bool
) -> None:
    equation = EQUATIONS[name]
    c = list(equation.numbers(0.3, 0.02))
    q, dq, p, dp = (crosses(seed, 2) for seed in (1, 2, 3, 4))
    s: dict[str, Any] = {one: crosses(5 + n, n) for one, n in equation.streams.items()}
    s |= {one: [1.0, 0.0, 1.0, 1.0, 0.0] for one in equation.profiles}
    ds: dict[str, Any] = {}
    if viscosity_varies:
        field = "viscosity" in equation.streams
        ds["viscosity"] = crosses(9, 1) if field else [Cross(*[0.7] * 9)]
    here = [one.here for one in p]

    # the numbers that depend on the viscosity have slopes where it is a number that varies
    numbers = duals(c)
    if ds and "viscosity" not in equation.streams:
        before = equation.viscosity
        equation.viscosity = before + 1.0  # they are linear in it
        changes = np.array(equation.numbers(0.3, 0.02)) - c
        equation.viscosity = before
        numbers = [Dual(one, 0.7 * change) for one, change in zip(c, changes, strict=True)]
    perturbed = [dual_cross(*pair) for pair in zip(q, dq, strict=True)]
    streams: dict[str, Any] = {
        one: duals(part) if one in equation.profiles else [dual_cross(each) for each in part]
        for one, part in s.items()
    }
    if "viscosity" in s:
        streams["viscosity"] = [dual_cross(s["viscosity"][0], (ds.get("viscosity") or [None])[0])]
    cotangents = [dual_cross(*pair) for pair in zip(p, dp, strict=True)]
    expected = equation.adjoint(numbers, perturbed, cotangents, streams)
    found = equation.adjoint_tangent(c, q, dq, p, dp, s, ds)
    assert found == pytest.approx(slopes_of(expected), rel=1e-12)
    gradients = equation.sensitivities(numbers, perturbed, duals(here), streams)
    products = equation.sensitivities_tangent(c, q, dq, here, s, ds)
    for one, parts in gradients.items():
        slopes = slopes_of(parts)
        assert products.get(one, [0.0] * len(slopes)) == pytest.approx(slopes, rel=1e-12)


# every two of integrator, scheme, boundary and kind of controls
PAIRS = [
    ("euler", "central", "dirichlet", "state"),
    ("euler", "upwind", "periodic", "fields"),
    ("ssprk3", "central", "periodic", "fields"),
    ("ssprk3", "upwind", "dirichlet", "state"),
    ("rk4", "central", "periodic", "state"),
    ("rk4", "upwind", "dirichlet", "fields"),
]


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_products_are_those_of_jax(names: Sequence[str], tmp_path: Path) -> None:
    (setup,) = (one for one in setups() if one.name == "-".join(names))
    arrays, folder = arrays_of(setup), tmp_path / "problem"
    save(folder, setup, arrays)
    subprocess.run([sys.executable, "-m", "benchmarks.against_ad.by_jax", folder], check=True)
    with np.load(folder / "reference.npz") as file:
        reference = dict(file)
    for place, objective in enumerate(OBJECTIVES):
        found = ours(setup, arrays, objective, tmp_path)
        for name, difference in differences(setup, found, reference, place).items():
            assert difference < 1e-11, (objective, name)


def directions(problem: ba.Problem, count: int) -> list[Direction]:
    draw = np.random.default_rng(4)
    return [
        {name: draw.normal(size=np.shape(value)) for name, value in problem.controls().items()}
        for _ in range(count)
    ]


def dot(left: Direction, right: Direction) -> float:
    return sum(float(np.sum(np.asarray(part) * right[name])) for name, part in left.items())


def same(left: Direction, right: Direction) -> bool:
    return all(np.array_equal(part, right[name]) for name, part in left.items())


@pytest.fixture
def problem():
    with ba.Problem(SECTIONS) as one:
        yield one


@pytest.mark.parametrize("product", ["hessian_product", "gauss_newton_product"])
def test_products_are_symmetric_and_alike_in_batches(problem: ba.Problem, product: str) -> None:
    times = getattr(problem, product)
    m, five = problem.controls(), directions(problem, 5)
    found = times(m, five)
    assert all(same(times(m, one), part) for one, part in zip(five, found, strict=True))
    left, right = dot(five[0], found[4]), dot(five[4], found[0])
    size = np.sqrt(dot(found[4], found[4]) * dot(five[0], five[0]))
    assert abs(left - right) < 1e-13 * size


def test_directions_go_together_in_as_few_sweeps_as_evenly_as_can_be() -> None:
    assert [together(n) for n in (0, 1, 4, 5, 8, 9)] == [0, 1, 4, 3, 4, 3]


def test_the_hessian_leaves_a_taylor_remainder_of_third_order(problem: ba.Problem) -> None:
    m, (d,) = problem.controls(), directions(problem, 1)
    d = {name: part * (0.01 if "viscosity" in name else 0.1) for name, part in d.items()}
    J, g = problem.value_and_gradient(m)
    slope, curvature = dot(g, d), dot(d, problem.hessian_product(m, d))

    def without_curvature(size: float) -> float:
        moved = {name: m[name] + size * part for name, part in d.items()}
        return problem.value(moved) - 0.5 * size * size * curvature

    test = taylor_test(without_curvature, J, slope, [0.2 * 0.5**k for k in range(6)])
    assert test.corrected_order > 2.95


def test_gauss_newton_is_the_hessian_at_a_perfect_fit(tmp_path: Path) -> None:
    # the truth observes itself: no residual is left
    physics, truth = {"viscosity": 0.05}, {"twin": True, "viscosity": 0.05}
    truth |= {key: SECTIONS["initial"][key] for key in ("center", "width", "amplitude")}
    sections = SECTIONS | {
        "physics": physics,
        "truth": truth,
        "objective": {"kind": "misfit"},
        "observations": {"kind": "sensors", "sensor_grid": [3, 4], "count": 3, "noise": 1e-9},
        "gradient": {"controls": ["initial", "viscosity"]},
    }
    with ba.Problem(sections) as problem:
        m, (d,) = problem.controls(), directions(problem, 1)
        full = problem.hessian_product(m, d)
        part = problem.gauss_newton_product(m, d)
    for name in full:
        size = np.abs(full[name]).max()
        assert np.abs(np.asarray(full[name]) - part[name]).max() < 1e-6 * size
        assert not np.array_equal(full[name], part[name])


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpointing": {"schedule": "store_all"}},
        {"checkpointing": {"schedule": "online", "snapshots": 4}},
        {"checkpointing": {"schedule": "two_level", "snapshots": 2, "snapshots_on_disk": 2}},
        {"snapshots": {"store": "hdf5"}},
        {"snapshots": {"store": "tiered"}},
        {"time": SECTIONS["time"] | {"stages": "keep"}},
        {"parallel": {"steps_per_exchange": 2}},
    ],
    ids=str,
)
def test_products_have_the_same_bits_under_every_schedule_and_in_every_store(
    problem: ba.Problem, changes: dict[str, Any], tmp_path: Path
) -> None:
    m, two = problem.controls(), directions(problem, 2)
    expected = problem.hessian_product(m, two)
    sections = SECTIONS | changes
    sections["snapshots"] = sections.get("snapshots", {}) | {"directory": str(tmp_path)}
    with ba.Problem(sections) as other:
        found = other.hessian_product(m, two)
    assert all(same(*pair) for pair in zip(found, expected, strict=True))


def test_kept_tangents_drive_the_adjoint_to_the_bits_of_those_beside_it() -> None:
    sections = SECTIONS | {
        "truth": {"twin": True, "viscosity": 0.06},
        "objective": {"kind": "weighted_sum", "weights": {"misfit": 0.5, "final_energy": 2.0}},
        "observations": {"count": 3},
    }
    found = []
    for snapshots in (4, 2):  # of three states that are looked at
        changes = {"checkpointing": {"snapshots": snapshots}}
        with ba.Problem(sections | changes) as problem:
            found.append(problem.gauss_newton_product(None, directions(problem, 2)))
            second = problem.second_order.of(2, full=False)
            assert second.driven == (snapshots == 4)
    assert all(same(*pair) for pair in zip(*found, strict=True))


def test_products_follow_the_controls_and_the_background() -> None:
    background = {"deviation": {"initial": 0.5, "viscosity": 0.1}, "smoothness": {"initial": 3.0}}
    controls = {"controls": ["initial", "viscosity"]}
    with ba.Problem(SECTIONS | {"gradient": controls, "background": background}) as problem:
        m, (d,) = problem.controls(), directions(problem, 1)
        first = problem.hessian_product(m, d)
        moved = {**m, "viscosity": 0.06}
        step = 1e-6
        ahead, behind = (
            problem.value_and_gradient({n: moved[n] + sign * step * d[n] for n in m})[1]
            for sign in (1, -1)
        )
        product = problem.hessian_product(moved, d)
        for name in m:
            slope = (np.asarray(ahead[name]) - behind[name]) / (2 * step)
            assert np.abs(slope - product[name]).max() < 1e-7 * np.abs(product[name]).max()
        assert not same(product, first)
        assert same(problem.hessian_product(m, d), first)


def test_products_leave_the_problem_where_it_is() -> None:
    final = SECTIONS | {"objective": {"kind": "final_energy"}}
    with ba.Problem(final) as problem, ba.Problem(final) as untouched:
        m = {**problem.controls(), "viscosity": 0.07}
        J, _ = problem.value_and_gradient(m)
        second = problem.second_order.of(1, full=False)
        assert second.driven
        # the very next run of the case, whose values nobody has set again
        assert runs.evaluate(problem.case) == J
        assert untouched.value(m) == J


class Corner:
    """Looks at one point of the state."""

    def value(self, state: np.ndarray, step: int) -> np.ndarray:
        return state[0, 2, 3] ** 3

    def derivative(self, state: np.ndarray, step: int) -> np.ndarray:
        out = np.zeros_like(state)
        out[0, 2, 3] = 3 * state[0, 2, 3] ** 2
        return out


class CurvedCorner(Corner):
    def second_derivative(self, state: np.ndarray, direction: np.ndarray, step: int) -> np.ndarray:
        out = np.zeros_like(state)
        out[0, 2, 3] = 6 * state[0, 2, 3] * direction[0, 2, 3]
        return out


def test_an_objective_of_ones_own_has_products_if_it_has_a_second_derivative() -> None:
    with ba.Problem(SECTIONS, objective=CurvedCorner()) as problem:
        m, (d,) = problem.controls(), directions(problem, 1)
        product = problem.hessian_product(m, d)["initial"]
        step = 1e-5
        ahead, behind = (
            problem.value_and_gradient({n: m[n] + sign * step * d[n] for n in m})[1]["initial"]
            for sign in (1, -1)
        )
        assert np.abs((ahead - behind) / (2 * step) - product).max() < 1e-7 * np.abs(product).max()
    none = pytest.raises(ba.ConfigError, match="Corner has no second_derivative")
    with ba.Problem(SECTIONS, objective=Corner()) as problem, none:
        problem.hessian_product(None, {})


def test_wrong_directions_are_named(problem: ba.Problem) -> None:
    with pytest.raises(ba.ConfigError, match=r"no control 'initail'.*did you mean initial"):
        problem.hessian_product(None, {"initail": 0.0})
    with pytest.raises(ba.ConfigError, match=r"initial has values of the shape \(2, 12, 15\)"):
        problem.gauss_newton_product(None, [{"initial": np.zeros((2, 15, 12))}])
    with pytest.raises(ba.ConfigError, match="the value nan"):
        problem.hessian_product(None, {"viscosity": np.nan})
    with pytest.raises(ba.ConfigError, match="a batch of directions has at least one"):
        problem.hessian_product(None, [])


def test_a_direction_that_is_left_out_is_zero(problem: ba.Problem) -> None:
    m = problem.controls()
    nothing = problem.hessian_product(m, {})
    assert all(not np.any(part) for part in nothing.values())
    one = problem.hessian_product(m, {"viscosity": 1.0})
    zeros = {name: np.zeros(np.shape(value)) for name, value in m.items()}
    assert same(one, problem.hessian_product(m, {**zeros, "viscosity": 1.0}))

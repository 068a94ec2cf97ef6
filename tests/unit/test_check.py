"""The `check` command passes what is right, and finds real faults."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.commands.check import check
from burgers_adjoint.config import load
from burgers_adjoint.equations.burgers.controls import Control
from burgers_adjoint.equations.burgers.euler import FusedBurgers
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import to_mapping
from burgers_adjoint.stepping.engine import Engine
from burgers_adjoint.stepping.model import Model

SMALL = [
    "grid.nx=13", "grid.ny=10", "grid.x=[-3.0, 4.0]", "grid.y=[-2.0, 2.5]",
    "initial.center=[0.3, -0.2]", "initial.width=[1.5, 1.1]", "initial.amplitude=[1.0, -0.6]",
    "physics.viscosity=0.05", "time.dt=0.02", "time.steps=12", "checkpointing.snapshots=3",
    "output.plots=false",
]  # fmt: skip
Result = dict[str, Any]


@pytest.fixture
def checked(tmp_path: Path) -> Callable[..., Result]:
    def run(*overrides: str) -> Result:
        config = load(None, [*SMALL, *overrides], str(tmp_path / "output"))
        return to_mapping(check(config, MPI.COMM_SELF, Progress(False)))

    return run


def failed(result: Result) -> set[str]:
    """Names of the checks that failed, without the grid points."""
    return {
        done["name"].replace(" at ", " ").split("[")[0].strip()
        for done in result["checks"]
        if not done["passed"]
    }


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
@pytest.mark.parametrize("controls", [["initial", "viscosity"], ["viscosity"], ["initial"]])
def test_a_right_gradient_passes(
    checked: Callable[..., Result], boundary: str, controls: list[str]
) -> None:
    result = checked(f"grid.boundary={boundary}", f"gradient.controls={controls}")
    assert failed(result) == set()
    names = [done["name"] for done in result["checks"]]
    for control in controls:
        assert f"Taylor order with gradient, {control}" in names
        assert f"tangent against adjoint, {control}" in names
    assert ("central difference, viscosity" in names) is ("viscosity" in controls)
    n_points = sum(name.startswith(("central difference, u", "central difference, v at"))
                   for name in names)  # fmt: skip
    assert n_points == (3 if "initial" in controls else 0)
    assert "dot product of one step" in names
    assert "store_all against binomial" in names


@pytest.mark.parametrize(
    "problem",
    [
        ["time.steps=1"],
        ["time.steps=2", "time.dt=0.001"],
        ["physics.viscosity=0.0001", "time.steps=5", "time.dt=0.0001"],
        ["physics.viscosity=0.0", "time.allow_unstable=true"],
        ["initial.kind=sines", "grid.boundary=periodic", "time.dt=0.001"],
    ],
    ids=",".join,
)
def test_a_viscosity_that_hardly_matters_passes_too(
    checked: Callable[..., Result], problem: list[str]
) -> None:
    assert failed(checked(*problem)) == set()


def test_a_gradient_that_vanishes_leaves_nothing_to_test(
    checked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = "initial.amplitude=[0.0, 0.0]"
    result = checked(rest)
    assert failed(result) == set()
    for control in ("initial", "viscosity"):
        left_out = f"Taylor test and differences of {control}: the gradient vanishes, "
        assert left_out + "there is nothing to test" in result["left_out"]
        assert f"tangent against adjoint, {control}" in [one["name"] for one in result["checks"]]

    def nothing(method: Any, model: Model, cotangent: Any) -> Any:
        return {name: 0.0 * part for name, part in method(model, cotangent).items()}

    changed(monkeypatch, "gradient", nothing)
    assert failed(checked()) == {
        "tangent against adjoint, initial",
        "tangent against adjoint, viscosity",
    }


@pytest.mark.parametrize("objective", ["running_energy", "running_enstrophy"])
@pytest.mark.parametrize("chosen", ["cfl", "until"])
def test_objectives_that_integrate_follow_the_steps_of_the_run(
    checked: Callable[..., Result], objective: str, chosen: str
) -> None:
    steps = ["time.until=0.23"]
    if chosen == "cfl":
        steps += ["time.cfl=0.3", "checkpointing.schedule=online"]
    assert failed(checked(f"objective.kind={objective}", *steps)) == set()


def test_the_seed_chooses_the_directions(checked: Callable[..., Result]) -> None:
    first, again, other = checked(), checked(), checked("check.seed=1")
    assert first["checks"] == again["checks"]
    assert first["checks"] != other["checks"]
    assert failed(other) == set()


def changed(
    monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[..., Any], part: type = Model
) -> None:
    """Replace a method of the model, or of its stepper, by a change of it, (method, it, ...)."""
    method = getattr(part, name)

    @functools.wraps(method)
    def replaced(self: Any, *arguments: Any, **named: Any) -> Any:
        return change(method, self, *arguments, **named)

    monkeypatch.setattr(part, name, replaced)


def test_an_adjoint_linearised_one_step_late_is_found(
    checked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(method: Any, stepper: Engine, cotangent: Any, states: Any, n: int) -> None:
        after = [state.copy() for state in states]
        for step, state in zip(range(n, -1, -1), after, strict=False):
            stepper.advance(state, state, step, step + 1)
        method(stepper, cotangent, after, n)

    changed(monkeypatch, "adjoint", late, Engine)
    assert failed(checked()) >= {
        "Taylor order with gradient, initial",
        "Taylor order with gradient, viscosity",
        "dot product of one step",
        "tangent against adjoint, initial",
        "tangent against adjoint, viscosity",
        "central difference, viscosity",
        "central difference, u",
    }


def test_a_cotangent_that_is_a_little_off_is_found(
    checked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(method: Any, stepper: Engine, cotangent: Any, *arguments: Any) -> None:
        method(stepper, cotangent, *arguments)
        cotangent.field[0] *= 1 + 1e-11

    changed(monkeypatch, "adjoint", off, Engine)
    assert failed(checked()) == {"dot product of one step", "tangent against adjoint, initial",
                                 "tangent against adjoint, viscosity"}  # fmt: skip


def test_a_wrong_derivative_of_the_viscosity_is_found(
    checked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(method: Any, model: Model, cotangent: Any) -> Any:
        gradient = method(model, cotangent)
        return gradient | {"viscosity": gradient["viscosity"] * (1 + 1e-3)}

    changed(monkeypatch, "gradient", wrong)
    assert failed(checked()) == {
        "Taylor order with gradient, viscosity",
        "tangent against adjoint, viscosity",
        "central difference, viscosity",
    }


def test_a_gradient_at_points_of_another_control_is_found(
    checked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = "gradient.controls=['initial', 'boundary']"
    assert failed(checked(both)) == set()

    def unmasked(method: Any, control: Control, cotangent: Any) -> Any:
        return control.layout.interior(cotangent.field).copy()

    changed(monkeypatch, "pull_back", unmasked, Control)
    assert failed(checked(both)) >= {
        "Taylor order with gradient, initial",
        "Taylor order with gradient, boundary",
        "tangent against adjoint, initial",
        "tangent against adjoint, boundary",
    }


def test_what_survives_of_an_earlier_gradient_is_found(
    checked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(method: Any, model: Model) -> Any:
        fresh = method(model)
        fresh.densities = model.__dict__.setdefault("densities", fresh.densities)  # not zeroed
        return fresh

    changed(monkeypatch, "new_cotangent", kept)
    assert failed(checked()) >= {
        "second control value, reused against fresh",
        "first control value again",
    }


def test_steps_that_depend_on_how_they_are_grouped_are_found(
    checked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def grouped(method: Any, model: Model, *arguments: Any) -> None:
        method(model, *arguments)
        state, n0, n1 = arguments[-3:]
        if n1 - n0 > 1:
            place = model.layout.interior(state)[0, 2, 2:3]
            place[...] = np.nextafter(place, np.inf)

    changed(monkeypatch, "advance_from", grouped)
    assert "store_all against binomial" in failed(checked())


SECOND = ["check.second_order=true", "objective.kind=running_enstrophy"]


@pytest.mark.parametrize("more", [[], ["physics.advection=upwind", "time.integrator=ssprk3"]])
def test_a_right_hessian_passes(checked: Callable[..., Result], more: list[str]) -> None:
    result = checked(*SECOND, *more)
    assert failed(result) == set()
    names = [done["name"] for done in result["checks"]]
    assert "Taylor order with the Hessian" in names
    assert "symmetry, Gauss-Newton part" in names
    assert "difference of gradients along initial" in names


def test_a_wrong_second_derivative_is_found(
    checked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FusedBurgers, "adjoint_tangent", lambda self, *_: [0.0, 0.0])
    found = failed(checked(*SECOND))
    assert {"Taylor order with the Hessian", "difference of gradients along initial"} <= found
    assert not any("with gradient" in name for name in found)


def test_a_hessian_that_is_not_symmetric_is_found(
    checked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FusedBurgers, "sensitivities_tangent", lambda self, *_: {})
    assert "symmetry, Hessian" in failed(checked(*SECOND))

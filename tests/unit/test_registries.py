"""One line adds an integrator, a scheme, a term, a control or an initial state, from anywhere."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.runs import evaluate, reverse
from burgers_adjoint.commands.check import check
from burgers_adjoint.config import Config, from_dict
from burgers_adjoint.config import registry as registries
from burgers_adjoint.config.registry import (
    ADVECTION,
    ANY,
    CONTROLS,
    INITIAL_STATES,
    INTEGRATORS,
    TERMS,
    Registry,
)
from burgers_adjoint.equations.burgers.advection.upwind import Upwind
from burgers_adjoint.equations.burgers.controls import Kind
from burgers_adjoint.equations.burgers.objectives.energy import FinalEnergy
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.problem import Problem
from burgers_adjoint.stepping.tableaux import Tableau

ALONE = MPI.COMM_SELF


class EarlyEnergy(FinalEnergy):
    """The energy after three steps."""

    name = "early_energy"

    def looks_at(self, n: int, last: bool) -> bool:
        return n == 3


def west_edge(decomposition: Decomposition) -> np.ndarray:
    points = np.zeros(decomposition.tile_shape, dtype=bool)
    points[:, 0] = decomposition.columns.start == 0
    return points


def tilted(section: Any, grid: Grid, decomposition: Decomposition) -> np.ndarray:
    x, y = grid.x[decomposition.columns], grid.y[decomposition.rows]
    return np.stack([0.3 * x + 0.1 * y[:, None], 0.2 * y[:, None] - 0.1 * x**2])


# Heun's third-order method
HEUN = Tableau(((), (1 / 3,), (0.0, 2 / 3)), (0.25, 0.0, 0.75), (0.0, 1 / 3, 2 / 3), 2.51, 1.73)


class LikeUpwind(Upwind):
    """Upwind by another name."""

    name = "like_upwind"


ADDED: list[tuple[Registry, str, Any]] = [
    (INTEGRATORS, "heun", HEUN),
    (ADVECTION, "like_upwind", LikeUpwind),
    (TERMS, "early_energy", EarlyEnergy.of),
    (CONTROLS, "west_edge", Kind(lambda knots: (2,), points=west_edge)),
    (INITIAL_STATES, "tilted", tilted),
]


@pytest.fixture(autouse=True)
def added() -> Iterator[None]:
    for registry, name, thing in ADDED:
        registry.add(name, thing)
    yield
    for registry, name, _ in ADDED:
        registry.remove(name)


def configured(folder: object = "unused", **sections: Any) -> Config:
    data: dict[str, Any] = {
        "grid": {"nx": 11, "ny": 9, "x": [-1.0, 2.0], "y": [-1.5, 1.0]},
        "physics": {"viscosity": 0.05, "advection": "like_upwind"},
        "initial": {"kind": "tilted"},
        "time": {"dt": 0.02, "steps": 5, "integrator": "heun"},
        "objective": {"kind": "early_energy"},
        "gradient": {"controls": ["west_edge", "initial", "viscosity_field"]},
        "checkpointing": {"snapshots": 2},
        "output": {"directory": str(folder), "plots": False},
    }
    for name, section in sections.items():
        data[name] = data.get(name, {}) | section
    return from_dict(data)


def test_what_is_added_makes_a_run_whose_gradient_is_right(tmp_path) -> None:
    summary = check(configured(tmp_path), ALONE, Progress(False))
    assert [one.name for one in summary.checks if not one.passed] == []
    names = {one.name for one in summary.checks}
    assert "Taylor order with gradient, west_edge" in names
    assert "tangent against adjoint, initial" in names


def test_an_added_control_has_its_points_for_itself() -> None:
    with Problem(configured(), ALONE) as one:
        schedule = one.checkpointing.schedule()
        gradient = reverse(one.case, schedule, one.checkpointing.store(schedule)).gradient
        assert np.any(gradient["west_edge"][:, :, 0])
        assert not np.any(gradient["west_edge"][:, :, 1:])
        assert np.any(gradient["initial"][:, :, 1:])
        assert not np.any(gradient["initial"][:, :, 0])
        before = one.case.fields.copy()
        one.case.inputs.set("west_edge", np.full(before.shape, 7.0))
        assert np.all(one.case.fields[:, :, 0] == 7.0)
        np.testing.assert_array_equal(one.case.fields[:, :, 1:], before[:, :, 1:])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"time": {"integrator": "heum"}},
            'time.integrator = "heum", did you mean heun?: expected one of "euler", '
            '"ssprk3", "rk4", "heun"',
        ),
        (
            {"physics": {"advection": "upwnd"}},
            'physics.advection = "upwnd", did you mean upwind?: expected one of "central", '
            '"upwind", "like_upwind"',
        ),
        (
            {"initial": {"kind": "tilt"}},
            'initial.kind = "tilt", did you mean tilted?: expected one of "gaussian", '
            '"sines", "file", "tilted"',
        ),
        (
            {"truth": {"kind": "spiral"}},
            'truth.kind = "spiral": expected one of "gaussian", "sines", "file", "tilted"',
        ),
        (
            {"objective": {"kind": "early"}},
            'objective.kind = "early": expected one of '
            '"final_energy", "running_energy", "running_enstrophy", "misfit", "early_energy", '
            '"weighted_sum"',
        ),
        (
            {"gradient": {"controls": ["west"]}},
            'gradient.controls = ["west"], did you mean west_edge?: expected a list that is not '
            "empty, each one of "
            '"initial", "boundary", "viscosity", "viscosity_field", "forcing", "forcing_in_time", '
            '"west_edge"',
        ),
    ],
)
def test_unknown_names_are_told_from_those_that_are_there(
    sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        configured(**sections)
    assert str(error.value) == message


def test_a_name_stands_for_one_thing() -> None:
    with pytest.raises(ConfigError, match=r'^time.integrator: there is a "heun" already$'):
        INTEGRATORS.add("heun", HEUN)


def test_every_name_of_the_package_stands_for_something() -> None:
    own = [one for one in vars(registries).values() if isinstance(one, Registry)]
    assert len(own) == 8
    for one in own:
        for name in one.names:
            assert one[name.replace(ANY, ":Word")] is not None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("inital", 0.0, r"this problem has no control 'inital'; it has initial, boundary, viscosi"),
        ("forcing", np.zeros((2, 9, 11)), r"this problem has no control 'forcing'; it has init"),
        (
            "initial",
            np.zeros((9, 11)),
            r"initial has values of the shape \(2, 9, 11\) on rank 0",
        ),
        ("viscosity", np.zeros(3), r"viscosity has values of the shape \(\) on rank 0, not of"),
    ],
)
def test_values_that_do_not_fit_are_refused(name: str, value: Any, message: str) -> None:
    with Problem(configured(), ALONE) as one:
        with pytest.raises(ConfigError, match=message) as error:
            one.case.inputs.set(name, value)
        assert error.value.agreed


def test_initial_fields_of_another_shape_are_refused() -> None:
    with Problem(configured(), ALONE) as one:
        schedule = one.checkpointing.schedule()
        one.case.inputs.fields = np.zeros((9, 11))
        message = r"starts from fields of the shape \(2, 9, 11\) on this rank, not of \(9, 11\)"
        with pytest.raises(ConfigError, match=message):
            reverse(one.case, schedule, one.checkpointing.store(schedule))
        with pytest.raises(ConfigError, match=message):
            evaluate(one.case)

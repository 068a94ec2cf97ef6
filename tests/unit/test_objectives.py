"""Terms of the objective against plain NumPy, and their derivatives against differences."""

import numpy as np
import pytest
from mpi4py import MPI
from reference import euler_step

from burgers_adjoint.assembly.runs import evaluate, reverse
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.problem import Problem

STEPS = 7
WEIGHTS = {"final_energy": 0.5, "running_energy": 2.0, "running_enstrophy": 0.3}


def problem(boundary: str, weights: dict[str, float]) -> Problem:
    sections = {
        "grid": {"nx": 11, "ny": 8, "x": [0.0, 3.0], "y": [-1.0, 1.0], "boundary": boundary},
        "initial": {"kind": "gaussian", "center": [1.2, 0.1], "amplitude": [1.0, -0.6]},
        "physics": {"viscosity": 0.03},
        "time": {"steps": STEPS, "dt": 0.02},
        "objective": {"kind": "weighted_sum", "weights": weights},
        "checkpointing": {"snapshots": 3},
    }
    return Problem(from_dict(sections), MPI.COMM_SELF)


def trapezoidal(values: list[float], dx: float) -> float:
    """NumPy's own has another name in each of the supported versions."""
    return dx * (sum(values) - (values[0] + values[-1]) / 2)


def expected_terms(one: Problem) -> dict[str, float]:
    grid = one.case.grid
    inner = (slice(None),) if grid.periodic else (slice(1, -1), slice(1, -1))
    energies, enstrophies = [], []
    fields = one.case.fields
    for n in range(STEPS + 1):
        u, v = fields
        energies.append(np.sum((u**2 + v**2)[inner]))
        v_x = (np.roll(v, -1, axis=1) - np.roll(v, 1, axis=1)) / (2 * grid.dx)
        u_y = (np.roll(u, -1, axis=0) - np.roll(u, 1, axis=0)) / (2 * grid.dy)
        enstrophies.append(np.sum(((v_x - u_y) ** 2)[inner]))
        if n < STEPS:
            fields = euler_step(fields, 0.03, 0.02, grid)
    points = grid.nx * grid.ny
    return {
        "final_energy": energies[-1] / points,
        "running_energy": trapezoidal(energies, 0.02) / points,
        "running_enstrophy": trapezoidal(enstrophies, 0.02) / points,
    }


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
def test_terms_are_those_of_plain_numpy(boundary: str) -> None:
    one = problem(boundary, WEIGHTS)
    total = evaluate(one.case)
    expected = {name: WEIGHTS[name] * value for name, value in expected_terms(one).items()}
    assert one.case.objective.parts == pytest.approx(expected, rel=1e-13)
    assert total == sum(one.case.objective.parts.values())
    one.close()


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_objective_of_the_reversal_is_that_of_the_forward_sweep(boundary: str, name: str) -> None:
    one = problem(boundary, {name: WEIGHTS[name]})
    found = []
    for schedule in ("binomial", "store_all"):
        planned = one.checkpointing.schedule(schedule)
        result = reverse(one.case, planned, one.checkpointing.store(planned))
        found.append((result.objective, one.case.digest(result.final, result.gradient)))
    assert found[0] == found[1]
    assert found[0][0] == evaluate(one.case)
    direction = np.random.default_rng(3).normal(size=one.case.fields.shape)
    slope = np.sum(result.gradient["initial"] * direction)
    size = 1e-5
    fields, values = one.case.fields, []
    for sign in (1, -1):
        one.case.inputs.fields = fields + sign * size * direction
        values.append(evaluate(one.case))
    assert (values[0] - values[1]) / (2 * size) == pytest.approx(slope, rel=1e-8)
    one.close()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"kind": "weighted_sum"},
            r"objective.weights = \{\}: expected a weight for each term of "
            r'objective.kind = "weighted_sum", for example \{ final_energy = 1.0, '
            r"running_enstrophy = 0.1 \}",
        ),
        (
            {"weights": {"final_energy": 2.0}},
            r'objective.weights = \{"final_energy": 2.0\}: expected no weights, as '
            r'objective.kind = "final_energy"; set objective.kind = "weighted_sum" to use them',
        ),
        (
            {"kind": "weighted_sum", "weights": {"final_enrgy": 2.0}},
            r"final_enrgy, did you mean final_energy\?: expected one of \"final_energy\", ",
        ),
        (
            {"kind": "weighted_sum", "weights": {"final_energy": "much"}},
            r"objective.weights = .*: expected a table of names, each a number",
        ),
    ],
)
def test_wrong_weights_are_said(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict({"objective": section})

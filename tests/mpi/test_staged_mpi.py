"""A pairwise cover of integrators, advection, boundaries and objectives, with all controls.

Gradients have the bits of one rank, Taylor orders of 2 for each control, and slopes that are those
of the tangent model.
"""

import math
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.runs import evaluate, reverse
from burgers_adjoint.checking.checker import Checker
from burgers_adjoint.config import from_dict
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.parallel.reductions import exact_sum, random_field
from burgers_adjoint.problem import Problem
from burgers_adjoint.verification import taylor_test

COMM = MPI.COMM_WORLD
CONTROLS = ["initial", "viscosity", "viscosity_field", "forcing", "forcing_in_time"]
INTEGRATORS = ("euler", "ssprk3", "rk4")
ADVECTION = ("central", "upwind")
BOUNDARIES = ("dirichlet", "periodic")
TERMS = {"final_energy": 0.5, "running_energy": 2.0, "running_enstrophy": 0.3, "misfit": 1e-3}
TRUTH = {"twin": True, "amplitude": [0.8, -0.4], "viscosity": 0.06, "forcing_bump": [0.5, -0.2]}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "final_energy": {"objective": {"kind": "final_energy"}},
    "running_energy": {"objective": {"kind": "running_energy"}},
    "running_enstrophy": {"objective": {"kind": "running_enstrophy"}},
    "misfit_to_fields": {"objective": {"kind": "misfit"}, "truth": TRUTH},
    "misfit_to_sensors": {
        "objective": {"kind": "misfit"},
        "truth": TRUTH,
        "observations": {"kind": "sensors", "sensor_grid": [5, 3], "count": 3, "noise": 0.1},
        "background": {"deviation": {"viscosity": 0.1, "forcing": 0.5}},
    },
    "weighted_sum_and_background": {
        "objective": {"kind": "weighted_sum", "weights": TERMS},
        "truth": TRUTH,
        "background": {
            "deviation": {"initial": 0.4, "viscosity": 0.1},
            "smoothness": {"initial": 3.0, "viscosity_field": 50.0, "forcing_in_time": 0.2},
        },
    },
}
Case = tuple[str, str, str, str]
COVER: list[Case] = [
    (integrator, ADVECTION[(i + k) % 2], BOUNDARIES[(i + k // 2) % 2], objective)
    for k, objective in enumerate(OBJECTIVES)
    for i, integrator in enumerate(INTEGRATORS)
]


def test_the_cover_has_every_pair() -> None:
    factors = (INTEGRATORS, ADVECTION, BOUNDARIES, tuple(OBJECTIVES))
    for one, other in combinations(range(4), 2):
        pairs = {(case[one], case[other]) for case in COVER}
        assert pairs == set(product(factors[one], factors[other]))


def problem(comm: MPI.Comm, case: Case) -> Problem:
    integrator, advection, boundary, objective = case
    controls = [*CONTROLS, *(["boundary"] if boundary == "dirichlet" else [])]
    data: dict[str, Any] = {
        "grid": {"nx": 14, "ny": 13, "x": [-1, 2], "y": [-1.5, 3], "boundary": boundary},
        "physics": {"viscosity": 0.05, "advection": advection, "smooth_speed": 0.1},
        "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
        "time": {"dt": 0.02, "steps": 7, "integrator": integrator},
        "gradient": {"controls": controls},
        "controls": {"knots": [0.0, 0.05, 0.12]},
        "checkpointing": {"snapshots": 3},
        "observations": {"count": 3, "noise": 0.1},
    }
    return Problem(from_dict(data | OBJECTIVES[objective]), comm)


def depart(one: Problem) -> None:
    """Take the controls away from where they were, so that a background has a derivative."""
    for name in one.config.gradient.controls:
        before = one.case.inputs.value(name)
        scale = 0.01 if name.startswith("viscosity") else 0.1
        one.case.inputs.set(
            name, before + (scale * noise_like(one, before, 11) if np.ndim(before) else scale)
        )


def noise_like(one: Problem, value: Any, seed: int) -> np.ndarray:
    n_fields = value.size // math.prod(one.case.decomposition.tile_shape)
    return random_field(one.case.decomposition, seed, n_fields).reshape(value.shape)


def gradient(one: Problem, schedule: str) -> tuple[Any, str]:
    planned = one.checkpointing.schedule(schedule)
    result = reverse(one.case, planned, one.checkpointing.store(planned))
    return result, one.case.digest(result.final, result.gradient)


@pytest.mark.parametrize("case", COVER, ids="-".join)
def test_gradients_have_the_bits_of_one_rank(case: Case) -> None:
    together, alone = problem(COMM, case), problem(MPI.COMM_SELF, case)
    depart(together)
    depart(alone)
    assert gradient(together, "binomial")[1] == gradient(alone, "store_all")[1]
    together.close()
    alone.close()


@pytest.mark.skipif(COMM.size not in (1, 3), reason="the bits are those of one rank")
@pytest.mark.parametrize("case", COVER, ids="-".join)
def test_taylor_orders_of_every_control(case: Case) -> None:
    one = problem(COMM, case)
    depart(one)
    result, _ = gradient(one, "store_all")
    for name, part in result.gradient.items():
        before = one.case.inputs.value(name)
        scale = 0.05 if name.startswith("viscosity") else 1.0
        if isinstance(part, np.ndarray):
            direction: Any = one.case.controls[name].masked(scale * noise_like(one, part, 5))
            slope = exact_sum(COMM, part * direction)
        else:
            direction, slope = scale, part * scale

        def objective(size: float, name=name, before=before, direction=direction) -> float:
            one.case.inputs.set(name, before + size * direction)
            return evaluate(one.case)

        sizes = [2.0**-k * 1e-2 for k in range(8)]
        test = taylor_test(objective, result.objective, slope, sizes)
        one.case.inputs.set(name, before)
        assert test.corrected_order > 1.99, name
    one.close()


@pytest.mark.skipif(COMM.size not in (1, 3), reason="the bits are those of one rank")
@pytest.mark.parametrize("case", COVER, ids="-".join)
def test_slopes_are_those_of_the_tangent_model(case: Case) -> None:
    one = problem(COMM, case)
    checker = Checker(
        one.case,
        one.checkpointing,
        one.checkpointing.store(one.checkpointing.schedule()),
        Progress(shown=False),
    )
    checker._dot_product_of_one_step()
    for control in checker.base.gradient:
        checker._dot_product_of_the_run(checker.random_direction(control))
    assert len(checker.checks) == 1 + len(checker.base.gradient)
    assert [check.name for check in checker.checks if not check.passed] == []
    one.close()

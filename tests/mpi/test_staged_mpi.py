"""A pairwise cover of integrators, advection, boundaries and objectives, with all controls.

Gradients have the bits of one rank, and Taylor orders of 2 for each control.
"""

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.config import from_dict
from burgers_adjoint.parallel.reductions import exact_sum, random_field
from burgers_adjoint.problem import Problem
from burgers_adjoint.verification import taylor_test

COMM = MPI.COMM_WORLD
CONTROLS = ["initial", "viscosity", "viscosity_field", "forcing", "forcing_in_time"]
COVER = [
    ("euler", "central", "dirichlet", "final_energy"),
    ("euler", "upwind", "periodic", "running_energy"),
    ("ssprk3", "central", "periodic", "running_enstrophy"),
    ("ssprk3", "upwind", "dirichlet", "final_energy"),
    ("rk4", "central", "dirichlet", "running_energy"),
    ("rk4", "upwind", "periodic", "running_enstrophy"),
]


def problem(comm: MPI.Comm, case: tuple[str, str, str, str]) -> Problem:
    integrator, advection, boundary, objective = case
    controls = [*CONTROLS, *(["boundary"] if boundary == "dirichlet" else [])]
    data: dict[str, Any] = {
        "grid": {"nx": 14, "ny": 13, "x": [-1, 2], "y": [-1.5, 3], "boundary": boundary},
        "physics": {"viscosity": 0.05, "advection": advection, "smooth_speed": 0.1},
        "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
        "time": {"dt": 0.02, "steps": 7, "integrator": integrator},
        "objective": {"kind": objective},
        "gradient": {"controls": controls},
        "controls": {"knots": [0.0, 0.05, 0.12]},
        "checkpointing": {"snapshots": 3},
    }
    return Problem(from_dict(data), comm)


def reverse(one: Problem, schedule: str) -> tuple[Any, str]:
    planned = one.schedule(schedule)
    result = one.reverse(planned, one.store(planned), one.fields)
    return result, one.digest(result.final, result.gradient)


@pytest.mark.parametrize("case", COVER, ids="-".join)
def test_gradients_have_the_bits_of_one_rank(case: tuple[str, str, str, str]) -> None:
    together, alone = problem(COMM, case), problem(MPI.COMM_SELF, case)
    assert reverse(together, "binomial")[1] == reverse(alone, "store_all")[1]
    together.close()
    alone.close()


@pytest.mark.skipif(COMM.size not in (1, 3), reason="the bits are those of one rank")
@pytest.mark.parametrize("case", COVER, ids="-".join)
def test_taylor_orders_of_every_control(case: tuple[str, str, str, str]) -> None:
    one = problem(COMM, case)
    result, _ = reverse(one, "store_all")
    for name, part in result.gradient.items():
        before = one.control(name)
        scale = 0.05 if name.startswith("viscosity") else 1.0
        if isinstance(part, np.ndarray):
            n_fields = part.size // one.decomposition.tile_shape[0] // part.shape[-1]
            noise = random_field(one.decomposition, 5, n_fields).reshape(part.shape)
            direction: Any = one.part_of(name, scale * noise)
            slope = exact_sum(COMM, part * direction)
        else:
            direction, slope = scale, part * scale

        def functional(size: float, name=name, before=before, direction=direction) -> float:
            one.set_control(name, before + size * direction)
            return one.evaluate(one.fields)

        sizes = [2.0**-k * 1e-2 for k in range(8)]
        test = taylor_test(functional, result.objective, slope, sizes)
        one.set_control(name, before)
        assert test.corrected_order > 1.99, name
    one.close()

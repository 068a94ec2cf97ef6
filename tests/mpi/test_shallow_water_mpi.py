"""The second equation has one rank's bits on any ranks, with any schedule and store."""

from pathlib import Path
from typing import Any

import pytest
from mpi4py import MPI
from water_cases import N_STEPS, case_name, start, water

from burgers_adjoint.assembly.composition import gradient_of
from burgers_adjoint.assembly.stores import StoreMaker, closed_at_end
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.periodic import Periodic
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.config import from_dict
from burgers_adjoint.parallel.reductions import digest
from burgers_adjoint.stepping.model import Model

COMM = MPI.COMM_WORLD
# every rank compiles their kernels for itself
CASES = [("euler", True), ("ssprk3", False), ("rk4", True)]
SCHEDULES = {
    "binomial": lambda: Binomial(N_STEPS, 2),
    "store_all": lambda: StoreAll(N_STEPS),
    "two_level": lambda: TwoLevel(N_STEPS, 1, 2),
    "multistage": lambda: Multistage(N_STEPS, 1, 2),
    "periodic": lambda: Periodic(N_STEPS, 4),
}
RUNS = [
    ("binomial", "hdf5"),
    ("store_all", "memory"),
    ("two_level", "tiered"),
    ("multistage", "tiered"),
    ("periodic", "hdf5_shared"),
]


def bits(model: Model, gradient: Any) -> str:
    fields = [*model.final, *gradient["initial"]]
    return digest(model.decomposition, fields, [model.value, gradient["friction"]])


def expected(case: Any) -> str:
    alone = water(case, MPI.COMM_SELF)
    found = bits(alone, gradient_of(alone, Binomial(N_STEPS, 3), start(alone)))
    alone.close()
    return found


def folder_of_all(tmp_path: Path) -> str:
    folder: str = COMM.bcast(str(tmp_path), root=0)
    return folder


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_gradients_have_the_bits_of_one_rank(case: Any, tmp_path: Path) -> None:
    together = water(case, COMM)
    bits_alone, folder = expected(case), folder_of_all(tmp_path)
    for schedule_name, store_name in RUNS:
        config = from_dict({"snapshots": {"store": store_name, "directory": folder}})
        maker = StoreMaker(
            config, together.decomposition, together.new_snapshot, together.new_state,
            together.own_points,
        )  # fmt: skip
        schedule = SCHEDULES[schedule_name]()
        with closed_at_end(maker.make(schedule)) as store:
            gradient = gradient_of(together, schedule, start(together), store)
        assert bits(together, gradient) == bits_alone, (schedule_name, store_name)
    together.close()


@pytest.mark.parametrize("n_steps", [1, 2])
def test_steps_per_exchange_do_not_show(n_steps: int) -> None:
    case = ("euler", True)
    together = water(case, COMM, steps_per_exchange=n_steps)
    gradient = gradient_of(together, Binomial(N_STEPS, 3), start(together))
    assert together.steps_per_sweep == n_steps
    assert bits(together, gradient) == expected(case)
    together.close()

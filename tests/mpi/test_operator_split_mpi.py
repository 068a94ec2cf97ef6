"""The operator-split example has one rank's bits on any ranks, with any choice and snapshots."""

import copy
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI
from split_cases import CHOICES, N_STEPS, bits, split, start

from burgers_adjoint.assembly.stores import StoreMaker, closed_at_end
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.planning.inside import plan_tree

COMM = MPI.COMM_WORLD


@pytest.mark.parametrize("choice", CHOICES)
def test_any_choice_has_the_bits_of_one_rank(choice: str) -> None:
    alone = bits(split(MPI.COMM_SELF), StoreAll(N_STEPS))
    for snapshots in (1, 3):
        assert bits(split(COMM, choice), Binomial(N_STEPS, snapshots)) == alone


@pytest.mark.parametrize(
    ("kind", "schedule"), [("hdf5", Binomial(N_STEPS, 2)), ("tiered", TwoLevel(N_STEPS, 1, 2))]
)
def test_snapshots_of_such_a_model_go_to_files(
    kind: str, schedule: Schedule, tmp_path: Path
) -> None:
    alone = bits(split(MPI.COMM_SELF), StoreAll(N_STEPS))
    model = split(COMM, "parts")
    folder = COMM.bcast(str(tmp_path), root=0)
    config = from_dict({"snapshots": {"store": kind, "directory": folder}})
    maker = StoreMaker(config, model.tile.tile, model.new_snapshot)
    schedule = copy.deepcopy(schedule)
    with closed_at_end(maker.make(schedule)) as store:
        assert bits(model, schedule, store) == alone


@pytest.mark.parametrize("slots", [10, 12.5])
def test_all_ranks_choose_alike(slots: float) -> None:
    model = split(COMM)
    size = COMM.allreduce(model.new_snapshot().nbytes, MPI.MAX)
    found = plan_tree(model, lambda: model.state(start(model)), 9, int(slots * size), COMM)
    assert 1 <= found.first.choice.snapshots < 8
    choices = COMM.allgather(
        [one.profile.choice for rounds in found.rounds.values() for one in rounds]
    )
    assert choices.count(choices[0]) == COMM.size
    assert len({*map(str, COMM.allgather(str(found)))}) == 1
    assert found.best.profile.bytes <= found.budget
    assert np.isfinite(found.best.seconds)


def test_a_budget_that_is_too_small_on_one_rank_is_refused_on_all() -> None:
    model = split(COMM)
    size = model.new_snapshot().nbytes
    least, most = COMM.allreduce(size, MPI.MIN), COMM.allreduce(size, MPI.MAX)
    with pytest.raises(ConfigError, match="do not hold one snapshot and what a step takes"):
        plan_tree(model, lambda: model.state(start(model)), 9, (least + most) // 2, COMM)

"""The operator-split example has one rank's bits on any ranks, with any choice and snapshots."""

import numpy as np
import pytest
from mpi4py import MPI
from split_cases import CHOICES, N_STEPS, bits, split, start

from burgers_adjoint.planning.inside import plan_tree

COMM = MPI.COMM_WORLD


@pytest.mark.parametrize("choice", CHOICES)
def test_any_choice_has_the_bits_of_one_rank(choice: str) -> None:
    alone = bits(split(MPI.COMM_SELF), N_STEPS)
    for snapshots in (1, 3):
        assert bits(split(COMM, choice), snapshots) == alone


def test_all_ranks_choose_alike() -> None:
    model = split(COMM)
    slot = model.new_snapshot().nbytes
    found = plan_tree(
        model, lambda: model.state(start(model)), N_STEPS, COMM.allreduce(12 * slot, MPI.MAX), COMM
    )
    choices = COMM.allgather(
        [one.profile.choice for rounds in found.rounds.values() for one in rounds]
    )
    assert choices.count(choices[0]) == COMM.size
    assert len({*map(str, COMM.allgather(str(found)))}) == 1
    assert found.best.profile.bytes <= found.budget
    assert np.isfinite(found.best.seconds)

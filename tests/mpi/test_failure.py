"""A failure of any rank becomes the same failure of all, and nobody waits for nobody."""

import time

import pytest
from mpi4py import MPI

from burgers_adjoint.errors import (
    BurgersAdjointError,
    ConfigError,
    NumericalError,
    ScheduleError,
    SnapshotError,
)
from burgers_adjoint.parallel.failure import agreed, patient_barrier

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.rank, COMM.size


class TwoArgumentsError(Exception):
    def __init__(self, n: int, side: str) -> None:
        super().__init__(f"{n} points to the {side}")


@pytest.fixture(autouse=True)
def _ranks_are_in_step():
    """All ranks have taken part in the same collective calls when a test is over."""
    yield
    assert COMM.allgather(RANK) == list(range(SIZE))


def raise_together(error: Exception, *failing: int) -> None:
    """Raise the error on the failing ranks, with all ranks to agree on it."""
    with agreed(COMM):
        if COMM.rank in failing:
            raise error


def test_nobody_fails() -> None:
    reached = []
    with agreed(COMM):
        reached.append("the block")
    reached.append("what follows it")
    assert COMM.allgather(reached) == [["the block", "what follows it"]] * SIZE


@pytest.mark.parametrize("error_class", [ConfigError, NumericalError, SnapshotError, ScheduleError])
@pytest.mark.parametrize("failing", range(SIZE))
def test_error_of_one_rank_is_raised_on_all(
    failing: int, error_class: type[BurgersAdjointError]
) -> None:
    with pytest.raises(BurgersAdjointError) as error:
        raise_together(error_class(f"from {failing}, 100 %"), failing)
    assert type(error.value) is error_class
    assert str(error.value) == f"from {failing}, 100 %"
    assert error.value.agreed
    assert not error_class.agreed
    assert error.value.exit_code == error_class.exit_code
    # the rank's own traceback is not lost
    has_cause = error.value.__cause__ is not None
    assert COMM.allgather(has_cause) == [rank == failing for rank in range(SIZE)]


@pytest.mark.parametrize(
    "failing", [(0, SIZE - 1), tuple(range(SIZE)), tuple(range(SIZE // 2, SIZE))], ids=str
)
def test_error_of_the_lowest_of_several_ranks_is_raised_on_all(failing: tuple[int, ...]) -> None:
    own = (ConfigError if RANK % 2 else NumericalError)(f"from {RANK}")
    with pytest.raises(BurgersAdjointError) as error:
        raise_together(own, *failing)
    assert str(error.value) == f"from {min(failing)}"
    assert type(error.value) is (ConfigError if min(failing) % 2 else NumericalError)


@pytest.mark.parametrize(
    ("foreign", "text"),
    [
        (ValueError("no good"), "ValueError: no good"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (MemoryError(), "MemoryError: "),
        (KeyError("u"), "KeyError: 'u'"),
        # exceptions that cannot be made again from their message
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"), "UnicodeDecodeError: 'utf-8' codec"),
        (TwoArgumentsError(3, "east"), "TwoArgumentsError: 3 points to the east"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_error_of_one_rank_names_the_rank_and_the_type(
    foreign: Exception, text: str
) -> None:
    failing = SIZE - 1
    with pytest.raises(BurgersAdjointError) as error:
        raise_together(foreign, failing)
    assert type(error.value) is BurgersAdjointError
    assert str(error.value).startswith(f"rank {failing}: {text}")
    assert error.value.agreed
    assert error.value.exit_code == 1


def raise_in_an_inner_block() -> None:
    with agreed(COMM):
        raise_together(ConfigError("inner"), SIZE - 1)


def test_error_of_an_inner_block_passes_through_the_outer_one() -> None:
    with pytest.raises(ConfigError, match=r"^inner$") as error:
        raise_in_an_inner_block()
    assert error.value.agreed


def test_blocks_that_fail_can_be_followed_by_blocks_that_do_not() -> None:
    for turn in range(3 * SIZE):
        raise_together(ConfigError("of nobody"))
        with pytest.raises(ConfigError, match=f"^turn {turn}$"):
            raise_together(ConfigError(f"turn {turn}"), turn % SIZE)


def test_interrupt_does_not_wait_for_the_other_ranks() -> None:
    if RANK == 0:
        with pytest.raises(KeyboardInterrupt), agreed(COMM):
            raise KeyboardInterrupt


def test_patient_barrier_lets_nobody_through_before_the_last() -> None:
    entered = 0.0
    COMM.Barrier()
    if RANK == SIZE - 1:
        time.sleep(0.2)
        entered = time.time()
    patient_barrier(COMM)
    left = time.time()
    last = COMM.bcast(entered, root=SIZE - 1)
    assert left >= last > 0

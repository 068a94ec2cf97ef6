"""A store in front of a slow one: who makes the transfers, and whose memory is whose."""

import math
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

from burgers_adjoint.checkpointing.residency import Move, Residency
from burgers_adjoint.errors import StorageError
from burgers_adjoint.snapshots import write_behind
from burgers_adjoint.snapshots.write_behind import WriteBehindStore

Array = np.ndarray


class Slow:
    """Keeps copies, after a sleep, and the threads that asked for them."""

    nbytes = 0

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.kept: dict[int, Array] = {}
        self.threads: list[str] = []
        self.fails = False

    def put(self, slot: int, step: int, buffer: Array) -> None:
        self._work()
        if self.fails:
            raise StorageError("the disk is gone")
        self.kept[slot] = buffer.copy()

    def get(self, slot: int, step: int, buffer: Array) -> None:
        self._work()
        buffer[:] = self.kept[slot]

    def close(self) -> None:
        self.kept.clear()

    def abandon(self) -> None:
        self.close()

    def _work(self) -> None:
        self.threads.append(threading.current_thread().name)
        time.sleep(self.seconds)


def store_of(slow: Slow, threaded: bool, buffers: int = 3) -> WriteBehindStore[Array]:
    return WriteBehindStore(
        slow, lambda: np.zeros(2), 10, buffers, threaded=threaded, exchanges=True
    )


@pytest.mark.parametrize("threaded", [False, True])
def test_states_come_and_go_without_copies_and_hold_what_they_held(
    threaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # on a busy machine a caller may wait for long in no time of its own
    monkeypatch.setattr(write_behind, "PATIENCE", math.inf)
    slow = Slow()
    store = store_of(slow, threaded)
    state = np.zeros(2)
    for step in range(10):
        state[:] = step
        given = store.hand_over(step, step, state)
        assert given is not state
        state = given
    for step in reversed(range(10)):
        (lent,) = store.lend([(step, step)])
        assert lent.tolist() == [step, step]
        taken = store.take_over(step, step, state)
        assert taken is not state
        assert taken.tolist() == [step, step]
        state = taken
    assert slow.threads
    assert set(slow.threads) == {"snapshots" if threaded else "MainThread"}
    store.close()


@pytest.mark.parametrize("threaded", [False, True])
def test_a_lent_state_stays_while_others_are_loaded_and_fetched(threaded: bool) -> None:
    store = store_of(Slow(), threaded, buffers=2)
    for step in range(6):
        store.save(step, step, lambda out, step=step: out.fill(step))  # type: ignore[misc]
    (lent,) = store.lend([(0, 0), (1, 1)])  # of two buffers one is kept
    for step in (5, 3, 4, 1, 2):
        store.fetch(step, step)
        found: list[float] = []
        store.load(step, step, lambda buffer, found=found: found.extend(buffer))  # type: ignore[misc]
        assert found == [step, step]
        assert lent.tolist() == [0, 0]
    store.close()


def test_the_caller_gives_transfers_to_a_thread_when_it_sleeps_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write_behind, "PATIENCE", 0.02)
    slow = Slow(seconds=0.005)
    store = store_of(slow, threaded=False)
    for step in range(10):
        store.save(step, step, lambda out, step=step: out.fill(step))  # type: ignore[misc]
    for step in reversed(range(10)):
        found: list[float] = []
        store.load(step, step, lambda buffer, found=found: found.extend(buffer))  # type: ignore[misc]
        assert found == [step, step]
        store.free(step)
    names = slow.threads
    assert names[0] == "MainThread"
    assert names[-1] == "snapshots"
    assert names == sorted(names)  # once given away they stay there
    store.close()


@pytest.mark.parametrize("threaded", [False, True])
def test_a_write_that_fails_is_raised_by_a_later_call(threaded: bool) -> None:
    slow = Slow()
    slow.fails = True
    store = store_of(slow, threaded)

    def save_often() -> None:
        for step in range(10):
            store.save(step, step, lambda out: out.fill(1))
        store.flush()

    with pytest.raises(StorageError, match=r"^the disk is gone$"):
        save_often()
    with suppress(StorageError):  # of what was on its way meanwhile
        store.close()


def test_moves_that_are_not_made_ahead_are_fewer() -> None:
    counts = []
    for ahead in (False, True):
        residency = Residency(2, ahead)
        orders = []
        for step in range(4):
            orders += residency.save(step, step)[1] + residency.settle()
        assert residency.fetch(0) == []
        writes = [order[1] for order in orders if order[0] is Move.WRITE]
        counts.append(writes)
    assert counts == [[0, 1], [0, 1, 2]]

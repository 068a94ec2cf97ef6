import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
from symbolic_machine import Recorded

from burgers_adjoint.checkpointing.actions import (
    Action,
    Advance,
    FusedAction,
    Load,
    Reverse,
    Save,
    Turn,
)
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.errors import ScheduleError, SnapshotError
from burgers_adjoint.protocols import AdjointModel
from burgers_adjoint.snapshots.memory import MemoryStore

Numbers = list[int]


class Orbit(AdjointModel[Numbers, Numbers, Numbers]):
    """x -> x^2 + n modulo a prime: exact, not linear, and different at every step."""

    prime = 2**31 - 1

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.final: Numbers = []
        self.buffers = 0

    def advance(self, state: Numbers, n0: int, n1: int) -> None:
        self.calls.append(f"advance {n0} {n1}")
        for n in range(n0, n1):
            state[0] = (state[0] * state[0] + n) % self.prime

    def seed(self, state: Numbers) -> Numbers:
        self.calls.append("seed")
        self.final = list(state)
        return [1]

    def adjoint_step(self, cotangent: Numbers, state: Numbers, n: int) -> None:
        self.calls.append(f"adjoint_step {n}")
        cotangent[0] = cotangent[0] * 2 * state[0] % self.prime

    def new_snapshot(self) -> Numbers:
        self.buffers += 1
        return [0]

    def snapshot(self, state: Numbers, out: Numbers) -> None:
        out[:] = state

    def restore(self, snapshot: Numbers, state: Numbers) -> None:
        state[:] = snapshot


def derivative(x: int, n_steps: int) -> int:
    """d(x at n_steps)/dx by the chain rule, forwards."""
    product = 1
    for n in range(n_steps):
        product = product * 2 * x % Orbit.prime
        x = (x * x + n) % Orbit.prime
    return product


def execute(schedule: Schedule) -> tuple[Executor[Numbers, Numbers, Numbers], Counts, Orbit]:
    model = Orbit()
    executor = Executor(model, schedule, MemoryStore(model.new_snapshot, schedule.slots))
    return executor, executor.run([3]), model


@pytest.mark.parametrize("n_steps", [1, 2, 3, 10, 37])
@pytest.mark.parametrize("snapshots", [1, 2, 3, 8, 100])
def test_every_schedule_gives_the_derivative(n_steps: int, snapshots: int) -> None:
    schedules: list[Schedule] = [Binomial(n_steps, snapshots), StoreAll(n_steps)]
    for schedule in schedules:
        executor, counts, model = execute(schedule)
        assert executor.cotangent == [derivative(3, n_steps)]
        assert counts.forward_steps == schedule.predicted_forward_steps
        assert counts.reverse_steps == n_steps
        assert counts.loads == n_steps - 1
        state = [3]
        model.advance(state, 0, n_steps)
        assert model.final == state


def test_a_range_is_one_call_and_the_last_step_is_taken_aside() -> None:
    _, counts, model = execute(Binomial(4, 1))
    assert model.calls == [
        "advance 0 3",
        "advance 3 4",
        "seed",
        "adjoint_step 3",
        "advance 0 2",
        "adjoint_step 2",
        "advance 0 1",
        "adjoint_step 1",
        "adjoint_step 0",
    ]
    assert model.buffers == 2
    assert (counts.forward_steps, counts.saves, counts.loads) == (7, 1, 3)


def test_the_seconds_are_those_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    model = Orbit()

    def slow(name: str, seconds: float) -> None:
        method = getattr(model, name)

        def call(*arguments: object) -> object:
            nonlocal now
            now += seconds
            return method(*arguments)

        monkeypatch.setattr(model, name, call)

    for name, seconds in [("advance", 1.0), ("seed", 10.0), ("adjoint_step", 100.0)]:
        slow(name, seconds)
    for name, seconds in [("snapshot", 1000.0), ("restore", 10000.0)]:
        slow(name, seconds)
    monkeypatch.setattr("burgers_adjoint.checkpointing.executor.perf_counter", lambda: now)
    counts = Executor(model, Binomial(4, 1), MemoryStore(model.new_snapshot, 1)).run([3])
    assert counts.seconds_forward == 4.0
    assert counts.seconds_adjoint == 410.0
    # One save and three loads, and the copy and its return at the turn.
    assert counts.seconds_snapshots == 42000.0


def test_the_observer_sees_every_action_with_the_counts_after_it() -> None:
    seen: list[tuple[FusedAction, int, int]] = []

    def observer(action: FusedAction, counts: Counts) -> None:
        seen.append((action, counts.forward_steps, counts.reverse_steps))

    model = Orbit()
    Executor(model, Binomial(3, 2), MemoryStore(model.new_snapshot, 2), observer).run([3])
    assert seen == [
        (Save(0, 0), 0, 0),
        (Advance(0, 1), 1, 0),
        (Save(1, 1), 1, 0),
        (Advance(1, 2), 2, 0),
        (Turn(2), 3, 0),
        (Reverse(2), 3, 1),
        (Load(1, 1, True), 3, 1),
        (Reverse(1), 3, 2),
        (Load(0, 0, True), 3, 2),
        (Reverse(0), 3, 3),
    ]


def test_a_long_advance_pauses_for_the_observer() -> None:
    seen: list[FusedAction] = []
    model = Orbit()

    def observer(action: FusedAction, counts: Counts) -> None:
        seen.append(action)
        assert isinstance(action, Save) or executor.position == action.step1
        if len(seen) == 4:
            raise StopHereError

    executor = Executor(model, Binomial(700, 1), MemoryStore(model.new_snapshot, 1), observer)
    executor.limit_runs(200)
    with pytest.raises(StopHereError):
        executor.run([3])
    assert seen == [Save(0, 0), Advance(0, 200), Advance(200, 256), Advance(256, 456)]
    assert executor.counts.forward_steps == 456


def test_a_run_is_carried_on_in_the_middle_of_a_long_advance() -> None:
    def observer(action: FusedAction, counts: Counts) -> None:
        if counts.forward_steps == 256:
            raise StopHereError

    schedule, state, model = Binomial(700, 1), [3], Orbit()
    store = MemoryStore(model.new_snapshot, 1)
    first = Executor(model, schedule, store, observer)
    with pytest.raises(StopHereError):
        first.run(state)
    rest = pickle.loads(pickle.dumps(schedule))
    second = Executor(model, rest, store, counts=first.counts, position=first.position)
    second.run(state)
    assert second.cotangent == [derivative(3, 700)]


class StopHereError(Exception):
    pass


@pytest.mark.parametrize(
    "make", [partial(Binomial, 9, 1), partial(Binomial, 12, 3), partial(StoreAll, 5)], ids=str
)
def test_a_run_is_carried_on_after_any_action(make: Callable[[], Schedule]) -> None:
    whole, counted, _ = execute(make())
    for stop in range(1, len(list(make())) + 1):
        left = stop

        def observer(action: FusedAction, counts: Counts) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise StopHereError

        schedule, state, model = make(), [3], Orbit()
        store = MemoryStore(model.new_snapshot, schedule.slots)
        first = Executor(model, schedule, store, observer)
        with pytest.raises(StopHereError):
            first.run(state)
        schedule, counts, position, cotangent = pickle.loads(
            pickle.dumps((schedule, first.counts, first.position, first.cotangent))
        )
        second = Executor(
            Orbit(), schedule, store, counts=counts, position=position, cotangent=cotangent
        )
        counts = second.run(state)
        assert second.cotangent == whole.cotangent
        for item in fields(Counts):
            if not item.name.startswith("seconds"):
                assert getattr(counts, item.name) == getattr(counted, item.name)


@pytest.mark.parametrize("make", [partial(Binomial, 12, 3), partial(StoreAll, 5)], ids=str)
def test_every_slot_is_freed_with_its_last_use(make: Callable[[], Schedule]) -> None:
    schedule, model = make(), Orbit()
    store = MemoryStore(model.new_snapshot, schedule.slots)
    Executor(model, schedule, store).run([3])
    for slot in range(schedule.slots):
        with pytest.raises(SnapshotError, match=f"slot {slot} is empty"):
            store.free(slot)


def test_an_executor_runs_once_and_its_store_again() -> None:
    model = Orbit()
    store = MemoryStore(model.new_snapshot, 3)
    executor = Executor(model, Binomial(10, 3), store)
    executor.run([3])
    with pytest.raises(ScheduleError, match="this executor has run: make a new one for every grad"):
        executor.run([3])
    again = Executor(model, Binomial(10, 3), store)
    again.run([4])
    assert again.cotangent == [derivative(4, 10)]


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([Advance(1, 2)], "cannot advance .* step 2: the working state is at the start of step 0"),
        ([Advance(0, 0)], "cannot advance .* step 0: that is no step forward"),
        ([Save(4, 0)], "cannot save .*: the working state is at the start of step 0"),
        ([Turn(2)], "cannot turn: .*: the working state is at the start of step 0"),
        ([Turn(0)], "cannot turn: .*: there are 3 steps"),
        ([Advance(0, 2), Turn(2), Turn(2)], "cannot turn: .*: the cotangent is seeded already"),
        ([Reverse(2)], "cannot reverse step 2: the working state is at the start of step 0"),
        ([Reverse(0)], "cannot reverse step 0: the cotangent has not been seeded"),
        (
            [Save(0, 0), Advance(0, 2), Turn(2), Load(0, 0, False), Reverse(0)],
            "cannot reverse step 0: the cotangent is at the start of step 3",
        ),
        (
            [Save(0, 0), Advance(0, 2), Turn(2), Reverse(2)],
            "the recorded schedule reversed 1 steps of 3",
        ),
        (
            [
                *(Save(0, 0), Advance(0, 2), Turn(2), Reverse(2)),
                *(Load(0, 0, False), Advance(0, 2), Load(0, 0, False), Advance(0, 1), Reverse(1)),
                *(Load(0, 0, False), Reverse(0)),
            ],
            "the recorded schedule took 6 forward steps, not 4 as its formula says",
        ),
    ],
    ids=lambda value: "" if isinstance(value, list) else None,
)
def test_a_wrong_schedule_ends_with_the_numbers(actions: list[Action], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        execute(Recorded(actions, Binomial(3, 1)))


def test_a_wrong_load_is_the_stores_error() -> None:
    wrong: list[Action] = [Save(0, 0), Advance(0, 1), Load(1, 0, False)]
    with pytest.raises(SnapshotError, match="slot 0 holds step 0, not step 1"):
        execute(Recorded(wrong, Binomial(3, 1)))


def test_the_engine_needs_no_third_party_package() -> None:
    program = """
import sys
from burgers_adjoint.checkpointing import binomial, executor, store_all
from burgers_adjoint.snapshots import memory
print(*sorted({"numpy", "numba", "mpi4py", "h5py", "msgspec", "click"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert done.stdout == "\n"

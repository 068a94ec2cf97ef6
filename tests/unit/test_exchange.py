"""Stores that swap memory with the working state instead of copying it."""

from collections.abc import Callable

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.model import Recipe
from burgers_adjoint.checkpointing.actions import Action, Advance, Load, Reverse, Save, Turn
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.errors import ScheduleError, SnapshotError
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.planning.measure import Stopwatch
from burgers_adjoint.snapshots.memory import MemoryStore
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.time_steps import TimeSteps

Array = np.ndarray
SCHEDULES: list[Callable[[int], Schedule]] = [
    StoreAll,
    *(lambda n, s=s: Binomial(n, s) for s in (1, 2, 3, 5)),
]


def model_on(periodic: bool) -> tuple[Model, Array]:
    grid = Grid(13, 9, (0.0, 3.0), (-1.0, 1.0), periodic)
    decomposition = Decomposition(MPI.COMM_SELF, grid.shape, periodic)
    model = Recipe(viscosity=0.05).model(grid, decomposition, TimeSteps(0.01))
    return model, np.random.default_rng(3).normal(size=(2, *grid.shape))


def gradient(model: Model, fields: Array, schedule: Schedule, exchanges: bool) -> list[bytes]:
    new_buffer = model.new_state if exchanges else model.new_snapshot
    store = MemoryStore(new_buffer, schedule.slots, exchanges)
    executor = Executor(model, schedule, store)
    executor.run(model.initial_state(fields))
    assert executor.cotangent is not None
    parts = model.gradient(executor.cotangent)
    return [model.final.tobytes(), *(np.asarray(part).tobytes() for part in parts.values())]


@pytest.mark.parametrize("new_schedule", SCHEDULES)
@pytest.mark.parametrize("periodic", [False, True])
def test_swapping_gives_the_bits_of_copying(
    periodic: bool, new_schedule: Callable[[int], Schedule]
) -> None:
    model, fields = model_on(periodic)
    for n_steps in (1, 2, 3, 7, 20):
        copied = gradient(model, fields, new_schedule(n_steps), exchanges=False)
        assert gradient(model, fields, new_schedule(n_steps), exchanges=True) == copied


def test_stepping_from_a_state_leaves_it_and_every_point_of_the_target_is_set() -> None:
    model, fields = model_on(periodic=False)
    source, target, stepped = (model.initial_state(fields) for _ in range(3))
    target[...] = np.nan
    model.advance_from(source, target, 0, 3)
    model.advance(stepped, 0, 3)
    own = model.layout.interior
    np.testing.assert_array_equal(own(source), fields)
    np.testing.assert_array_equal(own(target), own(stepped))


def test_memory_store_swaps_and_keeps_its_promises() -> None:
    store = MemoryStore(lambda: np.zeros(2), capacity=1, exchanges=True)
    state = np.ones(2)
    other = store.hand_over(0, 5, state)
    assert other is not state
    with pytest.raises(SnapshotError, match="slot 0 holds step 5, not step 4"):
        store.take_over(0, 4, other)
    assert store.take_over(0, 5, other) is state
    with pytest.raises(SnapshotError, match="slot 0 is empty: it does not hold step 5"):
        store.take_over(0, 5, other)


def test_model_that_cannot_step_from_state_to_state_is_refused() -> None:
    model, fields = model_on(periodic=False)
    model.exchanges = False
    store = MemoryStore(model.new_state, capacity=1, exchanges=True)
    message = r"needs a model that steps from one to another: Model does not \(protocols.Adjoint"
    with pytest.raises(ScheduleError, match=message):
        Executor(model, Binomial(3, 1), store).run(model.initial_state(fields))


class Overwriting(Schedule):
    """Four steps, and a slot that is written twice without being freed."""

    name = "overwriting"

    def __init__(self) -> None:
        self.n_steps, self.snapshots, self.slots, self.done = 4, 2, 2, 0
        self.actions: list[Action] = [
            Save(0, 0), Advance(0, 1), Save(1, 1), Advance(1, 2), Save(2, 1), Advance(2, 3),
            Turn(3), Reverse(3), Load(2, 1, True), Reverse(2), Load(0, 0, False), Advance(0, 1),
            Reverse(1), Load(0, 0, True), Reverse(0),
        ]  # fmt: skip

    @property
    def predicted_forward_steps(self) -> int:
        return 5

    def next_action(self) -> Action | None:
        self.done += 1
        return self.actions[self.done - 1] if self.done <= len(self.actions) else None


def test_a_slot_that_is_written_twice_holds_the_later_state() -> None:
    model, fields = model_on(periodic=False)
    copied = gradient(model, fields, StoreAll(4), exchanges=False)
    for exchanges in (False, True):
        assert gradient(model, fields, Overwriting(), exchanges) == copied


@pytest.mark.parametrize("exchanges", [False, True])
def test_all_steps_of_calls_for_several_are_timed(exchanges: bool) -> None:
    model, fields = model_on(periodic=False)
    stopwatch = Stopwatch(model.stepper.finish)
    schedule = Binomial(10, 10)
    new_buffer = model.new_state if exchanges else model.new_snapshot
    executor = Executor(
        model, schedule, MemoryStore(new_buffer, schedule.slots, exchanges), stopwatch
    )
    executor.run(model.initial_state(fields))
    steps = {"Advance": 0, "AdvanceSaving": 0, "Reverse": 0, "ReverseLoading": 0}
    for (kind, length), seconds in stopwatch.seconds.items():
        if kind in steps:
            steps[kind] += length * len(seconds)
    # the last step is taken at the turn
    if exchanges:
        assert steps == {"Advance": 0, "AdvanceSaving": 9, "Reverse": 0, "ReverseLoading": 10}
    else:
        assert steps == {"Advance": 9, "AdvanceSaving": 0, "Reverse": 10, "ReverseLoading": 0}

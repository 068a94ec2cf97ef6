import pickle
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbolic_machine import run_online

from burgers_adjoint.checkpointing.actions import Action, Advance, Save
from burgers_adjoint.checkpointing.binomial import least_forward_steps
from burgers_adjoint.checkpointing.online import Online
from burgers_adjoint.errors import ConfigError, ScheduleError


def two_repetitions(snapshots: int) -> int:
    return (snapshots + 1) * (snapshots + 2) // 2


def test_it_is_optimal_up_to_two_repetitions() -> None:
    for snapshots in range(1, 13):
        for n_steps in range(1, two_repetitions(snapshots) + 1):
            machine = run_online(Online(snapshots), n_steps, ahead=True)
            assert machine.forward_steps == least_forward_steps(n_steps, snapshots) + 1


# The most that it may take beyond the fewest, per snapshots, up to five repetitions.
EXCESS = {2: 0.13, 3: 0.1, 4: 0.06, 5: 0.04, 8: 0.015, 12: 0.006}


@pytest.mark.parametrize("snapshots", EXCESS)
def test_it_goes_on_beyond_two_repetitions(snapshots: int) -> None:
    first = two_repetitions(snapshots)
    for n_steps in range(first, min(first * 12, first + 400), 1 + first // 15):
        machine = run_online(Online(snapshots), n_steps, ahead=True)
        least = least_forward_steps(n_steps, snapshots) + 1
        assert machine.forward_steps <= least * (1 + EXCESS[snapshots])
        assert machine.most_live <= snapshots


def test_an_end_that_is_found_when_it_is_reached_costs_the_way_from_the_last_snapshot() -> None:
    for snapshots in range(1, 9):
        for n_steps in range(1, 2 * two_repetitions(snapshots)):
            late = run_online(Online(snapshots), n_steps, ahead=False)
            early = run_online(Online(snapshots), n_steps, ahead=True)
            repetitions = 1
            while comb(snapshots + repetitions, snapshots) < n_steps:
                repetitions += 1
            # about as many steps as are between two snapshots
            assert 0 <= late.forward_steps - early.forward_steps <= repetitions + 2


@settings(max_examples=25, deadline=None)
@given(n_steps=st.integers(1, 3000), snapshots=st.integers(1, 150), ahead=st.booleans())
def test_every_case_runs(n_steps: int, snapshots: int, ahead: bool) -> None:
    machine = run_online(Online(snapshots), n_steps, ahead)
    if snapshots > 2 and ahead:
        assert machine.forward_steps <= 1.1 * (least_forward_steps(n_steps, snapshots) + 1)


def test_the_way_through_the_snapshots_is_short() -> None:
    """The search for a snapshot that may go is the one loop of an action."""
    schedule = Online(100)
    looked = 0

    class Counted(list):  # type: ignore[type-arg]
        def __getitem__(self, index: object) -> object:
            nonlocal looked
            looked += 1
            return super().__getitem__(index)  # type: ignore[call-overload]

    schedule.live = Counted()
    actions = 0
    while schedule.position < 30_000:
        schedule.next_action()
        actions += 1
    assert looked < 12 * actions


def tell(schedule: Online, action: Action, known_at: int, n_steps: int) -> None:
    if schedule.n_steps is None and isinstance(action, Advance) and action.step1 >= known_at:
        schedule.end(n_steps, known_at)


def test_a_copy_goes_on_with_the_same_actions() -> None:
    for n_steps, snapshots, ahead in ((1, 1, True), (5, 1, False), (23, 3, True), (40, 4, False)):
        known_at = n_steps - ahead

        def play(schedule: Online, known_at: int, n_steps: int) -> list[Action]:
            actions: list[Action] = []
            while (action := schedule.next_action()) is not None:
                actions.append(action)
                tell(schedule, action, known_at, n_steps)
            return actions

        whole = play(Online(snapshots), known_at, n_steps)
        schedule = Online(snapshots)
        for done in range(len(whole)):
            copy = pickle.loads(pickle.dumps(schedule))
            assert play(copy, known_at, n_steps) == whole[done:]
            action = schedule.next_action()
            if action is not None:
                tell(schedule, action, known_at, n_steps)


def test_an_end_that_is_known_from_the_beginning_is_made_use_of() -> None:
    for n_steps, snapshots in ((1, 1), (100, 5), (1000, 10)):
        schedule = Online(snapshots)
        assert schedule.next_action() == Save(0, 0)
        assert isinstance(schedule.next_action(), Advance)
        schedule.end(n_steps, 0)
        assert schedule.predicted_forward_steps == least_forward_steps(n_steps, snapshots) + 1


def test_an_end_that_cannot_be_is_refused() -> None:
    schedule = Online(3)
    for _ in range(8):
        schedule.next_action()
    last = schedule.live[-1][0]
    for n_steps, position in ((last + 3, last - 1), (last + 3, last + 4)):
        with pytest.raises(ScheduleError, match=f"{n_steps} steps cannot be at step {position}"):
            schedule.end(n_steps, position)
    schedule.end(last + 2, last + 1)
    with pytest.raises(ScheduleError, match=f"knows its {last + 2} steps"):
        schedule.end(last + 2, last + 1)


@pytest.mark.parametrize("snapshots", [0, -2])
def test_snapshots_below_one_are_refused(snapshots: int) -> None:
    with pytest.raises(ConfigError, match=f"^snapshots must be at least 1, not {snapshots}$"):
        Online(snapshots)


def test_more_snapshots_than_can_be_planned_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"every snapshot: at most 100000, not 10000000000$"):
        Online(10**10)

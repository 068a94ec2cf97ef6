"""Schedules with snapshots in memory and on disk."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbolic_machine import run

from burgers_adjoint.checkpointing.actions import Fetch, Load, Reverse, Save
from burgers_adjoint.checkpointing.binomial import Binomial, least_forward_steps, least_saves
from burgers_adjoint.checkpointing.multistage import Multistage, uses_of_places
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.errors import ConfigError


def test_multistage_takes_the_steps_of_binomial_with_all_snapshots() -> None:
    for n_steps in range(1, 61):
        for in_memory in range(7):
            for on_disk in range(in_memory == 0, 7):
                machine = run(Multistage(n_steps, in_memory, on_disk))
                total = in_memory + on_disk
                assert machine.forward_steps == least_forward_steps(n_steps, total) + 1
                assert machine.saves == least_saves(n_steps, total)
                assert machine.most_live <= in_memory
                assert machine.most_on_disk <= on_disk


def counted_uses(n_steps: int, snapshots: int) -> list[int]:
    schedule = Binomial(n_steps, snapshots)
    uses = [0] * schedule.slots
    for action in schedule:
        if isinstance(action, Save | Load):
            uses[action.slot] += 1
    return uses


def test_the_uses_of_every_place_are_counted_without_the_actions() -> None:
    for n_steps in range(2, 90):
        for snapshots in range(1, 14):
            uses = counted_uses(n_steps, snapshots)
            assert uses_of_places(n_steps, snapshots) == uses
            machine = run(Multistage(n_steps, snapshots // 2, snapshots - snapshots // 2))
            least = sum(sorted(uses)[: max(0, len(uses) - snapshots // 2)])
            assert machine.disk_saves + machine.disk_loads == least
    assert sum(uses_of_places(10**6, 100)) == 823_149 + 999_999


def ranges_of(n_steps: int, count: int) -> list[int]:
    return [n_steps // count + (i < n_steps % count) for i in range(count)]


def test_two_level_reads_and_writes_every_disk_snapshot_once_and_fetches_it_ahead() -> None:
    for n_steps in range(1, 61):
        for in_memory in range(1, 7):
            for on_disk in range(1, 10):
                machine = run(TwoLevel(n_steps, in_memory, on_disk))
                lengths = ranges_of(n_steps, min(on_disk + 1, n_steps))
                inside = sum(least_forward_steps(n, in_memory) for n in lengths)
                assert machine.forward_steps == n_steps - lengths[-1] + inside + 1
                assert machine.disk_saves == machine.disk_loads == machine.fetches
                assert machine.disk_saves == len(lengths) - 1
                assert machine.disk_loads_not_fetched == 0
                assert machine.most_live <= in_memory
                assert machine.most_on_disk <= on_disk


def test_a_fetch_has_the_time_of_a_whole_range() -> None:
    actions = list(TwoLevel(100, 3, 4))
    for index, action in enumerate(actions):
        if isinstance(action, Fetch):
            load = actions.index(Load(action.step, action.slot, True))
            reversed_between = sum(isinstance(a, Reverse) for a in actions[index:load])
            assert reversed_between == 20


def test_two_level_is_near_to_binomial_with_as_many_snapshots_in_memory() -> None:
    for n_steps, in_memory, on_disk in ((1000, 15, 15), (1000, 10, 20), (10_000, 50, 50)):
        schedule = TwoLevel(n_steps, in_memory, on_disk)
        least = least_forward_steps(n_steps, in_memory + on_disk) + 1
        assert schedule.predicted_forward_steps <= 1.12 * least


@settings(max_examples=30, deadline=None)
@given(n_steps=st.integers(1, 2000), in_memory=st.integers(1, 60), on_disk=st.integers(1, 60))
def test_larger_cases_run(n_steps: int, in_memory: int, on_disk: int) -> None:
    run(TwoLevel(n_steps, in_memory, on_disk))
    run(Multistage(n_steps, in_memory, on_disk))


@pytest.mark.parametrize("kind", [Multistage, TwoLevel])
def test_a_copy_goes_on_with_the_same_actions(kind: type[Schedule]) -> None:
    for arguments in ((1, 1, 1), (2, 1, 3), (17, 2, 3), (23, 3, 1)):
        actions = list(kind(*arguments))
        schedule = kind(*arguments)
        for done in range(len(actions) + 1):
            assert list(pickle.loads(pickle.dumps(schedule))) == actions[done:]
            schedule.next_action()


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^snapshots_on_disk must be at least 1, not 0$"):
        TwoLevel(10, 3, 0)
    with pytest.raises(ConfigError, match=r"^snapshots must be at least 1, not 0$"):
        TwoLevel(10, 0, 3)
    with pytest.raises(ConfigError, match=r"at least 0, not 3 and -1$"):
        Multistage(10, 3, -1)
    with pytest.raises(ConfigError, match=r"^snapshots must be at least 1, not 0$"):
        Multistage(10, 0, 0)
    with pytest.raises(ConfigError, match=r"weighs every snapshot: at most 10000 of 1000000 steps"):
        Multistage(10**6, 10**5, 3)

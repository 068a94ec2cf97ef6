"""Runs of actions that are one action: what they are runs of, and how far they go."""

import copy
import pickle
from collections.abc import Callable, Iterable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from symbolic_machine import Recorded, machine_for

from burgers_adjoint.checkpointing.actions import (
    Action,
    Advance,
    AdvanceSaving,
    FusedAction,
    Load,
    Reverse,
    ReverseLoading,
    Save,
    Turn,
    parts_of,
)
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.fusion import Fusion, Limits, fused
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.online import Online
from burgers_adjoint.checkpointing.periodic import Periodic
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel

SPOKEN: dict[AdvanceSaving | ReverseLoading, str] = {
    AdvanceSaving(3, 6, (0, 4, 2)): "advance from the start of step 3 to the start of step 6, "
    "saving the starts from step 3 on to slots 0, 4, 2",
    AdvanceSaving(3, 5, (4,)): "advance from the start of step 3 to the start of step 5, "
    "saving the starts from step 4 on to slots 4",
    ReverseLoading(9, (4, 1)): "reverse the steps from 9 down to 7, "
    "loading their starts from slots 4, 1 and freeing these",
}
PARTS: dict[FusedAction, list[Action]] = {
    AdvanceSaving(3, 5, (0, 4)): [Save(3, 0), Advance(3, 4), Save(4, 4), Advance(4, 5)],
    AdvanceSaving(3, 5, (4,)): [Advance(3, 4), Save(4, 4), Advance(4, 5)],
    ReverseLoading(9, (4,)): [Reverse(9), Load(8, 4, True), Reverse(8)],
    Turn(4): [Turn(4)],
}
BEGINNING: list[Schedule] = [
    *(Binomial(n, s) for n, s in ((1, 1), (2, 5), (7, 6), (30, 4), (57, 9), (200, 40))),
    *(StoreAll(n) for n in (1, 2, 90)),
    Periodic(30, 7),
    Multistage(40, 3, 4),
    TwoLevel(60, 4, 3),
]
# snapshots that somebody else has placed, some to be dropped or moved
RESUMED = [
    Binomial.resume(60, 5, [(0, 0), (3, 2), (4, 1), (50, 4)], position=52),
    Binomial.resume(60, 4, [(0, 0), (9, 2), (10, 1), (11, 3)], to_reverse=40),
]


def named(schedule: Schedule) -> str:
    return f"{schedule.name}-{schedule.n_steps}-{schedule.slots}"


def joined(actions: Iterable[Action]) -> list[Action]:
    """The actions, with long advances that come in pieces in one piece."""
    found: list[Action] = []
    for action in actions:
        before = found[-1] if found else None
        if isinstance(action, Advance) and isinstance(before, Advance):
            action = Advance(before.step0, action.step1)
            found.pop()
        found.append(action)
    return found


@pytest.mark.parametrize("action", SPOKEN, ids=repr)
def test_a_run_is_a_spoken_frozen_value(action: Any) -> None:
    assert str(action) == SPOKEN[action]
    assert pickle.loads(pickle.dumps(action)) == action
    with pytest.raises(FrozenInstanceError):
        action.slots = ()


@pytest.mark.parametrize("action", PARTS, ids=repr)
def test_a_run_has_parts(action: FusedAction) -> None:
    assert list(parts_of(action)) == PARTS[action]


@pytest.mark.parametrize("fits", [None, lambda slot: True, lambda slot: slot % 3 != 1])
@pytest.mark.parametrize("limits", [Limits(), Limits(5, 3), Limits(1, 1)])
@pytest.mark.parametrize("schedule", [*BEGINNING, *RESUMED], ids=named)
def test_runs_have_the_schedules_actions_and_the_schedule_is_right_behind_them(
    schedule: Schedule, limits: Limits, fits: Callable[[int], bool] | None
) -> None:
    whole = joined(copy.deepcopy(schedule))
    going, done = copy.deepcopy(schedule), list[Action]()
    for action in fused(going, limits, fits):
        done += parts_of(action)
        assert joined([*done, *pickle.loads(pickle.dumps(going))]) == whole
    assert joined(done) == whole


@pytest.mark.parametrize("schedule", [*BEGINNING, *RESUMED], ids=named)
def test_runs_are_as_long_as_can_be(schedule: Schedule) -> None:
    """What native shortcuts of a schedule find is what its actions one by one show."""
    plain = Recorded(list(copy.deepcopy(schedule)), schedule)
    for limits in (Limits(), Limits(5, 3)):
        for fits in (lambda slot: True, lambda slot: slot % 3 != 1):
            expected = list(fused(copy.deepcopy(plain), limits, fits))
            assert list(fused(copy.deepcopy(schedule), limits, fits)) == expected


@pytest.mark.parametrize("schedule", BEGINNING, ids=named)
def test_the_symbolic_machine_carries_runs_out(schedule: Schedule) -> None:
    one_by_one, by_runs = machine_for(schedule), machine_for(schedule)
    for action in copy.deepcopy(schedule):
        one_by_one.perform(action)
    going = copy.deepcopy(schedule)
    for fused_action in fused(going, Limits(), lambda slot: True):
        by_runs.perform(fused_action)
    by_runs.finish(going)
    assert by_runs == one_by_one


def test_a_whole_sweep_of_single_steps_is_one_action_each_way() -> None:
    assert list(fused(StoreAll(5), Limits(), lambda slot: True)) == [
        AdvanceSaving(0, 4, (0, 1, 2, 3)),
        Turn(4),
        ReverseLoading(4, (3, 2, 1, 0)),
    ]


@pytest.mark.parametrize("schedule", [*BEGINNING, *RESUMED], ids=named)
def test_limits_may_change_at_any_action_and_the_schedule_can_be_gone_on_with(
    schedule: Schedule,
) -> None:
    whole = joined(copy.deepcopy(schedule))
    for stop in (1, 2, 5, 20):
        going, done = copy.deepcopy(schedule), list[Action]()
        fusion = Fusion(going, lambda slot: True)
        for number, action in enumerate(fusion):
            parts = list(parts_of(action))
            advance, reversal = fusion.limits.advance, fusion.limits.reversal
            assert sum(isinstance(part, Reverse) for part in parts) <= reversal
            assert sum(p.step1 - p.step0 for p in parts if isinstance(p, Advance)) <= advance
            done += parts
            if number == stop:
                break
            fusion.limits.advance, fusion.limits.reversal = 1 + number * 7 % 5, 1 + number % 3
        fusion.rewind()
        assert joined([*done, *pickle.loads(pickle.dumps(going))]) == whole


@pytest.mark.parametrize(
    ("action", "first", "rest"),
    [
        (Advance(3, 9), Advance(3, 5), [Advance(5, 9)]),
        (AdvanceSaving(3, 6, (7, 8, 9)), AdvanceSaving(3, 5, (7, 8)), [AdvanceSaving(5, 6, (9,))]),
        (AdvanceSaving(3, 7, (7, 8, 9)), AdvanceSaving(3, 5, (7,)), [AdvanceSaving(5, 7, (8, 9))]),
        (ReverseLoading(9, (4, 1)), ReverseLoading(9, (4,)), [Load(7, 1, True), Reverse(7)]),
        (
            ReverseLoading(9, (4, 1, 2)),
            ReverseLoading(9, (4,)),
            [Load(7, 1, True), ReverseLoading(7, (2,))],
        ),
    ],
    ids=repr,
)
def test_actions_are_split(action: Any, first: FusedAction, rest: list[FusedAction]) -> None:
    assert action.split(2) == (first, *rest)
    parts = [part for one in (first, *rest) for part in parts_of(one)]
    assert joined(parts) == joined(parts_of(action))


def test_the_first_of_a_run_stands_alone() -> None:
    run = AdvanceSaving(3, 7, (7, 8, 9))
    assert run.split(1) == (Advance(3, 4), AdvanceSaving(4, 7, (7, 8, 9)))
    assert ReverseLoading(9, (4,)).split(1) == (Reverse(9), Load(8, 4, True), Reverse(8))


def test_nothing_is_fused_while_nobody_knows_the_end() -> None:
    schedule = Online(10)
    for actions in (
        fused(copy.deepcopy(schedule), Limits(), lambda slot: True),
        iter(Fusion(schedule, lambda slot: True)),
    ):
        assert [next(actions) for _ in range(4)] == [
            Save(0, 0),
            Advance(0, 1),
            Save(1, 1),
            Advance(1, 2),
        ]
    schedule.end(9, 2)
    assert [type(action) for action in actions] == [AdvanceSaving, Turn, ReverseLoading]

import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from functools import partial

import pytest
from symbolic_machine import MachineError, Recorded, SymbolicMachine, run

from burgers_adjoint.checkpointing.actions import (
    Action,
    Advance,
    Fetch,
    Free,
    Load,
    Reverse,
    Save,
    Seed,
    Turn,
)
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll

SPOKEN: dict[Action, str] = {
    Advance(10, 25): "advance from the start of step 10 to the start of step 25",
    Save(10, 3): "save the start of step 10 to slot 3",
    Load(10, 3, False): "load the start of step 10 from slot 3",
    Load(10, 3, True): "load the start of step 10 from slot 3 and free the slot",
    Fetch(10, 3): "fetch the start of step 10 ahead from slot 3",
    Free(10, 3): "forget the start of step 10 in slot 3",
    Seed(100): "seed the cotangent at the start of step 100, the end",
    Turn(99): "turn: take the last step, 99, aside and seed the cotangent at its end",
    Reverse(98): "reverse step 98",
}


@pytest.mark.parametrize("action", SPOKEN, ids=repr)
def test_an_action_is_a_spoken_frozen_value(action: Action) -> None:
    assert str(action) == SPOKEN[action]
    copy = pickle.loads(pickle.dumps(action))
    assert copy == action
    assert hash(copy) == hash(action)
    assert not hasattr(action, "__dict__")
    with pytest.raises(FrozenInstanceError):
        setattr(action, fields(action)[0].name, 0)


def test_actions_of_different_kinds_differ() -> None:
    assert Turn(3) != Reverse(3)
    assert Advance(3, 4) != Save(3, 4)
    assert Fetch(3, 4) != Free(3, 4)
    assert len(SPOKEN) == 9


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (Advance(1, 2), "cannot advance .*: the state is at 2"),
        (Advance(2, 2), "it is no step forward"),
        (Advance(2, 5), "step 4 is to be reversed"),
        (Save(3, 1), "the state is at 2"),
        (Save(2, 2), "there are 2 slots"),
        (Save(2, 0), "the slot holds 0"),
        (Load(0, 1, False), "the slot is empty"),
        (Load(1, 0, False), "it holds 0"),
        (Fetch(0, 1), "the slot is empty"),
        (Fetch(0, 0), "it is in memory"),
        (Free(1, 0), "it holds 0"),
        (Seed(2), "there are 5 steps"),
        (Turn(3), "there are 5 steps"),
        (Turn(4), "the state is at 2"),
        (Reverse(4), "there is no cotangent"),
    ],
    ids=repr,
)
def test_the_machine_gives_the_reason(action: Action, reason: str) -> None:
    machine = SymbolicMachine(n_steps=5, snapshots=2, slots=2)
    machine.perform(Save(0, 0))
    machine.perform(Advance(0, 2))
    with pytest.raises(MachineError, match=reason):
        machine.perform(action)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (Turn(4), "it has been taken"),
        (Reverse(4), "the cotangent is at 3"),
        (Reverse(2), "the state is at 3"),
        (Load(3, 1, True), "that state is in hand"),
        (Save(3, 2), "it is saved already"),
    ],
    ids=repr,
)
def test_the_machine_gives_the_reason_after_the_turn(action: Action, reason: str) -> None:
    machine = SymbolicMachine(n_steps=5, snapshots=3, slots=3)
    for good in (Save(0, 0), Advance(0, 3), Save(3, 1), Advance(3, 4), Turn(4), Reverse(4)):
        machine.perform(good)
    for good in (Load(3, 1, False), Reverse(3)):
        machine.perform(good)
    with pytest.raises(MachineError, match=reason):
        machine.perform(action)


def test_the_machine_refuses_a_state_that_is_of_no_more_use() -> None:
    machine = SymbolicMachine(
        n_steps=5, snapshots=2, slots=2, position=0, turned=True, to_reverse=3, held={0: 0, 1: 3}
    )
    with pytest.raises(MachineError, match="only 3 steps are left"):
        machine.perform(Load(3, 1, True))


def test_the_machine_holds_the_snapshot_limit() -> None:
    machine = SymbolicMachine(n_steps=5, snapshots=1, slots=2)
    machine.perform(Save(0, 0))
    machine.perform(Advance(0, 1))
    with pytest.raises(MachineError, match="2 are alive"):
        machine.perform(Save(1, 1))


def test_the_machine_wants_the_promised_end() -> None:
    schedule = Binomial(6, 2)
    actions = list(Binomial(6, 2))
    with pytest.raises(MachineError, match="1 steps are not reversed"):
        run(Recorded(actions[:-1], schedule))
    wrong = Recorded(actions, schedule)
    wrong.promised += 1
    with pytest.raises(MachineError, match=f"{wrong.promised - 1} forward steps, not"):
        run(wrong)
    kept = [replace(a, free=False) if isinstance(a, Load) and a.step == 0 else a for a in actions]
    with pytest.raises(MachineError, match=r"slots are left alive: \{0: 0\}"):
        run(Recorded(kept, schedule))


def neighbours(action: Action) -> list[Action]:
    """Every action that differs from this one in one number by one, or in its flag."""
    found: list[Action] = []
    for item in fields(action):
        value = getattr(action, item.name)
        others = [not value] if isinstance(value, bool) else [value - 1, value + 1]
        found += [replace(action, **{item.name: other}) for other in others]
    return found


@pytest.mark.parametrize(
    "make", [partial(Binomial, 10, 3), partial(Binomial, 7, 1), partial(StoreAll, 6)], ids=str
)
def test_every_single_fault_of_a_schedule_is_caught(make: Callable[[], Schedule]) -> None:
    schedule = make()
    actions = list(schedule)
    run(Recorded(actions, schedule))
    for i, action in enumerate(actions):
        before, after = actions[:i], actions[i + 1 :]
        faulty = [before + after, [*before, action, action, *after]]
        faulty += [[*before, other, *after] for other in neighbours(action)]
        if after:
            faulty.append([*before, after[0], action, *after[1:]])
        for wrong in faulty:
            with pytest.raises(MachineError):
                run(Recorded(wrong, schedule))

import pickle

import pytest
from symbolic_machine import run

from burgers_adjoint.checkpointing.actions import Advance, Load, Reverse, Save, Turn
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.errors import ConfigError


def test_no_step_is_taken_twice() -> None:
    for n_steps in range(1, 121):
        machine = run(StoreAll(n_steps))
        assert machine.forward_steps == n_steps
        assert machine.saves == machine.loads == machine.most_live == n_steps - 1


def test_the_actions_of_three_steps() -> None:
    assert list(StoreAll(3)) == [
        Save(0, 0),
        Advance(0, 1),
        Save(1, 1),
        Advance(1, 2),
        Turn(2),
        Reverse(2),
        Load(1, 1, True),
        Reverse(1),
        Load(0, 0, True),
        Reverse(0),
    ]


def test_a_copy_goes_on_with_the_same_actions() -> None:
    for n_steps in range(1, 8):
        actions = list(StoreAll(n_steps))
        schedule = StoreAll(n_steps)
        for done in range(len(actions) + 1):
            assert list(pickle.loads(pickle.dumps(schedule))) == actions[done:]
            schedule.next_action()


def test_its_state_does_not_grow() -> None:
    schedule = StoreAll(10**9)
    size = len(pickle.dumps(schedule))
    for _ in range(10_000):
        schedule.next_action()
    assert abs(len(pickle.dumps(schedule)) - size) < 16


@pytest.mark.parametrize("n_steps", [0, -3])
def test_steps_below_one_are_refused(n_steps: int) -> None:
    with pytest.raises(ConfigError, match=f"^n_steps must be at least 1, not {n_steps}$"):
        StoreAll(n_steps)

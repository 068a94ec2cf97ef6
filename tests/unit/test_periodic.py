import pickle

import pytest
from symbolic_machine import run

from burgers_adjoint.checkpointing.periodic import Periodic, shortest_period, slots_needed
from burgers_adjoint.errors import ConfigError


def test_every_case_takes_no_step_more_than_twice() -> None:
    for n_steps in range(1, 61):
        for period in range(1, n_steps + 3):
            machine = run(Periodic(n_steps, period))
            periods = -(-n_steps // period)
            assert machine.forward_steps == n_steps + (periods - 1) * (period - 1)
            assert machine.saves == machine.loads - (periods - 1 if period > 1 else 0)
            assert machine.most_live == slots_needed(n_steps, period)


def test_a_copy_goes_on_with_the_same_actions() -> None:
    for n_steps, period in ((1, 1), (7, 3), (12, 4), (9, 20)):
        actions = list(Periodic(n_steps, period))
        schedule = Periodic(n_steps, period)
        for done in range(len(actions) + 1):
            assert list(pickle.loads(pickle.dumps(schedule))) == actions[done:]
            schedule.next_action()


def test_the_shortest_period_that_fits_is_found() -> None:
    for n_steps in range(1, 80):
        for snapshots in range(1, 40):
            fitting = [k for k in range(1, n_steps + 1) if slots_needed(n_steps, k) <= snapshots]
            if fitting:
                assert shortest_period(n_steps, snapshots) == fitting[0]
            else:
                with pytest.raises(ConfigError, match=f"of {n_steps} steps needs at least"):
                    shortest_period(n_steps, snapshots)
    with pytest.raises(ConfigError, match="1000 steps needs at least 61 snapshots, not 30"):
        shortest_period(1000, 30)


@pytest.mark.parametrize("number", [0, -3])
def test_numbers_below_one_are_refused(number: int) -> None:
    with pytest.raises(ConfigError, match=f"^n_steps must be at least 1, not {number}$"):
        Periodic(number, 4)
    with pytest.raises(ConfigError, match=f"^period must be at least 1, not {number}$"):
        Periodic(4, number)

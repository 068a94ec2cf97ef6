import heapq
import pickle
import tracemalloc
from collections.abc import Iterable
from functools import cache
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbolic_machine import run

from burgers_adjoint.checkpointing.actions import Advance, Free, Load, Save
from burgers_adjoint.checkpointing.binomial import Binomial, least_forward_steps, least_saves
from burgers_adjoint.checkpointing.remainder import cheapest_choice
from burgers_adjoint.errors import ConfigError, ScheduleError

# Griewank and Walther's closed form and checkpoint_schedules' Multistage schedule agree on p; the
# saves are those of the latter.
PUBLISHED = [
    (10, 3, 15, 6),
    (50, 7, 105, 28),
    (100, 5, 316, 44),
    (1000, 10, 3636, 714),
    (10000, 10, 57624, 5005),
    (10000, 30, 34016, 4960),
    (10000, 100, 24747, 5050),
    (10000, 250, 19748, 9749),
]


def test_every_small_case_runs_and_is_optimal() -> None:
    for n_steps in range(1, 121):
        for snapshots in range(1, 13):
            machine = run(Binomial(n_steps, snapshots))
            assert machine.forward_steps == least_forward_steps(n_steps, snapshots) + 1
            assert machine.saves == least_saves(n_steps, snapshots)
            assert machine.loads == n_steps - 1
            assert machine.most_live == min(snapshots, n_steps - 1)


@pytest.mark.parametrize(("n_steps", "snapshots", "p", "saves"), PUBLISHED)
def test_published_cases(n_steps: int, snapshots: int, p: int, saves: int) -> None:
    machine = run(Binomial(n_steps, snapshots))
    assert machine.forward_steps == p + 1
    assert machine.saves == saves


@cache
def cheapest(n: int, s: int) -> tuple[int, int]:
    """Forward steps, then saves after the first one, of the best splits of n saved steps."""
    if n == 1:
        return 0, 0
    costs = []
    for front in range(1, n) if s > 1 else [n - 1]:
        behind = n - front
        steps0, saves0 = cheapest(front, s)
        # A single step behind is reversed at once: nothing is saved for it.
        steps1, saves1 = (0, 0) if behind == 1 else cheapest(behind, s - 1)
        costs.append((front + steps0 + steps1, saves0 + saves1 + (behind > 1)))
    return min(costs)


def test_closed_forms_equal_a_dynamic_program() -> None:
    for n in range(1, 121):
        for s in range(1, 9):
            steps, saves = cheapest(n, s)
            assert least_forward_steps(n, s) == steps
            assert least_saves(n, s) == saves + (n > 1)


def cheapest_of_all(
    n_steps: int, snapshots: int, position: int = 0, live: Iterable[int] = ()
) -> tuple[int, int]:
    """Forward steps, then saves, by Dijkstra's search through all that a machine could do."""
    start = (position, n_steps, frozenset(live))
    best = {start: (0, 0)}
    queue = [(0, 0, 0, start)]
    pushed = 0
    while queue:
        steps, saves, _, node = heapq.heappop(queue)
        if best[node] < (steps, saves):
            continue
        position, to_reverse, live = node
        if to_reverse == 0:
            return steps, saves
        following = [(0, 0, (saved, to_reverse, live)) for saved in live]
        following += [(0, 0, (position, to_reverse, live - {saved})) for saved in live]
        if position == to_reverse - 1:
            following.append((0, 0, (position, position, live)))
        if position < to_reverse - 1:
            following.append((1, 0, (position + 1, to_reverse, live)))
        if len(live) < snapshots:
            following.append((0, 1, (position, to_reverse, live | {position})))
        for more_steps, more_saves, after in following:
            cost = (steps + more_steps, saves + more_saves)
            if after not in best or cost < best[after]:
                best[after] = cost
                pushed += 1
                heapq.heappush(queue, (*cost, pushed, after))
    raise AssertionError("no sequence of actions reverses the steps")


@pytest.mark.parametrize("snapshots", [1, 2, 3, 4])
def test_no_sequence_of_actions_whatever_is_cheaper(snapshots: int) -> None:
    for n_steps in range(1, 11):
        assert cheapest_of_all(n_steps, snapshots) == (
            least_forward_steps(n_steps, snapshots),
            least_saves(n_steps, snapshots),
        )


@settings(max_examples=60, deadline=None)
@given(n_steps=st.integers(1, 3000), snapshots=st.integers(1, 4000))
def test_larger_cases_run_and_are_optimal(n_steps: int, snapshots: int) -> None:
    machine = run(Binomial(n_steps, snapshots))
    assert machine.forward_steps == least_forward_steps(n_steps, snapshots) + 1
    assert machine.saves == least_saves(n_steps, snapshots)


def test_a_million_steps() -> None:
    assert least_forward_steps(1_000_000, 100) == 3_817_896
    schedule = Binomial(1_000_000, 100)
    forward_steps = saves = 0
    for action in schedule:
        if isinstance(action, Advance):
            forward_steps += action.step1 - action.step0
        elif isinstance(action, Save):
            saves += 1
    assert forward_steps == 3_817_896
    assert saves == least_saves(1_000_000, 100) == 823_149


@pytest.mark.parametrize(("n_steps", "snapshots"), [(20_000, 100), (20_000, 1), (20_000, 3)])
def test_memory_does_not_grow_with_the_actions(n_steps: int, snapshots: int) -> None:
    tracemalloc.start()
    try:
        schedule = Binomial(n_steps, snapshots)
        for _ in schedule:
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000 + 200 * snapshots


@pytest.mark.parametrize("snapshots", [1, 2, 100, 10**6, 10**9, 10**12])
def test_a_billion_steps_are_counted_at_once(snapshots: int) -> None:
    n = 10**9
    p = least_forward_steps(n, snapshots)
    if snapshots == 1:
        assert p == n * (n - 1) // 2
    elif snapshots >= n - 1:
        assert p == n - 1
    else:
        # One more snapshot saves steps, one step more costs no less than itself.
        assert p > least_forward_steps(n, snapshots + 1)
        assert p > least_forward_steps(n - 1, snapshots) + 1


def test_the_first_actions_of_a_billion_steps_come_at_once() -> None:
    schedule = Binomial(10**9, 1)
    first = [schedule.next_action() for _ in range(2)]
    assert first == [Save(0, 0), Advance(0, 10**9 - 1)]
    schedule = Binomial(10**9, 50)
    assert schedule.next_action() == Save(0, 0)
    front = schedule.next_action()
    assert isinstance(front, Advance)
    step = front.step1
    assert least_forward_steps(10**9, 50) == (
        step + least_forward_steps(step, 50) + least_forward_steps(10**9 - step, 49)
    )


def test_a_copy_goes_on_with_the_same_actions() -> None:
    for n_steps in range(1, 13):
        for snapshots in range(1, 6):
            actions = list(Binomial(n_steps, snapshots))
            schedule = Binomial(n_steps, snapshots)
            for done in range(len(actions) + 1):
                copy = pickle.loads(pickle.dumps(schedule))
                assert list(copy) == actions[done:]
                schedule.next_action()


@pytest.mark.parametrize(("n_steps", "snapshots"), [(1, 1), (2, 2), (13, 1), (23, 3), (17, 30)])
def test_the_rest_can_be_planned_anew_after_every_action(n_steps: int, snapshots: int) -> None:
    schedule = Binomial(n_steps, snapshots)
    turned_and_loaded = 0
    for action in schedule:
        if not schedule.live:
            continue
        live = [(snapshot.step, snapshot.slot) for snapshot in schedule.live]
        to_reverse = schedule.to_reverse if schedule.turned else None
        anew = Binomial.resume(n_steps, snapshots, live, to_reverse=to_reverse)
        held = {slot: step for step, slot in live}
        machine = run(anew, held, to_reverse)
        if isinstance(action, Load) and not action.free:
            rest = list(pickle.loads(pickle.dumps(schedule)))
            assert machine.forward_steps == sum(
                a.step1 - a.step0 for a in rest if isinstance(a, Advance)
            )
            turned_and_loaded += 1
    assert turned_and_loaded > 0 or n_steps <= 2 or snapshots >= n_steps


@st.composite
def left_overs(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]], int]:
    n_steps = draw(st.integers(1, 80))
    to_reverse = draw(st.integers(1, n_steps))
    steps = {0} | draw(st.sets(st.integers(0, to_reverse - 1), max_size=12))
    snapshots = draw(st.integers(len(steps), 15))
    slots = draw(st.permutations(range(snapshots)))
    return n_steps, snapshots, list(zip(steps, slots, strict=False)), to_reverse


@given(left_overs())
def test_the_rest_can_be_planned_from_any_snapshots(
    case: tuple[int, int, list[tuple[int, int]], int],
) -> None:
    n_steps, snapshots, live, to_reverse = case
    held = {slot: step for step, slot in live}
    run(Binomial.resume(n_steps, snapshots, live, to_reverse=to_reverse), held, to_reverse)
    if to_reverse == n_steps:
        run(Binomial.resume(n_steps, snapshots, live), held)
        for position in range(max(held.values()) + 1, n_steps):
            anew = Binomial.resume(n_steps, snapshots, live, position=position)
            run(anew, held, position=position)


@pytest.mark.parametrize("snapshots", [1, 2, 3])
def test_no_sequence_of_actions_is_cheaper_than_a_plan_made_anew(snapshots: int) -> None:
    for n_steps in range(1, 9):
        for size in range(snapshots):
            for later in combinations(range(1, n_steps), size):
                live = [(step, slot) for slot, step in enumerate((0, *later))]
                held = {slot: step for step, slot in live}
                anew = Binomial.resume(n_steps, snapshots, live, to_reverse=n_steps)
                machine = run(anew, held, n_steps)
                least, _ = cheapest_of_all(n_steps, snapshots, n_steps, held.values())
                assert machine.forward_steps == least
                for position in range(live[-1][0], n_steps):
                    anew = Binomial.resume(n_steps, snapshots, live, position=position)
                    machine = run(anew, held, position=position)
                    least, _ = cheapest_of_all(n_steps, snapshots, position, held.values())
                    assert machine.forward_steps == least + 1


@settings(max_examples=30, deadline=None)
@given(data=st.data(), snapshots=st.integers(1, 12), n_steps=st.integers(1, 400))
def test_the_choice_of_snapshots_is_the_best_of_all(
    data: st.DataObject, snapshots: int, n_steps: int
) -> None:
    later = data.draw(st.sets(st.integers(1, max(1, n_steps - 1)), max_size=snapshots - 1))
    bounds = [0, *sorted(later - {n_steps}), n_steps]
    inner = bounds[1:-1]
    best = min(
        sum(
            least_forward_steps(b - a, snapshots - j)
            for j, (a, b) in enumerate(pairwise((0, *kept, n_steps)))
        )
        for size in range(len(inner) + 1)
        for kept in combinations(inner, size)
    )
    # without moves, which only the search through all sequences of actions knows
    choice = cheapest_choice(bounds, snapshots, least_forward_steps, lambda n, s: 0)
    assert choice.forward_steps == best
    assert choice.ranges[0] == (0, -1)


def test_snapshots_that_crowd_the_beginning_are_dropped() -> None:
    live = [(step, step) for step in range(100)]
    anew = Binomial.resume(100_000, 100, live, to_reverse=100_000)
    assert isinstance(anew.next_action(), Free)
    crowded = 5e9  # one slot for the long range: every step from its snapshot on, over and over
    assert anew.predicted_forward_steps < crowded / 10_000
    assert anew.predicted_forward_steps <= 1.01 * least_forward_steps(100_000, 100)


def test_a_plan_made_anew_counts_the_steps_before() -> None:
    before = Binomial.resume(10, 3, [(0, 0)], to_reverse=4)
    assert before.predicted_forward_steps == least_forward_steps(4, 3)
    after = Binomial.resume(10, 3, [(0, 0)], to_reverse=4, forward_steps=100)
    assert after.predicted_forward_steps == 100 + least_forward_steps(4, 3)


@pytest.mark.parametrize(
    ("live", "to_reverse", "message"),
    [
        ([], 4, r"snapshots at the steps \[\] cannot start the reversal of the steps below 4"),
        ([(1, 0)], 4, r"at the steps \[1\] cannot start"),
        ([(0, 0), (4, 1)], 4, r"at the steps \[0, 4\] cannot start .* below 4"),
        ([(0, 0), (0, 1)], 4, r"at the steps \[0, 0\] cannot start"),
        ([(0, 1), (2, 1)], 4, r"in the slots \[1, 1\] do not fit in 3 slots, one in each"),
        ([(0, 3)], 4, r"in the slots \[3\] do not fit in 3 slots"),
        ([(0, -1)], 4, r"in the slots \[-1\] do not fit in 3 slots"),
        ([(0, 0)], -1, "cannot reverse -1 steps of 10"),
        ([(0, 0)], 11, "cannot reverse 11 steps of 10"),
    ],
)
def test_impossible_left_overs_are_refused(
    live: list[tuple[int, int]], to_reverse: int, message: str
) -> None:
    with pytest.raises(ScheduleError, match=message):
        Binomial.resume(10, 3, live, to_reverse=to_reverse)


@pytest.mark.parametrize(("position", "to_reverse"), [(1, None), (10, None), (5, 10)])
def test_a_state_that_cannot_go_on_to_the_turn_is_refused(
    position: int, to_reverse: int | None
) -> None:
    with pytest.raises(ScheduleError, match=f"step {position} cannot go on from .* of step 2 to"):
        Binomial.resume(10, 3, [(0, 0), (2, 1)], to_reverse=to_reverse, position=position)


@pytest.mark.parametrize("make", [Binomial, least_forward_steps, least_saves])
def test_numbers_below_one_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=r"^n_steps must be at least 1, not 0$"):
        make(0, 3)
    with pytest.raises(ConfigError, match=r"^snapshots must be at least 1, not -2$"):
        make(3, -2)


def test_any_number_of_snapshots_is_planned_at_once() -> None:
    many = 10**10
    schedule = Binomial(many, many)
    assert [str(schedule.next_action()) for _ in range(3)] == [
        str(action) for action in (Save(0, 0), Advance(0, 1), Save(1, 1))
    ]
    resumed = Binomial.resume(many, many, [(0, 3), (5, 1)], position=5)
    slots = [a.slot for a in (resumed.next_action() for _ in range(8)) if isinstance(a, Save)]
    assert slots[:3] == [0, 2, 4]


def test_where_all_is_reversed_nothing_is_left_to_do() -> None:
    rest = Binomial.resume(10, 3, [(0, 0)], to_reverse=0, forward_steps=25)
    assert rest.take() is None
    assert rest.predicted_forward_steps == 25

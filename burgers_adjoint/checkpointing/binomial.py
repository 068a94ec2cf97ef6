"""The binomial schedule: the fewest forward steps for a fixed number of snapshots.

Write b(s, r) = C(s + r, s) for the steps that s snapshots can reverse with no step taken forward
more than r times, so that b(s, r) = b(s, r - 1) + b(s - 1, r). With r chosen such that
b(s, r - 1) < n <= b(s, r), reversing n steps from a snapshot of their start, with s - 1 further
ones, takes at least

    p(n, s) = r n - C(s + r, s + 1)

forward steps. Any split into m steps in front and n - m behind, where the parts stay within one
repetition of the whole, reaches that bound:

    b(s, r - 2) <= m <= b(s, r - 1)   and   b(s - 1, r - 1) <= n - m <= b(s - 1, r).

The state between the parts is saved, unless a single step is behind it, which is reversed at
once. Such a split costs w(m, s) + w(n - m, s - 1) saves, each part's first one counted, and the
fewest of them, for n > 1, are by induction

    w(n, s) = max(b(s - 1, r - 1), n - b(s, r) + b(s - 1, r)),

flat in n up to the knee k(s, r) = b(s, r - 1) + b(s - 1, r - 1), one more per step after it. The
knees of the parts, k(s, r - 1) and k(s - 1, r), add up to that of the whole, as do the flat
values. So a split has the fewest saves when no part is behind its knee while the other is before
its own. `_front` is such a split.

References:
    A. Griewank and A. Walther (2000), Algorithm 799: revolve, ACM Transactions on Mathematical
    Software 26(1), 19-45: p, and its optimality.
    A. Griewank (1992), Achieving logarithmic growth of temporal and spatial complexity in reverse
    automatic differentiation, Optimization Methods and Software 1(1), 35-54: b, and its recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import comb
from typing import Self

from burgers_adjoint.checkpointing.actions import (
    Action,
    Advance,
    Free,
    Load,
    Reverse,
    Save,
    Turn,
)
from burgers_adjoint.checkpointing.free_slots import FreeSlots
from burgers_adjoint.checkpointing.remainder import cheapest_choice
from burgers_adjoint.checkpointing.schedule import Schedule, at_least_one
from burgers_adjoint.errors import ScheduleError


def least_forward_steps(n_steps: int, snapshots: int) -> int:
    """Return p(n_steps, snapshots), the least forward steps that reach the start of every step.

    The last step's own end is not among them: a gradient takes one forward step more.

    Raises:
        ConfigError: an argument is below 1.
    """
    n, s = at_least_one("n_steps", n_steps), at_least_one("snapshots", snapshots)
    r = _repetitions(n, s)
    return r * n - comb(s + r, s + 1)


def least_saves(n_steps: int, snapshots: int) -> int:
    """Return w(n_steps, snapshots), the fewest saves with `least_forward_steps` forward steps.

    Raises:
        ConfigError: an argument is below 1.
    """
    n, s = at_least_one("n_steps", n_steps), at_least_one("snapshots", snapshots)
    if n == 1:
        return 0
    r = _repetitions(n, s)
    return max(comb(s + r - 2, s - 1), n - comb(s + r, s) + comb(s + r - 1, s - 1))


def _repetitions(n: int, s: int) -> int:
    """Return the least r with C(s + r, s) >= n, in O(log r) binomial coefficients."""
    if n == 1:
        return 0
    high = 1
    while comb(s + high, s) < n:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if comb(s + middle, s) < n else (low, middle)
    return high


def _bound(n: int, s: int) -> tuple[int, int]:
    """Return the repetitions r that n steps with s slots need, and b(s, r)."""
    r = _repetitions(n, s)
    return r, comb(s + r, s)


@dataclass(slots=True)
class _Live:
    """A live snapshot, with reach = b(s, r) for the s slots that are its own or still empty.

    The steps from it to the next snapshot are at most `reach`. Both numbers follow from those of
    the range that was split, so that no action has to search for r or make a binomial coefficient.
    """

    step: int
    slot: int
    r: int
    reach: int
    moved: bool = False


class Binomial(Schedule):
    """Reverses `n_steps` steps in p(n_steps, snapshots) + 1 forward steps, with the fewest saves.

    O(1) per action, however many steps and snapshots, and O(snapshots) memory.

    Attributes:
        position: step at whose start the working state is; n_steps when there is none in hand.
        to_reverse: steps that are still to be reversed, which is where the cotangent is.
        turned: whether the last step has been taken and the cotangent seeded.
        live: live snapshots, their steps ascending.
        free: empty slots.
    """

    name = "binomial"
    n_steps: int

    def __init__(self, n_steps: int, snapshots: int) -> None:
        """Plan `n_steps` steps, with the state at the start of step 0 in hand.

        Raises:
            ConfigError: `n_steps` or `snapshots` is below 1.
        """
        self.n_steps = at_least_one("n_steps", n_steps)
        self.snapshots = at_least_one("snapshots", snapshots)
        self.slots = min(snapshots, n_steps - 1)
        self.position = 0
        self.to_reverse = n_steps
        self.turned = False
        self._surplus: list[tuple[int, int]] = []
        self._target: int | None = None
        self._behind: tuple[int, int] | None = None
        self.live: list[_Live] = []
        self.free = FreeSlots(self.slots)
        self._predicted_forward_steps = least_forward_steps(n_steps, snapshots) + 1

    @classmethod
    def resume(
        cls,
        n_steps: int,
        snapshots: int,
        live: Iterable[tuple[int, int]],
        *,
        to_reverse: int | None = None,
        forward_steps: int = 0,
        position: int | None = None,
    ) -> Self:
        """Plan the rest of a reversal anew, in the fewest forward steps.

        The first actions free the snapshots that are better dropped. Then the last of the others
        is loaded, or the state in hand saved, or taken on.

        Args:
            n_steps: steps of the whole reversal.
            snapshots: snapshots that may be alive at any moment.
            live: the step and the slot of each live snapshot, that of step 0 among them.
            to_reverse: steps still to be reversed, when the cotangent has been seeded; None says
                that it has not.
            forward_steps: forward steps already taken, to be counted by the prediction.
            position: step at whose start a working state is, that of the last snapshot or one
                behind it; only while nothing is reversed.

        Raises:
            ConfigError: `n_steps` or `snapshots` is below 1.
            ScheduleError: the snapshots cannot be those of such a reversal.
        """
        self = cls(n_steps, snapshots)
        self.turned = to_reverse is not None
        self.to_reverse = end = n_steps if to_reverse is None else to_reverse
        if to_reverse == 0:  # there is nothing left to do
            self._predicted_forward_steps = forward_steps
            return self
        if not 0 < end <= n_steps:
            raise ScheduleError(f"cannot reverse {end} steps of {n_steps}")
        places = sorted(live)
        steps, slots = [step for step, _ in places], {slot for _, slot in places}
        if not steps or steps[0] != 0 or steps[-1] >= end or len(set(steps)) < len(steps):
            raise ScheduleError(
                f"snapshots at the steps {steps} cannot start the reversal of the steps below {end}"
            )
        if len(slots) < len(steps) or min(slots) < 0 or max(slots) >= snapshots:
            raise ScheduleError(
                f"snapshots in the slots {[slot for _, slot in places]} "
                f"do not fit in {snapshots} slots, one in each"
            )
        self.slots = max(self.slots, max(slots) + 1)
        self.position = n_steps
        if position is not None:
            if self.turned or not steps[-1] <= position < n_steps:
                raise ScheduleError(
                    f"a state at the start of step {position} cannot go on from the snapshot of "
                    f"step {steps[-1]} to the turn"
                )
            self.position = position
        self._predicted_forward_steps = forward_steps + (0 if self.turned else 1)
        self._keep(places, end, position)
        return self

    def _keep(self, places: list[tuple[int, int]], end: int, position: int | None) -> None:
        """Keep the snapshots that are worth it, and count the rest of the forward steps."""
        bounds = [step for step, _ in places]
        # The state at the start of the last step is where the turn needs it.
        stop = end if position is None or position < end - 1 else position
        in_hand = len(places)
        if position == bounds[-1]:
            in_hand -= 1
        elif position is not None and position < stop:
            bounds.append(position)
        if bounds[-1] < stop:
            bounds.append(stop)
        if len(bounds) == 1:
            # nothing to reverse but the step in hand
            self._surplus = places
            return
        total, ranges = cheapest_choice(bounds, self.slots, least_forward_steps, _last_front_of)
        self._predicted_forward_steps += int(total)
        ends = [bounds[start] for start, _ in ranges[1:]] + [bounds[-1]]
        kept = set()
        for (start, moved), stop in zip(ranges, ends, strict=True):
            bound = _bound(stop - bounds[start], self.slots - len(self.live))
            if start == len(places):
                self._behind = bound
                continue
            kept.add(start)
            self.live.append(_Live(*places[start], *bound))
            if moved == in_hand:
                self._target = self._go_on_from(bounds[moved])
            elif moved >= 0:
                kept.add(moved)
                self.live.append(_Live(*places[moved], 0, 1, moved=True))
        if position is not None and position < end - 1 and in_hand not in ranges[-1]:
            self.position = self.n_steps
        self._surplus = [place for index, place in enumerate(places) if index not in kept]
        slots = {snapshot.slot for snapshot in self.live}
        self.free = FreeSlots(self.slots, slots)

    @property
    def predicted_forward_steps(self) -> int:
        """p(n_steps, snapshots) + 1 for a whole reversal."""
        return self._predicted_forward_steps

    def next_action(self) -> Action | None:
        """Return the next action, or None when every step is reversed."""
        if self._surplus:
            return Free(*self._surplus.pop())
        last = self.to_reverse - 1
        if self.position > last:
            return self._load(last) if last >= 0 else None
        if self.position == last:
            if not self.turned:
                self.turned = True
                return Turn(last)
            self.to_reverse = last
            return Reverse(last)
        if self._target is not None:
            step, self.position, self._target = self.position, self._target, None
            return Advance(step, self.position)
        if not self.live or self.live[-1].step < self.position:
            return self._save()
        return self._advance()

    def take_saves(
        self, step: int, slots: dict[int, None], most: int, fits: Callable[[int], bool]
    ) -> None:
        """See `Schedule`: where there is a slot for every step up to the end, each is saved."""
        free, live, last = self.free, self.live, self.to_reverse - 1
        special = self._put_back or self._surplus or self._behind or self._target is not None
        if special or step > last or last - step > len(free) or (live and live[-1].step == step):
            super().take_saves(step, slots, most, fits)
            return
        reach = len(free) + 1
        for saved in range(step, min(last, step + most - len(slots))):
            slot = free.take()
            if not fits(slot):
                free.give_back(slot)
                break
            slots[slot] = None
            live.append(_Live(saved, slot, 1, reach))
            reach -= 1
            self.position = saved + 1

    def take_loads(self, step: int, most: int) -> list[int]:
        """See `Schedule`: snapshots one after the other, the last of which are alive."""
        if self._put_back or self._surplus:
            return super().take_loads(step, most)
        free, live, slots = self.free, self.live, list[int]()
        while len(slots) < most and live and live[-1].step == step - 1 and not live[-1].moved:
            slot = live.pop().slot
            free.give_back(slot)
            slots.append(slot)
            step -= 1
        self.position = self.to_reverse = step
        return slots

    def _load(self, last: int) -> Action:
        top = self.live[-1]
        self.position = top.step
        if top.step < last and not top.moved:
            return Load(top.step, top.slot, False)
        self.free.give_back(self.live.pop().slot)
        if top.moved:
            self._target = self._go_on_from(top.step)
        return Load(top.step, top.slot, True)

    def _go_on_from(self, position: int) -> int:
        """Return the split of the range of the last snapshot that a state inside it goes on to."""
        top = self.live[-1]
        n, s = self.to_reverse - top.step, self.slots - len(self.live) + 1
        within = top.reach * top.r // (s + top.r)
        return max(top.step + _front(n, s, top.r, top.reach, within), position + 1)

    def _save(self) -> Action:
        s = len(self.free)
        slot = self.free.take()
        if self._behind is not None:
            (r, reach), self._behind = self._behind, None
        elif self.live:
            # The range behind a split: one slot less than the whole, as many repetitions.
            whole = self.live[-1]
            r, reach = whole.r, whole.reach * (s + 1) // (s + 1 + whole.r)
        else:
            r, reach = _bound(self.to_reverse, s)
        self.live.append(_Live(self.position, slot, r, reach))
        return Save(self.position, slot)

    def _advance(self) -> Action:
        top, s, step = self.live[-1], len(self.free) + 1, self.position
        n = self.to_reverse - step
        r, reach = top.r, top.reach
        within = reach * r // (s + r)
        while within >= n:
            r, reach = r - 1, within
            within = reach * r // (s + r)
        top.r, top.reach = r, reach
        self.position = step + _front(n, s, r, reach, within)
        return Advance(step, self.position)


def _front(n: int, s: int, r: int, reach: int, within: int) -> int:
    """Return m, the steps in front of the split of n > 1 steps with the fewest saves.

    Args:
        n: steps of the range.
        s: slots for it, that of its start included.
        r: repetitions, at least 1.
        reach: b(s, r) >= n.
        within: b(s, r - 1) < n.

    The front ends at its knee, k(s, r - 1), unless this leaves the part behind it more or fewer
    steps than its bounds allow.
    """
    if r == 1:
        return 1
    fewest_front = within * (r - 1) // (s + r - 1)
    fewest_behind, most_behind = within - fewest_front, reach - within
    knee = fewest_front + fewest_behind * (r - 1) // (s + r - 2)
    return max(min(knee, n - fewest_behind), n - most_behind)


def _last_front_of(n: int, s: int) -> int:
    """Return the most steps in front of a split of n steps with the fewest forward steps.

    At most b(s, r - 1) are in front and at least b(s - 1, r - 1) behind.
    """
    r, reach = _bound(n, s)
    within = reach * r // (s + r)
    return 0 if r == 0 else min(within, n - within * s // (s + r - 1))


def first_front(n: int, s: int) -> int:
    """Return the steps in front of the first split of n > 1 steps with s slots."""
    r, reach = _bound(n, s)
    return _front(n, s, r, reach, reach * r // (s + r))

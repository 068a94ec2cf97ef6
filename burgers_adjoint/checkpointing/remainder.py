"""Which live snapshots to keep, so that the rest of a reversal takes the fewest forward steps.

Snapshots that somebody else placed may lie badly: a long range with few empty slots behind a row of
short ones. To drop a snapshot joins two ranges, which costs steps, and leaves one slot more to the
ranges behind it, which saves some. One that is kept may also be moved when its turn comes: it is
loaded, its slot is freed, and the first pass over the joined range starts from it, for as many
steps less; that pays where the range is split behind it anyway.

With p(n, s) forward steps for n steps and s slots, the ranges cost

    sum of p(length, slots - snapshots kept below) - (steps from the range's start to the moved one)

and the best choice is a shortest path: from boundary to boundary, with the number of snapshots
that are alive below as the second coordinate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

INFINITE = float("inf")
FEW = 4

OfRange = Callable[[int, int], int]


class Choice(NamedTuple):
    """What to do with the snapshots.

    Attributes:
        forward_steps: that the rest takes; infinite when there is no way.
        ranges: index of the snapshot that each range starts from, and of the one that is moved for
            it, or -1.
    """

    forward_steps: float
    ranges: list[tuple[int, int]]


def cheapest_choice(
    bounds: Sequence[int], slots: int, cost: OfRange, last_front: OfRange
) -> Choice:
    """Return the best choice of snapshots.

    Args:
        bounds: steps of the snapshots, ascending, and the end of the last range.
        slots: snapshots that may be alive.
        cost: p(n, s), forward steps that reverse n steps from a snapshot with s slots, its own one
            counted.
        last_front: most steps in front of a split of such a range that is optimal.
    """
    few = FEW
    while True:
        choice = _cheapest(bounds, slots, cost, last_front, few)
        dropped = len(bounds) - 1 - sum(1 + (moved >= 0) for _, moved in choice.ranges)
        # Costs are convex in the number of dropped ones: with room to spare the best is found.
        if few >= len(bounds) or (choice.forward_steps < INFINITE and 2 * dropped <= few):
            return choice
        few *= 2


def _cheapest(
    bounds: Sequence[int], slots: int, cost: OfRange, last_front: OfRange, few: int
) -> Choice:
    """Do the same among the choices that drop at most `few` snapshots."""
    # best[b][j]: fewest steps below bounds[b], with j snapshots alive there, and how.
    best: list[dict[int, tuple[float, int, int, int]]] = [{0: (0, -1, -1, 0)}]
    for b in range(1, len(bounds)):
        found: dict[int, tuple[float, int, int, int]] = {}

        def offer(steps: float, a: int, moved: int, below: int) -> None:
            j = below + 1 + (moved >= 0)
            # called in this round of the loop alone
            if b - j <= few and steps < found.get(j, (INFINITE,))[0]:  # noqa: B023
                found[j] = steps, a, moved, below  # noqa: B023

        for a in range(max(0, b - few - 2), b):
            length = bounds[b] - bounds[a]
            for j, (steps, *_) in best[a].items():
                if j >= slots:
                    continue
                total = steps + cost(length, slots - j)
                offer(total, a, -1, j)
                if b - a > 1:
                    front = bounds[a] + last_front(length, slots - j)
                    moved = b - 1
                    while moved > a and bounds[moved] >= front:
                        moved -= 1
                    if moved > a:
                        offer(total - (bounds[moved] - bounds[a]), a, moved, j)
        best.append(found)
    if not best[-1]:
        return Choice(INFINITE, [])
    steps, b, moved, j = min(best[-1].values())
    ranges = [(b, moved)]
    while b > 0:
        _, b, moved, j = best[b][j]
        ranges.append((b, moved))
    return Choice(steps, ranges[::-1])

"""Which of the live snapshots restart data should hold."""

from bisect import bisect, insort


def worth_saving(live: set[int], saved: set[int], end: int, most: int, least_gap: int) -> list[int]:
    """Steps of the snapshots to save next, the most useful first.

    A snapshot is as useful as it is far from its neighbours: from the saved one below it the steps
    up to it can be taken again, and from there on those up to the one above. The state at the
    start of step 0 is always at hand.

    Args:
        live: steps of all live snapshots.
        saved: steps of those that are saved.
        end: where the steps end that are still to be reversed, or that have been taken.
        most: how many to return at most.
        least_gap: least distance from both neighbours that makes a snapshot worth its writing.
    """
    have = sorted({0, end} | (live & saved))
    missing = [step for step in live if step not in saved and 0 < step < end]
    chosen: list[int] = []

    def gap(step: int) -> int:
        place = bisect(have, step)
        return min(step - have[place - 1], have[place] - step)

    while missing and len(chosen) < most:
        # Of two equal ones the lower lives longer.
        best = max(missing, key=lambda step: (gap(step), -step))
        if gap(best) < least_gap:
            break
        chosen.append(best)
        missing.remove(best)
        insort(have, best)
    return chosen


def thinned(steps: list[int], most: int) -> list[int]:
    """At most so many of the ascending steps, without those closest to the one below."""
    left = list(steps)
    while len(left) > max(most, 0):
        below = [0, *left]
        gaps = [left[i + 1] - below[i] for i in range(len(left) - 1)]
        left.pop(gaps.index(min(gaps)) if gaps else 0)
    return left

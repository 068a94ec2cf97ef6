"""How often to save, and when to stop: numbers in, decisions out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

WEIGHT = 0.3  # of the newest measurement in a running mean
# Share of the allowed overhead that measured costs may take. Whole runs were slowed by up to twice
# what a save is seen to take: looks, ranks that wait for each other, and caches that went cold.
SEEN = 0.5


def daly_interval(cost: float, mtbf: float) -> float:
    """Seconds of work between two saves that lose the least, for a cost and a failure rate.

    Daly (2006), equation 37, whose first term is Young's (1974).

    Args:
        cost: seconds that a save takes.
        mtbf: mean time between failures of the whole job [s].
    """
    if cost >= 2 * mtbf:
        return mtbf
    root = math.sqrt(2 * cost * mtbf)
    share = math.sqrt(cost / (2 * mtbf))
    return root * (1 + share / 3 + share**2 / 9) - cost


@dataclass
class Mean:
    """Running mean that forgets, so that it follows what changes."""

    value: float | None = None

    def add(self, value: float) -> None:
        """Take a new measurement in."""
        self.value = value if self.value is None else (1 - WEIGHT) * self.value + WEIGHT * value


class Pace:
    """What steps take while nothing is written, and how much longer while something is."""

    def __init__(self) -> None:
        # Steps and seconds counted last, and fading sums of those that nothing disturbed.
        self._last: dict[str, tuple[float, float]] = {}
        self._alone = {"forward": (0.0, 0.0), "reverse": (0.0, 0.0)}
        self.excess = 0.0

    def measure(self, counts: Mapping[str, float], busy: bool) -> None:
        """Take in the counts of steps and seconds so far; `busy` while data was being written."""
        for kind, spelt in (("forward", "forward"), ("reverse", "adjoint")):
            steps, seconds = counts[f"{kind}_steps"], counts[f"seconds_{spelt}"]
            steps0, seconds0 = self._last.get(kind, (steps, seconds))
            self._last[kind] = steps, seconds
            taken, spent = steps - steps0, seconds - seconds0
            if not taken:
                continue
            if busy:
                pace = self._pace(kind)
                self.excess += spent - taken * pace if pace else 0.0
            else:
                fade = 1 - WEIGHT
                all_taken, all_spent = self._alone[kind]
                self._alone[kind] = fade * all_taken + taken, fade * all_spent + spent

    def _pace(self, kind: str) -> float:
        taken, spent = self._alone[kind]
        return spent / taken if taken else 0.0

    def steps_worth(self, seconds: float) -> int:
        """Forward steps that take so long, at least 1."""
        pace = self._pace("forward")
        return max(1, int(seconds / pace)) if pace else 1

    def seconds_for(self, forward: float, reverse: float) -> float:
        """Seconds that so many steps take at least; 0 before any has been measured."""
        to_go = (("forward", forward), ("reverse", reverse))
        return sum(
            steps * (self._pace(kind) or self._pace("forward")) for kind, steps in to_go if steps
        )

    def take_excess(self) -> float:
        """Seconds lost to writing since the last call; below 0 where noise says so."""
        excess, self.excess = self.excess, 0.0
        return excess


class Policy:
    """When the next save is due.

    A save costs the seconds for which the sweeps stand still and those by which they are slower
    while it is written. The interval is the cost over the allowed share (Mohan, Phanishayee and
    Chidambaram, CheckFreq, FAST 2021), with both the running mean of measurements, so that it
    grows and shrinks with the interference; nor may all saves together have cost more than their
    share. With a mean time between failures it is Daly's instead.

    Args:
        overhead: share of the time that saves may cost.
        mtbf: mean time between failures [s], when it is known.
        first_cost: guess of the seconds that a save costs.
        begin: the time now [s].
    """

    def __init__(
        self, overhead: float, mtbf: float | None, first_cost: float, begin: float
    ) -> None:
        self.overhead, self.mtbf = SEEN * overhead, mtbf
        self._begin = self._last = begin
        self._guess = first_cost
        self._stall, self._excess, self._duration = Mean(), Mean(), Mean()
        self.spent = 0.0
        self._patience = 1
        self.slowest = 0.0
        self.saves = 0

    @property
    def cost(self) -> float:
        """Seconds that a save costs the sweeps, as far as is known."""
        if self._stall.value is None:
            return self._guess
        return self._stall.value + (self._excess.value or 0.0)

    @property
    def interval(self) -> float:
        """Seconds from one save to the next."""
        cost = self.cost
        wanted = daly_interval(cost, self.mtbf) if self.mtbf else cost / self.overhead
        # One save is on the disk before the next begins.
        return self._patience * max(wanted, 2 * (self._duration.value or 0.0))

    @property
    def predicted_overhead(self) -> float:
        """Share of the time that saves cost at this interval, with what is not seen of it."""
        return self.cost / SEEN / self.interval if self.interval else 0.0

    def due(self, now: float, left: float = math.inf) -> bool:
        """Whether it is time to save, with so many seconds left to the end of the run.

        What would not be on the disk before the end is of no use to anybody.
        """
        if now - self._last < self.interval or left < (self._duration.value or 0.0):
            return False
        return bool(self.mtbf) or self.spent + self.cost <= self.overhead * (now - self._begin)

    def begun(self, now: float) -> None:
        """Note that a save begins."""
        self._last = now

    def ended(self, now: float, stall: float, excess: float) -> None:
        """Take in what a save took: now - begin in all, `stall` and `excess` of the sweeps."""
        duration = now - self._last
        # Noise can make it less than nothing or more than the time it took.
        excess = min(max(excess, 0.0), duration)
        self._stall.add(stall)
        self._excess.add(excess)
        self._duration.add(duration)
        self.slowest = max(self.slowest, duration)
        self.spent += stall + excess
        self.saves += 1
        self._patience = 1

    def failed(self) -> None:
        """Note that a save came to nothing: the next one is tried later and later."""
        self._patience = min(2 * self._patience, 64)

"""The lengths of the time steps of a run, and where it ends."""

import math
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

# A last step that is shorter, or differs from dt by less, is so by round-off alone.
LEAST_SHARE = 1e-9


class TimeSteps:
    """Lengths of time steps: all the same, or chosen one by one and kept for every repetition.

    Step n leads from the time at n to the time at n + 1. With `until` the last step ends there,
    and is as short as that takes. With `cfl` step n has the length min(dt, cfl limit), where the
    limit is of the state at its start: it is chosen when the step is taken for the first time, and
    looked up whenever it is repeated, forwards or backwards.

    Args:
        dt: length of the steps, the largest one with `cfl` [time].
        steps: number of steps; with `steady` their largest number; not used with `until`.
        until: time of the end [time].
        cfl: share of the limit that the steps keep to.
        steady: the run ends when nothing changes faster than this [length/time^2].

    Attributes:
        n_steps: steps of the run, None as long as nobody knows.
        most: number that `n_steps` cannot exceed, None when there is none.
    """

    def __init__(
        self,
        dt: float,
        steps: int | None = None,
        until: float | None = None,
        cfl: float | None = None,
        steady: float | None = None,
    ) -> None:
        self.dt = dt
        self.until = until
        self.cfl = cfl
        self.steady = steady
        self.most = steps
        if until is not None:
            whole = max(1, math.ceil(until / dt - LEAST_SHARE))
            self.most = None if self.adaptive else whole
        self.forget()

    @property
    def adaptive(self) -> bool:
        """Whether the lengths follow the state."""
        return self.cfl is not None

    @property
    def endless(self) -> bool:
        """Whether nothing ever ends the run."""
        return self.n_steps is self.most is self.until is self.steady is None

    def forget(self) -> None:
        """Begin a new run: its steps are chosen anew."""
        self.n_steps = self.most if self.steady is None else None
        self._lengths = array("d")
        self._times = array("d", [0.0])

    def record(self) -> dict[str, Any]:
        """All that was found on the way, as JSON has it; nothing where all is known before."""
        if not self.adaptive and self.steady is None:
            return {}
        lengths = b64encode(self._lengths.tobytes()).decode()
        return {"time_steps": {"n_steps": self.n_steps, "lengths": lengths}}

    def go_on(self, recorded: Mapping[str, Any]) -> None:
        """Take over what `record` has returned, in place of what was found on the way."""
        if "time_steps" not in recorded:
            return
        self.forget()
        found = recorded["time_steps"]
        self.n_steps = found["n_steps"]
        self._lengths.frombytes(b64decode(found["lengths"]))
        for length in self._lengths:
            self._times.append(self._times[-1] + length)

    @property
    def chosen(self) -> float:
        """Steps whose lengths are known."""
        return len(self._lengths) if self.adaptive else math.inf

    def choose(self, limit: float) -> None:
        """Choose the length of the first step that has none, which starts from a state of `limit`.

        The end is known when this step leads to `until`.
        """
        assert self.cfl is not None
        length = min(self.dt, self.cfl * limit)
        time = self._times[-1]
        if self.until is not None and time + length * (1 + LEAST_SHARE) >= self.until:
            length = self.until - time
            self.n_steps = len(self._lengths) + 1
        self._lengths.append(length)
        self._times.append(time + length)

    @property
    def even(self) -> bool:
        """Whether all steps have the length `dt`."""
        return self.until is None and not self.adaptive

    def length(self, n: int) -> float:
        """Length of step n [time]."""
        if self.adaptive:
            return self._lengths[n]
        if self.until is not None and self.most is not None and n == self.most - 1:
            last = self.until - n * self.dt
            return self.dt if abs(last - self.dt) <= LEAST_SHARE * self.dt else last
        return self.dt

    def time(self, n: int) -> float:
        """Time at the start of step n."""
        if self.adaptive:
            return self._times[n]
        if self.until is not None and n == self.most:
            return self.until
        return n * self.dt

    def share(self, n: int, last: bool) -> float:
        """Weight of the state after n steps in the trapezoidal rule, over dt; 1 amid steps of dt.

        The lengths of the steps to it and, unless it is the last one, from it have to be known.
        """
        before = self.length(n - 1) if n else 0.0
        after = 0.0 if last else self.length(n)
        return (before + after) / (2.0 * self.dt)

    def find(self, time: float, n_steps: int) -> float:
        """How many steps lead to a time, as a number that may lie between two whole ones.

        n_steps are those of the run, whose lengths are known.
        """
        if not self.adaptive and (time <= self.time(n_steps - 1) or self.until is None):
            return time / self.dt
        n = min(bisect_right(range(n_steps), time, key=self.time), n_steps) - 1
        n = max(n, 0)
        return n + (time - self.time(n)) / self.length(n)

    def alike(self, n0: int, n1: int) -> int:
        """Step at which the steps from n0 on stop having one length, n1 at most."""
        if self.adaptive:
            n = n0 + 1
            while n < min(n1, len(self._lengths)) and self._lengths[n] == self._lengths[n0]:
                n += 1
            return n
        if self.until is not None and self.most is not None and n0 < self.most - 1:
            return min(n1, self.most - 1)
        return n1

"""The two-level schedule: disk at equal distances, memory in between.

References:
    M. Schanen, O. Marin, H. Zhang and M. Anitescu (2016), Asynchronous two-level checkpointing
    scheme for large-scale adjoints in the spectral-element solver Nek5000, Procedia Computer
    Science 80, 1147-1158.
"""

from __future__ import annotations

from burgers_adjoint.checkpointing.actions import (
    Action,
    Advance,
    Fetch,
    Load,
    Save,
    shifted,
)
from burgers_adjoint.checkpointing.binomial import Binomial, least_forward_steps
from burgers_adjoint.checkpointing.schedule import Schedule, at_least_one


class TwoLevel(Schedule):
    """Cuts the run into ranges of equal length, and reverses each with the snapshots in memory.

    The first sweep leaves the start of every range but the last on disk, behind the steps that
    follow. Each is read once: fetched when the reversal of the range behind it begins, loaded when
    that is done. So the disk has the time of a whole range for every snapshot.

    Attributes:
        ranges: how many there are, one more than snapshots on disk.
        current: range that is swept over or reversed.
        inner: binomial schedule of the range that is reversed; None in the first sweep.
    """

    name = "two_level"
    n_steps: int

    def __init__(self, n_steps: int, snapshots: int, snapshots_on_disk: int) -> None:
        """Plan `n_steps` steps, with the state at the start of step 0 in hand.

        Args:
            n_steps: steps to reverse.
            snapshots: those that may be alive in memory.
            snapshots_on_disk: those that may be alive on disk.

        Raises:
            ConfigError: a number is below 1.
        """
        self.n_steps = at_least_one("n_steps", n_steps)
        self.snapshots = at_least_one("snapshots", snapshots)
        self.snapshots_on_disk = at_least_one("snapshots_on_disk", snapshots_on_disk)
        self.ranges = min(snapshots_on_disk + 1, n_steps)
        longest = -(-n_steps // self.ranges)
        self._memory_slots = min(snapshots, longest - 1)
        self.slots = self._memory_slots + self.ranges - 1
        self.current = self._first = 0
        self.inner: Binomial | None = None
        self._saved = self._fetched = False

    @property
    def memory_slots(self) -> int:
        """Slots in memory, the first ones; that of range i on disk is the i-th after them."""
        return self._memory_slots

    @property
    def predicted_forward_steps(self) -> int:
        """The first sweep up to the last range, and p(length, snapshots) for each; and one."""
        length, longer = divmod(self.n_steps, self.ranges)
        total = self._start(self.ranges - 1) + 1
        total += (self.ranges - longer) * least_forward_steps(length, self.snapshots)
        if longer:
            total += longer * least_forward_steps(length + 1, self.snapshots)
        return total

    def _start(self, index: int) -> int:
        """First step of a range; those in front are a step longer where lengths differ."""
        length, longer = divmod(self.n_steps, self.ranges)
        return index * length + min(index, longer)

    def next_action(self) -> Action | None:
        """Return the next action, or None when every step is reversed."""
        if self.inner is None:
            step, last = self._start(self.current), self.ranges - 1
            if self.current < last:
                if not self._saved:
                    self._saved = True
                    return Save(step, self._memory_slots + self.current)
                self.current += 1
                self._saved = False
                return Advance(step, self._start(self.current))
            self._begin(turned=False)
        assert self.inner is not None
        if not self._fetched:
            self._fetched = True
            ahead = self.current - 1
            return Fetch(self._start(ahead), self._memory_slots + ahead)
        action = self.inner.next_action()
        if action is not None:
            return shifted(action, self._first)
        if self.current == 0:
            return None
        self.current -= 1
        self._begin(turned=True)
        return Load(self._first, self._memory_slots + self.current, True)

    def _begin(self, turned: bool) -> None:
        self._first = self._start(self.current)
        self.inner = Binomial(self._start(self.current + 1) - self._first, self.snapshots)
        self.inner.turned = turned
        self._fetched = self.current == 0

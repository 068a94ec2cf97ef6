"""What the sites of a step take, measured in one gradient, and what another choice would take.

A checkpointed site costs, at each of its occurrences, the time to save its input, to run it
forwards once more than a recorded one, and to restore the input; no choice elsewhere changes that.
Recording it spares this time and keeps its tape instead of its input. By how much the most memory
of a step grows depends on when the memory is held, so the growth follows from the sizes by going
through a reversal on paper, in `peak_bytes`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Self

from burgers_adjoint.checkpointing.actions import Advance, FusedAction
from burgers_adjoint.checkpointing.binomial import Binomial, least_forward_steps
from burgers_adjoint.checkpointing.call_tree import (
    Part,
    Reversal,
    Site,
    Tape,
    TreeModel,
    TreeState,
    Variables,
)
from burgers_adjoint.checkpointing.call_tree_choice import Choice, Profile
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.protocols import SnapshotStore, bytes_of


@dataclass
class SiteProfile:
    """What one site has taken in all occurrences together.

    Attributes:
        runs: occurrences in which it was checkpointed.
        seconds: to save its input, to run it forwards, and to restore its input.
        snapshot_bytes: of its input, the most.
        tape_bytes: of the tape of a part that has no parts, the most.
    """

    runs: int = 0
    seconds: float = 0.0
    snapshot_bytes: int = 0
    tape_bytes: int = 0


Sites = Mapping[str, SiteProfile]
Clock = Callable[[], float]


class ProfiledReversal(Reversal):
    """A reversal that measures what it does.

    Attributes:
        sites: by path; of all reversals so far.
        peak: the most bytes of tapes and inputs that were held at once.
    """

    def __init__(
        self, step: Site, recorded: Collection[str] = (), clock: Clock = perf_counter
    ) -> None:
        super().__init__(step, recorded)
        self._clock = clock
        self.sites = {site.path: SiteProfile() for site in step.below()}
        self.peak = self._held = 0

    def forward(self, site: Site, state: Variables, n: int) -> None:
        start = self._clock()
        site.part.forward(state, n)
        found = self.sites[site.path]
        found.seconds += self._clock() - start
        found.runs += 1

    def save(self, site: Site, state: Variables) -> Tape:
        start = self._clock()
        saved = super().save(site, state)
        found = self.sites[site.path]
        found.seconds += self._clock() - start
        size = _size(saved)
        found.snapshot_bytes = max(found.snapshot_bytes, size)
        self._hold(size)
        return saved

    def restore(self, site: Site, saved: Tape, state: Variables) -> None:
        start = self._clock()
        super().restore(site, saved, state)
        self.sites[site.path].seconds += self._clock() - start
        self._held -= _size(saved)

    def record_part(self, site: Site, state: Variables, n: int) -> Tape:
        tape = super().record_part(site, state, n)
        size, found = _size(tape), self.sites[site.path]
        found.tape_bytes = max(found.tape_bytes, size)
        self._hold(size)
        return tape

    def adjoint_part(self, site: Site, tape: Tape, cotangent: Variables, n: int) -> None:
        super().adjoint_part(site, tape, cotangent, n)
        self._held -= _size(tape)

    def _hold(self, size: int) -> None:
        self._held += size
        self.peak = max(self.peak, self._held)


def _size(held: Tape) -> int:
    """Bytes of a tape or an input; `bytes_of` would take longer than a small part."""
    return sum(one.nbytes for one in held)


def peak_bytes(step: Site, sites: Sites, recorded: Collection[str]) -> int:
    """The most bytes of tapes and inputs that a reversal of one step holds at once."""
    return _tape_and_peak(step, sites, recorded)[1]


def _tape_and_peak(site: Site, sites: Sites, recorded: Collection[str]) -> tuple[int, int]:
    """Bytes of the tape, and the most that are held while it is made or used up."""
    if not site.inner:
        size = sites[site.path].tape_bytes
        return size, size
    held = [0]  # of one run of the inner parts, before each of them
    peaks = []
    for inner in site.inner:
        tape, peak = _tape_and_peak(inner, sites, recorded)
        kept = tape if inner.path in recorded else sites[inner.path].snapshot_bytes
        # the input is given back before the part is recorded
        peaks.append(held[-1] + max(peak, kept))
        held.append(held[-1] + kept)
    before = (site.times - 1) * held[-1]
    return site.times * held[-1], before + max(peaks)


def first_choice(model: TreeModel, variables: Variables, n_steps: int, budget: int) -> Choice:
    """All checkpointed, and the snapshots that a budget then holds, by the sizes that parts say.

    Raises:
        ConfigError: the budget does not hold one.
    """
    sites = {}
    for site in model.step.below():
        size = bytes_of([variables[name] for name in site.saved])
        tape = site.part.tape_bytes if isinstance(site.part, Part) else 0
        sites[site.path] = SiteProfile(0, 0.0, size, tape)
    slot, nothing = bytes_of([model.new_snapshot()]), frozenset[str]()
    said = TreeProfile(Choice(nothing, 1), 0.0, n_steps, model.step, sites, slot, 0.0, 0)
    return said.start(budget)


@dataclass
class TreeProfile(Profile):
    """One gradient of a model whose step is a tree.

    Attributes:
        step: site of the whole step.
        sites: by path, of one gradient.
        slot_bytes: of a snapshot of the time loop.
        step_seconds: of a forward step in the time loop.
        peak: bytes of tapes and inputs that a step held at most.
    """

    choice: Choice
    seconds: float
    n_steps: int
    step: Site = field(repr=False)
    sites: Sites
    slot_bytes: int
    step_seconds: float
    peak: int

    def __post_init__(self) -> None:
        self.bytes = self.choice.snapshots * self.slot_bytes + self.peak
        self.paths = tuple(self.sites)

    def bytes_with(self, choice: Choice) -> int:
        inside = peak_bytes(self.step, self.sites, choice.recorded)
        return choice.snapshots * self.slot_bytes + inside

    def seconds_with(self, choice: Choice) -> float:
        now = self.choice
        spared = sum(self.sites[path].seconds for path in choice.recorded - now.recorded)
        added = sum(self.sites[path].seconds for path in now.recorded - choice.recorded)
        steps = least_forward_steps(self.n_steps, choice.snapshots)
        steps -= least_forward_steps(self.n_steps, now.snapshots)
        return self.seconds - spared + added + steps * self.step_seconds

    def occurrences(self, path: str) -> int:
        return next(site.occurrences for site in self.step.below() if site.path == path)

    def after(self, earlier: Self) -> Self:
        known = {path: earlier.sites[path] for path in self.choice.recorded}
        return replace(self, sites={**self.sites, **known})


class _Forward:
    """An observer of a run that takes the time of its forward steps."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._last = clock, clock()
        self._seconds, self._steps = 0.0, 0

    def __call__(self, action: FusedAction, counts: Counts) -> None:
        now = self._clock()
        if isinstance(action, Advance):
            self._seconds += now - self._last
            self._steps += action.step1 - action.step0
        self._last = self._clock()

    @property
    def step_seconds(self) -> float:
        """Of one step; 0 where a run has taken none but its last."""
        return self._seconds / max(self._steps, 1)


def profile_of(
    model: TreeModel,
    initial: TreeState,
    n_steps: int,
    choice: Choice,
    store: SnapshotStore[Any],
    clock: Clock = perf_counter,
) -> TreeProfile:
    """Measure one gradient under a choice, which the model keeps.

    Args:
        model: of the run.
        initial: state at its start; used up.
        n_steps: of the run.
        choice: to be measured.
        store: with as many slots as the choice has snapshots, each as large as a state.
        clock: returns seconds.

    Raises:
        ConfigError: the step has no such site.
    """
    reversal = ProfiledReversal(model.step, choice.recorded, clock)
    model.reversal, forward = reversal, _Forward(clock)
    executor = Executor(model, Binomial(n_steps, choice.snapshots), store, forward)
    start = clock()
    executor.run(initial)
    seconds = clock() - start
    model.reversal = Reversal(model.step, choice.recorded)
    slot_bytes = bytes_of([model.new_snapshot()])
    return TreeProfile(
        choice, seconds, n_steps, model.step, reversal.sites, slot_bytes, forward.step_seconds,
        reversal.peak,
    )  # fmt: skip

"""A time step as a tree of parts, each of which is recorded or checkpointed.

The adjoint of a part wants the part's *tape*: what its forward run has met. A part is *recorded*
when the tape is kept from the forward run before the adjoint, and *checkpointed* when its input is
kept instead, so that it runs once more, now recording, right before its adjoint. Every choice
carries out the same operations on the same numbers, and gives the same bits.

References:
    L. Hascoet, J.-L. Bouchot, S. S. Gaikwad, S. H. K. Narayanan and J. Hueckelheim, Profiling
    checkpointing schedules in adjoint ST-AD: call trees, and their choice by measurement.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.protocols import AdjointModel, Sized


class Buffer(Sized, Protocol):
    """Numbers of a variable; NumPy's arrays are such."""

    def copy(self) -> Self:
        """Another one with the same numbers."""
        ...

    def __setitem__(self, where: Any, value: Any) -> None:
        """Overwrite; `...` stands for all of it."""
        ...

    def tobytes(self) -> bytes:
        """The numbers, to be compared."""
        ...


Variables = Mapping[str, Any]
"""Name to `Buffer`: the state, or the cotangent of each variable."""

Tape = Sequence[Any]
"""What a part's adjoint wants of its forward run: buffers of its own."""


class Part(ABC):
    """A part of a step that has no parts.

    Attributes:
        name: tells it from the other parts of the same whole.
        reads: variables that a run depends on; one that it changes in part is among them.
        writes: variables that a run changes.
        tape_bytes: that a tape takes at most.
    """

    name: str
    reads: frozenset[str]
    writes: frozenset[str]
    tape_bytes: int

    @abstractmethod
    def forward(self, state: Variables, n: int) -> None:
        """Take the state through this part of step n, in place."""

    @abstractmethod
    def record(self, state: Variables, n: int) -> Tape:
        """Do what `forward` does, bit for bit, and return the tape."""

    @abstractmethod
    def adjoint(self, tape: Tape, cotangent: Variables, n: int) -> None:
        """Take the cotangent from the part's end to its start, in place."""


class Parts:
    """Parts one after the other, as often as wanted: a whole step, or a part of one.

    Args:
        name: tells it from the other parts of the same whole.
        parts: in the order of their forward runs, at least one.
        times: how often they run in one run of this, at least 1.
    """

    def __init__(self, name: str, parts: Sequence[Part | Parts], times: int = 1) -> None:
        self.name, self.parts, self.times = name, tuple(parts), times
        names = [part.name for part in parts]
        if times < 1 or not names:
            raise ConfigError(f"{name} has {len(names)} parts, {times} times: no run of it")
        if twice := sorted({one for one in names if names.count(one) > 1}):
            raise ConfigError(f"{name} has two parts of the name {twice[0]}: names are paths")
        self.reads: frozenset[str] = frozenset[str]().union(*(part.reads for part in parts))
        self.writes: frozenset[str] = frozenset[str]().union(*(part.writes for part in parts))

    def forward(self, state: Variables, n: int) -> None:
        """Take the state through all parts of step n, in place."""
        for _ in range(self.times):
            for part in self.parts:
                part.forward(state, n)


@dataclass(frozen=True)
class Site:
    """A place in the tree, for all its occurrences in a step.

    Attributes:
        path: names from the whole step to the part, with slashes.
        part: that stands there.
        inner: sites of its parts.
        occurrences: how often it runs in one step.
        saved: variables that a run reads and a step changes: the input to keep of it.
    """

    path: str
    part: Part | Parts
    inner: tuple[Site, ...]
    occurrences: int
    saved: tuple[str, ...]

    @property
    def times(self) -> int:
        """How often the inner parts run in one run of this one."""
        return self.part.times if isinstance(self.part, Parts) else 1

    def below(self) -> Iterator[Site]:
        """All sites below this one, a whole before its parts."""
        for site in self.inner:
            yield site
            yield from site.below()


def site_of(step: Parts) -> Site:
    """The site of a whole step; those `below` it can be recorded or checkpointed."""

    def make(part: Part | Parts, before: str, occurrences: int) -> Site:
        path = f"{before}{part.name}"
        parts, times = (part.parts, part.times) if isinstance(part, Parts) else ((), 1)
        inner = tuple(make(one, f"{path}/", occurrences * times) for one in parts)
        return Site(path, part, inner, occurrences, tuple(sorted(part.reads & step.writes)))

    return make(step, "", 1)


class Reversal:
    """Reverses steps with some sites recorded and the others checkpointed.

    Args:
        step: site of the whole step.
        recorded: paths of the sites that are recorded.

    Raises:
        ConfigError: there is no such site.
    """

    def __init__(self, step: Site, recorded: Collection[str] = ()) -> None:
        self.step, self.recorded = step, frozenset(recorded)
        paths = [site.path for site in step.below()]
        if unknown := sorted(self.recorded.difference(paths)):
            raise ConfigError(f"the step has no site {unknown[0]}: it has {', '.join(paths)}")

    def reverse(self, state: Variables, cotangent: Variables, n: int) -> None:
        """Take the cotangent from n + 1 to n; the state at n is used up."""
        self._adjoint(self.step, self._record(self.step, state, n), state, cotangent, n)

    def _record(self, site: Site, state: Variables, n: int) -> Tape:
        if not site.inner:
            return self.record_part(site, state, n)
        tape: list[Tape] = []
        for _ in range(site.times):
            for inner in site.inner:
                if inner.path in self.recorded:
                    tape.append(self._record(inner, state, n))
                else:
                    tape.append(self.save(inner, state))
                    self.forward(inner, state, n)
        return tape

    def _adjoint(
        self, site: Site, tape: Any, state: Variables, cotangent: Variables, n: int
    ) -> None:
        if not site.inner:
            self.adjoint_part(site, tape, cotangent, n)
            return
        for _ in range(site.times):
            for inner in reversed(site.inner):
                if inner.path in self.recorded:
                    self._adjoint(inner, tape.pop(), state, cotangent, n)
                else:
                    self.restore(inner, tape.pop(), state)
                    again = self._record(inner, state, n)
                    self._adjoint(inner, again, state, cotangent, n)

    # What is done at a site; whoever measures derives from these.

    def forward(self, site: Site, state: Variables, n: int) -> None:
        """Run a checkpointed part."""
        site.part.forward(state, n)

    def save(self, site: Site, state: Variables) -> Tape:
        """Keep the input of a checkpointed part."""
        return [state[name].copy() for name in site.saved]

    def restore(self, site: Site, saved: Tape, state: Variables) -> None:
        """Make the state what a checkpointed part has read."""
        for name, value in zip(site.saved, saved, strict=True):
            state[name][...] = value

    def record_part(self, site: Site, state: Variables, n: int) -> Tape:
        """Run a part that has no parts, and return its tape."""
        assert isinstance(site.part, Part)
        return site.part.record(state, n)

    def adjoint_part(self, site: Site, tape: Tape, cotangent: Variables, n: int) -> None:
        """Take the cotangent through a part that has no parts."""
        assert isinstance(site.part, Part)
        site.part.adjoint(tape, cotangent, n)


@dataclass
class TreeState:
    """A state of named variables.

    Attributes:
        array: all that a step starts from, as one buffer, which snapshots of the time loop copy.
        variables: its parts, views of it, and whatever else the parts of a step share.
    """

    array: Any
    variables: Variables


class TreeModel(AdjointModel[TreeState, Variables, Any]):
    """A model whose step is a tree, for every executor, schedule and store.

    Attributes:
        step: site of the whole step.
        reversal: how steps are reversed; it may change between gradients.
    """

    def __init__(
        self,
        step: Parts,
        new_array: Callable[[], Any],
        seed: Callable[[TreeState], Variables],
        recorded: Collection[str] = (),
    ) -> None:
        """Describe a model.

        Args:
            step: what every step consists of.
            new_array: returns a new buffer for the `array` of a state.
            seed: returns the cotangent of every variable at the final state.
            recorded: paths of the sites that are recorded; the others are checkpointed.

        Raises:
            ConfigError: there is no such site.
        """
        self.step = site_of(step)
        self.reversal = Reversal(self.step, recorded)
        self._new_array, self._seed = new_array, seed

    def advance(self, state: TreeState, n0: int, n1: int) -> None:
        """Take the steps n0 .. n1 - 1 in place."""
        for n in range(n0, n1):
            self.step.part.forward(state.variables, n)

    def seed(self, state: TreeState) -> Variables:
        """Return the cotangent at the final state."""
        return self._seed(state)

    def adjoint_step(self, cotangent: Variables, state: TreeState, n: int) -> None:
        """Take the cotangent from n + 1 to n; the state at n is used up."""
        self.reversal.reverse(state.variables, cotangent, n)

    def new_snapshot(self) -> Any:
        """Return a buffer for one state."""
        return self._new_array()

    def snapshot(self, state: TreeState, out: Any) -> None:
        """Copy the state to a buffer."""
        out[...] = state.array

    def restore(self, snapshot: Any, state: TreeState) -> None:
        """Copy a buffer to the state."""
        state.array[...] = snapshot

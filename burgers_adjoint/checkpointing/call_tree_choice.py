"""Chooses what is recorded in a step, against what its memory is worth in the time loop.

A budget of bytes holds the snapshots of the time loop and whatever a step holds. Memory that a
step takes is taken from the snapshots, and these are worth p(N, s) - p(N, s + 1) forward steps a
slot (see `binomial`), so a site is recorded where it spares more time than its bytes spare there.
"""

from __future__ import annotations

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, Self, TypeVar

from burgers_adjoint.errors import ConfigError

LEAST_GAIN = 0.01  # share of the time that a further gradient has to spare
MOST_ROUNDS = 40


@dataclass(frozen=True)
class Choice:
    """What is recorded in a step, by paths, and how many snapshots the time loop holds."""

    recorded: frozenset[str]
    snapshots: int


class Profile(ABC):
    """One gradient, measured under one choice, and what it lets expect of others.

    Attributes:
        choice: under which it was measured.
        seconds: of the gradient.
        bytes: the most memory of it: snapshots of the time loop, and what a step holds.
        n_steps: of the run.
        paths: of all sites, recorded or not.
    """

    choice: Choice
    seconds: float
    bytes: int
    n_steps: int
    paths: tuple[str, ...]

    @abstractmethod
    def seconds_with(self, choice: Choice) -> float:
        """Seconds of the gradient with another choice."""

    @abstractmethod
    def bytes_with(self, choice: Choice) -> int:
        """The most memory with another choice; grows alike with each snapshot."""

    @abstractmethod
    def occurrences(self, path: str) -> int:
        """How often a site runs in one step."""

    @abstractmethod
    def after(self, earlier: Self) -> Self:
        """This one, with what an earlier one knows of sites that are now recorded."""

    def filled(self, recorded: frozenset[str], budget: int) -> Choice | None:
        """These sites recorded, and as many snapshots as the budget holds; None for no snapshot."""
        one = self.bytes_with(Choice(recorded, 1))
        more = (budget - one) // (self.bytes_with(Choice(recorded, 2)) - one)
        return Choice(recorded, min(1 + more, max(1, self.n_steps - 1))) if more >= 0 else None

    def start(self, budget: int) -> Choice:
        """What is recorded now, with the snapshots that the budget has room for.

        Raises:
            ConfigError: it does not hold one.
        """
        recorded = self.choice.recorded
        if (choice := self.filled(recorded, budget)) is None:
            least = self.bytes_with(Choice(recorded, 1))
            raise ConfigError(
                f"{budget} bytes do not hold one snapshot and what a step takes: {least} bytes"
            )
        return choice


@dataclass(frozen=True)
class Move:
    """One site recorded in addition, or two where no single one pays.

    Attributes:
        choice: after it.
        spared: seconds, by the recording alone.
        growth: bytes that a step holds in addition.
        gain: seconds in all, with the snapshots that had to make room.
    """

    choice: Choice
    spared: float
    growth: int
    gain: float

    @property
    def value(self) -> float:
        """Seconds per byte."""
        return self.spared / self.growth if self.growth > 0 else float("inf")


def move(profile: Profile, choice: Choice, paths: Collection[str], budget: int) -> Move | None:
    """Record these sites in addition; None where the budget does not hold that."""
    recorded = choice.recorded.union(paths)
    if (after := profile.filled(recorded, budget)) is None:
        return None
    alone = Choice(recorded, choice.snapshots)
    seconds = profile.seconds_with(choice)
    return Move(
        after,
        seconds - profile.seconds_with(alone),
        profile.bytes_with(alone) - profile.bytes_with(choice),
        seconds - profile.seconds_with(after),
    )


def gaining(profile: Profile, choice: Choice, budget: int) -> list[Move]:
    """All moves of one site that gain time, or, where there is none, of two."""
    others = [path for path in profile.paths if path not in choice.recorded]
    for together in (1, 2):
        found = [move(profile, choice, paths, budget) for paths in combinations(others, together)]
        if gains := [one for one in found if one is not None and one.gain > 0]:
            return gains
    return []


def run_time_first(profile: Profile, budget: int) -> Choice:
    """Record what gains the most time next, until nothing does."""
    choice = profile.start(budget)
    while found := gaining(profile, choice, budget):
        choice = max(found, key=lambda one: one.gain).choice
    return choice


def careful_on_memory(profile: Profile, budget: int) -> Choice:
    """Record all that takes no memory, then once what spares the most time per byte."""
    choice = profile.start(budget)
    while found := gaining(profile, choice, budget):
        best = max(found, key=lambda one: (one.value, one.gain))
        choice = best.choice
        if best.growth > 0:
            break
    return choice


Strategy = Callable[[Profile, int], Choice]
STRATEGIES: dict[str, Strategy] = {
    "run time first": run_time_first,
    "careful on memory": careful_on_memory,
}


AProfile = TypeVar("AProfile", bound=Profile)


@dataclass(frozen=True)
class Round(Generic[AProfile]):
    """A choice that was tried: what it was to take, and what it took.

    Attributes:
        seconds, bytes: predicted from the round before; of the first, as measured.
        profile: measured.
    """

    seconds: float
    bytes: int
    profile: AProfile


def search(
    measure: Callable[[Choice], AProfile], first: AProfile, strategy: Strategy, budget: int
) -> list[Round[AProfile]]:
    """Choose, measure, and choose again, until nothing spares another 1 %.

    Args:
        measure: one gradient under a choice.
        first: profile with every site checkpointed.
        strategy: makes a choice of a profile.
        budget: bytes for the snapshots of the time loop and what a step holds, together.

    Returns:
        All rounds. The last one need not be the fastest.

    Raises:
        ConfigError: the budget does not hold one snapshot.
    """
    rounds = [Round(first.seconds, first.bytes, first)]
    while len(rounds) < MOST_ROUNDS:
        profile = rounds[-1].profile
        choice = strategy(profile, budget)
        seconds = profile.seconds_with(choice)
        if choice == profile.choice or seconds > (1 - LEAST_GAIN) * profile.seconds:
            break
        found = measure(choice).after(profile)
        rounds.append(Round(seconds, profile.bytes_with(choice), found))
    return rounds


def fastest(rounds: Sequence[Round[AProfile]]) -> Round[AProfile]:
    """The round that took the least time."""
    return min(rounds, key=lambda one: one.profile.seconds)


def to_toml(choice: Choice, paths: Sequence[str], n_steps: int) -> str:
    """A choice among the sites of these paths as a file that `from_toml` reads."""

    def listed(name: str, chosen: list[str]) -> str:
        return "\n".join([f"{name} = [", *(f'    "{path}",' for path in chosen), "]"])

    recorded = [path for path in paths if path in choice.recorded]
    checkpointed = [path for path in paths if path not in choice.recorded]
    lists = [listed("recorded", recorded), listed("checkpointed", checkpointed)]
    return "\n".join([f"steps = {n_steps}", f"snapshots = {choice.snapshots}", *lists, ""])


def from_toml(text: str, paths: Sequence[str], source: str = "the choice") -> Choice:
    """Read a choice.

    Args:
        text: of the file.
        paths: of the sites of the model that it is for.
        source: what to call the text in messages, such as the file's name.

    Raises:
        ConfigError: it is no such file, or one of another model.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is no TOML: {error}") from None
    missing = [key for key in ("snapshots", "recorded", "checkpointed") if key not in data]
    if missing:
        raise ConfigError(f"{source} is no choice of checkpoints: it has no {missing[0]}")
    snapshots, recorded, others = (data[key] for key in ("snapshots", "recorded", "checkpointed"))
    if type(snapshots) is not int or snapshots < 1:
        raise ConfigError(f"{source}: snapshots must be at least 1, not {snapshots!r}")
    for key, value in (("recorded", recorded), ("checkpointed", others)):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ConfigError(f"{source}: {key} must be a list of paths, not {value!r}")
    here, there = {*paths}, {*recorded, *others}
    differences = [f"its step has {path}, this one has not" for path in sorted(there - here)]
    differences += [f"this step has {path}, its has not" for path in sorted(here - there)]
    if differences:
        raise ConfigError(f"{source} is of another model: {differences[0]}")
    if both := sorted({*recorded} & {*others}):
        raise ConfigError(f"{source}: {both[0]} is both recorded and checkpointed")
    return Choice(frozenset(recorded), snapshots)

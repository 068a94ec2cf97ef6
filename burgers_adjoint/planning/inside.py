"""Chooses the checkpoints inside a step by measurement, together with those of the time loop."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from time import perf_counter
from typing import Any

import numpy as np

from burgers_adjoint.checkpointing.call_tree import Reversal, TreeModel, TreeState
from burgers_adjoint.checkpointing.call_tree_choice import (
    STRATEGIES,
    Choice,
    Profile,
    Round,
    fastest,
    search,
)
from burgers_adjoint.checkpointing.call_tree_profile import (
    Clock,
    SiteProfile,
    TreeProfile,
    first_choice,
    profile_of,
)
from burgers_adjoint.parallel.agreement import Comm, largest_each, smallest, total_each
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.snapshots.memory import MemoryStore

SLOT = "one snapshot more in the time loop"


@dataclass(frozen=True)
class Row:
    """What one site, or one snapshot more, would take and spare beside the first choice.

    Attributes:
        site: its path.
        occurrences: in the whole run.
        seconds: that recording it spares (dT).
        bytes: by which the most memory grows (dM).
        chosen: whether the plan takes it.
    """

    site: str
    occurrences: int
    seconds: float
    bytes: int
    chosen: bool

    @property
    def value(self) -> float:
        """Seconds per byte taken, or lost per byte given back; infinite where none is lost."""
        if self.bytes <= 0 <= self.seconds:
            return float("inf")
        return self.seconds / self.bytes if self.bytes else float("-inf")


@dataclass(frozen=True)
class InsidePlan:
    """What was tried, the same on all ranks.

    Attributes:
        budget: bytes for the snapshots of the time loop and what a step holds.
        rounds: by strategy, each from the same first choice on.
        by_chance, binomial: other choices, and all checkpointed with fewer snapshots, measured to
            be compared; see `compared`.
    """

    budget: int
    rounds: dict[str, list[Round[Any]]]
    by_chance: list[Profile] = field(default_factory=list)
    binomial: list[Profile] = field(default_factory=list)

    @property
    def first(self) -> Profile:
        """The gradient with every site checkpointed."""
        found: Profile = next(iter(self.rounds.values()))[0].profile
        return found

    @property
    def best(self) -> Round[Any]:
        """The round of all that took the least time."""
        return fastest([one for rounds in self.rounds.values() for one in rounds])

    @property
    def paths(self) -> dict[str, list[tuple[int, float]]]:
        """Bytes and seconds of what each strategy went through."""
        return {
            name: points([one.profile for one in rounds]) for name, rounds in self.rounds.items()
        }

    def rows(self) -> list[Row]:
        """The one list, what gives most for a byte first."""
        first, chosen = self.first, self.best.profile.choice
        before = first.choice

        def row(site: str, occurrences: int, after: Choice, taken: bool) -> Row:
            return Row(
                site,
                occurrences,
                first.seconds_with(before) - first.seconds_with(after),
                first.bytes_with(after) - first.bytes_with(before),
                taken,
            )

        rows = [
            row(
                path,
                first.occurrences(path) * first.n_steps,
                replace(before, recorded=before.recorded | {path}),
                path in chosen.recorded,
            )
            for path in first.paths
        ]
        slots = before.snapshots
        more = replace(before, snapshots=slots + 1)
        rows.append(row(SLOT, slots, more, chosen.snapshots > slots))
        return sorted(rows, key=lambda one: -one.value)

    def __str__(self) -> str:
        """The list, and what the best choice was to take beside what it took."""
        lines = [("site", "occurrences", "dT [s]", "dM [kB]", "dT/dM [s/MB]", "chosen")]
        lines += [
            (one.site, str(one.occurrences), f"{one.seconds:.4g}", f"{one.bytes / 1e3:.4g}",
             f"{one.value * 1e6:.3g}" if isfinite(one.value) else "-", "yes" if one.chosen else "")
            for one in self.rows()
        ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        best, first = self.best, self.first
        text.append(
            f"all checkpointed, {first.choice.snapshots} snapshots: {first.seconds:.4g} s, "
            f"{first.bytes / 1e6:.4g} MB"
        )
        text.append(
            f"chosen, {best.profile.choice.snapshots} snapshots: {best.profile.seconds:.4g} s "
            f"({best.seconds:.4g} predicted), {best.profile.bytes / 1e6:.4g} MB "
            f"({best.bytes / 1e6:.4g} predicted) of {self.budget / 1e6:.4g}"
        )
        return "\n".join(text)


def points(profiles: Sequence[Profile]) -> list[tuple[int, float]]:
    """Their bytes and seconds."""
    return [(one.bytes, one.seconds) for one in profiles]


Measure = Callable[[Sequence[Choice]], list[Any]]
"""Returns a profile of each choice, which are run in turns."""


def searched(measure: Measure, first: Choice, budget: int) -> InsidePlan:
    """Try both strategies from one first choice on. Collective where `measure` is.

    A machine may be slower at one time than at another. So all choices that the search has come to
    are measured once more, in turns, and this tells what is predicted of one and what it takes.
    """

    def alone(choice: Choice) -> Any:
        (profile,) = measure([choice])
        return profile

    alone(first)  # memory that is used for the first time takes longer
    profile = alone(first)
    rounds = {name: search(alone, profile, one, budget) for name, one in STRATEGIES.items()}
    tried = [*dict.fromkeys(one.profile.choice for each in rounds.values() for one in each)]
    together = dict(zip(tried, measure(tried), strict=True))
    return InsidePlan(budget, {name: retold(each, together) for name, each in rounds.items()})


def retold(rounds: Sequence[Round[Any]], profiles: Mapping[Choice, Any]) -> list[Round[Any]]:
    """The same rounds with other profiles: each predicted from that of the round before."""
    first = profiles[rounds[0].profile.choice]
    found = [Round(first.seconds, first.bytes, first)]
    for one in rounds[1:]:
        before, choice = found[-1].profile, one.profile.choice
        profile = profiles[choice].after(before)
        found.append(Round(before.seconds_with(choice), before.bytes_with(choice), profile))
    return found


def compared(plan: InsidePlan, measure: Measure, count: int) -> InsidePlan:
    """The plan with so many choices by chance, and with what binomial snapshots alone do.

    Half of the choices use all of the budget, the others fewer snapshots.
    """
    first, numbers = plan.first, random.Random(1)
    choices: list[Choice] = []
    while len(choices) < count:
        recorded = frozenset(path for path in first.paths if numbers.random() < 0.5)
        full = first.filled(recorded, plan.budget)
        if full is not None:
            fewer = replace(full, snapshots=numbers.randint(1, full.snapshots))
            choices.append(full if numbers.random() < 0.5 else fewer)
    most = first.choice.snapshots
    slots = sorted({max(1, most * part // 8) for part in range(1, 9)})
    alone = [replace(first.choice, snapshots=each) for each in slots]
    return replace(plan, by_chance=measure(choices), binomial=measure(alone))


def plan_tree(
    model: TreeModel,
    initial: Callable[[], TreeState],
    n_steps: int,
    budget: int,
    comm: Comm,
    repeats: int = 1,
    clock: Clock = perf_counter,
    by_chance: int = 0,
) -> InsidePlan:
    """Choose what is recorded in the step of a model. Collective.

    Args:
        model: whose step is a tree; afterwards it reverses with the best choice.
        initial: returns a new state at the start of the run.
        n_steps: of the run.
        budget: bytes per rank for the snapshots of the time loop and what a step holds.
        comm: of the ranks that share the model.
        repeats: gradients that are run for each choice; the fastest counts.
        clock: returns seconds.
        by_chance: other choices that are run to be compared; see `compared`.

    Raises:
        ConfigError: on all ranks: the budget does not hold one snapshot and what a step takes.
    """
    state = initial()
    with agreed(comm):
        first = first_choice(model, state.variables, n_steps, budget)
    # tiles, and so the states of ranks, have different sizes
    first = replace(first, snapshots=int(smallest(comm, first.snapshots)))

    def measure(choices: Sequence[Choice]) -> list[TreeProfile]:
        return measured(model, initial, n_steps, choices, comm, repeats, clock)

    found = searched(measure, first, budget)
    if by_chance:
        found = compared(found, measure, by_chance)
    model.reversal = Reversal(model.step, found.best.profile.choice.recorded)
    return found


def measured(
    model: TreeModel,
    initial: Callable[[], TreeState],
    n_steps: int,
    choices: Sequence[Choice],
    comm: Comm,
    repeats: int = 1,
    clock: Clock = perf_counter,
) -> list[TreeProfile]:
    """The fastest of some gradients under each choice, in turns; see `plan_tree`. Collective."""

    def one(choice: Choice) -> TreeProfile:
        # of its own: the most of each choice together may be more than the budget
        store: MemoryStore[Any] = MemoryStore(model.new_snapshot, choice.snapshots)
        found = profile_of(model, initial(), n_steps, choice, store, clock)
        return agreed_profile(found, comm)

    turns = [[one(choice) for choice in choices] for _ in range(repeats)]
    return [min(found, key=lambda one: one.seconds) for found in zip(*turns, strict=True)]


def agreed_profile(profile: TreeProfile, comm: Comm) -> TreeProfile:
    """What ranks have measured, as one profile: mean times of parts, largest sizes. Collective."""
    sites = profile.sites
    times = [profile.step_seconds, *(site.seconds for site in sites.values())]
    step_seconds, *seconds = total_each(comm, np.array(times)) / comm.size
    sizes = [size for site in sites.values() for size in (site.snapshot_bytes, site.tape_bytes)]
    numbers = [profile.slot_bytes, profile.peak, *sizes]
    slot_bytes, peak, *sizes = (int(size) for size in largest_each(comm, np.array(numbers)))
    (whole,) = largest_each(comm, np.array([profile.seconds]))
    agreed = {
        path: SiteProfile(site.runs, float(spent), snapshot, tape)
        for (path, site), spent, snapshot, tape in zip(
            sites.items(), seconds, sizes[::2], sizes[1::2], strict=True
        )
    }
    return replace(
        profile, sites=agreed, step_seconds=float(step_seconds), slot_bytes=slot_bytes, peak=peak,
        seconds=float(whole),
    )  # fmt: skip

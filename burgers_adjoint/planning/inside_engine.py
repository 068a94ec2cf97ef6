"""Chooses what the engine keeps of a step, together with the snapshots of the time loop.

The engine's step is one sweep through all stages, halo exchange included, so it leaves one thing to
choose inside: whether snapshots keep the stages of their step (`time.stages`), which its adjoint
computes anew otherwise. How many steps are reversed in one sweep follows from the snapshots in
memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.call_tree_choice import Choice, Profile
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.parallel.agreement import largest, last_arrival
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.planning.inside import InsidePlan, compared, searched
from burgers_adjoint.planning.prediction import Candidate, predict

STAGES = "step/stages"
Kinds = Mapping[bool, tuple[Case, Checkpointing]]
"""The same case with kept stages (True) and without (False)."""


@dataclass
class Predictor:
    """Predicts gradients of both kinds of a case, from what they have measured."""

    kinds: Kinds
    _known: dict[Choice, float] = field(default_factory=dict)

    def seconds(self, choice: Choice) -> float:
        """Seconds of a gradient."""
        if choice not in self._known:
            case, checkpointing = self.kinds[bool(choice.recorded)]
            schedule = Binomial(case.n_steps, choice.snapshots)
            swaps = checkpointing.stores.exchanges
            candidate = Candidate(schedule, "memory", schedule.slots, 0, swaps)
            self._known[choice] = predict(candidate, checkpointing.plan.costs).seconds
        return self._known[choice]

    def bytes(self, choice: Choice) -> int:
        """The most memory of a rank for snapshots, and for the stages of the step in hand."""
        _, checkpointing = self.kinds[bool(choice.recorded)]
        size = checkpointing.stores.largest_memory_bytes
        return (choice.snapshots + bool(choice.recorded)) * size


class EngineProfile(Profile):
    """One gradient of a case, measured."""

    def __init__(self, choice: Choice, seconds: float, predictor: Predictor) -> None:
        self.choice, self.seconds, self._predictor = choice, seconds, predictor
        self.bytes = predictor.bytes(choice)
        self.n_steps = predictor.kinds[False][0].n_steps
        self.paths = (STAGES,) if len(predictor.kinds) > 1 else ()

    def seconds_with(self, choice: Choice) -> float:
        return self.seconds - self._predictor.seconds(self.choice) + self._predictor.seconds(choice)

    def bytes_with(self, choice: Choice) -> int:
        return self._predictor.bytes(choice)

    def occurrences(self, path: str) -> int:
        return 1

    def after(self, earlier: Self) -> Self:
        return self


class EngineRuns:
    """Gradients of a case under one choice or another. Collective."""

    def __init__(self, kinds: Kinds, repeats: int) -> None:
        self._predictor, self._repeats = Predictor(kinds), repeats
        self.digests: set[str] = set()

    def first(self, budget: int) -> Choice:
        """All computed anew, and the snapshots that a budget holds.

        Raises:
            ConfigError: on all ranks: it holds none.
        """
        nothing = Choice(frozenset(), 1)
        try:
            return EngineProfile(nothing, 0.0, self._predictor).start(budget)
        except ConfigError as error:
            raise agreed_error(error) from None

    def measure(self, choices: Sequence[Choice]) -> list[EngineProfile]:
        """The fastest of some gradients under each choice, in turns."""
        turns = [[self.run(choice) for choice in choices] for _ in range(self._repeats)]
        return [
            EngineProfile(choice, min(seconds), self._predictor)
            for choice, seconds in zip(choices, zip(*turns, strict=True), strict=True)
        ]

    def run(self, choice: Choice) -> float:
        """Seconds of one gradient."""
        case, checkpointing = self._predictor.kinds[bool(choice.recorded)]
        schedule = Binomial(case.n_steps, choice.snapshots)
        store: Any
        with closed_at_end(checkpointing.stores.make(schedule, "memory")) as store:
            start = last_arrival(case.comm)
            result = reverse(case, schedule, store)
            seconds = float(largest(case.comm, last_arrival(case.comm) - start))
        self.digests.add(case.digest(result.final, result.gradient))
        return seconds


def plan_engine(kinds: Kinds, budget: int, repeats: int = 3, by_chance: int = 0) -> InsidePlan:
    """Choose for a case. Collective.

    Args:
        kinds: of the case; without kept stages alone where there are none.
        budget: bytes per rank.
        repeats: gradients that are run for each choice; the fastest counts.
        by_chance: other choices that are run to be compared; see `compared`.

    Raises:
        ConfigError: on all ranks: the budget does not hold one snapshot.
    """
    runs = EngineRuns(kinds, repeats)
    found = searched(runs.measure, runs.first(budget), budget)
    if by_chance:
        found = compared(found, runs.measure, by_chance)
    assert len(runs.digests) == 1, f"gradients differ: {runs.digests}"
    return found

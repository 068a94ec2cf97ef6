"""Chooses what the engine keeps of a step, together with the snapshots of the time loop.

The engine's step is one sweep through all stages, halo exchange included, so it leaves one thing to
choose inside: whether snapshots keep the stages of their step (`time.stages`), which its adjoint
computes anew otherwise. For the same bytes it competes with the number of snapshots and with their
lossless encoding. How many steps are reversed in one sweep follows from the snapshots in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.assembly.variants import with_snapshots
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.call_tree_choice import Choice, Profile
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.parallel.agreement import largest, last_arrival
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.planning.encoded import Encoded, encoded, states_of
from burgers_adjoint.planning.inside import InsidePlan, compared, searched
from burgers_adjoint.planning.prediction import Candidate, predict

STAGES, ENCODING = "step/stages", "snapshots/lossless"
PLAIN = frozenset[str]()
Kinds = Mapping[frozenset[str], tuple[Case, Checkpointing]]
"""The same case by what is chosen of it: kept stages, encoded snapshots."""


def kinds_of(by_stages: Mapping[bool, tuple[Case, Checkpointing]]) -> Kinds:
    """All kinds of a case that is given with kept stages (True) and without (False). Collective.

    Snapshots can be encoded where they are configured as they are.
    """
    found = {}
    for keeps, (case, checkpointing) in by_stages.items():
        stages = frozenset([STAGES] if keeps else [])
        found[stages] = case, checkpointing
        if checkpointing.stores.encoding is None:
            coded = with_snapshots(case, codec="lossless")
            found[stages | {ENCODING}] = coded, Checkpointing(coded)
    for _, checkpointing in found.values():
        if checkpointing.stores.encoding is not None:
            # there are as many as fit by what states of the run take
            checkpointing.stores.encoding.limited = False
    return found


@dataclass
class Predictor:
    """Predicts gradients of all kinds of a case, from what they have measured."""

    kinds: Kinds
    _known: dict[Choice, float] = field(default_factory=dict)
    _encoded: dict[frozenset[str], Encoded] = field(default_factory=dict)

    def seconds(self, choice: Choice) -> float:
        """Seconds of a gradient."""
        if choice not in self._known:
            case, _ = self.kinds[choice.recorded]
            _, plain = self.kinds[choice.recorded - {ENCODING}]
            costs, swaps = plain.plan.costs, plain.stores.exchanges
            if ENCODING in choice.recorded:
                costs, swaps = self.encoded(choice.recorded).costs(costs), False
            schedule = Binomial(case.n_steps, choice.snapshots)
            candidate = Candidate(schedule, "memory", schedule.slots, 0, swaps)
            self._known[choice] = predict(candidate, costs).seconds
        return self._known[choice]

    def bytes(self, choice: Choice) -> int:
        """The most memory of a rank for snapshots, and for the step or the snapshot in hand."""
        _, checkpointing = self.kinds[choice.recorded]
        stores = checkpointing.stores
        if stores.encoding is None:
            size = stores.largest_memory_bytes
            return (choice.snapshots + (STAGES in choice.recorded)) * size
        coded = ENCODING in choice.recorded
        size = self.encoded(choice.recorded).slot_bytes if coded else checkpointing.plan.slot_bytes
        return choice.snapshots * size + stores.encoding.buffer_bytes

    def encoded(self, kind: frozenset[str]) -> Encoded:
        """What encoding a snapshot of this kind takes. Collective."""
        if kind not in self._encoded:
            case, checkpointing = self.kinds[kind]
            encoding = checkpointing.stores.encoding
            assert encoding is not None
            self._encoded[kind] = encoded(case, encoding, states_of(case))
        return self._encoded[kind]


class EngineProfile(Profile):
    """One gradient of a case, measured."""

    def __init__(self, choice: Choice, seconds: float, predictor: Predictor) -> None:
        self.choice, self.seconds, self._predictor = choice, seconds, predictor
        self.bytes = predictor.bytes(choice)
        self.n_steps = predictor.kinds[PLAIN][0].n_steps
        self.paths = tuple(sorted(PLAIN.union(*predictor.kinds)))

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
        nothing = Choice(PLAIN, 1)
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
        case, checkpointing = self._predictor.kinds[choice.recorded]
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
        kinds: of the case.
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
    encodings = [checkpointing.stores.encoding for _, checkpointing in kinds.values()]
    exact = all(encoding is None or encoding.codec.lossless for encoding in encodings)
    assert len(runs.digests) == 1 or not exact, f"gradients differ: {runs.digests}"
    return found

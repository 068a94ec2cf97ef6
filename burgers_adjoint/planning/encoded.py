"""Measures what a codec makes of states of a run, and what that takes."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from time import perf_counter

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.encoding import Encoding
from burgers_adjoint.assembly.store_kinds import DISK
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.agreement import largest
from burgers_adjoint.planning.plan import Option, Plan
from burgers_adjoint.planning.prediction import Candidate, Costs, Moves, predict
from burgers_adjoint.snapshots.block import Block
from burgers_adjoint.snapshots.memory import MemoryStore

MARGIN = 1.2  # times the bytes that were measured, for states that take more
TURNS = 3
MOST_NEAR = 8  # snapshots as they are, beside encoded ones


@dataclass(frozen=True)
class Encoded:
    """What encoding one snapshot takes, on the rank that has most of it.

    Attributes:
        ratio: bytes before over those after, of the state that takes most.
        slot_bytes: to reckon with for a snapshot in memory.
        encode, decode: seconds, copies of the state included.
    """

    ratio: float
    slot_bytes: int
    encode: float
    decode: float

    def costs(self, plain: Costs) -> Costs:
        """What parts of a run take with all snapshots in memory encoded."""
        return replace(
            plain,
            save=self.encode, first_save=self.encode, load=self.decode, last_load=self.decode,
        )  # fmt: skip


def states_of(case: Case, middle: bool = True) -> list[np.ndarray]:
    """States of the run, (n_fields, rows, pitch): at its start and half way. Collective.

    The way there is a primal run; where the number of steps is open, the start is all there is.
    """
    model = case.model
    states = [model.initial_state(case.fields)]
    if middle and model.n_steps is not None:
        prepare_kernels(model, reverse=False)
        states.append(states[0].copy())
        model.advance(states[1], 0, model.n_steps // 2)
    return states


def encoded(case: Case, encoding: Encoding, states: list[np.ndarray]) -> Encoded:
    """Measure on these states. Collective."""
    model, comm = case.model, case.comm
    store = encoding.before(MemoryStore(Block, 1), 1, None)
    told, raw, most, seconds = store.compression, 0, 0, []
    state = model.new_state()
    for source in states:
        for _ in range(TURNS):
            before = told.packed_bytes
            model.keep(source, 0)
            start = perf_counter()
            store.save(0, 0, partial(model.snapshot, source))
            saved = perf_counter()
            store.load(0, 0, lambda found: model.restore(found, state))
            seconds.append((saved - start, perf_counter() - saved))
            most = max(most, told.packed_bytes - before)
        raw = told.raw_bytes // told.saves
    encode, decode = np.median(np.array(seconds), axis=0)
    n_bytes = int(largest(comm, most))
    return Encoded(
        ratio=float(largest(comm, raw)) / n_bytes,
        slot_bytes=int(MARGIN * n_bytes),
        encode=float(largest(comm, encode)),
        decode=float(largest(comm, decode)),
    )


def encoded_options(plan: Plan, taken: Encoded, n_steps: int, codec: str) -> list[Option]:
    """What could be done with encoded snapshots in memory, the fastest first.

    All of them encoded, or those that come and go often as they are and the others encoded.

    Args:
        plan: has the costs, and the memory given.
        taken: by a snapshot that is encoded.
        n_steps: of the run.
        codec: its name.
    """
    plain, costs = plan.slot_bytes, plan.costs
    limit = (plan.memory_slots - 1) * plain  # beside the one that is encoded or decoded
    coded = taken.costs(costs)
    far = replace(
        costs, far={DISK: Moves(taken.encode, taken.encode, taken.decode, 0.0, False)},
        copy=costs.save, save=costs.copy, first_save=costs.copy, load=costs.copy,
        last_load=costs.copy,
    )  # fmt: skip
    kinds: dict[str, list[tuple[float, Candidate, int]]] = {}

    def add(schedule: Schedule, near: int, n_bytes: int) -> None:
        one = Candidate(schedule, "memory", near, 0, swaps=False, codec=codec)
        # by a rule of thumb: each encoded slot is written and read once
        seconds = schedule.predicted_forward_steps * costs.of_advance(1)
        seconds += (schedule.slots - near % schedule.slots) * (taken.encode + taken.decode)
        kinds.setdefault(schedule.name, []).append((seconds, one, n_bytes))

    most = min(n_steps - 1, limit // taken.slot_bytes)
    for slots in _counts(most):
        add(Binomial(n_steps, slots), slots, plain + slots * taken.slot_bytes)
    for near in range(1, min(plan.memory_slots - 1, MOST_NEAR) + 1):
        most = min(n_steps - 2, (limit - near * plain) // taken.slot_bytes)
        for slots, kind in product(_counts(most), (Multistage, TwoLevel)):
            with suppress(ConfigError):  # too many snapshots to plan
                schedule = kind(n_steps, near, slots)
                n_bytes = (1 + near) * plain + slots * taken.slot_bytes
                add(schedule, schedule.memory_slots, n_bytes)
    found = []
    for several in kinds.values():
        _, one, n_bytes = min(several, key=lambda each: each[0])
        all_coded = one.near_slots == one.schedule.slots
        found.append(Option(one, predict(one, coded if all_coded else far), n_bytes))
    return sorted(found, key=lambda option: option.prediction.seconds)


def _counts(most: int) -> list[int]:
    """Numbers of snapshots up to the most, each twice the one before."""
    return [] if most < 1 else [most, *(2**k for k in range(most.bit_length()) if 2**k < most)]

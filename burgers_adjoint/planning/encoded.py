"""Measures what a codec makes of states of a run, and what that takes."""

from dataclasses import dataclass
from functools import partial
from time import perf_counter

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.encoding import Encoding
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.parallel.agreement import largest
from burgers_adjoint.snapshots.block import Block
from burgers_adjoint.snapshots.memory import MemoryStore

MARGIN = 1.2  # times the bytes that were measured, for states that take more
TURNS = 3


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

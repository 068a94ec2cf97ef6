"""This package: the model, and for the gradient the executor with all states kept in memory."""

from typing import Any

import numpy as np

from benchmarks.cases import grid_of, model_on
from benchmarks.peers.peer import Case, Gradient, Peer
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.snapshots.memory import MemoryStore
from burgers_adjoint.stepping.stepper import Cotangent


def make(case: Case) -> Peer:
    """The peer for this case."""
    n_rows, n_columns = case.fields.shape[1:]
    model = model_on(grid_of(n_columns, n_rows))
    state = model.initial_state(case.fields)
    store = MemoryStore(model.new_state, StoreAll(case.n_steps).slots, exchanges=True)

    def primal() -> np.ndarray:
        model.restart(state, case.fields)
        model.advance(state, 0, case.n_steps)
        return model.layout.interior(state)

    def gradient() -> Gradient:
        nonlocal state
        model.restart(state, case.fields)
        executor: Executor[np.ndarray, Cotangent, Any] = Executor(
            model, StoreAll(case.n_steps), store
        )
        executor.run(state)
        assert executor.cotangent is not None
        assert executor.state is not None
        state = executor.state  # the store has kept the one that it began with
        part = model.gradient(executor.cotangent)["initial"]
        return model.value, np.asarray(part)

    return Peer("burgers_adjoint", primal, gradient)

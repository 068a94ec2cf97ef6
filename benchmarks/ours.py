"""This package as its users have it, for benchmarks that compare it with something else.

The one place of these benchmarks that knows how the package is called.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.config import from_dict
from burgers_adjoint.problem import Problem

Control = np.ndarray | float


class Ours:
    """A problem on this process alone, whose gradients keep all states in memory.

    Args:
        sections: of the configuration, by name.
        controls: values of controls by name, laid out like their gradients; "boundary" after
            "initial".
    """

    def __init__(
        self, sections: Mapping[str, Mapping[str, Any]], controls: Mapping[str, Control]
    ) -> None:
        checkpointing = {"checkpointing": {"schedule": "store_all"}}
        self._problem = Problem(from_dict({**sections, **checkpointing}), MPI.COMM_SELF)
        self._problem.case.inputs.set_all(controls)
        self._store = self._problem.checkpointing.store(self._problem.checkpointing.schedule())
        self._state = self._problem.case.model.initial_state(self._problem.case.fields)

    def primal(self) -> np.ndarray:
        """The final state, (2, ny, nx)."""
        model = self._problem.case.model
        model.restart(self._state, self._problem.case.fields)
        model.advance(self._state, 0, self._problem.case.n_steps)
        return model.layout.interior(self._state)

    def gradient(self) -> tuple[float, dict[str, Control]]:
        """J and its gradient by control."""
        problem = self._problem
        result = reverse(problem.case, problem.checkpointing.schedule(), self._store)
        return result.objective, result.gradient

    def close(self) -> None:
        """Release what the problem and the store hold."""
        self._store.close()
        self._problem.close()

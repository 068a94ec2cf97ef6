"""A reversal that leaves pictures of its way: a model that writes the fields of some steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from burgers_adjoint.equations.burgers.model import BurgersModel, Cotangent
from burgers_adjoint.output.dumps import Dumps


class DumpingModel:
    """A model that writes the fields of some steps as the reversal comes to them."""

    def __init__(self, model: BurgersModel, dumps: Dumps) -> None:
        self._model, self._dumps = model, dumps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def seed(self, state: np.ndarray) -> Cotangent:
        """Seed the cotangent and write it, if the last step is one of those."""
        cotangent = self._model.seed(state)
        self._write(self._model.n_steps or self._dumps.n_steps, state, cotangent)
        return cotangent

    def adjoint_step(self, cotangent: Cotangent, state: np.ndarray, n: int) -> None:
        """Reverse a step and write the fields at its start, if it is one of those."""
        self._model.adjoint_step(cotangent, state, n)
        self._write(n, state, cotangent)

    def adjoint_steps(self, cotangent: Cotangent, states: Sequence[np.ndarray], n: int) -> None:
        """Reverse steps, and write the fields at their starts that are among those."""
        for step, state in zip(range(n, n - len(states), -1), states, strict=True):
            self.adjoint_step(cotangent, state, step)

    def _write(self, n: int, state: np.ndarray, cotangent: Cotangent) -> None:
        if self._dumps.wants(n):
            interior = self._model.layout.interior
            fields = {"cotangent": interior(cotangent.field)}
            self._dumps.write(n, self._model.time_steps.time(n), interior(state), fields)

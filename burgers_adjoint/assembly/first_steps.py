"""The first steps of a run as a model of their own, with a cotangent of one's own behind them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from burgers_adjoint.protocols import AdjointModel
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.stepper import Cotangent

Cotangents = list[tuple[int, Cotangent]]  # each from the start of its step on backwards


class FirstSteps(AdjointModel[np.ndarray, Cotangents, Any]):
    """Takes the steps of a model, and reverses them from given cotangents.

    Args:
        model: whose steps they are; its viewer sees nothing.
        seed: returns the cotangents, from the state after the steps.
    """

    exchanges = True

    def __init__(self, model: Model, seed: Callable[[np.ndarray], Cotangents]) -> None:
        self._model, self._seed = model, seed
        self.keeps = model.keeps

    def advance(self, state: np.ndarray, n0: int, n1: int) -> None:
        self._model.advance(state, n0, n1)

    def advance_from(self, source: np.ndarray, state: np.ndarray, n0: int, n1: int) -> None:
        self._model.advance_from(source, state, n0, n1)

    def seed(self, state: np.ndarray) -> Cotangents:
        return self._seed(state)

    def adjoint_step(self, cotangent: Cotangents, state: np.ndarray, n: int) -> None:
        viewer, self._model.viewer = self._model.viewer, None
        try:
            for begin, one in cotangent:
                if n < begin:
                    self._model.adjoint_step(one, state, n)
        finally:
            self._model.viewer = viewer

    def keep(self, state: np.ndarray, n: int) -> None:
        self._model.keep(state, n)

    @property
    def kept(self) -> bool:
        return self._model.kept

    def new_snapshot(self) -> np.ndarray:
        return self._model.new_state()

    def snapshot(self, state: np.ndarray, out: Any) -> None:
        self._model.snapshot(state, out)

    def restore(self, snapshot: Any, state: np.ndarray) -> None:
        self._model.restore(snapshot, state)

"""What the bridges need of a problem; `burgers_adjoint.Problem` has it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import Gradient
from burgers_adjoint.parallel.agreement import Comm
from burgers_adjoint.stepping.stepper import Value

Directions = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Differentiable(Protocol):
    """J and its gradient as functions of controls; see `burgers_adjoint.Problem`."""

    case: Case

    @property
    def comm(self) -> Comm: ...

    def controls(self) -> dict[str, Value]: ...

    def value(self, controls: Mapping[str, Any] | None = None) -> float: ...

    def value_and_gradient(
        self, controls: Mapping[str, Any] | None = None
    ) -> tuple[float, Gradient]: ...

    def hessian_product(
        self, controls: Mapping[str, Any] | None, direction: Directions
    ) -> Gradient | list[Gradient]: ...

    def gauss_newton_product(
        self, controls: Mapping[str, Any] | None, direction: Directions
    ) -> Gradient | list[Gradient]: ...

    def gather(self, tile: np.ndarray) -> np.ndarray | None: ...

    def scatter(self, whole: np.ndarray | None) -> np.ndarray: ...

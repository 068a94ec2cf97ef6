"""The members that most equations do without: what a class of your own derives from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.stepping.equation import Crosses, Streams, Value


class EquationBase(ABC):
    """An `equation.Equation` whose rate depends on the state, constants, profiles and parameters.

    A class that derives from it has `fields`, `n_numbers`, `numbers`, `rate`, `tangent` and
    `adjoint`. Where it has parameters, `tangent` reads ds[name][0], and `sensitivities` has one
    value for each. Where it has profiles, `profile` gives their values.

    Args:
        profiles: what depends on x, or on y, alone: name to "x" or "y".
        parameters: numbers that steps depend on, by name; a gradient can be taken to them.

    Attributes:
        parameters: as they are now.
    """

    fields: Sequence[str]
    reach = 1
    changing = False
    whole_step = False
    n_numbers: int
    streams: Mapping[str, int] = {}
    around: Sequence[str] = ()

    def __init__(self, profiles: Mapping[str, str] | None = None, **parameters: float) -> None:
        self.profiles, self.parameters = profiles or {}, parameters
        self.varied: Mapping[str, int] = dict.fromkeys(parameters, 1)

    @abstractmethod
    def numbers(self, time: float, dt: float) -> Sequence[float]: ...

    @abstractmethod
    def rate(self, c: Sequence[Any], q: Crosses, s: Streams) -> Sequence[Any]: ...

    @abstractmethod
    def tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, s: Streams, ds: Streams
    ) -> Sequence[Any]: ...

    @abstractmethod
    def adjoint(self, c: Sequence[Any], q: Crosses, p: Crosses, s: Streams) -> Sequence[Any]: ...

    def sensitivities(
        self, c: Sequence[Any], q: Crosses, p: Sequence[Any], s: Streams
    ) -> Mapping[str, Sequence[Any]]:
        return {}

    def profile(self, name: str, index: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} gives no values of the profile {name}")

    def sources(self, time: float) -> Mapping[str, Hashable]:
        """Every parameter's density and perturbation has the parameter's name."""
        return {name: name for name in self.varied}

    def set_control(self, name: str, value: Value | None) -> Mapping[Hashable, np.ndarray]:
        """Set a parameter.

        Raises:
            ConfigError: there is none of this name, or the value is no number.
        """
        if name not in self.parameters or not isinstance(value, float | int):
            raise ConfigError(
                f"steps depend on the numbers {', '.join(self.parameters) or '(none)'}; {name} "
                "is not one of them, or its value is no number"
            )
        self.parameters[name] = float(value)
        return {}

    def perturbations(
        self, directions: Mapping[str, Value], shape: tuple[int, int]
    ) -> Mapping[Hashable, np.ndarray]:
        return {name: directions.get(name, 0.0) + np.zeros((1, *shape)) for name in self.varied}

    def density_shapes(self, wanted: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
        return dict.fromkeys(wanted, (1,))

"""The seam to the machine that sweeps run on, and its first side: this machine's processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from burgers_adjoint.kernels.programs import Level
from burgers_adjoint.kernels.tile_layout import aligned_zeros
from burgers_adjoint.kernels.wavefront import Frame, RowPool
from burgers_adjoint.stepping.passes import Pass, WholePass
from burgers_adjoint.stepping.runge_kutta import StepKinds
from burgers_adjoint.stepping.step_kernels import StepKernels
from burgers_adjoint.stepping.step_levels import StepLevels

Passes = Callable[[str, Sequence[Level], Frame], Pass]
"""Makes the pass of a role's levels over a tile, as one sweep."""


class Backend(Protocol):
    """What the engine needs from the place where it runs.

    Formulas are plain Python, which a backend traces (`kernels.formula.Traced`): each operation is
    rounded as IEEE 754 says, none is contracted or reordered, so that all backends give the same
    bits.

    Attributes:
        in_place: whether a sweep can write to the array that it reads, row behind row; else it
            writes elsewhere, and the two arrays change their memory.
        most_steps: steps that a sweep of forward Euler shares at most, and one of its adjoint;
            None where rows that stay in the cache are the limit.
    """

    in_place: bool
    most_steps: tuple[int, int] | None

    def passes(
        self, kinds: StepKinds, forward: StepLevels, backward: StepLevels, frame: Frame
    ) -> Passes:
        """What makes the sweeps of an equation's steps over a tile.

        Raises:
            ConfigError: they are more than the machine has room for.
        """
        ...

    def finish(self) -> None:
        """Wait for the steps that were asked for."""
        ...

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """An array (float64, C order): NumPy's, or one that is used alike."""
        ...


class Processor:
    """The processor: loops over lines of points, compiled by Numba."""

    in_place = True
    most_steps: tuple[int, int] | None = None

    def passes(
        self, kinds: StepKinds, forward: StepLevels, backward: StepLevels, frame: Frame
    ) -> Passes:
        kernels = StepKernels(kinds, forward, backward)
        memory = RowPool()

        def whole(role: str, levels: Sequence[Level], frame: Frame) -> Pass:
            return WholePass(levels, kernels.of(role), frame, memory)

        return whole

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        return aligned_zeros(shape)

    def finish(self) -> None:
        pass


PROCESSOR = Processor()

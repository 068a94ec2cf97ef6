"""What takes the steps of a model, forwards and backwards: the one place that an engine fills."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

import numpy as np

from burgers_adjoint.kernels.tile_layout import Layout

Value = np.ndarray | float
Directions = Mapping[str, Value]


@dataclasses.dataclass
class Cotangent:
    """dJ/d(state) at some step, and what of the rest of dJ the steps after it have contributed.

    Attributes:
        field: (n_fields, rows, pitch) as `Layout` says.
        densities: each point's part of the derivative by what steps depend on, (..., rows, pitch),
            by name, for what the stepper was asked for; added up step by step at the point itself:
            an order that no decomposition changes.
        bins: what the objective has seen of this rank's states; the model's alone.
    """

    field: np.ndarray
    densities: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    bins: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))

    def density(self, key: Hashable) -> np.ndarray:
        """The density of a name, or of one of its parts: (n_fields, rows, pitch)."""
        if isinstance(key, tuple):
            name, number = key
            return self.densities[name][number]
        return self.densities[str(key)]


class Stepper(Protocol):
    """Steps on arrays of this rank's tile; calls are collective where ranks share the grid.

    States, perturbations and cotangents are arrays (n_fields, rows, pitch) as `layout` says; their
    halos may be stale. Step n leads from the state at n to the state at n + 1; the run's
    `TimeSteps`, which the stepper holds, know its time and its length. Several steps in one call
    have the bits of as many calls.

    Attributes:
        layout: of all arrays.
        n_fields: of a state.
        steps_per_sweep: steps taken in one sweep over memory.
    """

    layout: Layout
    n_fields: int
    steps_per_sweep: int

    @property
    def halo_seconds(self) -> float:
        """Time spent in halo exchange so far."""
        ...

    def close(self) -> None:
        """Release the messages' requests."""
        ...

    def set_control(self, name: str, value: Value | None) -> None:
        """Set what steps depend on, by name; None for nothing. Collective; arrays are not copied.

        Raises:
            ConfigError: the stepper knows no such name.
        """
        ...

    def advance(self, source: np.ndarray, state: np.ndarray, n0: int, n1: int) -> None:
        """Take the steps n0 .. n1-1 from the source's points to the state's.

        The source keeps its own points, unless it is the state.
        """
        ...

    def advance_along(self, states: Sequence[np.ndarray], n0: int) -> None:
        """Take a step from each state to the next one, the first of them step n0."""
        ...

    def adjoint(self, cotangent: Cotangent, states: Sequence[np.ndarray], n: int) -> None:
        """Apply the transposed Jacobians of the steps n, n-1, ... to the cotangent, in place.

        They are linearised at the states at the STARTS of these steps, in the same order.
        """
        ...

    def tangent(
        self, perturbation: np.ndarray, state: np.ndarray, directions: Directions, n: int
    ) -> np.ndarray:
        """Perturbation after step n of one before it, linearised at the state at its start.

        directions are perturbations of what steps depend on, by name.
        """
        ...

    def finish(self) -> None:
        """Wait for the steps that were asked for: calls may return before they are taken."""
        ...

    def new_array(self, n_fields: int) -> np.ndarray:
        """Zeros of shape (n_fields, rows, pitch), where the steps are taken."""
        ...

    def new_cotangent(self) -> Cotangent:
        """A cotangent of zeros, with the densities that were asked for."""
        ...

    def keep(self, state: np.ndarray, n: int) -> None:
        """Have the stages of step n, from this state, at hand in `stage_fields`."""
        ...

    @property
    def kept(self) -> bool:
        """Whether the stages of the next step, or adjoint step, are at hand."""
        ...

    def stage_fields(self) -> list[np.ndarray]:
        """The tile's points of the states of all stages but the first: views (n_fields, ny, nx)."""
        ...

    def restore_stages(self) -> None:
        """Take what was written to `stage_fields` for the stages of the next adjoint step."""
        ...

    def forget_stages(self) -> None:
        """Compute the next step's stages anew, whatever is at hand."""
        ...

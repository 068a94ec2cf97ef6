"""The seam to the machine that sweeps run on, and its first side: this machine's processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from burgers_adjoint.kernels.programs import Kind
from burgers_adjoint.kernels.tile_layout import aligned_zeros
from burgers_adjoint.kernels.wavefront import Kernel, kernel_of
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.halo import Frame, Halo


class Backend(Protocol):
    """What the engine needs from the place where it runs.

    Formulas are plain Python, which a backend traces (`kernels.formula.Traced`): each operation is
    rounded as IEEE 754 says, none is contracted or reordered, so that all backends give the same
    bits.
    """

    def compile(self, kinds: Sequence[Kind]) -> Kernel:
        """Make the sweep with these kinds."""
        ...

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array (float64, C order) that starts a cache line, with readable neighbours."""
        ...

    def address(self, array: np.ndarray) -> int:
        """Where sweeps find an array."""
        ...

    def halo(
        self, decomposition: Decomposition, frame: Frame, depth: int, n_fields: int, corners: bool
    ) -> Halo:
        """The exchange of the outer layers of tiles in arrays of this backend."""
        ...


class Processor:
    """The processor: loops over lines of points, compiled by Numba."""

    def compile(self, kinds: Sequence[Kind]) -> Kernel:
        kernel: Kernel = kernel_of(kinds)
        return kernel

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        return aligned_zeros(shape)

    def address(self, array: np.ndarray) -> int:
        place: int = array.__array_interface__["data"][0]
        return place

    def halo(
        self, decomposition: Decomposition, frame: Frame, depth: int, n_fields: int, corners: bool
    ) -> Halo:
        return Halo(decomposition, frame, depth, n_fields, corners)


PROCESSOR = Processor()

"""Sweeps whose arrays are found by what they are: of the call, of the equation, in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from burgers_adjoint.kernels.programs import Kind, Level
from burgers_adjoint.kernels.wavefront import Frame, Kernel, RowPool, Sweep

Arrays = Mapping[Any, np.ndarray]
Finder = Callable[[Any], np.ndarray]  # the array of what the engine has, by its key


class Pass(Protocol):
    """One or more sweeps that make one pass over steps."""

    def run(self, arrays: Arrays, find: Finder, numbers: np.ndarray) -> None:
        """Make the pass, with arrays of the call by their keys, others found by theirs."""
        ...


class WholePass:
    """A program as one sweep."""

    def __init__(
        self,
        levels: Sequence[Level],
        kernel: tuple[Sequence[Kind], Kernel],
        frame: Frame,
        memory: RowPool,
    ) -> None:
        self._sweep = Sweep(levels, *kernel, frame, memory)
        self._origins = np.zeros(len(self._sweep.keys), dtype=np.int64)
        self.ring_bytes = self._sweep.ring_bytes

    def run(self, arrays: Arrays, find: Finder, numbers: np.ndarray) -> None:
        for k, key in enumerate(self._sweep.keys):
            array = arrays[key] if key in arrays else find(key)
            self._origins[k] = array.__array_interface__["data"][0]
        self._sweep.run(self._origins, numbers)

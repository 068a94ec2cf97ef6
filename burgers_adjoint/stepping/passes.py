"""Sweeps whose arrays are found by what they are: of the call, of the equation, in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from burgers_adjoint.kernels.programs import Kind, Level
from burgers_adjoint.kernels.wavefront import Frame, Kernel, RowPool, Sweep
from burgers_adjoint.stepping.backend import Backend
from burgers_adjoint.stepping.tile_data import TileData

Arrays = Mapping[Any, np.ndarray]
Finder = Callable[[Any], np.ndarray]  # the array of what the engine has, by its key
# What is swept from level to level: where each is a sweep of its own, its halo is to be filled.
SWEPT = ("state", "rates", "end", "d_state")


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
        backend: Backend,
    ) -> None:
        self._sweep = Sweep(levels, *kernel, frame, memory)
        self._address = backend.address
        self._origins = np.zeros(len(self._sweep.keys), dtype=np.int64)
        self.ring_bytes = self._sweep.ring_bytes

    def run(self, arrays: Arrays, find: Finder, numbers: np.ndarray) -> None:
        for k, key in enumerate(self._sweep.keys):
            array = arrays[key] if key in arrays else find(key)
            self._origins[k] = self._address(array)
        self._sweep.run(self._origins, numbers)


class SplitPass:
    """A program as a sweep for each level, with an exchange of what the level reads around."""

    def __init__(
        self,
        levels: Sequence[Level],
        kernel: tuple[Sequence[Kind], Kernel],
        frame: Frame,
        memory: RowPool,
        backend: Backend,
        data: TileData,
        reach: int,
    ) -> None:
        self._data, self._reach = data, reach
        self._parts = [
            (self._around(level), WholePass([level], kernel, frame, memory, backend))
            for level in levels
        ]

    @staticmethod
    def _around(level: Level) -> list[Any]:
        bound, kind = level.bound, level.kind
        return [bound[name].source for name in SWEPT if name in bound and kind.reach(name)]

    def run(self, arrays: Arrays, find: Finder, numbers: np.ndarray) -> None:
        for around, part in self._parts:
            if around:
                found = (arrays[key] if key in arrays else find(key) for key in around)
                self._data.exchange(self._reach, *found)
            part.run(arrays, find, numbers)

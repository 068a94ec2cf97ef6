"""Passes on thin tiles, whose halos cannot be as deep as several levels read together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from burgers_adjoint.kernels.programs import Level
from burgers_adjoint.stepping.passes import Arrays, Finder, Pass
from burgers_adjoint.stepping.tile_data import TileData

# What is swept from level to level: where each is a sweep of its own, its halo is to be filled.
SWEPT = ("state", "rates", "end", "d_state")


class SplitPass:
    """A program as a sweep for each level, with an exchange of what the level reads around.

    Args:
        levels: of the program.
        whole: makes the pass of one of them.
        data: whose halos are exchanged.
        reach: layers of them.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        whole: Callable[[Sequence[Level]], Pass],
        data: TileData,
        reach: int,
    ) -> None:
        self._data, self._reach = data, reach
        self._parts = [(self._around(level), whole([level])) for level in levels]

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

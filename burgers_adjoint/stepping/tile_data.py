"""What an equation reads beside the state on this rank's tile, and the exchange of its halos."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.kernels.wavefront import Frame
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.halo import Frame as Edges
from burgers_adjoint.parallel.halo import Halo
from burgers_adjoint.stepping.backend import Backend
from burgers_adjoint.stepping.equation import Steps

Arrays = Mapping[Any, np.ndarray]


def tile_frame(layout: Layout, decomposition: Decomposition) -> Frame:
    """The whole tile in its arrays."""
    ends: list[int | None] = [None] * 4
    if not decomposition.periodic:
        spans = (decomposition.rows, decomposition.columns)
        for axis, (own, span) in enumerate(zip((layout.rows, layout.columns), spans, strict=True)):
            ends[2 * axis] = own.start - span.start
            ends[2 * axis + 1] = own.start - span.start + decomposition.shape[axis] - 1
    return Frame(layout, layout.rows, layout.columns, *ends)


class TileData:
    """Arrays of one layout, by key, and the messages that fill their halos.

    Args:
        equation: whose streams and profiles they are.
        layout: of all arrays.
        decomposition: who owns which points.
        backend: where the arrays are.
    """

    def __init__(
        self, equation: Steps, layout: Layout, decomposition: Decomposition, backend: Backend
    ) -> None:
        self._equation, self.layout, self._decomposition = equation, layout, decomposition
        self._backend = backend
        self._alone = decomposition.size == 1 and not decomposition.periodic
        self._halos: dict[tuple[int, int], Halo] = {}
        self._arrays: dict[Hashable, np.ndarray] = {}
        for name, axis in equation.profiles.items():
            self._arrays["profile", name] = self._profile(name, along_x=axis == "x")

    def _profile(self, name: str, along_x: bool) -> np.ndarray:
        layout, decomposition = self.layout, self._decomposition
        own = layout.columns if along_x else layout.rows
        span = decomposition.columns if along_x else decomposition.rows
        values = self._backend.zeros((layout.pitch if along_x else layout.n_rows,))
        values[:] = self._equation.profile(name, np.arange(len(values)) - own.start + span.start)
        return values

    @property
    def halo_seconds(self) -> float:
        """Time spent in halo exchange so far."""
        return sum((halo.seconds for halo in self._halos.values()), 0.0)

    def close(self) -> None:
        """Release the messages' requests."""
        for halo in self._halos.values():
            halo.close()

    def halo(self, depth: int, n_fields: int) -> Halo:
        """The exchange of so many layers; where one level alone reads them, without corners."""
        if (depth, n_fields) not in self._halos:
            edges = Edges(self.layout.rows, self.layout.columns)
            corners = depth > self._equation.reach
            self._halos[depth, n_fields] = Halo(
                self._decomposition, edges, depth, n_fields, corners
            )
        return self._halos[depth, n_fields]

    def exchange(self, depth: int, *arrays: np.ndarray) -> None:
        """Fill so many layers of halo of all arrays. Collective."""
        if not self._alone:
            self.halo(depth, sum(len(array) for array in arrays)).exchange(*arrays)

    def set(self, key: Hashable, fields: np.ndarray) -> None:
        """Set the array of a key to fields (n, ny, nx) of the tile. Collective."""
        array = self.get(key, len(fields))
        self.layout.interior(array)[...] = fields
        self.exchange(self.layout.halo, array)

    def get(self, key: Hashable, n_fields: int) -> np.ndarray:
        """The array of a key; one of zeros where there was none."""
        if key not in self._arrays:
            self._arrays[key] = self.new_array(n_fields)
        return self._arrays[key]

    def new_array(self, n_fields: int) -> np.ndarray:
        """Zeros of shape (n_fields, rows, pitch)."""
        return self._backend.zeros((n_fields, self.layout.n_rows, self.layout.pitch))

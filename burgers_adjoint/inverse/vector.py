"""All controls of an inverse problem as one vector over the ranks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

Values = dict[str, np.ndarray | float]


@dataclass(frozen=True)
class Part:
    """One control's place in a rank's share of the vector.

    Attributes:
        place: where it lies.
        shape: of its values; () for a number, which lives on rank 0.
        points: which of the values are in the vector, None for all.
        scale: value over vector entry.
    """

    place: slice
    shape: tuple[int, ...]
    points: np.ndarray | None
    scale: float


class ControlVector:
    """Where each control lies in the vector, and how it is scaled.

    Args:
        comm: the ranks.
        values: of all controls, which tell their shapes.
        boundary: (ny, nx), the points whose values the control "boundary" has.
        scales: by name, 1 when not given: vector entries are values over scales.

    Attributes:
        size: of this rank's share.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        values: Mapping[str, np.ndarray | float],
        boundary: np.ndarray,
        scales: Mapping[str, float],
    ) -> None:
        self._comm = comm
        self.parts: dict[str, Part] = {}
        self.size = 0
        for name, value in values.items():
            shape = np.shape(value)
            points = np.broadcast_to(boundary, shape) if name == "boundary" else None
            length = int(np.prod(shape)) if points is None else int(np.count_nonzero(points))
            if not shape:
                length = int(comm.rank == 0)
            place = slice(self.size, self.size + length)
            self.parts[name] = Part(place, shape, points, scales.get(name, 1.0))
            self.size += length

    def values(self, entries: np.ndarray) -> Values:
        """Controls by name from this rank's entries. Collective.

        Fields with a scale of 1 are views of the entries.
        """
        values: Values = {}
        for name, part in self.parts.items():
            mine = entries[part.place]
            if not part.shape:
                number = float(mine[0]) * part.scale if mine.size else 0.0
                values[name] = self._comm.bcast(number, root=0)
                continue
            scaled = mine if part.scale == 1.0 else mine * part.scale
            if part.points is None:
                values[name] = scaled.reshape(part.shape)
            else:
                field = np.zeros(part.shape)
                field[part.points] = scaled
                values[name] = field
        return values

    def put_values(self, values: Mapping[str, np.ndarray | float], out: np.ndarray) -> None:
        """Write the entries of values to out."""
        self._put(values, out, {name: 1.0 / part.scale for name, part in self.parts.items()})

    def put_gradient(self, gradient: Mapping[str, np.ndarray | float], out: np.ndarray) -> None:
        """Write the derivatives by the entries, of those by the values, to out."""
        self._put(gradient, out, {name: part.scale for name, part in self.parts.items()})

    def put_bounds(self, bounds: Mapping[str, float], missing: float, out: np.ndarray) -> None:
        """Write bounds of the entries, from those of the values by name."""
        for name, part in self.parts.items():
            out[part.place] = bounds[name] / part.scale if name in bounds else missing

    def _put(
        self,
        values: Mapping[str, np.ndarray | float],
        out: np.ndarray,
        factors: Mapping[str, float],
    ) -> None:
        for name, part in self.parts.items():
            value, factor = np.asarray(values[name]), factors[name]
            if not part.shape:
                out[part.place] = value * factor
            elif part.points is not None:
                out[part.place] = value[part.points] * factor
            else:
                np.multiply(value, factor, out=out[part.place].reshape(part.shape))

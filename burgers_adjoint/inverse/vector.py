"""All controls of an inverse problem as one vector over the ranks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from burgers_adjoint.equations.burgers.controls import Control
from burgers_adjoint.parallel.agreement import Comm, from_rank

Values = dict[str, np.ndarray | float]


@dataclass(frozen=True)
class Part:
    """One control's place in a rank's share of the vector.

    Attributes:
        control: a number lives on rank 0, fields where their points do.
        place: where it lies.
        points: which of the values are in the vector, None for all.
    """

    control: Control
    place: slice
    points: np.ndarray | None


class ControlVector:
    """Where each control lies in the vector: its own points, as values over its scale.

    Args:
        comm: the ranks.
        controls: by name, in their order.

    Attributes:
        size: of this rank's share.
    """

    def __init__(self, comm: Comm, controls: Mapping[str, Control]) -> None:
        self._comm = comm
        self.parts: dict[str, Part] = {}
        self.size = 0
        for name, control in controls.items():
            points, length = None, int(np.prod(control.shape))
            if control.points is not None:
                points = np.broadcast_to(control.points, control.shape)
                length = int(np.count_nonzero(points))
            if not control.shape:
                length = int(comm.rank == 0)
            self.parts[name] = Part(control, slice(self.size, self.size + length), points)
            self.size += length

    def values(self, entries: np.ndarray) -> Values:
        """Controls by name from this rank's entries. Collective.

        Fields with a scale of 1 are views of the entries.
        """
        values: Values = {}
        for name, part in self.parts.items():
            mine = entries[part.place]
            if not part.control.shape:
                number = float(mine[0]) * part.control.scale if mine.size else 0.0
                values[name] = from_rank(self._comm, number)
                continue
            scaled = mine if part.control.scale == 1.0 else mine * part.control.scale
            if part.points is None:
                values[name] = scaled.reshape(part.control.shape)
            else:
                field = np.zeros(part.control.shape)
                field[part.points] = scaled
                values[name] = field
        return values

    def put_values(self, values: Mapping[str, np.ndarray | float], out: np.ndarray) -> None:
        """Write the entries of values to out."""
        self._put(
            values, out, {name: 1.0 / part.control.scale for name, part in self.parts.items()}
        )

    def put_gradient(self, gradient: Mapping[str, np.ndarray | float], out: np.ndarray) -> None:
        """Write the derivatives by the entries, of those by the values, to out."""
        self._put(gradient, out, {name: part.control.scale for name, part in self.parts.items()})

    def put_bounds(self, infinite: float, lower: np.ndarray, upper: np.ndarray) -> None:
        """Write bounds of the entries, +-infinite where a control has none."""
        for part in self.parts.values():
            low, high = part.control.lower, part.control.upper
            scale = part.control.scale
            lower[part.place] = -infinite if low is None else low / scale
            upper[part.place] = infinite if high is None else high / scale

    def _put(
        self,
        values: Mapping[str, np.ndarray | float],
        out: np.ndarray,
        factors: Mapping[str, float],
    ) -> None:
        for name, part in self.parts.items():
            value, factor = np.asarray(values[name]), factors[name]
            if not part.control.shape:
                out[part.place] = value * factor
            elif part.points is not None:
                out[part.place] = value[part.points] * factor
            else:
                np.multiply(value, factor, out=out[part.place].reshape(part.control.shape))

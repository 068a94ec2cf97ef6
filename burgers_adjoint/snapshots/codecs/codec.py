"""What makes fewer bytes of a snapshot's array, and the array of the bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

LEAST = float(np.finfo(np.float64).tiny)
MARGIN = 1 - 2**-20  # of a tolerance, for what is rounded


class CodecCannot(Exception):  # noqa: N818 - no error: the snapshot is stored losslessly instead
    """This array is none for the codec, such as one with NaN; says why, without "because"."""


class Codec(ABC):
    """Encodes arrays (fields, ny, nx), C-contiguous float64: one rank's own points of a snapshot.

    A codec may be told different arrays in turn, always from one thread.

    Attributes:
        name: in the configuration.
        lossless: every array comes back bit for bit.
        bounded: no point of field k comes back with an error larger than `tolerances[k]`.
        tolerances: (fields,), each > 0, which the store sets before it calls `encode`, the same on
            all ranks; of a bounded codec only.
        error: of another lossy codec: how large errors are, in words.
        pointwise: each value is rounded by itself, so that what comes back does not depend on how a
            field is cut into tiles.
        even: errors are of the same size all through a run, so that its beginning tells of them.
    """

    name: str
    lossless: bool = False
    bounded: bool = False
    tolerances: np.ndarray
    error: str = "unbounded"
    pointwise: bool = False
    even: bool = True

    @abstractmethod
    def bound(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        """Most bytes that an encoded array of this shape can take; slots on disk have this size."""

    @abstractmethod
    def encode(self, array: np.ndarray) -> bytes | bytearray | memoryview | np.ndarray:
        """Bytes from which `decode` makes the array; at most `bound`. The next call may reuse them.

        Raises:
            CodecCannot: the codec cannot do with this array what it promises.
        """

    @abstractmethod
    def decode(self, data: memoryview, out: np.ndarray) -> None:
        """Make the array that was encoded, in place.

        Raises:
            SnapshotError: the data is damaged.
        """


def bounding(tolerance: float, field: np.ndarray) -> float:
    """A tolerance that the errors of a field can be bounded by.

    Raises:
        CodecCannot: this is none, as it is where the field has values that are not finite.
    """
    if not LEAST <= tolerance < np.inf:
        raise CodecCannot(
            f"no error can be bounded by {tolerance:g}"
            if np.isfinite(field).all()
            else "a value is not finite"
        )
    return float(tolerance)

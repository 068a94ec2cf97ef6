"""Arrays as they are: what is left for those that no other codec can take."""

from __future__ import annotations

from typing import Any

import numpy as np

from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.snapshots.codecs.codec import Codec


class Verbatim(Codec):
    """Copies the bytes."""

    name = "verbatim"
    lossless = True

    def bound(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        return int(np.prod(shape)) * dtype.itemsize

    def encode(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(-1).view(np.uint8)

    def decode(self, data: memoryview, out: np.ndarray) -> None:
        fill_from(data, out.dtype, out)


def fill_from(data: memoryview, dtype: np.dtype[Any], out: np.ndarray) -> None:
    """Make an array of the bytes of one of the same shape.

    Raises:
        SnapshotError: they are not as many.
    """
    if len(data) != out.size * dtype.itemsize:
        raise SnapshotError(
            f"an encoded snapshot has {len(data)} bytes, not {out.size * dtype.itemsize}"
        )
    out[...] = np.frombuffer(data, dtype).reshape(out.shape)

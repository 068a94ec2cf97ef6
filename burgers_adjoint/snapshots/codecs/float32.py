"""Numbers of half the size."""

from __future__ import annotations

from typing import Any

import numpy as np

from burgers_adjoint.snapshots.codecs.codec import Codec, CodecCannot
from burgers_adjoint.snapshots.codecs.verbatim import fill_from

SINGLE = np.dtype(np.float32)
LARGEST = float(np.finfo(SINGLE).max)


class Float32(Codec):
    """Rounds to single precision: errors up to 2^-24 of a value, and none depends on the ranks."""

    name = "float32"
    error = "6e-8 of the value"
    pointwise = True

    def __init__(self, section: Any = None) -> None:
        self._single = np.empty(0, SINGLE)

    def bound(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        return int(np.prod(shape)) * SINGLE.itemsize

    def encode(self, array: np.ndarray) -> np.ndarray:
        if self._single.shape != array.shape:
            self._single = np.empty(array.shape, SINGLE)
        single = self._single
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            np.copyto(single, array, casting="same_kind")
            # NaN is no number that is small enough, either
            if not (single.max() <= LARGEST and single.min() >= -LARGEST):
                raise CodecCannot("a value is not finite in single precision")
        return single.reshape(-1).view(np.uint8)

    def decode(self, data: memoryview, out: np.ndarray) -> None:
        fill_from(data, SINGLE, out)

"""Errors up to a tolerance at every point: SZ3's interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.snapshots.codecs.codec import Codec, CodecCannot, bounding
from burgers_adjoint.snapshots.codecs.packages import required
from burgers_adjoint.snapshots.codecs.parts import joined, parts_of


class Bounded(Codec):
    """SZ3 on each field. What it has encoded is decoded right away, and must be within the bound.

    Source: Liang et al., SZ3: A modular framework for composing prediction-based error-bounded
    lossy compressors, IEEE Transactions on Big Data 9 (2023).

    Raises:
        ConfigError: pysz is not installed.
    """

    name = "bounded"
    bounded = True

    def __init__(self, section: Any = None) -> None:
        self._sz = required(self.name, "pysz", "pysz")

    def bound(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        return n_bytes + n_bytes // 8 + 4096 * shape[0]

    def encode(self, array: np.ndarray) -> bytes:
        return joined(
            [
                self._encoded(field, bounding(tolerance, field))
                for field, tolerance in zip(array, self.tolerances, strict=True)
            ]
        )

    def _encoded(self, field: np.ndarray, tolerance: float) -> memoryview:
        if not (np.isfinite(field.max()) and np.isfinite(field.min())):
            raise CodecCannot("a value is not finite")
        sz = self._sz
        config = sz.szConfig(*field.shape)
        config.errorBoundMode = sz.szErrorBoundMode.ABS
        config.cmprAlgo = sz.szAlgorithm.INTERP
        config.absErrorBound = tolerance
        data, _ = sz.sz.compress(field, config)
        found, _ = sz.sz.decompress(data, field.dtype, field.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(found, field, out=found)
            error = max(float(found.max()), -float(found.min()))
        if not error <= tolerance:
            raise CodecCannot(f"an error of {error:.3g} is beyond the tolerance {tolerance:.3g}")
        packed: memoryview = data.data
        return packed

    def decode(self, data: memoryview, out: np.ndarray) -> None:
        for field, part in zip(out, parts_of(data, len(out)), strict=True):
            packed = np.frombuffer(part, np.uint8)
            try:
                field[...] = self._sz.sz.decompress(packed, field.dtype, field.shape)[0]
            except Exception as error:  # SZ3's are of no kind of their own
                raise SnapshotError(f"an encoded snapshot is damaged: {error}") from error

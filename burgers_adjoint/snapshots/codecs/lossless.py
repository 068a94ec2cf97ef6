"""Fewer bytes, the same bits: differences along the rows, packed by pcodec."""

from __future__ import annotations

from typing import Any

import numpy as np

from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.snapshots.codecs.codec import Codec
from burgers_adjoint.snapshots.codecs.packages import required
from burgers_adjoint.snapshots.codecs.parts import joined, parts_of

ORDERS = (2, 4, 7)  # of differences: smooth fields on fine grids want high ones
LEVEL = 8
SAMPLE = 2**14  # values by which the order is chosen
SHARE = 16  # of a field, at least, that is no sample of it
SAME = b"="  # and the number of an earlier field with the same bits


class Lossless(Codec):
    """pcodec on each field, with the order of differences that packs a sample of it best.

    A field that has the bits of an earlier one is written as a word.

    Raises:
        ConfigError: pcodec is not installed.
    """

    name = "lossless"
    lossless = True

    def __init__(self, section: Any = None) -> None:
        pcodec = required(self.name, "pcodec", "pcodec")
        self._packing = required(self.name, "pcodec.standalone", "pcodec")
        self._ways = [
            pcodec.ChunkConfig(
                compression_level=LEVEL,
                mode_spec=pcodec.ModeSpec.classic(),
                delta_spec=pcodec.DeltaSpec.try_consecutive(order),
            )
            for order in ORDERS
        ]

    def bound(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        return n_bytes + n_bytes // 64 + 1024 * shape[0]

    def encode(self, array: np.ndarray) -> bytes:
        parts: list[bytes] = []
        bits = array.reshape(len(array), -1).view(np.int64)
        for number, field in enumerate(array):
            same = (k for k in range(number) if np.array_equal(bits[k], bits[number]))
            twin = next(same, None)
            if twin is not None:
                parts.append(SAME + bytes([twin]))
                continue
            values = field.reshape(-1)
            parts.append(self._packing.simple_compress(values, self._way_for(values)))
        return joined(parts)

    def _way_for(self, values: np.ndarray) -> Any:
        """The way that packs values of the middle best."""
        middle = len(values) // 2
        sample = values[middle : middle + min(SAMPLE, max(1, len(values) // SHARE))]
        sizes = [len(self._packing.simple_compress(sample, way)) for way in self._ways]
        return self._ways[int(np.argmin(sizes))]

    def decode(self, data: memoryview, out: np.ndarray) -> None:
        for number, part in enumerate(parts_of(data, len(out))):
            if len(part) == 2 and part[:1] == SAME:
                if part[1] >= number:
                    raise SnapshotError("an encoded snapshot repeats a field that is not there")
                out[number] = out[part[1]]
                continue
            values = out[number].reshape(-1)
            try:
                progress = self._packing.simple_decompress_into(bytes(part), values)
            except Exception as error:  # pcodec's are of no kind of their own
                raise SnapshotError(f"an encoded snapshot is damaged: {error}") from error
            if not progress.finished or progress.n_processed != len(values):
                raise SnapshotError("an encoded snapshot has fewer values than it should")

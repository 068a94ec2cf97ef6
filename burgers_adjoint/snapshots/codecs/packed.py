"""Codecs that predict each row of a field from those before it, and pack the residual."""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.snapshots.codecs.codec import Codec
from burgers_adjoint.snapshots.codecs.parts import LENGTH, joined, parts_of

HEADER = struct.Struct("<Qd")  # the order, and the step of a quantised field
SAME = b"="  # and the number of an earlier field with the same bits
MOST_NAMED = 256  # fields, by a byte
WORD = 8  # bytes
# The order is chosen by a row out of so many, or by more where rows are few.
SPARSE, LEAST_ROWS = 64, 4


class Packed(Codec):
    """Encodes field by field; one that has the bits of an earlier field, as that one's number.

    Args:
        packing: the module `kernels.packing`.

    Attributes:
        orders: numbers of rows that a row can be predicted from, growing.
    """

    orders: tuple[int, ...]

    def __init__(self, packing: ModuleType) -> None:
        self._packing = packing
        self._words = np.empty(0, np.uint64)
        self._widths = np.empty((0, 0), np.uint8)

    def bound(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        fields, ny, nx = shape
        one = HEADER.size + WORD * self._packing.most_words(ny, nx)
        return int(fields * (WORD + one + ny * self._packing.n_blocks(nx)))

    def encode(self, array: np.ndarray) -> bytearray:
        self._make_room(array.shape)
        data = bytearray()
        for number, field in enumerate(array):
            before = range(min(number, MOST_NAMED))
            same = (k for k in before if self._as_good(k, number) and _same(array[k], field))
            twin = next(same, None)
            if twin is not None:
                data += joined([SAME + bytes([twin])])
                continue
            order, step, n_words = self._pack(number, field)
            n_bytes = HEADER.size + WORD * n_words + self._widths.size
            data += LENGTH.pack(n_bytes) + HEADER.pack(order, step)
            data += self._words[:n_words].data.cast("B")
            data += self._widths.data.cast("B")
        return data

    def decode(self, data: memoryview, out: np.ndarray) -> None:
        self._make_room(out.shape)
        for number, part in enumerate(parts_of(data, len(out))):
            if len(part) == 2 and part[:1] == SAME:
                if part[1] >= number:
                    raise SnapshotError("an encoded snapshot repeats a field that is not there")
                out[number] = out[part[1]]
                continue
            order, step = self._take(part, out.shape[2])
            self._unpack(order, step, out[number])

    def _take(self, part: memoryview, nx: int) -> tuple[int, float]:
        """Copy words and widths of a field to where they are unpacked; returns order and step."""
        at = len(part) - self._widths.size
        if at < HEADER.size or (at - HEADER.size) % WORD:
            raise SnapshotError("an encoded snapshot is cut short")
        n_words = (at - HEADER.size) // WORD
        order, step = HEADER.unpack(part[: HEADER.size])
        self._widths.reshape(-1)[...] = np.frombuffer(part[at:], np.uint8)
        if self._packing.n_words(self._widths, nx) != n_words or order not in self.orders:
            raise SnapshotError("an encoded snapshot is damaged: its blocks are of other sizes")
        self._words.view(np.uint8)[: at - HEADER.size] = np.frombuffer(
            part[HEADER.size : at], np.uint8
        )
        return order, step

    def _make_room(self, shape: tuple[int, ...]) -> None:
        _, ny, nx = shape
        blocks = ny, self._packing.n_blocks(nx)
        if self._widths.shape != blocks or len(self._words) != self._packing.most_words(ny, nx):
            self._words = np.empty(self._packing.most_words(ny, nx), np.uint64)
            self._widths = np.empty(blocks, np.uint8)

    def _as_good(self, k: int, number: int) -> bool:
        """Whether field k, where it has the same bits, comes back as exactly as this one has to."""
        return True

    def _best_order(self, n_rows: int, bits: Callable[[int, int, int], int]) -> int:
        """The order with the fewest bits, which fall and then grow with it, by some of the rows.

        Args:
            n_rows: of the field.
            bits: (order, first row, rows from one to the next), of these rows.
        """
        every = max(1, min(SPARSE, n_rows // LEAST_ROWS))
        found = {}

        def taken(k: int) -> int:
            if k not in found:
                found[k] = bits(self.orders[k], every // 2, every)
            return found[k]

        k, last = len(self.orders) // 2, len(self.orders) - 1
        step = 1 if k < last and taken(k + 1) < taken(k) else -1
        while 0 <= k + step <= last and taken(k + step) < taken(k):
            k += step
        return self.orders[k]

    @abstractmethod
    def _pack(self, number: int, field: np.ndarray) -> tuple[int, float, int]:
        """Fill widths and words; returns order, step and the number of words."""

    @abstractmethod
    def _unpack(self, order: int, step: float, out: np.ndarray) -> None:
        """Make a field of widths and words."""


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two fields have the same bits; the middle row is looked at first, for most differ."""
    middle = len(one) // 2
    a, b = one.view(np.int64), other.view(np.int64)
    return np.array_equal(a[middle], b[middle]) and np.array_equal(a, b)

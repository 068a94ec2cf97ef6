"""Encoded snapshots as bytes in a place: memory of their own size, or room that is there before."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from burgers_adjoint.errors import SnapshotError

HEAD = struct.Struct("<QQ")  # how it is encoded, and how many bytes follow


class Block:
    """The bytes of one encoded snapshot, behind a head that says how many they are.

    Args:
        room: bytes, head included, for a block of a fixed place; None for memory that is as large
            as what is put into it.
    """

    def __init__(self, room: int | None = None) -> None:
        self._fixed = room is not None
        self._array = np.empty(room or 0, np.uint8)

    def put(self, way: int, data: memoryview) -> None:
        """Hold these bytes, encoded in one of several ways."""
        n_bytes = HEAD.size + len(data)
        if not self._fixed:
            self._array = np.empty(n_bytes, np.uint8)
        HEAD.pack_into(self._array.data, 0, way, len(data))
        self._array[HEAD.size : n_bytes] = data

    def get(self) -> tuple[int, np.ndarray]:
        """The way, and a view of the bytes.

        Raises:
            SnapshotError: there are fewer than the head says.
        """
        if len(self._array) < HEAD.size:
            raise SnapshotError("an encoded snapshot has no head")
        way, length = HEAD.unpack_from(self._array.data)
        if length > len(self._array) - HEAD.size:
            raise SnapshotError(f"an encoded snapshot says that it has {length} bytes: too many")
        return way, self._array[HEAD.size : HEAD.size + length]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The very bytes, all the room, for stores that write them."""
        return np.array(self._array, dtype=dtype, copy=True) if copy else self._array

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self._array.nbytes

"""The bytes of the fields of a snapshot, one after the other."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from burgers_adjoint.errors import SnapshotError

LENGTH = struct.Struct("<Q")


def joined(parts: Sequence[bytes | memoryview]) -> bytes:
    """All parts, each with its length in front."""
    return b"".join(piece for part in parts for piece in (LENGTH.pack(len(part)), part))


def parts_of(data: memoryview, n_parts: int) -> Iterator[memoryview]:
    """What `joined` has put together.

    Raises:
        SnapshotError: these are not as many parts.
    """
    for _ in range(n_parts):
        if len(data) < LENGTH.size:
            raise SnapshotError("an encoded snapshot is cut short")
        (length,) = LENGTH.unpack(data[: LENGTH.size])
        data = data[LENGTH.size :]
        if length > len(data):
            raise SnapshotError("an encoded snapshot is cut short")
        yield data[:length]
        data = data[length:]
    if len(data):
        raise SnapshotError(f"an encoded snapshot has {len(data)} bytes too many")

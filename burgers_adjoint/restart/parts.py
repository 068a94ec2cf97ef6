"""Part files: some fields of one rank's tile, with their place in the grid and their checksums.

A part of a run's state is one file per rank:

    magic (32 bytes), the fields' bytes one after the other, the index (JSON)

The index names run, part and rank, the tile's global rows and columns, and offset, shape and
CRC-32 of each field. The manifest knows the size of the file and the checksum of the index, so that
a file of another rank, run or generation is told from the right one.
"""

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from msgspec import Struct

from burgers_adjoint.errors import RestartError
from burgers_adjoint.files import disk

MAGIC = b"burgers_adjoint restart data 1".ljust(31) + b"\n"


class Aside(Protocol):
    """A copy of a field (k, ny, nx) that waits on a device."""

    def landed(self) -> np.ndarray:
        """It, on the host, C-contiguous; asked for once, by the thread that writes it."""
        ...


Field = np.ndarray | Aside
Fields = Mapping[str, Field]


class Entry(Struct, frozen=True):
    """Where one field of n_fields components lies in a part file, and its CRC-32."""

    name: str
    n_fields: int
    offset: int
    crc32: int


class Index(Struct, frozen=True):
    """What a part file holds; rows and columns are (start, stop) in the global grid."""

    run: str
    part: str
    rank: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    fields: tuple[Entry, ...]


class Seal(Struct, frozen=True, array_like=True):
    """By what a manifest recognises a part file: bytes in all, bytes and CRC-32 of its index."""

    size: int
    index_size: int
    index_crc32: int


def file_name(part: str, rank: int) -> str:
    """Name of a rank's file of a part."""
    return f"{part}.{rank:06d}"


def checksum(data: bytes | memoryview) -> int:
    """CRC-32 of bytes."""
    return zlib.crc32(data)


def write_part(
    folder: Path, run: str, part: str, rank: int, rows: slice, columns: slice, fields: Fields
) -> Seal:
    """Write one rank's file of a part and wait until it is on the disk.

    Args:
        folder: of the restart data.
        run: name of the run.
        part: name of the part.
        rank: of the tile.
        rows: global rows of the tile.
        columns: global columns of the tile.
        fields: name to (k, ny, nx) float64 of the tile, C-contiguous; what waits on a device comes
            to the host when its turn has come.

    Raises:
        OSError: the file cannot be written; what there is of it is gone.
    """
    path = folder / file_name(part, rank)
    descriptor = disk.create(path)
    try:
        try:
            disk.write(descriptor, MAGIC)
            offset, entries = len(MAGIC), []
            for name, field in fields.items():
                values = field if isinstance(field, np.ndarray) else field.landed()
                data = values.data.cast("B")
                entries.append(Entry(name, len(values), offset, checksum(data)))
                disk.write(descriptor, data)
                offset += len(data)
            place = ((rows.start, rows.stop), (columns.start, columns.stop))
            index = msgspec.json.encode(Index(run, part, rank, *place, tuple(entries)))
            disk.write(descriptor, index)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
    except OSError:
        disk.remove(path)
        raise
    return Seal(offset + len(index), len(index), checksum(index))


class PartFile:
    """One rank's file of a part, opened for reading; a context manager.

    Attributes:
        index: what it holds.

    Raises:
        RestartError: the file is missing, cut off, damaged, or not the one that the seal is of.
    """

    def __init__(self, folder: Path, part: str, rank: int, seal: Seal) -> None:
        self.path = folder / file_name(part, rank)
        try:
            # stays open for as long as this object does
            self._file = open(self.path, "rb")  # noqa: SIM115
        except OSError as error:
            raise RestartError(f"cannot read {self.path}: {error.strerror}") from error
        try:
            self.index = self._read_index(seal)
        except BaseException:
            self._file.close()
            raise

    def _read_index(self, seal: Seal) -> Index:
        size = os.fstat(self._file.fileno()).st_size
        if size != seal.size:
            raise RestartError(f"{self.path} is damaged: it has {size} bytes, not {seal.size}")
        if self._read(0, len(MAGIC)) != MAGIC:
            raise RestartError(f"{self.path} is damaged: it does not begin as restart data does")
        text = self._read(size - seal.index_size, seal.index_size)
        if checksum(text) != seal.index_crc32:
            raise RestartError(
                f"{self.path} is damaged, or the file of another rank or generation: "
                "its index is not the one that the manifest has sealed"
            )
        return msgspec.json.decode(text, type=Index)

    def read(self, name: str) -> np.ndarray:
        """The field of that name, (k, ny, nx) of the tile that was saved.

        Raises:
            RestartError: there is no such field, or its bytes are damaged.
        """
        index = self.index
        entry = next((entry for entry in index.fields if entry.name == name), None)
        if entry is None:
            raise RestartError(f"{self.path} holds no {name}")
        shape = (
            entry.n_fields,
            index.rows[1] - index.rows[0],
            index.columns[1] - index.columns[0],
        )
        data = self._read(entry.offset, 8 * shape[0] * shape[1] * shape[2])
        if checksum(data) != entry.crc32:
            raise RestartError(f"{self.path} is damaged: {name} does not have its checksum")
        return np.frombuffer(data).reshape(shape)

    def _read(self, offset: int, size: int) -> bytes:
        try:
            self._file.seek(offset)
            data = self._file.read(size)
        except OSError as error:
            raise RestartError(f"cannot read {self.path}: {error.strerror}") from error
        if len(data) != size:
            raise RestartError(f"{self.path} is damaged: it ends in the middle of its data")
        return data

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(self, *failure: object) -> None:
        self._file.close()

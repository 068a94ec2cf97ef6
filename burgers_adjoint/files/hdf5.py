"""HDF5 in and out: arrays with messages that name what is wrong, files that answer a full disk."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from burgers_adjoint.errors import ConfigError

File: TypeAlias = h5py.File
Group: TypeAlias = h5py.Group
Dataset: TypeAlias = h5py.Dataset
Place = tuple[slice, ...]
LEAST, MOST = 1e-50, 1e50  # magnitudes of numbers that are read, those of `config.checks`


def library_versions() -> dict[str, str]:
    """Versions of h5py and HDF5, by name."""
    parallel = "with" if h5py.get_config().mpi else "without"
    return {
        "h5py": h5py.__version__,
        "HDF5": f"{h5py.version.hdf5_version} ({parallel} MPI-IO)",
    }


@contextmanager
def opened(path: str | Path, label: str) -> Iterator[File]:
    """Open a file for reading.

    Raises:
        ConfigError: starting with the label, and saying why it cannot be read.
    """
    _require_regular(path, label)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read as HDF5: {error}") from error


def _require_regular(path: str | Path, label: str) -> None:
    """See whether a file can be read, before HDF5 tries: it would wait for a pipe."""
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{label}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read: {error.strerror}") from error
    if not regular:
        raise ConfigError(f"{label}: cannot be read as HDF5: it is no regular file")
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{label}: cannot be read: {os.strerror(errno.EACCES)}")


def array(file: File, name: str, shape: tuple[int | None, ...], label: str) -> np.ndarray:
    """Read a whole dataset of real, finite numbers; None in the shape is any length.

    Raises:
        ConfigError: starting with the label: it is missing, or holds something else.
    """
    dataset = _numbers(file, name, label)
    found = dataset.shape
    if len(found) != len(shape) or any(
        n not in (None, m) for n, m in zip(shape, found, strict=True)
    ):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise ConfigError(f"{label}: /{name} has the shape {found}, expected ({expected})")
    values = np.asarray(dataset[()], dtype=np.float64)
    if not np.isfinite(values).all():
        raise ConfigError(f"{label}: /{name} holds values that are not finite")
    _require_size(values, name, label)
    return values


def field(file: File, name: str, shape: tuple[int, int], place: Place, label: str) -> np.ndarray:
    """Read the rows and columns of a place from a field of shape (ny, nx).

    Raises:
        ConfigError: starting with the label: the dataset is missing, has another shape, or holds
            values that are not finite or no real numbers.
    """
    dataset = _numbers(file, name, label)
    if dataset.shape != shape:
        raise ConfigError(
            f"{label}: /{name} has the shape {dataset.shape}, the grid is (ny, nx) = {shape}"
        )
    values: np.ndarray = dataset[place].astype(np.float64)
    if not np.isfinite(values).all():
        j, i = (int(index[0]) for index in np.nonzero(~np.isfinite(values)))
        raise ConfigError(
            f"{label}: /{name} is {values[j, i]} at point "
            f"[{place[0].start + j}, {place[1].start + i}]"
        )
    _require_size(values, name, label)
    return values


def _require_size(values: np.ndarray, name: str, label: str) -> None:
    """Refuse values whose squares and cubes may overflow."""
    most = np.abs(values).max(initial=0.0)
    if most > MOST:
        raise ConfigError(f"{label}: /{name} holds {most:g}, expected magnitudes up to {MOST:g}")


def _numbers(file: File, name: str, label: str) -> h5py.Dataset:
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise ConfigError(f"{label}: there is no dataset /{name}")
    if dataset.dtype.kind not in "fiu":
        raise ConfigError(f"{label}: /{name} holds {dataset.dtype}, not real numbers")
    return dataset


def attributes(path: Path) -> dict[str, Any]:
    """Attributes of a file's root group; empty when there is no file that can be read."""
    if not path.exists():
        return {}
    try:
        with h5py.File(path, "r") as file:
            return {
                name: value.item() if isinstance(value, np.generic) else value
                for name, value in file.attrs.items()
            }
    except OSError:
        return {}


@contextmanager
def new_file(path: Path) -> Iterator[File]:
    """Offer a new file for writing, in place of what is there.

    HDF5 1.10 can crash at exit when a write fails while it closes a file. So the writes go through
    a Python file that keeps the first error for itself, and it is raised once HDF5 is done.

    Raises:
        OSError: it cannot be written, or there is no room for all of it.
    """
    raw = _ForgivingFile(path, "wb+")
    try:
        with h5py.File(raw, "w") as file:
            yield file
    finally:
        raw.close()
        if raw.failure is not None:
            raise raw.failure
    with open(path, "rb+") as made:
        os.posix_fallocate(made.fileno(), 0, os.fstat(made.fileno()).st_size)


def make_room(file: File, name: str, shape: tuple[int, ...]) -> h5py.Dataset:
    """Make a dataset of numbers, at a known place (`id.get_offset()`), without a value."""
    place = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    place.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    place.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return file.create_dataset(name, shape, dtype="<f8", dcpl=place)


def make_scale(group: Group, name: str, values: np.ndarray) -> Dataset:
    """Make a dataset of coordinates that is a dimension scale of its own name."""
    dataset = group.create_dataset(name, data=values)
    h5py.h5ds.set_scale(dataset.id, name.encode())
    return dataset


def attach_scales(dataset: Dataset, scales: Iterable[Dataset]) -> None:
    """Give each dimension of a dataset its scale."""
    for dimension, scale in enumerate(scales):
        h5py.h5ds.attach_scale(dataset.id, scale.id, dimension)


def link(dataset: Dataset, group: Group, name: str) -> None:
    """Let a group have a dataset that is another group's, by a soft link.

    What walks through a file, such as `visititems`, takes no notice of it. A second hard link it
    would take for the first, where the name of the group comes before that of the dataset.
    """
    group.id.links.create_soft(name.encode(), dataset.name.encode())


def describe(item: File | Dataset, texts: Mapping[str, str]) -> None:
    """Give a file or a dataset attributes of ASCII texts, of fixed length, as netCDF has them.

    h5py's own way takes four times as long, a millisecond for the few fields of a dump.
    """
    for name, text in texts.items():
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(len(text))
        kind.set_strpad(h5py.h5t.STR_NULLPAD)  # all of the bytes are text
        scalar = h5py.h5s.create(h5py.h5s.SCALAR)
        attribute = h5py.h5a.create(item.id, name.encode(), kind, scalar)
        attribute.write(np.array(text.encode("ascii")))


class _ForgivingFile(io.FileIO):
    failure: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self.failure is None and done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

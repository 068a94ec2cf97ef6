"""The few operations on files that durable data depends on, each in one place.

Restart data is written by the functions of this module, called by its name, so that what a full
disk, a crash or a power cut does between any two of them can be tested.
"""

import os
from pathlib import Path

CHUNK = 2**24  # bytes handed to the system at once


def create(path: Path) -> int:
    """Open a new file for writing, or an emptied old one; returns its descriptor."""
    return os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o644)


def write(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of the data."""
    view = memoryview(data).cast("B")
    done = 0
    while done < len(view):
        done += os.write(descriptor, view[done : done + CHUNK])


def sync(descriptor: int) -> None:
    """Wait until the file's data is on the disk."""
    os.fsync(descriptor)


def close(descriptor: int) -> None:
    """Close the file; some file systems report a failed write only now."""
    os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(old: Path, new: Path) -> None:
    """Give a file a new name, at once and in place of what had it."""
    os.replace(old, new)


def remove(path: Path) -> None:
    """Remove a file; one that is not there is removed already."""
    path.unlink(missing_ok=True)

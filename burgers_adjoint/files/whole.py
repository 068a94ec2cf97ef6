"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from burgers_adjoint.errors import BurgersAdjointError, ConfigError
from burgers_adjoint.files.disk import replace, sync_folder

FAULTS_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


@contextmanager
def replaced_when_complete(path: str | Path) -> Iterator[Path]:
    """Offer a temporary name beside `path`; what was written there takes its place at the end.

    The bytes and the folder entry are on the disk when the block ends. When the block fails,
    `path` is as it was and the temporary file is gone. A temporary file that an earlier, killed
    run has left is overwritten, so they do not pile up; so is one that `reserve` has made.

    Raises:
        BurgersAdjointError: naming the path and the reason, for every OSError.
    """
    path = Path(os.path.realpath(path))
    partial = _partial_of(path)
    try:
        with faults_named(path):
            yield partial
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
            replace(partial, path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink()


def _partial_of(path: str | Path) -> Path:
    path = Path(os.path.realpath(path))
    return path.with_name(path.name + ".partial")


def reserve(path: str | Path, n_bytes: int) -> None:
    """Hold room for a file that `replaced_when_complete` is to write, under its temporary name.

    A disk that fills meanwhile has that room still. File systems that compress, or that never
    write in place (ZFS, Btrfs), promise nothing; those that cannot reserve are written to.

    Raises:
        BurgersAdjointError: naming the path and the reason; nothing is held then.
    """
    with faults_named(path):
        try:
            with open(_partial_of(path), "wb") as file:
                os.posix_fallocate(file.fileno(), 0, n_bytes)
        except OSError:
            release(path)
            raise


def release(path: str | Path) -> None:
    """Give back what `reserve` holds, or what a killed run has left, if anything."""
    with suppress(OSError):
        _partial_of(path).unlink()


@contextmanager
def faults_named(path: str | Path) -> Iterator[None]:
    """Make an OSError a BurgersAdjointError with the path that cannot be written and the reason."""
    try:
        yield
    except OSError as error:
        raise BurgersAdjointError(f"cannot write {path}: {reason(error)}") from error


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole, or straight into what is no regular file, such as a pipe.

    Raises:
        BurgersAdjointError: naming the path and the reason.
    """
    if Path(path).exists() and not Path(path).is_file():
        with faults_named(path):
            Path(path).write_text(text, encoding="utf-8")
    else:
        with replaced_when_complete(path) as partial:
            partial.write_text(text, encoding="utf-8")


def replace_quickly(path: Path, data: bytes) -> None:
    """Give a file new contents at once, without waiting for the disk: a power cut may undo it.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def require_writable(path: str | Path) -> None:
    """Find out now, by writing, whether a file can be written at the end of a long run.

    Raises:
        ConfigError: naming the path and the reason.
        BurgersAdjointError: likewise; the path is fine, but the disk is full or broken.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            # not opened: whoever reads from a pipe would take that for the end
            if Path(path).is_dir() or not os.access(path, os.W_OK):
                code = errno.EISDIR if Path(path).is_dir() else errno.EACCES
                raise OSError(code, os.strerror(code))
            return
        path = Path(os.path.realpath(path))
        if path.exists():
            with open(path, "ab"):
                pass
        else:
            partial = _partial_of(path)
            try:
                partial.write_bytes(b"-")
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        failure = BurgersAdjointError if error.errno in FAULTS_OF_THE_DISK else ConfigError
        raise failure(f"cannot write {path}: {reason(error)}") from error


def reason(error: OSError) -> str:
    """What went wrong, without the path; of what stands in the way of a folder, what it is."""
    name = error.filename
    if isinstance(error, FileExistsError | NotADirectoryError) and isinstance(name, str):
        if os.path.isfile(name):
            return f"{name} is a file"
        if os.path.islink(name):
            return f"{name} is a link to {os.readlink(name)}, which does not exist"
    return error.strerror or str(error)

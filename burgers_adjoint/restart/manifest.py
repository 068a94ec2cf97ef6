"""Manifests: which part files make up one generation of a run's restart data.

A generation is there when its manifest is, and the manifest is written last, under a temporary
name. It carries its own checksum, and the seals of all files that it refers to, also of those that
earlier generations have written.
"""

import os
import re
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from burgers_adjoint.errors import RestartError
from burgers_adjoint.files import disk
from burgers_adjoint.restart.parts import Seal, checksum

FORMAT = "burgers_adjoint restart"
VERSION = 1
NAME = re.compile(r"generation-(\d{8})\.json")
PART_NAME = re.compile(r"(?:sweep|final|snapshot-\d+)-(\d{8})\.\d{6}")


class Part(Struct, frozen=True):
    """One part of a state: the (py, px) ranks that wrote it, and the seals of their files."""

    process_grid: tuple[int, int]
    seals: tuple[Seal, ...]


class Manifest(Struct, frozen=True):
    """One generation.

    Attributes:
        run: name of the run, made up when it began.
        generation: number, ascending with time.
        saved_at: seconds since 1970.
        identity: what a run that goes on from here must have in common with the one that saved.
        shape: global points (ny, nx).
        n_steps: steps of the forward sweep, None as long as nobody knew.
        command: which command it is a run of.
        phase: the sweep it was in; "done" when the run is at its end and needs nothing more.
        position: step at whose start the working state (forward) or the cotangent (reverse) is.
        counts: what the executor has counted.
        facts: numbers beyond the fields: objective, lengths of the steps, earlier interruptions and
            what they cost; the summary when it is done.
        sweep: part with the working state or the cotangent.
        final: part with the final state, from the turn on.
        snapshots: step to part.
        parts: all parts referred to, by name.
    """

    run: str
    generation: int
    saved_at: float
    identity: dict[str, Any]
    shape: tuple[int, int]
    n_steps: int | None
    command: str
    phase: Literal["forward", "reverse", "done"]
    position: int
    counts: dict[str, int | float]
    facts: dict[str, Any]
    sweep: str | None = None
    final: str | None = None
    snapshots: dict[int, str] = {}
    parts: dict[str, Part] = {}


class _File(Struct, frozen=True):
    format: str
    version: int
    crc32: int
    manifest: msgspec.Raw


class _Head(Struct, frozen=True):
    format: str
    version: int


class DamagedManifestError(RestartError):
    """A manifest that is cut off or altered: an older one may do."""


def path_of(folder: Path, generation: int) -> Path:
    """Where the manifest of a generation is."""
    return folder / f"generation-{generation:08d}.json"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a generation valid: the one moment at which it appears, whole.

    Raises:
        OSError: the manifest cannot be written; there is no such generation then.
    """
    text = msgspec.json.encode(manifest)
    data = msgspec.json.encode(_File(FORMAT, VERSION, checksum(text), msgspec.Raw(text)))
    path = path_of(folder, manifest.generation)
    partial = path.with_name(path.name + ".partial")
    try:
        descriptor = disk.create(partial)
        try:
            disk.write(descriptor, data)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        # The names of the part files must be on the disk before the manifest's.
        disk.sync_folder(folder)
        disk.replace(partial, path)
    except OSError:
        disk.remove(partial)
        raise
    disk.sync_folder(folder)


def read_manifest(path: Path) -> Manifest:
    """Read and verify a manifest.

    Raises:
        DamagedManifestError: it cannot be read, or is not what was written.
        RestartError: it is no manifest, or one of another version of the format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedManifestError(f"cannot read {path}: {error.strerror}") from error
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.ValidationError:
        raise RestartError(f"{path} is no manifest of restart data") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise DamagedManifestError(f"{path} is damaged: it is not valid JSON") from None
    try:
        file = msgspec.json.decode(data, type=_File)
        if head.format == FORMAT and head.version == VERSION:
            if checksum(bytes(file.manifest)) != file.crc32:
                raise DamagedManifestError(f"{path} is damaged: it does not have its checksum")
            return msgspec.json.decode(file.manifest, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if head.format == FORMAT and head.version == VERSION:
            raise DamagedManifestError(f"{path} is damaged: {error}") from None
    if head.format != FORMAT:
        raise RestartError(f"{path} is no manifest of restart data: its format is {head.format!r}")
    age = "a newer" if head.version > VERSION else "an older"
    raise RestartError(
        f"{path} was written by {age} version of this program: it has format {head.version}, "
        f"this version reads format {VERSION}"
    )


def generations(folder: Path) -> list[int]:
    """Numbers of the generations that have a manifest, newest first.

    Raises:
        RestartError: the folder cannot be read.
    """
    return sorted(
        (int(found[1]) for name in _names(folder) if (found := NAME.fullmatch(name))), reverse=True
    )


def next_generation(folder: Path) -> int:
    """A number above those of all generations that have left anything in the folder."""
    numbers = [0]
    for name in _names(folder):
        if found := NAME.fullmatch(name.removesuffix(".partial")) or PART_NAME.fullmatch(name):
            numbers.append(int(found[1]))
    return max(numbers) + 1


def remove_all_but(folder: Path, kept: list[Manifest]) -> None:
    """Remove the restart data that none of these generations refers to.

    The manifests go first: no manifest that is there lacks a file because of this.
    """
    wanted = {path_of(folder, manifest.generation).name for manifest in kept}
    parts = {part for manifest in kept for part in manifest.parts}
    old, loose = [], []
    for name in _names(folder):
        if NAME.fullmatch(name.removesuffix(".partial")):
            if name not in wanted:
                old.append(name)
        elif PART_NAME.fullmatch(name) and name.rpartition(".")[0] not in parts:
            loose.append(name)
    for name in old:
        disk.remove(folder / name)
    if old and loose:
        disk.sync_folder(folder)
    for name in loose:
        disk.remove(folder / name)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RestartError(f"cannot read {folder}: {error.strerror}") from error

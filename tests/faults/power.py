"""What a kill or a power cut at any moment would have left of restart data, from a log of a run.

The driver's `log:FOLDER` notes every operation on files. For each moment between two of them three
folders are made: what a kill leaves (all that was done), what a cut leaves of a disk that has kept
names but no data that was not synced, and what it leaves of a disk that has kept nothing that was
not synced.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from burgers_adjoint.errors import RestartError
from burgers_adjoint.restart.manifest import Manifest
from burgers_adjoint.restart.parts import PartFile
from burgers_adjoint.restart.reader import manifests

VARIANTS = ("kill", "names kept, data lost", "names and data lost")


@dataclass
class Disk:
    """Names now and at the last sync of the folder; each leads to the file it was created as."""

    names: dict[str, str] = field(default_factory=dict)
    synced_names: dict[str, str] = field(default_factory=dict)
    synced_files: set[str] = field(default_factory=set)
    closed_files: set[str] = field(default_factory=set)

    def apply(self, operation: str, words: list[str]) -> None:
        match operation:
            case "create":
                self.names[words[0]] = words[0]
                self.synced_files.discard(words[0])
                self.closed_files.discard(words[0])
            case "sync":
                self.synced_files.add(words[0])
            case "close":
                self.closed_files.add(words[0])
            case "sync_folder":
                self.synced_names = dict(self.names)
            case "replace":
                self.names[words[1]] = self.names.pop(words[0])
            case "remove":
                self.names.pop(words[0], None)

    def left(self, variant: str) -> dict[str, tuple[str, bool]]:
        """Name to the file it leads to, and whether that has its data."""
        names = self.synced_names if variant == VARIANTS[2] else self.names
        whole = self.closed_files if variant == VARIANTS[0] else self.synced_files
        return {name: (file, file in whole) for name, file in names.items()}


def moments(log: Path) -> Iterator[tuple[str, int, Disk]]:
    """After each operation of the run: what it was, the newest committed generation, the disk."""
    lines = [
        json.loads(line)
        for path in sorted(log.glob("rank-*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    disk, committed, renamed = Disk(), 0, 0
    for _, operation, *words in sorted(lines):
        disk.apply(operation, words)
        if operation == "replace":
            renamed = int(words[1].removeprefix("generation-").removesuffix(".json"))
        elif renamed and operation in ("sync_folder", "remove"):
            # The writer takes a generation for valid from here on.
            committed, renamed = renamed, 0
        yield f"{operation} {' '.join(words)}", committed, disk


def whole(folder: Path) -> Manifest | None:
    """The newest generation whose files are all as they were written."""
    try:
        found, _ = manifests(folder)
    except RestartError:
        return None
    for manifest in found:
        try:
            for name, part in manifest.parts.items():
                for rank, seal in enumerate(part.seals):
                    with PartFile(folder, name, rank, seal) as file:
                        for entry in file.index.fields:
                            file.read(entry.name)
        except RestartError:
            continue
        return manifest
    return None


def lost_generations(log: Path, folder: Path, scratch: Path) -> tuple[int, list[str]]:
    """Cut the power at every moment; returns how often, and where a valid generation was lost."""
    # A file that got another name is found under that one.
    files = {path.name: path for place in (folder, log) for path in place.iterdir()}
    for name in list(files):
        files.setdefault(f"{name}.partial", files[name])
    trials, lost, seen = 0, [], {}
    for what, committed, disk in moments(log):
        for variant in VARIANTS:
            trials += 1
            left = disk.left(variant)
            key = json.dumps(sorted(left.items()))
            if key not in seen:
                shutil.rmtree(scratch, ignore_errors=True)
                scratch.mkdir(parents=True)
                for name, (file, has_data) in left.items():
                    if has_data:
                        (scratch / name).hardlink_to(files[file])
                    else:
                        (scratch / name).touch()
                found = whole(scratch)
                seen[key] = 0 if found is None else found.generation
            if seen[key] < committed:
                lost.append(f"{variant} after {what}: {seen[key]} is left of {committed}")
    return trials, lost

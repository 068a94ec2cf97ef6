"""Damages restart data at rest."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Damage:
    """What is done to a folder, and how many different trials make sense."""

    apply: Callable[[Path, random.Random], None]
    trials: int = 3


def newest(folder: Path) -> Path:
    return max(folder.glob("generation-*.json"))


def sweep_files(folder: Path) -> list[Path]:
    """Files of the newest generation without which it is nothing."""
    manifest = json.loads(newest(folder).read_text(encoding="utf-8"))["manifest"]
    return sorted(folder.glob(f"{manifest['sweep']}.*"))


def any_file(folder: Path, chance: random.Random) -> Path:
    return chance.choice([path for path in sorted(folder.iterdir()) if path.name != "progress"])


def flip(path: Path, offset: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def flip_anywhere(folder: Path, chance: random.Random) -> None:
    path = any_file(folder, chance)
    flip(path, chance.randrange(path.stat().st_size), chance.randrange(8))


def flip_in_field(folder: Path, chance: random.Random) -> None:
    path = chance.choice(sweep_files(folder))
    # A low bit of a number near the middle of the tile.
    flip(path, 32 + 8 * (path.stat().st_size // 40) + 1, chance.randrange(8))


def cut(folder: Path, chance: random.Random) -> None:
    path = any_file(folder, chance)
    with open(path, "rb+") as file:
        file.truncate(chance.randrange(path.stat().st_size))


def cut_manifest(folder: Path, chance: random.Random) -> None:
    path = newest(folder)
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def swap_ranks(folder: Path, chance: random.Random) -> None:
    first, second = sweep_files(folder)[:2]
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def mix_generations(folder: Path, chance: random.Random) -> None:
    old = min(folder.glob("generation-*.json"))
    if old == newest(folder):
        raise AssertionError("there is one generation only")
    older = json.loads(old.read_text(encoding="utf-8"))["manifest"]["sweep"]
    target = sweep_files(folder)[1]
    if target.name.startswith(older):
        # Both share the sweep: take a file of another part.
        source = next(path for path in sorted(folder.glob("*.000001")) if path != target)
    else:
        source = folder / f"{older}.000001"
    target.write_bytes(source.read_bytes())


def remove_file(folder: Path, chance: random.Random) -> None:
    any_file(folder, chance).unlink()


def remove_sweep(folder: Path, chance: random.Random) -> None:
    chance.choice(sweep_files(folder)).unlink()


def empty_all(folder: Path, chance: random.Random) -> None:
    for path in folder.glob("sweep-*"):
        path.write_bytes(b"")


def newer_format(folder: Path, chance: random.Random) -> None:
    path = newest(folder)
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2', 1))


def foreign(folder: Path, chance: random.Random) -> None:
    newest(folder).write_text('{"format": "something else", "version": 1}', encoding="utf-8")


DAMAGES = {
    "a flipped bit anywhere": Damage(flip_anywhere, trials=8),
    "a flipped bit in a field": Damage(flip_in_field, trials=4),
    "a file cut off": Damage(cut, trials=6),
    "a manifest cut off": Damage(cut_manifest),
    "swapped files of two ranks": Damage(swap_ranks, trials=1),
    "a file of another generation": Damage(mix_generations, trials=1),
    "a missing file": Damage(remove_file, trials=6),
    "a missing file of the sweep": Damage(remove_sweep),
    "every generation damaged": Damage(empty_all, trials=1),
    "a newer format": Damage(newer_format, trials=1),
    "a foreign manifest": Damage(foreign, trials=1),
}

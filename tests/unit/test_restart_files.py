import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from burgers_adjoint.errors import RestartError
from burgers_adjoint.files import disk
from burgers_adjoint.restart.contents import contents
from burgers_adjoint.restart.manifest import (
    DamagedManifestError,
    Manifest,
    Part,
    generations,
    next_generation,
    path_of,
    read_manifest,
    remove_all_but,
    write_manifest,
)
from burgers_adjoint.restart.parts import PartFile, Seal, write_part
from burgers_adjoint.restart.progress import note_progress, steps_done

ROWS, COLUMNS = slice(3, 7), slice(10, 15)


def fields() -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(2).normal(size=(3, 4, 5))
    return {"field": numbers[:2].copy(), "density": numbers[2:].copy()}


def written(folder: Path, part: str = "sweep-00000001", rank: int = 0) -> Seal:
    return write_part(folder, "run", part, rank, ROWS, COLUMNS, fields())


def read_all(folder: Path, seal: Seal) -> None:
    with PartFile(folder, "sweep-00000001", 0, seal) as file:
        for name in fields():
            file.read(name)


def manifest(folder: Path, generation: int = 1) -> Manifest:
    name = f"sweep-{generation:08d}"
    part = Part((1, 1), (written(folder, name),))
    counts = {"forward_steps": 5, "reverse_steps": 0, "seconds_forward": 0.1}
    made = Manifest(
        *("run", generation, 1.5, {"grid": {"nx": 4}}, (7, 15), 9, "gradient", "forward", 5),
        counts,
        {"objective": 0.1},
        sweep=name,
        parts={name: part},
    )
    write_manifest(folder, made)
    return made


def test_a_part_holds_its_fields_bit_for_bit(tmp_path: Path) -> None:
    seal = written(tmp_path)
    with PartFile(tmp_path, "sweep-00000001", 0, seal) as file:
        assert (file.index.rows, file.index.columns) == ((3, 7), (10, 15))
        assert [entry.name for entry in file.index.fields] == ["field", "density"]
        for name, field in fields().items():
            np.testing.assert_array_equal(file.read(name), field)
        with pytest.raises(RestartError, match="holds no velocity"):
            file.read("velocity")


def test_every_flipped_bit_of_a_part_is_found(tmp_path: Path) -> None:
    seal = written(tmp_path)
    path = tmp_path / "sweep-00000001.000000"
    data = path.read_bytes()
    for offset in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[offset] ^= 1 << offset % 8
        path.write_bytes(damaged)
        with pytest.raises(RestartError, match=f"{path} is damaged"):
            read_all(tmp_path, seal)


def test_every_cut_of_a_part_is_found(tmp_path: Path) -> None:
    seal = written(tmp_path)
    path = tmp_path / "sweep-00000001.000000"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RestartError, match=f"it has {seal.size - 5} bytes, not {seal.size}"):
        PartFile(tmp_path, "sweep-00000001", 0, seal)
    path.unlink()
    with pytest.raises(RestartError, match=f"cannot read {path}: No such file or directory"):
        PartFile(tmp_path, "sweep-00000001", 0, seal)


def test_the_file_of_another_rank_is_not_taken(tmp_path: Path) -> None:
    seal = written(tmp_path)
    written(tmp_path, rank=1)
    os.replace(tmp_path / "sweep-00000001.000001", tmp_path / "sweep-00000001.000000")
    with pytest.raises(RestartError, match="the file of another rank or generation"):
        PartFile(tmp_path, "sweep-00000001", 0, seal)


def test_a_part_that_cannot_be_written_leaves_no_file(tmp_path: Path, monkeypatch) -> None:
    def full(descriptor: int, data: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(disk, "write", full)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    made = manifest(tmp_path)
    assert read_manifest(path_of(tmp_path, 1)) == made
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "generation-00000001.json",
        "sweep-00000001.000000",
    ]


def test_every_flipped_bit_of_a_manifest_is_found(tmp_path: Path) -> None:
    manifest(tmp_path)
    path = path_of(tmp_path, 1)
    data = path.read_bytes()
    for offset in range(len(data)):
        damaged = bytearray(data)
        damaged[offset] ^= 1 << offset % 8
        path.write_bytes(damaged)
        with pytest.raises(RestartError, match=str(path)):
            read_manifest(path)


def test_a_manifest_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    manifest(tmp_path)
    path = path_of(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedManifestError, match="is damaged: it is not valid JSON"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "x", "version": 1}', "is no manifest of restart data: its format is 'x'"),
        ('{"grid": 5}', "is no manifest of restart data"),
        (
            '{"format": "burgers_adjoint restart", "version": 2}',
            "by a newer version of this program: it has format 2, this version reads format 1",
        ),
        ('{"format": "burgers_adjoint restart", "version": 0}', "by an older version of this"),
    ],
)
def test_foreign_manifests_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = path_of(tmp_path, 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RestartError, match=message) as error:
        read_manifest(path)
    assert not isinstance(error.value, DamagedManifestError)
    assert error.value.exit_code == 4


def test_only_what_is_kept_stays(tmp_path: Path) -> None:
    made = [manifest(tmp_path, generation) for generation in (1, 2, 3)]
    written(tmp_path, "snapshot-17-00000004")
    (tmp_path / "generation-00000004.json.partial").write_text("{")
    (tmp_path / "notes.txt").write_text("not ours")
    assert generations(tmp_path) == [3, 2, 1]
    assert next_generation(tmp_path) == 5
    remove_all_but(tmp_path, made[1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "generation-00000002.json",
        "generation-00000003.json",
        "notes.txt",
        "sweep-00000002.000000",
        "sweep-00000003.000000",
    ]


def test_a_folder_tells_what_it_holds(tmp_path: Path) -> None:
    restart = tmp_path / "restart"
    restart.mkdir()
    for generation in (1, 2, 3):
        manifest(restart, generation)
    (restart / "sweep-00000002.000000").unlink()
    path_of(restart, 3).write_text("{")
    found = contents(str(tmp_path), restart, configured=False)
    assert (found["configuration"], found["results"]) == (False, False)
    newest, missing, oldest = found["generations"]
    assert "is damaged" in newest["state"]
    assert "No such file" in missing["state"]
    assert oldest["state"] == "whole"
    assert (oldest["phase"], oldest["position"], oldest["steps"]) == ("forward", 5, 9)
    assert (oldest["ranks"], oldest["snapshots"]) == (1, 0)


def test_progress_is_noted_and_read(tmp_path: Path) -> None:
    assert steps_done(tmp_path, "run") is None
    note_progress(tmp_path, "run", 12345)
    note_progress(tmp_path, "run", 7)
    assert steps_done(tmp_path, "run") == 7
    assert steps_done(tmp_path, "other") is None
    (tmp_path / "progress").write_text("run x\n")
    assert steps_done(tmp_path, "run") is None


def test_files_are_readable_by_others(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys; from burgers_adjoint.files import disk; os.umask(0o022); "
        "disk.close(disk.create(pathlib.Path(sys.argv[1])))"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "file"], check=True, timeout=50)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644

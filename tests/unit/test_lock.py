"""The lock of a folder: who holds it, who is dead, and that it has one holder whatever dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from mpi4py import MPI

from burgers_adjoint.errors import BurgersAdjointError, ConfigError
from burgers_adjoint.output import lock
from burgers_adjoint.output.lock import NAME, FolderLock, Holder, holder_of, locked, this_run
from tests.conftest import ROOT

PATIENCE = 0.4


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.05)


def write(folder: Path, holder: Holder) -> None:
    (folder / NAME).write_text(json.dumps(asdict(holder)))


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_second_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    first = FolderLock(tmp_path, this_run(4, {"PBS_JOBID": "30.server"}))
    first.acquire()
    with pytest.raises(ConfigError) as error:
        FolderLock(tmp_path, this_run(1, {})).acquire()
    assert str(error.value).startswith(
        f"{tmp_path} is in use by another run: host {os.uname().nodename}, process {os.getpid()}, "
        "PBS 30.server job, 4 ranks, since 2"
    )
    first.release()
    assert os.listdir(tmp_path) == []
    FolderLock(tmp_path, this_run(1, {})).acquire()


@pytest.mark.parametrize("wrong", ["ended", "another process since"])
def test_a_dead_holder_on_this_machine_is_replaced_at_once(tmp_path: Path, wrong: str) -> None:
    dead = replace(this_run(1), token="dead", started=1)
    if wrong == "ended":
        dead = replace(dead, process=ended_process())
    write(tmp_path, dead)
    said: list[str] = []
    mine = FolderLock(tmp_path, this_run(1), 1e9, said.append)
    mine.acquire()
    assert holder_of(tmp_path) == mine.me
    assert said == []
    assert os.listdir(tmp_path) == [NAME]


def test_a_holder_elsewhere_is_alive_as_long_as_its_heart_beats(tmp_path: Path) -> None:
    far = replace(this_run(8), token="far", host="node7", machine="another")
    write(tmp_path, far)
    # its clock is an hour behind
    os.utime(tmp_path / NAME, (time.time() - 3600,) * 2)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.05):
            os.utime(tmp_path / NAME, (time.time() - 3600,) * 2)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(ConfigError, match="in use by another run: host node7, process"):
            FolderLock(tmp_path, this_run(1), PATIENCE).acquire()
    finally:
        ended.set()
        thread.join()
    said: list[str] = []
    mine = FolderLock(tmp_path, this_run(1), PATIENCE, said.append)
    mine.acquire()
    assert holder_of(tmp_path) == mine.me
    assert "is locked by another run: host node7" in said[0]


def test_a_lock_that_is_not_whole_is_watched_too(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"token": "cu')
    mine = FolderLock(tmp_path, this_run(1), PATIENCE)
    mine.acquire()
    assert holder_of(tmp_path) == mine.me


def test_waiting_gets_the_folder_when_the_other_run_leaves(tmp_path: Path) -> None:
    first, second = (FolderLock(tmp_path, this_run(1)) for _ in range(2))
    first.acquire()
    threading.Timer(0.3, first.release).start()
    second.acquire(wait=50)
    assert holder_of(tmp_path) == second.me


def test_a_file_system_without_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write(tmp_path, replace(this_run(1), token="dead", process=ended_process()))
    first = FolderLock(tmp_path, this_run(1))
    first.acquire()
    with pytest.raises(ConfigError, match="in use by another run"):
        FolderLock(tmp_path, this_run(1)).acquire()
    first.release()
    assert os.listdir(tmp_path) == []


def test_what_somebody_else_has_taken_over_is_not_given_back(tmp_path: Path) -> None:
    mine = FolderLock(tmp_path, this_run(1))
    mine.acquire()
    mine._ended.set()
    other = replace(this_run(1), token="other")
    write(tmp_path, other)
    mine.release()
    assert holder_of(tmp_path) == other


LOSER = """
import sys, time
from pathlib import Path
from burgers_adjoint.output import lock
lock.BEAT_SECONDS = 0.05
lock.FolderLock(Path(sys.argv[1]), lock.this_run(1)).acquire()
print("held", flush=True)
time.sleep(50)
"""


def test_a_run_whose_lock_was_taken_over_ends(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOSER, tmp_path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    partial = tmp_path / "new"
    partial.write_text(json.dumps(asdict(replace(this_run(1), token="new"))))
    partial.rename(tmp_path / NAME)
    _, errors = process.communicate(timeout=50)
    assert process.returncode == 1
    assert f"error: {tmp_path} was taken over by another run: host" in errors


def test_of_two_that_find_a_dead_holder_one_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, replace(this_run(1), token="dead", process=ended_process()))
    first, second = (FolderLock(tmp_path, this_run(1)) for _ in range(2))
    dead = second._dead

    def late(*found: Any) -> bool:
        """Find the holder dead; then the other run takes its place before this one does."""
        verdict = dead(*found)
        if holder_of(tmp_path) != first.me:
            first.acquire()
        return verdict

    monkeypatch.setattr(second, "_dead", late)
    with pytest.raises(ConfigError, match="in use by another run"):
        second.acquire()
    assert holder_of(tmp_path) == first.me
    assert os.listdir(tmp_path) == [NAME]


def test_who_dies_while_taking_over_is_taken_over(tmp_path: Path) -> None:
    dead = replace(this_run(1), token="dead", process=ended_process())
    taker = replace(dead, token="taker")
    write(tmp_path, dead)
    (tmp_path / f"{NAME}.after-dead").write_text(json.dumps(asdict(taker)))
    mine = FolderLock(tmp_path, this_run(1))
    mine.acquire()
    assert holder_of(tmp_path) == mine.me
    assert os.listdir(tmp_path) == [NAME]


# Takes the folder again and again; a file that is made exclusively shows whether it is alone.
# Now and then it dies, in any call of the protocol or with the folder held.
RIVAL = """
import os, random, signal, sys, time
from pathlib import Path
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.output import lock

lock.LOOK_SECONDS = 0.001
folder, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
draw = random.Random(seed)
def mortal(function):
    def call(*arguments, **options):
        if draw.random() < 0.01:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if draw.random() < 0.01:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
if seed % 2:
    for name in ("link", "replace", "unlink", "fsync"):
        setattr(os, name, mortal(getattr(os, name)))
witness = folder / "witness"
for _ in range(rounds):
    mine = lock.FolderLock(folder, lock.this_run(1))
    mine.acquire(wait=40)
    before = witness.read_text() if witness.exists() else ""
    if before and lock._started(int(before)):
        print("not alone", before, os.getpid(), flush=True)
        os._exit(3)
    witness.write_text(str(os.getpid()))
    time.sleep(draw.random() * 0.002)
    if witness.read_text() != str(os.getpid()):
        print("not alone at the end", flush=True)
        os._exit(3)
    witness.write_text("")
    mine.release()
"""


def test_one_at_a_time_holds_the_folder_though_others_die(tmp_path: Path) -> None:
    def start(seed: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", RIVAL, tmp_path, str(seed), "15"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    killed = 0
    for generation in range(3):
        rivals = [start(10 * generation + seed) for seed in range(6)]
        for rival in rivals:
            output, errors = rival.communicate(timeout=50)
            assert rival.returncode in (0, -signal.SIGKILL), output + errors
            killed += rival.returncode != 0
    assert killed


def test_a_folder_is_locked_on_all_ranks_and_left_as_it_was(tmp_path: Path) -> None:
    folders = [(tmp_path / "a/b", "output folder"), (tmp_path / "a/../a/b", "the same")]
    with locked(folders, MPI.COMM_SELF, print):
        assert os.listdir(tmp_path / "a/b") == [NAME]
    assert os.listdir(tmp_path) == []
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with (
        pytest.raises(BurgersAdjointError, match=r"link is a link to .*nowhere, which does not ex"),
        locked([(tmp_path / "link", "output folder")], MPI.COMM_SELF, print),
    ):
        pass
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BurgersAdjointError, match=r"cannot make the output folder .*file is a file"),
        locked([(tmp_path / "file", "output folder")], MPI.COMM_SELF, print),
    ):
        pass

"""An output disk that is too small, or that somebody fills while a run goes on."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mpi4py import MPI

from burgers_adjoint.commands.forward import forward
from burgers_adjoint.commands.gradient import gradient
from burgers_adjoint.commands.optimize import optimize
from burgers_adjoint.config import Config, from_dict
from burgers_adjoint.errors import BurgersAdjointError, ConfigError
from burgers_adjoint.output.progress import Progress

ALONE = MPI.COMM_SELF
SIZE = 1_000_000  # bytes of the disk; the results of 40 x 55 points need a quarter of it


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def configured(folder: Path, nx: int = 55, **sections: dict) -> Config:
    data: dict = {
        "grid": {"nx": nx, "ny": 40},
        "time": {"steps": 30},
        "checkpointing": {"snapshots": 4},
        "output": {"directory": str(folder / "out"), "plots": False},
    }
    for name, section in sections.items():
        data[name] = {**data.get(name, {}), **section}
    return from_dict(data)


class Filling(Progress):
    """Somebody else fills the disk as soon as the run has begun."""

    def __init__(self, filler: Path) -> None:
        super().__init__(False)
        self.filler, self.called = filler, 0

    def update(self, *done: object) -> None:
        self.called += 1
        if self.called == 1:
            free = shutil.disk_usage(self.filler.parent).free
            self.filler.write_bytes(bytes(free - free % 4096))

    def __call__(self, *done: object) -> None:
        self.update(*done)


@pytest.mark.parametrize("command", [forward, gradient, optimize])
def test_results_that_do_not_fit_are_refused_before_the_run(disk: Path, command) -> None:
    sections: dict = {}
    if command is optimize:
        pytest.importorskip("petsc4py")
        sections = {"objective": {"kind": "misfit"}, "truth": {"twin": True}}
    config = configured(disk, 900, **sections)
    message = rf"the results need \d+ bytes in {disk}/out, \d+ are free there: make room"
    with pytest.raises(ConfigError, match=message):
        command(config, ALONE, Progress(False))
    assert not list((disk / "out").glob("*.h5*"))


def test_dumps_count(disk: Path) -> None:
    gradient(configured(disk), ALONE, Progress(False))
    with pytest.raises(ConfigError, match="write fewer dumps"):
        gradient(configured(disk, output={"every": 2}), ALONE, Progress(False))


def test_a_gradient_that_cannot_be_written_is_saved(disk: Path, tmp_path: Path) -> None:
    expected = gradient(configured(tmp_path), ALONE, Progress(False))
    restart = {"enabled": True, "directory": str(tmp_path / "restart")}
    config, filling = configured(disk, restart=restart), Filling(disk / "filler")
    with pytest.raises(BurgersAdjointError, match="No space left") as error:
        gradient(config, ALONE, filling)
    assert "; the gradient is saved: burgers-adjoint resume " in str(error.value)
    assert filling.called > 1
    filling.filler.unlink()
    again = Filling(disk / "never")
    done = gradient(config, ALONE, again, "must")
    assert again.called == 0  # no action is left
    assert done.digest == expected.digest
    assert done.restart
    assert (done.restart.lost_steps, done.restart.repeated_steps) == (0, 0)


def test_where_restart_data_does_not_fit_either_the_message_says_so(disk: Path) -> None:
    config = configured(disk, restart={"enabled": True})
    with pytest.raises(BurgersAdjointError, match=r"No space left.*; nor can it be saved: "):
        gradient(config, ALONE, Filling(disk / "filler"))

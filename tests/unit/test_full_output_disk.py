"""An output disk that is too small, or that somebody fills while a run goes on."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from mpi4py import MPI

from burgers_adjoint.commands import line
from burgers_adjoint.commands.forward import forward
from burgers_adjoint.commands.gradient import gradient
from burgers_adjoint.commands.optimize import optimize
from burgers_adjoint.commands.room import PICTURE, Sizes
from burgers_adjoint.config import Config, from_dict
from burgers_adjoint.errors import BurgersAdjointError, ConfigError, InterruptedRunError
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import RunSummary
from burgers_adjoint.problem import Problem
from tests.interruptions import At, stopping

ALONE = MPI.COMM_SELF
SIZE = 1_000_000  # bytes of the disk; the results of 40 x 55 points need a quarter of it
SEARCH: dict = {
    "objective": {"kind": "misfit"},
    "truth": {"twin": True, "viscosity": 0.02},
    "gradient": {"controls": ["initial"]},
    # ends before it converges: where it went on, it would end elsewhere
    "tao": {"iterations": 2, "gttol": 1e-6},
}


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


def sections_of(command) -> dict:
    if command is optimize:
        pytest.importorskip("petsc4py")
        return SEARCH
    return {}


def fill(disk: Path, left: int = 0) -> None:
    """Let a file take what is free on a disk, but for so many bytes."""
    with open(disk / "filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - left)


class Filling(Progress):
    """Somebody fills the disk as soon as the run has begun, and may make room later.

    Args:
        disk: that is filled.
        lost: files that somebody removes before, with the room that they hold.
        until: makes room when the run says so much for that time.
    """

    def __init__(self, disk: Path, *lost: str, until: int = 10**9) -> None:
        super().__init__(False)
        self.disk, self.lost, self.until, self.called = disk, lost, until, 0

    def update(self, *done: object) -> None:
        self.called += 1
        if self.called == 1:
            for name in self.lost:
                (self.disk / "out" / name).unlink()
            fill(self.disk)
        elif self.called == self.until:
            (self.disk / "filler").unlink()

    def __call__(self, *done: object) -> None:
        self.update(*done)

    def say(self, message: str) -> None:
        if message.startswith("iteration"):
            self.update()


class FillingSearch(Filling):
    """The same, where a search says how far it is."""

    def __call__(self, *done: object) -> None:
        pass


def same(done: RunSummary, expected: RunSummary) -> bool:
    return done.digest == expected.digest and done.objective == expected.objective


@pytest.mark.parametrize("command", [forward, gradient, optimize])
def test_results_that_do_not_fit_are_refused_before_the_run(disk: Path, command) -> None:
    config = configured(disk, 900, **sections_of(command))
    message = (
        rf"the run needs \d+ bytes in {disk}/out \(\d+ for the results.*\), \d+ are free there: "
        r"make room or take another folder \(-o\)"
    )
    with pytest.raises(ConfigError, match=message):
        command(config, ALONE, Progress(False))
    assert os.listdir(disk / "out") == ["config.toml"]


def test_dumps_count(disk: Path) -> None:
    gradient(configured(disk), ALONE, Progress(False))
    with pytest.raises(ConfigError, match=r"for the dumps\).*write fewer dumps"):
        gradient(configured(disk, output={"every": 2}), ALONE, Progress(False))


def test_the_dumps_that_a_resumed_run_still_writes_count(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping(monkeypatch)
    sections = {
        "restart": {"enabled": True, "directory": str(tmp_path / "restart")},
        "output": {"every": 6},
    }
    expected = gradient(configured(tmp_path, output={"every": 6}), ALONE, Progress(False))
    config = configured(disk, **sections)
    with pytest.raises(InterruptedRunError):
        gradient(config, ALONE, At(58))  # type: ignore[arg-type]
    there = len(list((disk / "out" / "dumps").glob("*.h5")))
    assert 0 < there < 6
    with Problem(config, ALONE) as problem:
        sizes = Sizes(problem.case, 1, False)
        results, of_dump = sizes.results() + PICTURE, sizes.dumps(4) // 6
    fill(disk, results + of_dump // 2)
    with pytest.raises(ConfigError, match=r"for the results, \d+ for the dumps\)"):
        gradient(config, ALONE, At(10**9), "must")  # type: ignore[arg-type]
    (disk / "filler").unlink()
    # those that are there need no room again
    fill(disk, results + (6 - there) * of_dump + 2**13)
    assert same(gradient(config, ALONE, At(10**9), "must"), expected)  # type: ignore[arg-type]
    assert len(list((disk / "out" / "dumps").glob("*.h5"))) == 6


def test_restart_data_counts_with_what_goes_to_the_same_disk(disk: Path, tmp_path: Path) -> None:
    with Problem(configured(tmp_path), ALONE) as problem:
        sizes = Sizes(problem.case, 1, False)
        results, restart = sizes.results() + PICTURE, sizes.restart(True)
    fill(disk, max(results, restart) + 2**16)
    # each of them fits
    gradient(configured(disk), ALONE, Progress(False))
    (disk / "out" / "results.h5").unlink()
    elsewhere = {"enabled": True, "directory": str(disk / "restart")}
    gradient(configured(tmp_path, restart=elsewhere), ALONE, Progress(False))
    with pytest.raises(
        ConfigError,
        match=r"\(\d+ for the results, \d+ for the restart data\).*: make room, keep restart data "
        r"elsewhere \(restart\.directory\) or take another folder",
    ):
        gradient(configured(disk, restart={"enabled": True}), ALONE, Progress(False))


def test_the_next_controls_of_a_search_count_beside_those_that_are_there(disk: Path) -> None:
    config = configured(disk, **sections_of(optimize))
    with Problem(config, ALONE) as problem:
        sizes = Sizes(problem.case, 3, True)
    fill(disk, sizes.results() + PICTURE + sizes.best() + 2**15)
    with pytest.raises(ConfigError, match=r"\d+ for the results, \d+ for the controls of the sear"):
        optimize(config, ALONE, Progress(False))
    (disk / "filler").unlink()
    optimize(config, ALONE, Progress(False))


@pytest.mark.parametrize("command", [forward, gradient, optimize])
def test_a_disk_that_fills_during_the_run_has_room_for_the_results(
    disk: Path, tmp_path: Path, command
) -> None:
    sections = sections_of(command)
    expected = command(configured(tmp_path, **sections), ALONE, Progress(False))
    filling = Filling(disk)
    done = command(configured(disk, **sections), ALONE, filling)
    assert filling.called > 0
    assert same(done, expected)
    assert shutil.disk_usage(disk).free < 2**18  # of what was held for the longest text
    with (
        h5py.File(disk / "out" / "results.h5") as file,
        h5py.File(tmp_path / "out" / "results.h5") as other,
    ):
        assert (file["state/final/u"][()] == other["state/final/u"][()]).all()
    left = {"config.toml", "results.h5", "results.xdmf"} | (
        {"controls.h5"} if command is optimize else set()
    )
    assert set(os.listdir(disk / "out")) == left


@pytest.mark.parametrize("command", [forward, gradient])
def test_what_cannot_be_written_is_saved_as_restart_data(
    disk: Path, tmp_path: Path, command
) -> None:
    expected = command(configured(tmp_path), ALONE, Progress(False))
    restart = {"enabled": True, "directory": str(tmp_path / "restart")}
    config, filling = configured(disk, restart=restart), Filling(disk, "results.h5.partial")
    with pytest.raises(BurgersAdjointError, match="No space left") as error:
        command(config, ALONE, filling)
    what = "gradient" if command is gradient else "final state"
    assert f"; the {what} is saved: burgers-adjoint resume " in str(error.value)
    assert filling.called > 0
    (disk / "filler").unlink()
    again = Filling(disk)
    done = command(config, ALONE, again, resume="must")
    assert again.called == 0  # no action is left
    assert same(done, expected)
    assert done.restart
    assert (done.restart.lost_steps, done.restart.repeated_steps) == (0, 0)


@pytest.mark.parametrize("kind", ["fields", "sensors"])
def test_observations_have_room_when_the_disk_fills(disk: Path, tmp_path: Path, kind: str) -> None:
    config = configured(tmp_path, observations={"count": 5, "kind": kind})
    path, filling = disk / "seen.h5", Filling(disk)
    forward(config, ALONE, filling, str(path))
    assert filling.called > 0
    (disk / "filler").unlink()
    with h5py.File(path) as file:
        assert len(file["times"]) == 5
    fill(disk, 2**16)
    with pytest.raises(BurgersAdjointError, match=r"^cannot write .*/seen\.h5: No space left"):
        forward(config, ALONE, Filling(disk), str(path))
    assert sorted(os.listdir(disk)) == ["filler", "seen.h5"]


def test_where_restart_data_does_not_fit_either_the_message_says_so(disk: Path) -> None:
    config = configured(disk, restart={"enabled": True})
    with pytest.raises(BurgersAdjointError, match=r"No space left.*; nor can it be saved: "):
        gradient(config, ALONE, Filling(disk, "results.h5.partial"))


def test_a_search_whose_results_cannot_be_written_is_saved(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = sections_of(optimize)
    expected = optimize(configured(tmp_path, **sections), ALONE, Progress(False))
    config = configured(disk, **sections)
    with pytest.raises(BurgersAdjointError, match=r"results\.h5: No space left") as error:
        optimize(config, ALONE, Filling(disk, "results.h5.partial"))
    assert error.value.exit_code == 1
    assert error.value.agreed
    assert str(error.value).endswith(
        f"; what the search found is saved in {disk}/out/controls.h5: "
        f"burgers-adjoint resume {disk}/out writes the results"
    )
    with pytest.raises(SystemExit) as end:
        line.main(["resume", f"{disk}/out"])
    assert end.value.code == 2
    assert "are free there: make room" in capsys.readouterr().err
    (disk / "filler").unlink()
    with pytest.raises(SystemExit) as end:
        line.main(["resume", f"{disk}/out", "--json", "-"])
    assert end.value.code == 1  # not converged
    said = capsys.readouterr()
    assert f"writing the results of {disk}/out/controls.h5" in said.err
    done = json.loads(said.out)
    assert done["digest"] == expected.digest
    assert done["objective"] == expected.objective
    assert expected.optimize
    assert done["optimize"]["gradient_norm"] == expected.optimize.gradient_norm
    assert done["optimize"]["reason"] == "tao.iterations are used up"
    with (
        h5py.File(disk / "out" / "results.h5") as file,
        h5py.File(tmp_path / "out" / "results.h5") as other,
    ):
        for name in ("controls/initial/u", "truth/initial/v", "prior/initial/u", "state/final/v"):
            assert (file[name][()] == other[name][()]).all()
    # now that they are written, the search can go on
    assert optimize(config, ALONE, Progress(False)).digest != expected.digest


def test_a_search_that_is_told_to_go_on_does_not_end_where_it_was_saved(disk: Path) -> None:
    sections = sections_of(optimize)
    with pytest.raises(BurgersAdjointError, match="is saved in"):
        optimize(configured(disk, **sections), ALONE, Filling(disk, "results.h5.partial"))
    (disk / "filler").unlink()
    more = configured(disk, **sections | {"tao": {"iterations": 4, "gttol": 1e-6}})
    done = optimize(more, ALONE, Progress(False)).optimize
    assert done
    assert done.iterations > 2


def test_a_search_goes_on_while_its_controls_cannot_be_written(
    disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sections = sections_of(optimize)
    expected = optimize(configured(tmp_path, **sections), ALONE, Progress(False))
    lost = FillingSearch(disk, "controls.h5.partial", until=3)
    done = optimize(configured(disk, **sections), ALONE, lost)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "controls.h5: No space left on device; the search goes on, and tries again" in said[0]
    assert same(done, expected)


def test_where_controls_do_not_fit_either_the_message_says_so(disk: Path) -> None:
    lost = Filling(disk, "results.h5.partial", "controls.h5.partial")
    with pytest.raises(
        BurgersAdjointError, match=r"No space left.*; nor can what the search found be saved: "
    ):
        optimize(configured(disk, **sections_of(optimize)), ALONE, lost)


def test_dumps_that_cannot_be_written_do_not_end_the_run(
    disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    every = {"every": 6}
    expected = gradient(configured(tmp_path, output=every), ALONE, Progress(False))
    done = gradient(configured(disk, output=every), ALONE, Filling(disk))
    assert same(done, expected)
    assert done.dumps
    assert done.dumps.lost == 6 - done.dumps.files > 0
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "No space left on device; the run goes on without what it cannot dump" in said[0]


def test_a_run_that_lacks_dumps_ends_with_1(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dumps").symlink_to(disk)
    (tmp_path / "run.toml").write_text(configured(tmp_path, output={"every": 10}).to_toml())
    fill(disk)
    with pytest.raises(SystemExit) as end:
        line.main(["forward", f"{tmp_path}/run.toml"])
    assert end.value.code == 1
    said = capsys.readouterr()
    assert "0 in " in said.out
    assert "s, 4 could not be written" in said.out
    assert (tmp_path / "out" / "results.h5").exists()

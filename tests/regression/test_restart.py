"""Runs that are stopped and resumed, as users meet them: messages, exit codes, the same bits."""

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from mpi4py import MPI

from burgers_adjoint.commands import forward as primal_alone
from burgers_adjoint.commands import gradient as both_sweeps
from burgers_adjoint.config import Config, load
from burgers_adjoint.errors import ConfigError, InterruptedRunError, RestartError
from burgers_adjoint.files import disk
from burgers_adjoint.output.summary import to_mapping
from burgers_adjoint.problem import Problem
from burgers_adjoint.restart import keeper, manifest
from tests.conftest import ROOT
from tests.interruptions import At, stopping

CONFIG = """
[grid]
nx = 23
ny = 17
x = [-4.0, 4.0]
y = [-3.0, 3.0]
[initial]
amplitude = [1.0, 0.6]
[time]
steps = 300
[checkpointing]
snapshots = 4
[restart]
enabled = true
overhead = 1.0
[output]
plots = false
"""
PACKAGE = {"PYTHONPATH": str(ROOT)}
DRIVER = ROOT / "tests/faults/driver.py"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A run in this process: looks after every step, stops where `At` says so."""
    path = tmp_path / "run.toml"
    path.write_text(CONFIG)
    stopping(monkeypatch)
    return load(str(path), [], str(tmp_path / "out"))


def gradient(config: Config, stop: int = 10**9, resume: str = "auto") -> dict:
    return to_mapping(
        both_sweeps.gradient(config, MPI.COMM_SELF, At(stop), resume)  # type: ignore[arg-type]
    )


def forward(config: Config, stop: int = 10**9, resume: str = "auto") -> dict:
    return to_mapping(
        primal_alone.forward(config, MPI.COMM_SELF, At(stop), resume=resume)  # type: ignore[arg-type]
    )


@pytest.fixture
def digest(config: Config, tmp_path: Path) -> str:
    """Of the run without interruptions, and without restart data."""
    plain = load(
        str(tmp_path / "run.toml"), ["restart.enabled=false"], str(tmp_path / "uninterrupted")
    )
    return gradient(plain)["digest"]


def other(config: Config, *overrides: str) -> Config:
    path = Path(config.output.directory).parent / "run.toml"
    return load(str(path), overrides, config.output.directory)


def test_a_run_stopped_again_and_again_has_the_same_bits(config: Config, digest: str) -> None:
    stops = 0
    for stop in (5, 120, 299, 300, 301, 700, 1100):
        with pytest.raises(InterruptedRunError, match="everything is saved: burgers-adjoint res"):
            gradient(config, stop)
        stops += 1
    summary = gradient(config)
    assert summary["digest"] == digest
    assert summary["restart"]["resumed"] == stops
    assert summary["restart"]["lost_steps"] == 0
    schedule = summary["schedule"]
    assert schedule["forward_steps"] == schedule["predicted_forward_steps"]
    left = sorted(path.name for path in (Path(config.output.directory) / "restart").iterdir())
    assert [name for name in left if name != "progress"] == [max(left[:-1])]


def test_the_dumps_of_all_jobs_are_counted(config: Config) -> None:
    dumping = other(config, "output.every=10")
    for stop in (700, 1100):
        with pytest.raises(InterruptedRunError):
            gradient(dumping, stop)
    files = gradient(dumping)["dumps"]["files"]
    assert files == config.time.steps // 10 + 1
    folder = Path(config.output.directory) / "dumps"
    assert files == len(list(folder.glob("step-*.h5")))
    series = (folder / "steps.xdmf").read_text()
    assert [series.count(f"{path.name}:/cotangent/u") for path in folder.glob("*.h5")] == [
        1
    ] * files


def test_the_dumps_of_all_jobs_of_the_primal_are_counted(config: Config) -> None:
    dumping = other(config, "output.every=10")
    with pytest.raises(InterruptedRunError):
        forward(dumping, 60)
    assert forward(dumping)["dumps"]["files"] == config.time.steps // 10 + 1


@pytest.mark.parametrize(
    "overrides",
    [
        ["checkpointing.snapshots=2"],
        ["checkpointing.snapshots=50"],
        ["checkpointing.schedule=store_all"],
        ["checkpointing.schedule=multistage", "checkpointing.snapshots_on_disk=3"],
        ["checkpointing.schedule=online", "checkpointing.snapshots=12"],
        ["snapshots.store=hdf5"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_the_rest_may_be_done_in_another_way(
    config: Config, digest: str, overrides: list[str]
) -> None:
    for stop in (200, 500):
        with pytest.raises(InterruptedRunError):
            gradient(config, stop)
        assert gradient(other(config, *overrides))["digest"] == digest
        shutil.rmtree(config.output.directory)
        with pytest.raises(InterruptedRunError):
            gradient(other(config, *overrides), stop)
        assert gradient(config)["digest"] == digest
        shutil.rmtree(config.output.directory)


def test_large_tiles_whose_states_are_swapped_are_saved_right(config: Config) -> None:
    keys = ("grid.nx=150", "grid.ny=140", "time.steps=24", "time.dt=0.0005")
    plain = other(config, *keys, "restart.enabled=false")
    whole = gradient(plain)
    problem = Problem(plain, MPI.COMM_SELF)
    assert problem.checkpointing.store(problem.checkpointing.schedule()).exchanges
    problem.close()
    steps = whole["schedule"]["forward_steps"] + 24
    shutil.rmtree(config.output.directory)
    for stops in (range(3, steps - 1), *([stop] for stop in range(20, steps - 1, 7))):
        for stop in stops:
            with pytest.raises(InterruptedRunError):
                gradient(other(config, *keys), stop)
        assert gradient(other(config, *keys))["digest"] == whole["digest"]
        shutil.rmtree(config.output.directory)


def test_seconds_are_those_of_the_last_job_and_the_totals_are_told_too(config: Config) -> None:
    for stop in (200, 700):
        with pytest.raises(InterruptedRunError):
            gradient(config, stop)
    summary = gradient(config)
    own, all_jobs = summary["seconds"], summary["restart"]["seconds_of_all_jobs"]
    for seconds in (own, all_jobs):
        parts = seconds["forward"] + seconds["adjoint"] + seconds["snapshots"]
        assert 0 < parts <= seconds["sweeps"]
    assert all_jobs["sweeps"] > own["sweeps"]
    assert all_jobs["forward"] > own["forward"]
    assert all_jobs["adjoint"] > own["adjoint"]


def test_a_clock_that_is_set_back_stops_no_saves(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    backwards = itertools.count(0, -3600)
    monkeypatch.setattr(time, "time", lambda: 1.8e9 + next(backwards))
    assert gradient(other(config, "restart.mtbf=0.001"))["restart"]["saves"] > 0


def test_a_running_objective_is_carried_over(config: Config) -> None:
    running = other(config, "objective.kind=running_energy")
    whole = gradient(other(config, "objective.kind=running_energy", "restart.enabled=false"))
    for stop in (100, 400):
        with pytest.raises(InterruptedRunError):
            gradient(running, stop)
    summary = gradient(running)
    assert summary["digest"] == whole["digest"]
    assert summary["objective"] == whole["objective"]


def test_the_primal_alone_is_resumed(config: Config) -> None:
    running = other(config, "objective.kind=running_energy")
    whole = forward(other(config, "objective.kind=running_energy", "restart.enabled=false"))
    for stop in (100, 200):
        with pytest.raises(InterruptedRunError, match="of the forward sweep"):
            forward(running, stop)
    summary = forward(running)
    assert (summary["digest"], summary["objective"]) == (whole["digest"], whole["objective"])


OPEN = ("time.until=0.9", "time.cfl=0.3", "time.dt=0.01", "checkpointing.schedule=online")
STEADY = ("time.steady=0.15", "time.steps=900", "time.dt=0.004", "checkpointing.schedule=online")
STEADY += ("physics.viscosity=0.3",)


@pytest.mark.parametrize(
    "overrides",
    [OPEN, STEADY, ("time.cfl=0.3", "time.dt=0.01")],
    ids=("until and cfl", "steady", "cfl"),
)
def test_steps_that_follow_the_state_are_taken_again(
    config: Config, overrides: tuple[str, ...]
) -> None:
    plain = gradient(other(config, *overrides, "restart.enabled=false"))
    n_steps = plain["steps"]
    assert 50 < n_steps < 900
    shutil.rmtree(config.output.directory)
    open_run = other(config, *overrides)
    stops = (5, n_steps // 2, n_steps - 1, n_steps, n_steps + 1, 2 * n_steps)
    for stop in stops:
        with pytest.raises(InterruptedRunError):
            gradient(open_run, stop)
    summary = gradient(open_run)
    assert summary["restart"]["resumed"] == len(stops)
    assert (summary["digest"], summary["objective"]) == (plain["digest"], plain["objective"])
    assert summary["time"] == plain["time"]
    shutil.rmtree(config.output.directory)
    with pytest.raises(InterruptedRunError, match="of the forward sweep"):
        forward(open_run, n_steps // 3)
    primal = forward(open_run)
    assert primal["objective"] == plain["objective"]
    assert primal["restart"]["resumed"] == 1


def test_other_problems_are_refused_by_the_key_that_differs(config: Config) -> None:
    with pytest.raises(InterruptedRunError):
        gradient(config, 200)
    before = (Path(config.output.directory) / "config.toml").read_text()
    for override, message in (
        ("physics.viscosity=0.02", "physics.viscosity = 0.01 there, 0.02 here"),
        ("time.steps=301", "time.steps = 300 there, 301 here"),
        ("grid.boundary=periodic", "grid.boundary = dirichlet there, periodic here"),
    ):
        with pytest.raises(RestartError, match=message) as error:
            gradient(other(config, override))
        assert error.value.agreed
        assert error.value.exit_code == 4
    # What was refused has changed nothing.
    assert (Path(config.output.directory) / "config.toml").read_text() == before


def test_an_unfinished_run_is_not_overwritten_by_accident(config: Config, digest: str) -> None:
    with pytest.raises(InterruptedRunError):
        gradient(config, 200)
    with pytest.raises(ConfigError, match="holds a run that was interrupted in its forward sweep"):
        gradient(config, resume="refuse")
    assert gradient(config, resume="never")["restart"]["resumed"] == 0
    # A finished one may be repeated, and is not repeated by accident.
    assert gradient(config, resume="refuse")["digest"] == digest
    assert gradient(config, resume="auto")["digest"] == digest


def test_a_newer_format_is_refused_and_damage_falls_back(
    config: Config, digest: str, caplog: pytest.LogCaptureFixture
) -> None:
    for stop in (200, 350):
        with pytest.raises(InterruptedRunError):
            gradient(config, stop)
    folder = Path(config.output.directory) / "restart"
    newest, older = manifest.generations(folder)[:2]
    path = manifest.path_of(folder, newest)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"version":1', b'"version":2', 1))
    with pytest.raises(RestartError, match="a newer version of this program"):
        gradient(config)
    path.write_bytes(whole)
    sweep = manifest.read_manifest(path).sweep
    assert sweep != manifest.read_manifest(manifest.path_of(folder, older)).sweep
    (folder / f"{sweep}.000000").write_bytes(b"")
    summary = gradient(config)
    assert "is damaged: it has 0 bytes" in caplog.text
    assert "falling back to an older generation" in caplog.text
    assert summary["digest"] == digest


def test_a_damaged_snapshot_is_done_without(
    config: Config, digest: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "WORTH", 0.0)
    with pytest.raises(InterruptedRunError):
        gradient(config, 500)
    folder = Path(config.output.directory) / "restart"
    damaged = list(folder.glob("snapshot-*"))
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-9])
    assert damaged
    assert gradient(config)["digest"] == digest
    assert "going on without the snapshot of step" in caplog.text


def test_a_lost_final_state_is_computed_anew(
    config: Config, digest: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(config.output.directory) / "restart"
    for stop in (500, 520):
        with pytest.raises(InterruptedRunError, match="of the reverse sweep"):
            gradient(config, stop)
    (lost,) = folder.glob("final-*")
    lost.unlink()
    with pytest.raises(InterruptedRunError):
        gradient(config, 600)
    assert f"cannot read {lost}: No such file" in caplog.text
    assert "computing the final state anew from step" in caplog.text
    caplog.clear()
    # It is saved again, under another name.
    assert len(list(folder.glob("final-*"))) == 1
    assert gradient(config)["digest"] == digest
    assert caplog.text == ""


def test_a_disk_that_fails_for_good_lets_the_run_go_on(
    config: Config, digest: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(disk, "sync", fail)
    summary = gradient(config)
    assert summary["digest"] == digest
    assert summary["restart"]["saves"] == 0
    said = [record.getMessage() for record in caplog.records]
    assert sum("the run goes on, and tries again later" in text for text in said) == 1
    assert "rank 0: Input/output error" in said[0]


def test_a_stop_that_cannot_save_says_so(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(old: Path, new: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(disk, "replace", full)
    with pytest.raises(Exception, match=r"cannot write restart data .*: No space left") as error:
        gradient(config, 100)
    assert error.value.exit_code == 1  # type: ignore[attr-defined]


Run = Callable[..., subprocess.CompletedProcess[str]]


def test_resume_on_other_ranks_from_the_command_line(
    mpiexec: Run, config: Config, digest: str, tmp_path: Path
) -> None:
    toml, out = tmp_path / "run.toml", tmp_path / "out"
    stopped = mpiexec(
        *(3, DRIVER, "pace:0.01", "2:steps:200:usr1", "--", "gradient", toml, "-o", out),
        env=PACKAGE,
    )
    assert stopped.returncode == 75
    assert "error: stopped by SIGUSR1 at step" in stopped.stderr
    told = mpiexec(1, "-m", "burgers_adjoint", "info", out, "--json", "-", env=PACKAGE)
    found = json.loads(told.stdout)
    assert found["configuration"]
    assert not found["results"]
    assert found["generations"][0]["ranks"] == 3
    grid = ("-s", "parallel.process_grid=[2, 2]", "--json", tmp_path / "summary.json")
    done = mpiexec(4, "-m", "burgers_adjoint", "resume", out, *grid, env=PACKAGE)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["digest"] == digest
    assert summary["process_grid"] == [2, 2]


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_a_kill_between_the_copy_on_a_device_and_the_host_leaves_the_generation_before(
    mpiexec: Run, config: Config, digest: str, tmp_path: Path, n_ranks: int
) -> None:
    toml, out = tmp_path / "run.toml", tmp_path / "out"
    on_device = "-s", "parallel.device=cuda"
    # one rank's third copy is made, and never comes to the host
    killed = mpiexec(
        *(n_ranks, DRIVER, "device", "pace:1e-9", f"{n_ranks - 1}:landed:3:kill", "--"),
        *("gradient", toml, "-o", out, *on_device),
        env=PACKAGE,
    )
    assert killed.returncode not in (0, 1, 2, 75)
    told = mpiexec(1, "-m", "burgers_adjoint", "info", out, "--json", "-", env=PACKAGE)
    found = json.loads(told.stdout)["generations"]
    assert [one["state"] for one in found] == ["whole"] * len(found)
    assert 1 <= len(found) <= 2
    begun = f"-{found[0]['generation'] + 1:08d}.{n_ranks - 1:06d}"
    assert list((out / "restart").glob(f"*{begun}"))  # a file, of which no manifest knows
    resumed = mpiexec(
        *(n_ranks, DRIVER, "device", "--", "resume", out, *on_device),
        *("--json", tmp_path / "summary.json"),
        env=PACKAGE,
    )
    assert resumed.returncode == 0, resumed.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["digest"] == digest
    assert summary["restart"]["resumed"] == 1
    assert summary["restart"]["lost_steps"] > 0


TWIN = """
[grid]
nx = 17
ny = 13
x = [-1, 2]
y = [-1.5, 3]
[physics]
viscosity = 0.05
[truth]
twin = true
viscosity = 0.06
[time]
dt = 0.02
steps = 9
[objective]
kind = "misfit"
[observations]
count = 3
[gradient]
controls = ["viscosity"]
[controls]
scale = { viscosity = 0.01 }
[output]
plots = false
"""


def test_resume_goes_on_with_an_optimisation(mpiexec: Run, tmp_path: Path) -> None:
    pytest.importorskip("petsc4py")
    (tmp_path / "twin.toml").write_text(TWIN)
    out, report = tmp_path / "out", tmp_path / "summary.json"
    limits = ("-s", "tao.iterations=1", "-o", out)
    begun = mpiexec(
        1, "-m", "burgers_adjoint", "optimize", tmp_path / "twin.toml", *limits, env=PACKAGE
    )
    assert begun.returncode == 1, begun.stderr
    more = ("-s", "tao.iterations=50", "--json", report)
    done = mpiexec(2, "-m", "burgers_adjoint", "resume", out, *more, env=PACKAGE)
    assert done.returncode == 0, done.stderr
    assert f"going on from {out}/controls.h5" in done.stderr
    found = json.loads(report.read_text())["optimize"]
    assert found["converged"]
    assert found["iterations"] > 1
    # What has converged is not done again.
    again = mpiexec(1, "-m", "burgers_adjoint", "resume", out, "--json", report, env=PACKAGE)
    assert again.returncode == 0, again.stderr
    assert "iteration" not in again.stderr
    assert json.loads(report.read_text())["optimize"] == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resume", "nowhere"], "nowhere is not the output folder of a run: there is nothing of"),
        (["gradient", "--resume", "auto"], "--resume needs restart data: set restart.enabled"),
        (["gradient", "-s", "restart.overhead=0"], "restart.overhead = 0: expected a number > 0"),
        (["gradient", "-s", "restart.keep=1"], "restart.keep = 1: expected a whole number >= 2"),
    ],
)
def test_wrong_usage_is_named(
    mpiexec: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = mpiexec(1, "-m", "burgers_adjoint", *arguments, cwd=tmp_path, env=PACKAGE)
    assert done.returncode == 2
    assert f"error: {message}" in done.stderr


def test_resume_may_put_working_snapshots_elsewhere(
    mpiexec: Run, config: Config, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    with pytest.raises(InterruptedRunError):
        gradient(other(config, "snapshots.store=hdf5", f"snapshots.directory={scratch}"), 200)
    shutil.rmtree(scratch)
    scratch.write_text("another node has no such folder")
    resume = ("-m", "burgers_adjoint", "resume", config.output.directory, "--quiet")
    refused = mpiexec(2, *resume, env=PACKAGE)
    assert refused.returncode == 1
    said = f"cannot use the snapshot folder {scratch} on node {os.uname().nodename}, which"
    assert said in refused.stderr
    assert "-s snapshots.directory=DIR names another one" in refused.stderr
    done = mpiexec(2, *resume, "-s", f"snapshots.directory={tmp_path / 'new'}", env=PACKAGE)
    assert done.returncode == 0, done.stderr


def test_a_walltime_stops_the_run_in_time(mpiexec: Run, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG)
    options = ("-s", "restart.walltime=0.5", "-o", tmp_path / "out")
    done = mpiexec(
        2, "-m", "burgers_adjoint", "gradient", tmp_path / "run.toml", *options, env=PACKAGE
    )
    assert done.returncode == 75
    assert "error: stopped by the end of the walltime" in done.stderr


OPEN_FILE = """
import sys
import h5py
from mpi4py import MPI
from burgers_adjoint.commands import forward
from burgers_adjoint.commands.line import main
comm = MPI.COMM_WORLD
def work(config, comm, *others):
    file = h5py.File(sys.argv[1], "w", driver="mpio", comm=comm)
    data = file.create_dataset("x", (comm.size,))
    if comm.rank == 1:
        {failure}
    data[comm.rank] = 1
    comm.Barrier()
    file.close()
forward.forward = work
main(["forward"])
"""


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        ("raise ValueError('an error that nobody foresees')", 1),
        ("sys.exit(5)", 5),
        ("pass\n    raise ValueError('of every rank')", 1),
        ("from burgers_adjoint.errors import SnapshotError; raise SnapshotError('damaged')", 4),
    ],
)
def test_one_failing_rank_ends_all_with_a_parallel_file_open(
    mpiexec: Run, tmp_path: Path, failure: str, code: int
) -> None:
    if not h5py.get_config().mpi:
        pytest.skip("h5py is built without MPI")
    environment = PACKAGE | {"H5PY_ALWAYS_USE_MPI": "1"}
    script = OPEN_FILE.format(failure=failure)
    done = mpiexec(3, "-c", script, tmp_path / "file.h5", env=environment, timeout=40)
    assert done.returncode == code
    assert done.stderr.count("error: ") == 1
    assert f"error: rank {0 if 'every' in failure else 1}: " in done.stderr

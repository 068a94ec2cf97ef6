"""What a run leaves for `watch`: through its ends and resumes, and where it cannot be written."""

import logging
from pathlib import Path

import pytest
from mpi4py import MPI

from burgers_adjoint.commands import forward as primal_alone
from burgers_adjoint.commands import gradient as both_sweeps
from burgers_adjoint.commands import monitor, optimize
from burgers_adjoint.commands.monitor import Monitor
from burgers_adjoint.config import load
from burgers_adjoint.errors import InterruptedRunError, NumericalError
from burgers_adjoint.output import preview, status
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.status import Status
from burgers_adjoint.problem import Problem
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
[output]
plots = false
preview = 1e-4
"""


def run(folder: Path, *overrides: str, stop: int | None = None, resume: str = "auto") -> str:
    """Digest of a gradient."""
    folder.mkdir(exist_ok=True)
    (folder / "run.toml").write_text(CONFIG)
    config = load(str(folder / "run.toml"), overrides, str(folder))
    progress = Progress(False) if stop is None else At(stop)
    return both_sweeps.gradient(config, MPI.COMM_SELF, progress, resume).digest  # type: ignore[arg-type]


def told(folder: Path) -> Status:
    found = status.read(folder)
    assert found is not None
    return found


def test_a_run_says_where_it_was_and_how_it_ended(tmp_path: Path) -> None:
    run(tmp_path)
    found = told(tmp_path)
    assert (found.command, found.schedule, found.phase) == ("gradient", "binomial", "done")
    assert (found.n_steps, found.step, found.reverse_steps) == (300, 0, 300)
    assert found.total == found.forward_steps + found.reverse_steps
    assert found.objective is not None
    assert found.preview > 1
    assert found.places[0] == status.Place(0, 0, False)
    assert any(place.reverse for place in found.places)
    assert [place.done for place in found.places] == sorted(place.done for place in found.places)
    assert [job.end for job in found.jobs] == ["finished"]


def test_the_primal_alone_says_so_too(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG)
    config = load(str(tmp_path / "run.toml"), ["time.steps=3000"], str(tmp_path))
    primal_alone.forward(config, MPI.COMM_SELF, Progress(False))
    found = told(tmp_path)
    assert (found.command, found.phase, found.step) == ("forward", "done", 3000)
    facts, fields = preview.read(tmp_path)
    assert (facts["step"], facts["cotangent_step"]) == (3000, None)
    assert fields.keys() == {"u", "v"}


def test_a_run_that_is_soon_over_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path)
    monkeypatch.setattr(monitor, "FIRST_SECONDS", 1e9)
    run(tmp_path, "output.preview=1e9", "time.steps=20")
    assert not (tmp_path / "watch").exists()


def test_a_run_that_is_not_to_be_watched_leaves_nothing(tmp_path: Path) -> None:
    digest = run(tmp_path)
    (tmp_path / "watch" / "mine").touch()
    assert run(tmp_path, "output.preview=0") == digest
    assert [path.name for path in (tmp_path / "watch").iterdir()] == ["mine"]


def test_status_goes_on_from_job_to_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping(monkeypatch)
    digest = run(tmp_path)
    for stop, step in ((120, 120), (900, None)):
        with pytest.raises(InterruptedRunError):
            run(tmp_path, "restart.enabled=true", stop=stop)
        last = told(tmp_path)
        assert last.jobs[-1].end == "stopped"
        assert last.jobs[-1].message.startswith("stopped by SIGTERM at step ")
        assert step is None or last.step <= step
    # a job that was killed has not said so
    last.jobs[-1].end, last.jobs[-1].ended = "", None
    status.write(tmp_path, last)
    assert run(tmp_path, "restart.enabled=true", stop=10**9) == digest
    found = told(tmp_path)
    assert [job.end for job in found.jobs] == ["stopped", "died", "finished"]
    assert found.jobs[1].ended == pytest.approx(last.updated)
    assert [job.first >= least for job, least in zip(found.jobs, (0, 120, 900), strict=True)]
    assert found.jobs[1].first >= 120
    assert found.jobs[2].first >= 900
    assert found.reverse_steps == 300
    assert found.preview > last.preview


def test_a_new_run_forgets_the_jobs_of_an_old_one(tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path)
    assert len(told(tmp_path).jobs) == 1


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(NumericalError):
        run(tmp_path, "time.dt=0.5", "time.allow_unstable=true", "time.steps=3000")
    job = told(tmp_path).jobs[-1]
    assert job.end == "failed"
    assert "no longer finite after step" in job.message


def test_a_run_goes_on_where_nothing_can_be_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    digest = run(tmp_path / "plain")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/watch").write_text("a file, where the folder is to be")
    assert run(tmp_path / "out") == digest
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings == [
        f"cannot write to {tmp_path}/out/watch: {tmp_path}/out/watch is a file; the run goes on, "
        "and cannot be watched"
    ]


def test_warnings_are_noted_and_shown_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.toml").write_text(CONFIG)
    config = load(str(tmp_path / "run.toml"), [], str(tmp_path))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with (
        Problem(config, MPI.COMM_SELF) as problem,
        Monitor(problem.case, "gradient", Progress(False)) as shown,
    ):
        logging.getLogger("burgers_adjoint.restart.keeper").warning("the disk is %s", "full")
        shown.prepare(continued=False)
        shown._write()
    logging.getLogger("burgers_adjoint.restart.keeper").warning("not of this run")
    assert [event.text for event in told(tmp_path).events] == ["the disk is full"]
    assert capsys.readouterr().err == "the disk is full\nnot of this run\n"


def test_a_search_tells_its_evaluations_and_iterations(tmp_path: Path) -> None:
    pytest.importorskip("petsc4py")
    (tmp_path / "run.toml").write_text(CONFIG)
    config = load(str(tmp_path / "run.toml"), ["time.steps=40", "tao.iterations=3"], str(tmp_path))
    summary = optimize.optimize(config, MPI.COMM_SELF, Progress(False))
    found = told(tmp_path)
    assert summary.optimize is not None
    assert found.evaluation == summary.optimize.evaluations
    lines = [event.text for event in found.events]
    assert len([line for line in lines if line.startswith("iteration ")]) == 4
    assert (found.command, found.phase) == ("optimize", "done")


def test_looks_and_previews_keep_their_distance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long is done more rarely: its share of the time is limited."""
    monkeypatch.setattr(monitor, "SHARE", 1e-9)
    run(tmp_path, "time.steps=2000")
    assert told(tmp_path).preview == monitor.COSTS + 1  # the last one is of the end

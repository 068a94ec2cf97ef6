"""The page of `watch` in a browser, through a kill and a resume."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from burgers_adjoint.commands.watch import Watched
from burgers_adjoint.output import preview, status
from burgers_adjoint.output.lock import holder_of
from tests.chromium import ABSENT, BINARY, Chromium
from tests.conftest import ROOT, _environment

PACKAGE = {"PYTHONPATH": str(ROOT)}
PROGRAM = [sys.executable, "-m", "burgers_adjoint"]
CONFIG = """
[grid]
nx = 151
ny = 112
x = [-4.0, 4.0]
y = [-3.0, 3.0]
[initial]
amplitude = [1.0, 0.6]
[time]
steps = 1000
[checkpointing]
snapshots = 5
[restart]
enabled = true
overhead = 1.0
[output]
plots = false
preview = 0.2
"""
STATE = "document.getElementById('state').textContent"
SECONDS = 60


def wait_for(look: Callable[[], Any], right: Callable[[Any], bool]) -> Any:
    end = time.monotonic() + SECONDS
    while not right(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def has_something_to_show_and_to_lose(seen: dict[str, Any]) -> bool:
    saved = [one.get("forward_steps", 0) for one in seen["generations"]]
    return bool(seen["status"] and seen["status"]["preview"] and any(saved))


@contextmanager
def watching(folder: Path) -> Iterator[str]:
    """The address of the page; ends with Ctrl-C and a line."""
    process = subprocess.Popen(
        [*PROGRAM, "watch", folder, "--port", "0"],
        env=_environment(PACKAGE), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"at (http://127\.0\.0\.1:\d+/) ", line)
        assert found, line
        yield found[1]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10)[0] == f"no longer watching {folder}\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def launched(ranks: int, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["mpiexec", "-n", str(ranks), *PROGRAM, *arguments, "--quiet"],
        env=_environment(PACKAGE), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def ranks_of(folder: Path, job: subprocess.Popen[str]) -> list[psutil.Process]:
    """The job's ranks, rank 0 first."""
    holder = holder_of(folder)
    assert holder is not None
    first = psutil.Process(holder.process)
    others = [
        one for one in psutil.Process(job.pid).children(recursive=True)
        if one.parent() == first.parent() and one != first
    ]  # fmt: skip
    return [first, *others]


@pytest.mark.skipif(BINARY is None, reason=ABSENT)
def test_the_page_goes_on_through_a_kill_and_a_resume(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (tmp_path / "run.toml").write_text(CONFIG)
    job = launched(3, tmp_path / "run.toml", "-o", folder)
    try:
        wait_for(lambda: Watched(folder).look(), has_something_to_show_and_to_lose)
        told = status.read(folder)
        assert told is not None
        ranks = ranks_of(folder, job)
        assert len(ranks) == 3
        for rank in ranks:  # so that the browser, which takes its time, finds it running
            rank.suspend()
        with watching(folder) as address, Chromium(tmp_path / "profile") as page:
            page.look(1400, 900, dark=False)
            page.open(address)
            page.ask("window.marked = true")

            def wait_until(state: str) -> None:
                wait_for(lambda: page.ask(STATE), lambda found: found == state)

            wait_until("running")
            wait_for(lambda: page.ask("document.querySelectorAll('canvas.field').length"),
                     lambda canvases: canvases in (2, 4))  # fmt: skip
            for rank in ranks:
                rank.resume()
            ranks[2].kill()
            wait_until("died")
            job.communicate()
            assert "process" in page.ask("document.getElementById('text').textContent")
            saved = status.read(folder)
            assert saved is not None
            assert saved.jobs[0].end == ""
            job = launched(2, "resume", folder)
            # the rest of the run may be over before the page looks again
            wait_for(lambda: page.ask(STATE), lambda found: found in ("running", "finished"))
            wait_until("finished")
            errors = job.communicate()[1]
            assert job.returncode == 0, errors
            assert page.ask("window.marked") is True
            jobs = page.ask("document.getElementById('jobs').textContent")
            assert "2 ranks" in jobs
            assert "3 ranks" in jobs
            assert "died" in jobs
            assert "finished" in jobs
            wait_for(lambda: page.ask("document.querySelectorAll('canvas.field').length"),
                     lambda canvases: canvases == 4)  # fmt: skip
            assert page.complaints == []
            assert {one.removeprefix(address) for one in page.requests} == {"", "state", "preview"}
    finally:
        job.kill()
        job.communicate()
    done = status.read(folder)
    assert done is not None
    assert [one.end for one in done.jobs] == ["died", "finished"]
    assert [one.holder.ranks for one in done.jobs] == [3, 2]
    assert done.jobs[1].first > 0
    assert done.preview > told.preview
    facts, fields = preview.read(folder)
    assert facts["cotangent_step"] == 0
    assert fields.keys() == {"u", "v", "cotangent u", "cotangent v"}

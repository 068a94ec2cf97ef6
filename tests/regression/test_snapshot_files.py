"""Snapshot files of runs that are killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_files_go_when_the_run_is_killed(
    tmp_path: Path, mpi_environment: dict[str, str], signal_number: int
) -> None:
    command = ["mpiexec", "-n", "2", sys.executable, "-m", "burgers_adjoint", "--quiet"]
    settings = [f"snapshots.directory={tmp_path}", "snapshots.store=hdf5", "time.steps=9000000"]
    for setting in [*settings, "output.plots=false", f"output.directory={tmp_path}/run"]:
        command += ["-s", setting]
    job = subprocess.Popen(
        command,
        env=mpi_environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(list(tmp_path.glob("*.h5"))) == 2)
    time.sleep(0.5)
    job.send_signal(signal_number)
    assert job.wait() != 0
    wait_until(lambda: not list(tmp_path.glob("*.h5")))


def wait_until(condition: Callable[[], bool]) -> None:
    """The time limit of the test is the limit of this."""
    while not condition():
        time.sleep(0.05)

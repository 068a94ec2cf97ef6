"""Snapshot files of runs that are killed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from burgers_adjoint.snapshots.hdf5_places import has_mpi

Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
HDF5 = ("snapshots.store=hdf5",)
MPIO = ("snapshots.store=hdf5_shared", "snapshots.driver=mpio")
needs_mpio = pytest.mark.skipif(not has_mpi(), reason="h5py is built without MPI")


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize(("store", "files"), [(HDF5, 2), pytest.param(MPIO, 1, marks=needs_mpio)])
def test_files_go_when_the_run_is_killed(
    tmp_path: Path,
    mpi_environment: dict[str, str],
    store: tuple[str, ...],
    files: int,
    signal_number: int,
) -> None:
    command = ["mpiexec", "-n", "2", sys.executable, "-m", "burgers_adjoint", "--quiet"]
    settings = [f"snapshots.directory={tmp_path}", *store, "time.steps=9000000"]
    for setting in [*settings, "output.plots=false", f"output.directory={tmp_path}/run"]:
        command += ["-s", setting]
    job = subprocess.Popen(
        command,
        env=mpi_environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(list(tmp_path.glob("*.h5"))) == files)
    time.sleep(0.5)
    job.send_signal(signal_number)
    assert job.wait() != 0
    wait_until(lambda: not list(tmp_path.glob("*.h5")))


def wait_until(condition: Callable[[], bool]) -> None:
    """The time limit of the test is the limit of this."""
    while not condition():
        time.sleep(0.05)


FAILING = """
import sys
from mpi4py import MPI
from burgers_adjoint.commands.line import main
from burgers_adjoint.snapshots.hdf5_places import HDF5Places
write, left = HDF5Places.write, [20]
def failing(places, number, data):
    left[0] -= 1
    if MPI.COMM_WORLD.rank == 1 and left[0] < 0:
        {failure}
    write(places, number, data)
HDF5Places.write = failing
main(sys.argv[1:])
"""


@needs_mpio
@pytest.mark.parametrize("failure", ["sys.exit(5)", "raise KeyboardInterrupt"])
def test_a_rank_that_leaves_amid_collective_transfers_ends_all(
    mpiexec: Run, tmp_path: Path, failure: str
) -> None:
    settings = ("time.steps=400", f"snapshots.directory={tmp_path}/snapshots", *MPIO)
    options = [part for setting in settings for part in ("-s", setting)]
    script = FAILING.format(failure=failure)
    done = mpiexec(3, "-c", script, "-o", tmp_path / "run", *options, timeout=40)
    assert done.returncode == (5 if "exit" in failure else 130)
    assert done.stderr.count("error: rank 1: ") == 1
    wait_until(lambda: not list(tmp_path.glob("snapshots/*")))


WITHOUT_MPI = """
import os, sys
os.environ.pop("H5PY_ALWAYS_USE_MPI", None)  # Debian has both builds; that of PyPI is without
from burgers_adjoint.commands.line import main
main(sys.argv[1:])
"""


def serial(folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    options = [part for setting in settings for part in ("-s", setting)]
    command = [sys.executable, "-c", WITHOUT_MPI, "--json", "-", "-o", str(folder), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)


def test_an_h5py_without_mpi_is_named_in_one_line_and_auto_does_without(tmp_path: Path) -> None:
    alone = "import os; os.environ.pop('H5PY_ALWAYS_USE_MPI', None); import h5py; "
    alone += "raise SystemExit(h5py.get_config().mpi)"
    if subprocess.run([sys.executable, "-c", alone], timeout=50).returncode:
        pytest.skip("there is no h5py without MPI")
    short = ("time.steps=40", "snapshots.store=hdf5_shared", "output.plots=false")
    refused = serial(tmp_path / "a", *short, "snapshots.driver=mpio")
    assert refused.returncode == 2
    assert refused.stderr == (
        'error: snapshots.driver = "mpio": this h5py is built without MPI; "direct" needs none\n'
    )
    done = serial(tmp_path / "b", *short, "snapshots.driver=auto")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 40

"""Compiled kernels: all of them before a sweep is timed, and none of somebody else's making."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from burgers_adjoint.kernels import compilation

ROOT = Path(__file__).parents[2]

COUNT = """
import gc, sys
from mpi4py import MPI
from numba.core.dispatcher import Dispatcher
from burgers_adjoint.assembly import stores
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.config import load
from burgers_adjoint.problem import Problem

def compiled():
    kernels = (thing for thing in gc.get_objects() if isinstance(thing, Dispatcher))
    return sorted((kernel.__name__, str(kernel.signatures)) for kernel in kernels)

stores.LARGEST_STATE = 100.0  # states are swapped, as those of large tiles are
problem = Problem(load(None, ["grid.nx=9", "grid.ny=7", "time.steps=40", *sys.argv[1:]]),
                  MPI.COMM_WORLD)
schedule = problem.schedule()
store = problem.store(schedule)
prepare_kernels(problem.model)
before = compiled()
problem.reverse(schedule, store, problem.fields)
print(len(before), *(name for name, _ in set(compiled()) - set(before)))
"""


@pytest.mark.parametrize(
    "options",
    [
        "grid.boundary=dirichlet",
        "grid.boundary=periodic",
        "time.integrator=rk4 physics.advection=upwind",
        'gradient.controls=["initial","forcing"] grid.boundary=periodic',
    ],
)
def test_a_gradient_compiles_nothing_once_the_kernels_are_prepared(options: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *options.split()],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stderr == ""
    number, *later = done.stdout.split()
    assert later == []
    assert int(number) > 5


@pytest.fixture
def no_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that cannot be, and a folder of temporary ones."""
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_without_a_home_the_cache_is_this_users_alone(no_cache_folder: Path) -> None:
    folder = compilation.cache_directory()
    assert folder.parent == no_cache_folder / f"burgers_adjoint-{os.getuid()}"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert compilation.cache_directory() == folder


@pytest.mark.parametrize("kind", ["link", "file", "folder of somebody else"])
def test_kernels_of_somebody_else_are_not_run(
    no_cache_folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = no_cache_folder / f"burgers_adjoint-{os.getuid()}"
    if kind == "link":
        planted.symlink_to(no_cache_folder)
    elif kind == "file":
        planted.touch()
    else:
        user = os.getuid() + 1
        planted = planted.with_name(f"burgers_adjoint-{user}")
        planted.mkdir()
        monkeypatch.setattr(os, "getuid", lambda: user)
    folder = compilation.cache_directory()
    assert planted not in folder.parents
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_the_cache_follows_the_sources_of_all_kernels() -> None:
    folder = compilation.PACKAGE
    users = {path for path in folder.rglob("*.py") if "import compiled" in path.read_text("utf-8")}
    assert len(users) >= 3
    assert users <= {path for pattern in compilation.COMPILED for path in folder.glob(pattern)}

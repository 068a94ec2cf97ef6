"""Compiled kernels: all of them before a sweep is timed, and none of somebody else's making."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from burgers_adjoint.kernels import cache

ROOT = Path(__file__).parents[2]

COUNT = """
import gc, sys
from mpi4py import MPI
from numba.core.dispatcher import Dispatcher
from burgers_adjoint.assembly import stores
from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.config import load
from burgers_adjoint.problem import Problem

def compiled():
    kernels = (thing for thing in gc.get_objects() if isinstance(thing, Dispatcher))
    return sorted((kernel.__name__, str(kernel.signatures)) for kernel in kernels)

stores.LARGEST_STATE = 100.0  # states are swapped, as those of large tiles are
problem = Problem(load(None, ["grid.nx=9", "grid.ny=7", "time.steps=40", *sys.argv[1:]]),
                  MPI.COMM_WORLD)
schedule = problem.checkpointing.schedule()
store = problem.checkpointing.store(schedule)
prepare_kernels(problem.case.model)
before = compiled()
reverse(problem.case, schedule, store)
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
    folder = cache.cache_directory()
    assert folder.parent == no_cache_folder / f"burgers_adjoint-{os.getuid()}"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert cache.cache_directory() == folder


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
    folder = cache.cache_directory()
    assert planted not in folder.parents
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_the_cache_follows_the_sources_of_all_kernels() -> None:
    folder = cache.PACKAGE
    users = {path for path in folder.rglob("*.py") if "import compiled" in path.read_text("utf-8")}
    assert len(users) >= 3
    assert users <= {path for pattern in cache.COMPILED for path in folder.glob(pattern)}


KERNEL = """
from burgers_adjoint.kernels.compilation import compiled

@compiled
def double(x):
    return 2 * x

print(double(3), double(1.5), "loaded" if sum(double.stats.cache_hits.values()) else "compiled")
"""


def run(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own file, with a cache of its own."""
    path = folder / "program.py"
    if not path.exists():
        path.write_text(program, encoding="utf-8")
    return subprocess.run(
        [sys.executable, path],
        env=os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=50,
    )


def kernels_in(folder: Path) -> list[Path]:
    return sorted((folder / "burgers_adjoint").rglob("*.nb*"))


def other_byte(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "first byte": lambda content: other_byte(content, 0),
    "machine code": lambda content: other_byte(content, len(content) // 2),
    "last byte": lambda content: other_byte(content, -1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_kernels_are_compiled_anew_and_replaced(tmp_path: Path, damage: str) -> None:
    assert run(KERNEL, tmp_path).stdout == "6 3.0 compiled\n"
    whole = {path: path.read_bytes() for path in kernels_in(tmp_path)}
    assert len(whole) == 2
    for path, content in whole.items():
        path.write_bytes(DAMAGES[damage](content))
    again = run(KERNEL, tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (0, "6 3.0 compiled\n", "")
    assert kernels_in(tmp_path) == list(whole)
    third = run(KERNEL, tmp_path)
    assert (third.stdout, third.stderr) == ("6 3.0 loaded\n", "")


def test_the_file_of_another_kernel_is_not_taken(tmp_path: Path) -> None:
    assert run(KERNEL, tmp_path).returncode == 0
    one, other = kernels_in(tmp_path)
    one.write_bytes(other.read_bytes())
    again = run(KERNEL, tmp_path)
    assert (again.returncode, again.stdout[:5], again.stderr) == (0, "6 3.0", "")


def test_processes_that_write_at_the_same_time_leave_whole_kernels(tmp_path: Path) -> None:
    run("pass", tmp_path)
    (tmp_path / "program.py").write_text(KERNEL, encoding="utf-8")
    command = [sys.executable, tmp_path / "program.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)}
    together = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [one.communicate()[0][:5] for one in together] == ["6 3.0"] * 4
    assert len(kernels_in(tmp_path)) == 2
    assert not list(tmp_path.rglob("*.partial"))
    assert run(KERNEL, tmp_path).stdout == "6 3.0 loaded\n"


def test_kernels_that_cannot_be_saved_run_all_the_same(tmp_path: Path) -> None:
    """A full disk: files of no more than 1 kB, which a kernel does not fit."""
    limited = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    )
    done = run(limited + KERNEL, tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert (done.returncode, done.stdout) == (0, "6 3.0 compiled\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("compiled kernels are not kept in")
    assert line.endswith(": File too large")
    assert not [path for path in (tmp_path / "burgers_adjoint").rglob("*") if path.is_file()]


USERS = """
import burgers_adjoint.problem
import burgers_adjoint.stepping.engine
import numba

@numba.njit(cache=True)
def users(x):
    return 2 * x

users(3)
print(users.stats.cache_path)
"""


def test_functions_of_the_user_are_cached_where_numba_puts_them(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "program.py").write_text(USERS, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, theirs / "program.py"], env=environment, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"{theirs / '__pycache__'}\n", "")
    assert not list((tmp_path / "cache").rglob("*users*"))

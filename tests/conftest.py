"""What every test shares: the environment of MPI jobs and a way to start them."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
SECONDS_FOR_THE_STACK_DUMP = 10

# A busy machine takes its time over an example; what takes too long is up to the test's own limit.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# Tests started by hand get the environment that the Makefile gives to `make test`.
for name, value in re.findall(
    r"^export (\w+) \?= (.*)$",
    (ROOT / "tools/mpi-environment.mk").read_text(encoding="utf-8"),
    re.MULTILINE,
):
    os.environ.setdefault(name, value)


def _environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A new job's environment, without the traces of an MPI job that this process is part of.

    Importing mpi4py.MPI makes this process such a job. Open MPI then adds variables behind
    Python's back, which a child would get if it were started without an environment of its own.
    """
    job = ("OMPI_COMM_", "OMPI_FILE_", "OMPI_MCA_ess", "OMPI_MCA_orte", "PMIX_", "PMI_")
    # without bytecode on disk every rank compiles all modules: seconds each on a busy machine
    job += ("PYTHONDONTWRITEBYTECODE",)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(job)}
    return {**inherited, "PYTHONFAULTHANDLER": "1", **(extra or {})}


def _send(number: signal.Signals, processes: list[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(number)


def _is_alive(process: psutil.Process) -> bool:
    """Whether a process has not ended, though nobody may have waited for it yet."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """End a job that ran out of time with a stack dump of every rank; return all of its output."""
    launcher = psutil.Process(process.pid)
    family = launcher.children(recursive=True)
    # Launchers differ in which signals they pass on: those that have no children are the ranks. The
    # first one's end would be that of the others: so launchers stand still meanwhile.
    parents = set()
    for member in family:
        with suppress(psutil.NoSuchProcess):
            parents.add(member.ppid())
    ranks = [member for member in family if member.pid not in parents]
    launchers = [launcher, *(member for member in family if member.pid in parents)]
    _send(signal.SIGSTOP, launchers)
    deadline = time.monotonic() + SECONDS_FOR_THE_STACK_DUMP
    for rank in ranks:  # one by one: their stacks go to one file
        _send(signal.SIGABRT, [rank])
        while _is_alive(rank) and time.monotonic() < deadline:
            time.sleep(0.02)
    _send(signal.SIGCONT, launchers)
    try:
        output = process.communicate(timeout=SECONDS_FOR_THE_STACK_DUMP)
    except subprocess.TimeoutExpired:
        process.kill()
        output = None
    # Ranks are in process groups of their own, and outlive an mpiexec that was killed.
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    return output or _read_so_far(process)


def _read_so_far(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a killed job has written: whatever outlives it may hold its pipes open for ever."""
    try:
        return process.communicate(timeout=SECONDS_FOR_THE_STACK_DUMP)
    except subprocess.TimeoutExpired as left:
        out, errors = left.stdout or b"", left.stderr or b""
        return out.decode(errors="replace"), errors.decode(errors="replace")


def output_of(
    process: subprocess.Popen[str],
    name: str,
    timeout: float,
    more: Callable[[], str] = lambda: "",
) -> tuple[str, str]:
    """What a job writes on its standard output and error until it ends.

    A job that runs longer than `timeout` seconds is ended and fails the test, with its output so
    far, `more` of it that is elsewhere, and the stacks of all ranks.
    """
    try:
        return process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        stdout, stderr = _end(process)
        pytest.fail(
            f"{name}\nran longer than {timeout} s\n--- standard output\n{stdout}\n"
            f"--- standard error\n{stderr}\n{more()}",
            pytrace=False,
        )
    except BaseException:
        _end(process)
        raise


def pytest_configure() -> None:
    """Let interrupts through, to the jobs that tests start too.

    Whoever starts the tests in the background of a shell has them ignored, in all descendants.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def mpi_environment() -> dict[str, str]:
    """The environment in which a test may start a program that calls mpiexec."""
    return _environment()


@pytest.fixture
def mpiexec(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python on several ranks: mpiexec(n_ranks, *args, timeout=120, cwd=None, env=None).

    `env` is added to the environment. The output is captured as text, standard error past the
    launcher, which has lines of its own there; the exit status is the caller's to judge. A job that
    runs longer than `timeout` seconds fails the test, with its output so far and the stacks of all
    ranks.
    """
    errors = tmp_path_factory.mktemp("ranks") / "stderr"

    def run(
        n_ranks: int,
        *args: str | os.PathLike[str],
        timeout: float = 120,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, *map(os.fspath, args)]
        command = ["mpiexec", "-n", str(n_ranks), "sh", "-c", 'exec "$@" 2>>"$0"', errors, *program]
        errors.write_text("", encoding="utf-8")
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        name = f"{n_ranks} ranks of {' '.join(program)}"
        stdout, _ = output_of(process, name, timeout, lambda: errors.read_text(errors="replace"))
        written = errors.read_text(errors="replace")
        return subprocess.CompletedProcess(command, process.returncode, stdout, written)

    return run

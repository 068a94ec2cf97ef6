"""A hang of an MPI job ends as a failure that shows where every rank waits."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]

WAIT_FOR_EACH_OTHER = """
from mpi4py import MPI

def hang_as_the_first():
    MPI.COMM_WORLD.recv(source=1)

def hang_as_the_second():
    MPI.COMM_WORLD.recv(source=0)

def hang():
    hang_as_the_first() if MPI.COMM_WORLD.rank == 0 else hang_as_the_second()
"""


def test_job_that_hangs_fails_with_all_stacks(
    tmp_path: Path, mpiexec: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    script = tmp_path / "hangs.py"
    script.write_text(f"{WAIT_FOR_EACH_OTHER}\nhang()\n", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match=r"ran longer than 30 s") as failure:
        mpiexec(2, script, timeout=30)
    assert "in hang_as_the_first" in str(failure.value)
    assert "in hang_as_the_second" in str(failure.value)
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(script) in (process.info["cmdline"] or [])
    ]
    assert left == []


def test_suite_that_hangs_fails_with_all_stacks(
    tmp_path: Path, mpi_environment: dict[str, str]
) -> None:
    for name in (
        "pyproject.toml",
        "tools/mpi-environment.mk",
        "tools/mpi-tests",
        "tests/conftest.py",
        "tests/mpi/conftest.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tests/mpi/test_hangs.py").write_text(
        f"import pytest\n{WAIT_FOR_EACH_OTHER}\n"
        "@pytest.mark.timeout(3)\ndef test_that_hangs():\n    hang()\n",
        encoding="utf-8",
    )
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    result = subprocess.run(
        [tmp_path / "tools/mpi-tests", "2"],
        env=mpi_environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert result.returncode == 1
    output = result.stdout + result.stderr
    assert "in hang_as_the_first" in output
    assert "in hang_as_the_second" in output
    assert "tests/mpi on 2 ranks: FAILED" in output

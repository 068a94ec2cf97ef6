"""Two runs with one output folder at the same time."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from burgers_adjoint.output.lock import NAME
from tests.conftest import ROOT, _environment

PACKAGE = {"PYTHONPATH": str(ROOT)}
OPTIONS = (
    "-s", "grid.nx=61", "-s", "grid.ny=44", "-s", "time.steps=1000000", "-s", "output.plots=false",
    "-s", "restart.enabled=true", "--quiet",
)  # fmt: skip


@pytest.mark.parametrize("again", [["gradient", "--resume", "never"], ["resume"], ["check"]])
def test_the_second_run_is_told_who_runs_there(
    mpiexec: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, again: list[str]
) -> None:
    folder = tmp_path / "out"
    first = subprocess.Popen(
        [sys.executable, "-m", "burgers_adjoint", *OPTIONS, "-o", folder],
        env=_environment(PACKAGE | {"SLURM_JOB_ID": "7"}), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not (folder / "restart/progress").exists():
            assert first.poll() is None
            time.sleep(0.05)
        held = [(folder / NAME).read_bytes(), (folder / "restart" / NAME).read_bytes()]
        config = (folder / "config.toml").read_bytes()
        where = [folder] if again == ["resume"] else [*OPTIONS, "-o", folder]
        second = mpiexec(2, "-m", "burgers_adjoint", *again, *where, env=PACKAGE)
        assert second.returncode == 2, second.stderr
        said = f"error: {folder} is in use by another run: host "
        assert said in second.stderr
        assert f"process {first.pid}, Slurm 7 job, 1 rank, since 20" in second.stderr
        assert [(folder / NAME).read_bytes(), (folder / "restart" / NAME).read_bytes()] == held
        assert (folder / "config.toml").read_bytes() == config
        shown = mpiexec(
            1, "-m", "burgers_adjoint", "info", folder, "--json", "-", "--quiet", env=PACKAGE
        )
        assert f"process {first.pid}" in json.loads(shown.stdout)["running"]
    finally:
        first.kill()
        first.wait()
        assert first.stderr is not None
        first.stderr.close()
    # what a kill leaves behind is in nobody's way
    done = mpiexec(
        2, "-m", "burgers_adjoint", *OPTIONS, "-s", "time.steps=20", "--resume", "never",
        "-o", folder, env=PACKAGE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (folder / NAME).exists()

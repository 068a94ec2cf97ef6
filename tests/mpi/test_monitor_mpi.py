"""What a run shows of itself for `watch`: the fields that it has, and the same bits as without."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.commands import forward as primal_alone
from burgers_adjoint.commands import gradient as both_sweeps
from burgers_adjoint.config import load
from burgers_adjoint.output import preview, status
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.results import RESULTS

COMM = MPI.COMM_WORLD
CONFIG = """
[grid]
nx = 161
ny = 122
x = [-4.0, 4.0]
y = [-3.0, 3.0]
[initial]
amplitude = [1.0, 0.6]
[time]
steps = 150
[checkpointing]
snapshots = 5
[output]
plots = false
"""
RUNS = {"forward": primal_alone.forward, "gradient": both_sweeps.gradient}


@pytest.mark.parametrize("command", RUNS)
@pytest.mark.parametrize("durable", ["false", "true"])
def test_preview_shows_the_fields_and_changes_none(
    mpi_tmp_path: Path, command: str, durable: str
) -> None:
    if COMM.rank == 0:
        (mpi_tmp_path / "run.toml").write_text(CONFIG)

    def digest(folder: str, seconds: float) -> str:
        overrides = [f"output.preview={seconds}", f"restart.enabled={durable}"]
        COMM.Barrier()
        config = load(str(mpi_tmp_path / "run.toml"), overrides, str(mpi_tmp_path / folder))
        run: Callable = RUNS[command]
        found: str = run(config, COMM, Progress(False)).digest
        return found

    assert digest("plain", 0.0) == digest("watched", 1e-4)
    COMM.Barrier()
    assert not (mpi_tmp_path / "plain/watch").exists()
    told = status.read(mpi_tmp_path / "watched")
    assert told is not None
    assert (told.command, told.phase, told.jobs[0].end) == (command, "done", "finished")
    assert told.preview > 0
    assert told.jobs[0].holder.ranks == COMM.size
    facts, fields = preview.read(mpi_tmp_path / "watched")
    end = 0 if command == "gradient" else 150
    assert facts["step"] == end
    shown = {"u": ["state", "initial" if command == "gradient" else "final"]}
    if command == "gradient":
        assert facts["cotangent_step"] == 0
        shown["cotangent u"] = ["gradient", "initial"]
    step_y, step_x = preview.strides((122, 161))
    assert (step_y, step_x) == (1, 2)
    with h5py.File(mpi_tmp_path / "watched" / RESULTS) as file:
        for name, place in shown.items():
            expected = file["/".join([*place, "u"])][::step_y, ::step_x]
            np.testing.assert_allclose(
                fields[name], expected, rtol=0, atol=1e-6 * np.abs(expected).max()
            )

"""What all ranks write together, xarray, netCDF and VTK read."""

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.commands.gradient import gradient
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.output.dumps import Dumps
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed

pytestmark = pytest.mark.mpi

COMM = MPI.COMM_WORLD
SHAPE = (17, 13)
READER = Path(__file__).parents[1] / "vtk_fields.py"


@pytest.fixture
def folder(tmp_path_factory) -> Path:
    """One folder for all ranks."""
    return COMM.bcast(tmp_path_factory.mktemp("open") if COMM.rank == 0 else None, root=0)


def on_rank_0(check: Callable[[], object]) -> None:
    """Look at what is there on one rank; what it finds wrong is an error of all."""
    with agreed(COMM):
        if COMM.rank == 0:
            check()


@pytest.mark.skipif(
    not all(map(find_spec, ("xarray", "h5netcdf", "netCDF4", "vtk"))), reason="a reader is missing"
)
def test_readers_see_one_file_of_all_ranks(folder: Path) -> None:
    sections: dict = {
        "grid": {"nx": SHAPE[1], "ny": SHAPE[0], "x": [-1.0, 2.0], "y": [0.0, 1.5]},
        "initial": {"amplitude": [1.0, -0.4], "width": 0.7, "center": [0.3, 0.8]},
        "time": {"steps": 6, "dt": 0.003},
        "checkpointing": {"snapshots": 3},
        "output": {"directory": str(folder), "every": 2, "plots": False},
    }
    gradient(from_dict(sections), COMM, Progress(False))
    on_rank_0(lambda: look_at(folder))


def look_at(folder: Path) -> None:
    import xarray

    dumps = sorted((folder / "dumps").glob("step-*.h5"))
    assert len(dumps) == 4
    for engine in ("h5netcdf", "netcdf4"):
        with xarray.open_datatree(folder / "results.h5", engine=engine) as tree:
            with h5py.File(folder / "results.h5") as file:
                for path in ("state/final/u", "state/final/v", "gradient/initial/v", "x", "y"):
                    np.testing.assert_array_equal(tree[path], file[path])
            assert tree["gradient/initial/u"].dims == ("y", "x")
            np.testing.assert_array_equal(tree["gradient/initial"].x, np.linspace(-1, 2, 13))
        opened = [xarray.open_dataset(path, engine=engine, group="cotangent") for path in dumps]
        series = xarray.concat(opened, "time", coords=["step"])
        np.testing.assert_array_equal(series.step, [0, 2, 4, 6])
        for number, path in enumerate(dumps):
            with h5py.File(path) as file:
                np.testing.assert_array_equal(series.v[number], file["cotangent/v"])
            opened[number].close()
    out = folder / "seen.npz"
    command = [sys.executable, str(READER), str(folder / "dumps" / "steps.xdmf"), str(out)]
    subprocess.run(command, check=True, timeout=50)
    with np.load(out) as seen:
        assert seen["times"].size == len(dumps)
        for number, path in enumerate(dumps):
            with h5py.File(path) as file:
                assert seen["times"][number] == file["time"][()]
                for name in ("x", "y", "primal/u", "cotangent/v"):
                    np.testing.assert_array_equal(seen[f"{number}:{name}"], file[name])


def test_a_series_that_cannot_be_written_is_an_error_of_all_ranks(folder: Path) -> None:
    decomposition = Decomposition(COMM, SHAPE, False)
    dumps = Dumps(folder, 1, 9, decomposition, np.arange(13.0), np.arange(17.0))
    path = folder / "dumps" / "steps.xdmf"
    on_rank_0(path.mkdir)
    dumps.write(3, 0.3, np.full((2, *decomposition.tile_shape), 1.5), {})
    with pytest.raises(BurgersAdjointError, match=f"^cannot write {path}: Is a directory") as error:
        dumps.conclude()
    assert error.value.agreed
    on_rank_0(path.rmdir)
    dumps.conclude()
    assert "step-3.h5:/primal/v" in path.read_text()

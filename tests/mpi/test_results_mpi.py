"""The same file from every number of ranks; a failure of one is an error of all."""

import os
import resource
from socket import gethostname

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.config import load
from burgers_adjoint.errors import BurgersAdjointError, ConfigError
from burgers_adjoint.output.folder import prepare_directory
from burgers_adjoint.output.results import write_results
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.whole_rows import whole_rows

pytestmark = pytest.mark.mpi

COMM = MPI.COMM_WORLD


@pytest.fixture
def folder(tmp_path_factory):
    """One folder for all ranks."""
    return COMM.bcast(tmp_path_factory.mktemp("results") if COMM.rank == 0 else None, root=0)


def expected(shape):
    random = np.random.default_rng(5)
    return {f"/state/final/{name}": random.normal(size=shape) for name in "uv"}


def write(path, shape, periodic=False):
    decomposition = Decomposition(COMM, shape, periodic)
    rows, columns = decomposition.rows, decomposition.columns
    tiles = {name: field[rows, columns] for name, field in expected(shape).items()}
    x, y = np.arange(shape[1]) * 0.5, np.arange(shape[0]) * 2.0
    write_results(path, decomposition, x, y, tiles, {"/gradient/viscosity": 0.5}, {"ranks": 1})


@pytest.mark.parametrize("shape", [(13, 7), (6, 31), (100, 100)])
def test_tiles_of_all_ranks_make_the_global_field(folder, shape):
    write(folder / "results.h5", shape)
    with h5py.File(folder / "results.h5") as file:
        for name, field in expected(shape).items():
            np.testing.assert_array_equal(file[name], field)
            np.testing.assert_array_equal(file[name].dims[1]["x"], np.arange(shape[1]) * 0.5)
            np.testing.assert_array_equal(file[name].dims[0]["y"], np.arange(shape[0]) * 2.0)
        assert file["gradient/viscosity"][()] == 0.5
    assert os.listdir(folder) == ["results.h5"]


def test_the_bytes_do_not_depend_on_the_ranks(folder):
    write(folder / "results.h5", (13, 17))
    together = (folder / "results.h5").read_bytes()
    shape = (13, 17)
    alone = Decomposition(MPI.COMM_SELF, shape, False)
    path = folder / f"alone-{COMM.rank}.h5"
    x, y = np.arange(shape[1]) * 0.5, np.arange(shape[0]) * 2.0
    write_results(path, alone, x, y, expected(shape), {"/gradient/viscosity": 0.5}, {"ranks": 1})
    assert path.read_bytes() == together


def test_every_rank_writes_a_share_of_whole_rows():
    decomposition = Decomposition(COMM, (13, 17), False, (1, COMM.size))
    field = np.random.default_rng(6).normal(size=(13, 17))
    shares = list(whole_rows(decomposition, field[:, decomposition.columns]))
    gathered = [share for shares in COMM.allgather(shares) for share in shares]
    for row, rows in gathered:
        np.testing.assert_array_equal(rows, field[row : row + len(rows)])
    assert sum(len(rows) for _, rows in gathered) == 13
    assert max(len(rows) for _, rows in gathered) == -(-13 // COMM.size)


def test_a_missing_folder_is_an_error_of_all_ranks(folder):
    path = folder / "missing" / "results.h5"
    with pytest.raises(BurgersAdjointError, match=f"^cannot write {path}: No such file") as error:
        write(path, (13, 7))
    assert error.value.agreed


# The tiles of the larger one are beyond what MPI sends without waiting for the receiver.
@pytest.mark.parametrize("shape", [(130, 70), (600, 400)])
@pytest.mark.parametrize("failing", [0, COMM.size - 1])
def test_a_write_that_fails_is_an_error_of_all_ranks_and_leaves_no_file(folder, shape, failing):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if COMM.rank == failing:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        message = f"^cannot write {folder}/results.h5: File too large"
        with pytest.raises(BurgersAdjointError, match=message) as error:
            write(folder / "results.h5", shape)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.agreed
    COMM.Barrier()  # rank 0 removes it
    assert os.listdir(folder) == []
    COMM.Barrier()
    write(folder / "results.h5", (13, 7))
    assert os.listdir(folder) == ["results.h5"]


def test_a_tile_of_the_wrong_shape_on_one_rank_is_an_error_of_all(folder):
    decomposition = Decomposition(COMM, (13, 7), False)
    wrong = COMM.size - 1
    shape = (1, 99) if COMM.rank == wrong else decomposition.tile_shape
    with pytest.raises(
        BurgersAdjointError, match=rf"^/u has shape \(1, 99\) on rank {wrong}, whose tile has"
    ):
        write_results(
            folder / "results.h5",
            decomposition,
            range(7),
            range(13),
            {"/u": np.zeros(shape)},
            {},
            {},
        )
    assert os.listdir(folder) == []


def test_an_output_folder_that_cannot_be_is_an_error_of_all_ranks(folder):
    config = load(None, [], str(folder / "run"))
    prepare_directory(config, COMM)
    assert load(str(folder / "run" / "config.toml")) == config
    config = load(None, [], str(folder / "run" / "config.toml"))
    COMM.Barrier()
    with pytest.raises(BurgersAdjointError, match="is a file") as error:
        prepare_directory(config, COMM)
    assert error.value.agreed


@pytest.mark.skipif(COMM.size == 1, reason="one rank alone sees what it writes")
def test_an_output_folder_that_ranks_do_not_share_is_an_error_of_all(folder, monkeypatch):
    last = COMM.size - 1
    for name in ("here", "elsewhere"):
        (folder / name).mkdir(exist_ok=True)
    monkeypatch.chdir(folder / ("elsewhere" if COMM.rank == last else "here"))
    message = f'^output.directory = "run": rank {last} on node {gethostname()} does not see'
    with pytest.raises(ConfigError, match=message) as error:
        prepare_directory(load(None, [], "run"), COMM)
    assert error.value.agreed

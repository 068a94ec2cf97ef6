"""Where the points are, and the initial states on them."""

import math
import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from fake_ranks import decompositions
from mpi4py import MPI

from burgers_adjoint.equations.burgers import initial
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid

BOX = Grid(11, 7, (-1.0, 4.0), (2.0, 3.5), periodic=False)
TORUS = Grid(10, 6, (-1.0, 4.0), (2.0, 3.5), periodic=True)


def whole(grid: Grid) -> Decomposition:
    return Decomposition(MPI.COMM_SELF, grid.shape, grid.periodic)


def test_dirichlet_grid_has_points_on_its_edges() -> None:
    assert BOX.shape == (7, 11)
    assert (BOX.dx, BOX.dy) == (0.5, 0.25)
    assert BOX.x.tolist() == [-1 + 0.5 * i for i in range(11)]
    assert BOX.y.tolist() == [2 + 0.25 * j for j in range(7)]


def test_periodic_grid_does_not_repeat_its_first_point() -> None:
    assert (TORUS.dx, TORUS.dy) == (0.5, 0.25)
    assert TORUS.x.tolist() == [-1 + 0.5 * i for i in range(10)]
    assert TORUS.y.tolist() == [2 + 0.25 * j for j in range(6)]


def test_gaussian_is_its_formula() -> None:
    u, v = initial.gaussian(BOX, whole(BOX), (0.3, 2.2), (1.5, 0.7), (2.0, -0.5))
    for j, y in enumerate(BOX.y):
        for i, x in enumerate(BOX.x):
            bell = math.exp(-(((x - 0.3) / 1.5) ** 2) - ((y - 2.2) / 0.7) ** 2)
            assert u[j, i] == pytest.approx(2 * bell, rel=1e-14)
            assert v[j, i] == pytest.approx(-0.5 * bell, rel=1e-14)


def test_published_problem_starts_with_its_energy() -> None:
    """Burgers.jl, test/runtests.jl: energy of the initial state, non-boundary points."""
    grid = Grid(100, 100, (-4.95, 4.95), (-4.95, 4.95), periodic=False)
    fields = initial.gaussian(grid, whole(grid), (0.0, 0.0), (1.65, 1.65), (1.0, 1.0))
    energy = math.fsum((fields[:, 1:-1, 1:-1] ** 2).ravel()) / 100**2
    assert energy == pytest.approx(0.0855298595153226, rel=1e-14)


@pytest.mark.parametrize("grid", [BOX, TORUS], ids=["dirichlet", "periodic"])
def test_sines_are_their_formula(grid: Grid) -> None:
    u, v = initial.sines(grid, whole(grid), (2.0, -0.5))
    k, l = 2 * math.pi / 5, 2 * math.pi / 1.5  # noqa: E741
    for j, y in enumerate(grid.y - 2):
        for i, x in enumerate(grid.x + 1):
            assert u[j, i] == pytest.approx(2 * math.sin(k * x) * math.cos(l * y), abs=1e-14)
            assert v[j, i] == pytest.approx(-0.5 * math.cos(k * x) * math.sin(l * y), abs=1e-14)


@pytest.mark.parametrize("size", [2, 3, 5, 6, 7])
@pytest.mark.parametrize("periodic", [False, True])
def test_tiles_have_the_bits_of_the_whole(tmp_path: Path, size: int, periodic: bool) -> None:
    grid = Grid(101, 67, (-1.0, 4.0), (2.0, 3.5), periodic)
    stored = np.random.default_rng(1).normal(size=(2, *grid.shape))
    path = write(tmp_path / "initial.h5", u=stored[0], v=stored[1])
    bell = ((0.3, 2.2), (1.5, 0.7), (2.0, -0.5))
    bells = initial.gaussian(grid, whole(grid), *bell)
    waves = initial.sines(grid, whole(grid), bell[2])
    for one in decompositions(size, grid.shape, periodic):
        tile = np.s_[:, one.rows, one.columns]
        np.testing.assert_array_equal(initial.gaussian(grid, one, *bell), bells[tile])
        np.testing.assert_array_equal(initial.sines(grid, one, bell[2]), waves[tile])
        np.testing.assert_array_equal(initial.from_file(grid, one, path), stored[tile])


def write(path: Path, **datasets: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def fields() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, 7, 11))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", ">f8"])
def test_file_is_read_as_it_is(tmp_path: Path, dtype: str) -> None:
    u, v = (10 * fields()).astype(dtype)
    result = initial.from_file(BOX, whole(BOX), write(tmp_path / "initial.h5", u=u, v=v))
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, np.stack([u, v]))


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as error:
        initial.from_file(BOX, whole(BOX), path)
    assert error.value.agreed
    prefix = f"initial.path = {path}: "
    assert str(error.value).startswith(prefix)
    return str(error.value).removeprefix(prefix)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.h5") == "there is no such file"
    text = tmp_path / "text.h5"
    text.write_text("u v\n", encoding="utf-8")
    assert refused(text).startswith("cannot be read as HDF5: ")
    for kind in (tmp_path, tmp_path / "pipe"):
        if kind != tmp_path:
            os.mkfifo(kind)
        assert refused(kind) == "cannot be read as HDF5: it is no regular file"
    assert refused(text / "below") == "there is no such file"
    assert refused(tmp_path / ("long" * 100)) == "cannot be read: File name too long"


def test_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "initial.h5", u=np.ones(BOX.shape), v=np.ones(BOX.shape))
    path.chmod(0)
    if os.geteuid() == 0:  # whom no permission keeps out
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert refused(path) == "cannot be read: Permission denied"


def test_file_that_does_not_fit(tmp_path: Path) -> None:
    u, v = fields()
    assert refused(write(tmp_path / "a.h5", u=u)) == "there is no dataset /v"
    assert refused(write(tmp_path / "b.h5", **{"u/inner": u, "v": v})) == "there is no dataset /u"
    assert refused(write(tmp_path / "c.h5", u=u, v=v.T)) == (
        "/v has the shape (11, 7), the grid is (ny, nx) = (7, 11)"
    )
    assert refused(write(tmp_path / "d.h5", u=u + 1j, v=v)) == (
        "/u holds complex128, not real numbers"
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_file_with_a_value_that_is_not_finite(tmp_path: Path, bad: float) -> None:
    u, v = fields()
    v[5, 3] = v[6, 10] = bad
    message = refused(write(tmp_path / "initial.h5", u=u, v=v))
    assert re.fullmatch(rf"/v is {bad} at point \[5, 3\]", message)

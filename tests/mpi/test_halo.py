"""Halo exchange in all eight directions, for every process grid that the ranks allow."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.halo import Frame, Halo

COMM = MPI.COMM_WORLD
SIZE = COMM.size
PROCESS_GRIDS = [(py, SIZE // py) for py in range(1, SIZE + 1) if SIZE % py == 0]
UNTOUCHED = -1.0

over_process_grids = pytest.mark.parametrize("process_grid", PROCESS_GRIDS, ids=str)
over_boundaries = pytest.mark.parametrize("periodic", [False, True], ids=["dirichlet", "periodic"])


def number(field: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A value for every point of the global grid and every field, no two alike."""
    return field * 1e6 + rows[:, None] * 1e3 + columns[None, :] + 0.5


def expected(
    decomposition: Decomposition, fields: range, margin: int, depth: int, corners: bool
) -> np.ndarray:
    """The tile with `margin` layers around it of which `depth` have been exchanged."""
    ny, nx = decomposition.shape
    tile_ny, tile_nx = decomposition.tile_shape
    rows = np.arange(-margin, tile_ny + margin)
    columns = np.arange(-margin, tile_nx + margin)
    off = [  # how far a row or column is outside the tile
        np.maximum(np.maximum(-span, span - n + 1), 0)
        for span, n in ((rows, tile_ny), (columns, tile_nx))
    ]
    known = (off[0][:, None] <= depth) & (off[1][None, :] <= depth)
    if not corners:
        known &= (off[0][:, None] == 0) | (off[1][None, :] == 0)
    rows, columns = rows + decomposition.rows.start, columns + decomposition.columns.start
    if not decomposition.periodic:
        inside = ((rows >= 0) & (rows < ny))[:, None] & ((columns >= 0) & (columns < nx))
        known &= inside
    values = np.stack([number(field, rows % ny, columns % nx) for field in fields])
    return np.where(known, values, UNTOUCHED)


def with_halo_unknown(decomposition: Decomposition, fields: range, margin: int) -> np.ndarray:
    return expected(decomposition, fields, margin, depth=0, corners=True)


def frame_of(decomposition: Decomposition, margin: int) -> Frame:
    ny, nx = decomposition.tile_shape
    return Frame(slice(margin, margin + ny), slice(margin, margin + nx))


def exchanged(
    decomposition: Decomposition, depth: int, corners: bool, *groups: range, margin: int = 3
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each group's array after one exchange of all of them, and what it should be."""
    arrays = [with_halo_unknown(decomposition, fields, margin) for fields in groups]
    n_fields = sum(map(len, groups))
    halo = Halo(decomposition, frame_of(decomposition, margin), depth, n_fields, corners)
    halo.exchange(*arrays)
    halo.close()
    for array, fields in zip(arrays, groups, strict=True):
        yield array, expected(decomposition, fields, margin, depth, corners)


@over_boundaries
@over_process_grids
@pytest.mark.parametrize("corners", [False, True], ids=["edges", "corners"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_halo_holds_the_neighbours_points(
    process_grid: tuple[int, int], periodic: bool, depth: int, corners: bool
) -> None:
    decomposition = Decomposition(COMM, (23, 19), periodic, process_grid)
    for array, right in exchanged(decomposition, depth, corners, range(2)):
        np.testing.assert_array_equal(array, right)
    if SIZE > 1 or periodic:
        assert (right != with_halo_unknown(decomposition, range(2), 3)).any()


@over_boundaries
@over_process_grids
def test_several_arrays_go_in_one_exchange(process_grid: tuple[int, int], periodic: bool) -> None:
    decomposition = Decomposition(COMM, (13, 17), periodic, process_grid)
    groups = range(0, 2), range(2, 3), range(3, 6)
    for array, right in exchanged(decomposition, 2, True, *groups):
        np.testing.assert_array_equal(array, right)


@over_boundaries
@over_process_grids
@pytest.mark.parametrize("axis", [0, 1])
def test_tiles_of_one_row_or_one_column(
    process_grid: tuple[int, int], periodic: bool, axis: int
) -> None:
    shape = [7, 7]
    shape[axis] = process_grid[axis]
    decomposition = Decomposition(COMM, (shape[0], shape[1]), periodic, process_grid)
    assert decomposition.tile_shape[axis] == 1
    for array, right in exchanged(decomposition, 1, True, range(2)):
        np.testing.assert_array_equal(array, right)


@over_boundaries
@over_process_grids
def test_depth_of_the_whole_tile(process_grid: tuple[int, int], periodic: bool) -> None:
    """What a neighbour owns can be sent whole, also where that is this rank itself."""
    shape = process_grid[0] * 4 + process_grid[0] // 2, process_grid[1] * 4
    decomposition = Decomposition(COMM, shape, periodic, process_grid)
    for array, right in exchanged(decomposition, 4, True, range(2), margin=5):
        np.testing.assert_array_equal(array, right)


@over_boundaries
def test_exchanges_can_be_repeated_with_new_values(periodic: bool) -> None:
    decomposition = Decomposition(COMM, (13, 17), periodic)
    halo = Halo(decomposition, frame_of(decomposition, 2), 2, n_fields=2, corners=True)
    other = Halo(decomposition, frame_of(decomposition, 2), 1, n_fields=2, corners=False)
    for turn in range(20):
        array = with_halo_unknown(decomposition, range(2 * turn, 2 * turn + 2), 2)
        (halo if turn % 3 else other).exchange(array)
        depth, corners = (2, True) if turn % 3 else (1, False)
        right = expected(decomposition, range(2 * turn, 2 * turn + 2), 2, depth, corners)
        np.testing.assert_array_equal(array, right)
    if SIZE > 1 or periodic:
        assert halo.seconds > 0
    halo.close()
    other.close()


def test_requests_are_released_by_close_and_without_it() -> None:
    """Some MPI libraries print a line for each that is left at the end of the process."""
    decomposition = Decomposition(COMM, (13, 17), periodic=True)
    for closes in (True, False):
        halo = Halo(decomposition, frame_of(decomposition, 2), 2, n_fields=2, corners=True)
        requests = list(halo._requests)
        assert (MPI.REQUEST_NULL in requests) is False
        assert bool(requests) == (SIZE > 1)
        if closes:
            halo.close()
            halo.close()
        else:
            del halo
            gc.collect()
        assert all(request == MPI.REQUEST_NULL for request in requests)


def test_padding_beyond_the_frame_is_left_alone() -> None:
    decomposition = Decomposition(COMM, (13, 17), periodic=True)
    ny, nx = decomposition.tile_shape
    array = np.full((2, ny + 2, nx + 16), UNTOUCHED)
    array[:, :, 7 : nx + 9] = with_halo_unknown(decomposition, range(2), 1)
    frame = Frame(slice(1, ny + 1), slice(8, nx + 8))
    halo = Halo(decomposition, frame, 1, n_fields=2, corners=True)
    halo.exchange(array)
    halo.close()
    right = expected(decomposition, range(2), 1, 1, corners=True)
    np.testing.assert_array_equal(array[:, :, 7 : nx + 9], right)
    assert (array[:, :, :7] == UNTOUCHED).all()
    assert (array[:, :, nx + 9 :] == UNTOUCHED).all()


def test_halo_deeper_than_a_neighbour_is_refused() -> None:
    decomposition = Decomposition(COMM, (SIZE, 5), periodic=True, process_grid=(SIZE, 1))
    with pytest.raises(AssertionError, match="reaches beyond the neighbour"):
        Halo(decomposition, frame_of(decomposition, 2), 2, n_fields=2, corners=True)

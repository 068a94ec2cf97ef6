"""Who owns which points, for every number of ranks."""

import re

import numpy as np
import pytest
from fake_ranks import decompositions
from hypothesis import given
from hypothesis import strategies as st

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.decomposition import Decomposition, blocks, choose_process_grid


@given(st.integers(1, 500), st.integers(1, 500))
def test_blocks_cover_a_range_evenly(n_points: int, n_blocks: int) -> None:
    parts = blocks(n_points, n_blocks)
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(n_points))
    lengths = [part.stop - part.start for part in parts]
    assert len(lengths) == n_blocks
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("shape", [(41, 43), (7, 100), (100, 7)], ids=str)
@pytest.mark.parametrize("size", range(1, 41))
def test_every_point_has_one_owner(size: int, shape: tuple[int, int]) -> None:
    owners = np.full(shape, -1)
    for one in decompositions(size, shape):
        assert (owners[one.rows, one.columns] == -1).all()
        owners[one.rows, one.columns] = one.rank
        assert owners[one.rows, one.columns].shape == one.tile_shape
        assert min(one.tile_shape) >= 1
        assert one.tile_shape[0] >= one.smallest_tile[0]
        assert one.tile_shape[1] >= one.smallest_tile[1]
        assert (one.rows, one.columns) == one.tile_of(one.rank)
    assert (owners >= 0).all()
    expected = [[one.owner(j, i) for i in range(shape[1])] for j in range(shape[0])]
    assert owners.tolist() == expected


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 12])
def test_neighbours_own_the_points_next_door(size: int, periodic: bool) -> None:
    shape = (23, 29)
    for one in decompositions(size, shape, periodic):
        for north in (-1, 0, 1):
            for east in (-1, 0, 1):
                row = {-1: one.rows.start - 1, 0: one.rows.start, 1: one.rows.stop}[north]
                column = {-1: one.columns.start - 1, 0: one.columns.start, 1: one.columns.stop}[
                    east
                ]
                inside = 0 <= row < shape[0] and 0 <= column < shape[1]
                expected = one.owner(row % shape[0], column % shape[1])
                if not (inside or periodic):
                    expected = None
                assert one.neighbour(north, east) == expected


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((100, 100), 1, (1, 1)),
        ((100, 100), 4, (2, 2)),
        ((100, 100), 6, (3, 2)),  # as good as (2, 3), with longer rows
        ((100, 100), 64, (8, 8)),
        ((100, 100), 7, (7, 1)),  # prime: rows stay whole
        ((10, 1000), 4, (1, 4)),
        ((1000, 10), 4, (4, 1)),
        ((3, 100), 7, (1, 7)),  # seven rows of tiles do not fit
        ((40, 90), 6, (2, 3)),
    ],
)
def test_chosen_process_grid(shape: tuple[int, int], size: int, expected: tuple[int, int]) -> None:
    assert choose_process_grid(shape, size) == expected
    assert decompositions(size, shape)[0].process_grid == expected


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 100))
def test_chosen_process_grid_cuts_the_fewest_links_of_all_that_fit(
    ny: int, nx: int, size: int
) -> None:
    fitting = [(py, px) for py in range(1, ny + 1) for px in range(1, nx + 1) if py * px == size]
    if not fitting:
        with pytest.raises(ConfigError):
            choose_process_grid((ny, nx), size)
        return
    py, px = choose_process_grid((ny, nx), size)
    assert (py, px) in fitting
    assert (py - 1) * nx + (px - 1) * ny == min((y - 1) * nx + (x - 1) * ny for y, x in fitting)


def test_tiles_of_one_point() -> None:
    tiles = decompositions(12, (3, 4))
    assert {one.tile_shape for one in tiles} == {(1, 1)}
    assert tiles[0].smallest_tile == (1, 1)


def test_more_ranks_than_points_or_a_prime_that_does_not_fit() -> None:
    for size, shape in ((13, (3, 4)), (7, (3, 4)), (101, (100, 100))):
        message = (
            f"{size} ranks cannot each own a rectangle of the {shape[0]} x {shape[1]} (ny x nx) "
            f"grid points: use a number of ranks py * px with py <= {shape[0]} and "
            f"px <= {shape[1]}"
        )
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            decompositions(size, shape)


def test_wrong_process_grid() -> None:
    message = "parallel.process_grid = [2, 3] needs 6 ranks, but there are 4"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        decompositions(4, (10, 10), process_grid=(2, 3))
    message = (
        "parallel.process_grid = [6, 1] leaves ranks without a point of the 5 x 10 (ny x nx) grid"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        decompositions(6, (5, 10), process_grid=(6, 1))


def test_given_process_grid_is_row_by_row_from_the_south_west() -> None:
    tiles: list[Decomposition] = decompositions(6, (5, 10), process_grid=(2, 3))
    assert [one.process_grid for one in tiles] == [(2, 3)] * 6
    assert [one.tile_of(4) for one in tiles] == [(slice(3, 5), slice(4, 7))] * 6
    assert (tiles[0].rows, tiles[0].columns) == (slice(0, 3), slice(0, 4))
    assert (tiles[1].rows, tiles[1].columns) == (slice(0, 3), slice(4, 7))
    assert (tiles[3].rows, tiles[3].columns) == (slice(3, 5), slice(0, 4))

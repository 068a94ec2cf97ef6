"""Sweeps over a tile: advance it, its tangent and its adjoint.

Arrays are laid out as `layout.Layout` says. Rows are handed to the formulas of `stencil` by
address, in whole cache lines: the loops start at the line of the first point and end with that of
the last, which makes them compute up to a line of points too many on either side. Those lie in the
padding or the halo, or keep their values (boundary) and are put back.
"""

import numpy as np

from burgers_adjoint.equations.burgers.stencil import (
    adjoint_row,
    adjoint_viscosity_row,
    step_row,
    tangent_row,
)
from burgers_adjoint.kernels.compilation import compiled
from burgers_adjoint.kernels.lanes import array_at, copy_lines
from burgers_adjoint.kernels.tile_layout import LINE

DOUBLE_BYTES = 8


@compiled
def address(array, row, column):
    """Address of a point in an array of any shape, its rows numbered through."""
    pitch = array.shape[array.ndim - 1]
    return np.int64(array.ctypes.data) + (row * pitch + column) * DOUBLE_BYTES


@compiled
def both(array, r, column):
    """Addresses of a point in row r of u and of v, the first two fields of an array."""
    return address(array, r, column), address(array, array.shape[1] + r, column)


@compiled
def star(south, here, north):
    """Addresses of the five points that are read, from those of three rows, in `Star`'s order."""
    return here, here + DOUBLE_BYTES, here - DOUBLE_BYTES, north, south


@compiled
def lines_of(column0, column1):
    """First column and number of the cache lines that hold these columns."""
    first = column0 // LINE * LINE
    return first, (column1 - first + LINE - 1) // LINE


@compiled
def advance(source, state, c, box, limits, ring):
    """Advance the source by several steps in one sweep over memory, into the state.

    Row r of step s needs rows r-1 .. r+1 of step s-1. So while step 0 is at row j, step s is at
    row j-s, and the rows in between live in a ring buffer that stays in the cache. Every point is
    computed by the same operations as in single steps: the bits are the same.

    Args:
        source: (2, rows, pitch), halo filled; kept as it is, unless it is the state itself.
        state: the same shape, or the source itself; gets the result.
        c: `stencil.Coefficients`.
        box: row start, row stop, column start, column stop of the tile.
        limits: (k, 4) row start, row stop, column start, column stop that step s computes. Points
            beyond the limits of step s - 1 keep their values (boundary) or are not read.
        ring: (k, 4, 2, pitch) work space.
    """
    k = limits.shape[0]
    rows = state.shape[1]
    for wave in range(limits[0, 0], limits[k - 1, 1] + k - 1):
        for s in range(k):
            r = wave - s
            row0, row1 = limits[s, 0], limits[s, 1]
            if r < row0 or r >= row1:
                continue
            column0, column1 = limits[s, 2], limits[s, 3]
            first, n_lines = lines_of(column0, column1)
            # addresses in the source, where boundary rows and the first step's rows are ...
            south, here, north = (
                address(source, r - 1, first),
                address(source, r, first),
                address(source, r + 1, first),
            )
            to_v = to_v_south = to_v_north = rows * state.shape[2] * DOUBLE_BYTES
            if s > 0:
                # ... or in the ring, where the step before has left them
                ring_to_v = ring.shape[3] * DOUBLE_BYTES
                here, to_v = address(ring, ((s - 1) * 4 + (r & 3)) * 2, first), ring_to_v
                if r - 1 >= limits[s - 1, 0]:
                    south = address(ring, ((s - 1) * 4 + (r - 1 & 3)) * 2, first)
                    to_v_south = ring_to_v
                if r + 1 < limits[s - 1, 1]:
                    north = address(ring, ((s - 1) * 4 + (r + 1 & 3)) * 2, first)
                    to_v_north = ring_to_v
            sources = star(south, here, north) + star(
                south + to_v_south, here + to_v, north + to_v_north
            )
            targets = (
                address(ring, (s * 4 + (r & 3)) * 2, first),
                address(ring, (s * 4 + (r & 3)) * 2 + 1, first),
            )
            if s == 0:
                # this step alone reads from memory: fetch its next row while it computes
                ahead = address(source, min(r + 2, rows - 1), first)
                step_row(c, sources, targets, (ahead, ahead + to_v), n_lines)
            else:
                step_row(c, sources, targets, (), n_lines)
            # a boundary column keeps its value; elsewhere the next step does not read these
            for f in range(2):
                ring[s, r & 3, f, column0 - 1] = source[f, r, column0 - 1]
                ring[s, r & 3, f, column1] = source[f, r, column1]
            if s == k - 1:
                # one row late: step 0 has just read the old row r - 1 for the last time
                if r > row0:
                    flush(ring, s, state, r - 1, column0, column1)
                if r == row1 - 1:
                    flush(ring, s, state, r, column0, column1)
    if source.ctypes.data != state.ctypes.data:
        for r in range(box[0], box[1]):
            if r < limits[k - 1, 0] or r >= limits[k - 1, 1]:
                for f in range(2):
                    for i in range(box[2], box[3]):
                        state[f, r, i] = source[f, r, i]


@compiled
def sweeps(source, state, c, box, limits, ring, n_sweeps):
    """Make so many sweeps of `advance` in a row: more than one where there is no halo to fill."""
    for _ in range(n_sweeps):
        advance(source, state, c, box, limits, ring)
        source = state


@compiled
def advance_along(states, like, c, limits):
    """Advance the first state by as many steps as there are others, and keep all of them.

    While step 0 is at row j, step s is at row j-s, as in `advance`; but rows on their way lie in
    the states themselves.

    Args:
        states: (k + 1,) addresses of arrays (2, rows, pitch). The first one's halo is filled, the
            others get the results.
        like: the array at the first address.
        c: `stencil.Coefficients`.
        limits: (k, 4) row start, row stop, column start, column stop that step s computes, as in
            `advance`.
    """
    k = limits.shape[0]
    for wave in range(limits[0, 0] - 1, limits[k - 1, 1] + k):
        for s in range(k):
            r = wave - s
            row0, row1, column0, column1 = limits[s]
            if r < row0 - 1 or r > row1:
                continue
            source = array_at(states[s], like.shape)
            state = array_at(states[s + 1], like.shape)
            first, n_lines = lines_of(column0, column1)
            targets = both(state, r, first)
            if r < row0 or r == row1:
                # a row of the boundary keeps its values; others beyond the limits are not read
                copy_lines((), both(source, r, first), targets, (), n_lines)
            else:
                sources = row_stars(source, r, first)
                # all steps write to memory, step 0 alone reads from it
                ahead = both(state, r + 2, first)
                if s == 0:
                    step_row(c, sources, targets, ahead + both(source, r + 2, first), n_lines)
                else:
                    step_row(c, sources, targets, ahead, n_lines)
            # a boundary column keeps its value; elsewhere the next step does not read these
            for f in range(2):
                state[f, r, column0 - 1] = source[f, r, column0 - 1]
                state[f, r, column1] = source[f, r, column1]
                for i in range(column1 + 1, first + n_lines * LINE):
                    state[f, r, i] = 0.0


@compiled
def flush(ring, s, state, r, column0, column1):
    """Copy row r, finished by step s, from the ring to the state, and zeros to the padding."""
    for f in range(2):
        state[f, r, column0 - 1] = ring[s, r & 3, f, column0 - 1]
        state[f, r, column1] = ring[s, r & 3, f, column1]
    first, n_lines = lines_of(column0, column1)
    for i in range(column1 + 1, first + n_lines * LINE):
        ring[s, r & 3, 0, i] = 0.0
        ring[s, r & 3, 1, i] = 0.0
    row = (s * 4 + (r & 3)) * 2
    copy_lines(
        (),
        (address(ring, row, first), address(ring, row + 1, first)),
        both(state, r, first),
        (),
        n_lines,
    )


@compiled
def row_stars(array, r, first):
    """Addresses of the five points around the first point of row r of u, and of v."""
    (south, south_v), (here, here_v), (north, north_v) = (
        both(array, r - 1, first),
        both(array, r, first),
        both(array, r + 1, first),
    )
    return star(south, here, north) + star(south_v, here_v, north_v)


@compiled
def tangent(perturbation, out, state, c, limits):
    """Derivative of one step in the direction (perturbation, c.d_nu), at the state at its start.

    Args:
        perturbation, state: (2, rows, pitch), one halo layer filled.
        out: the same shape and, at first, values; points within the limits get the result, the
            padding any value.
        c: `stencil.Coefficients`.
        limits: row start, row stop, column start, column stop of the points that move.
    """
    row0, row1, column0, column1 = limits
    first, n_lines = lines_of(column0, column1)
    for r in range(row0, row1):
        tangent_row(
            c,
            row_stars(state, r, first) + row_stars(perturbation, r, first),
            both(out, r, first),
            (),
            n_lines,
        )
        for f in range(2):
            out[f, r, column0 - 1] = perturbation[f, r, column0 - 1]
            out[f, r, column1] = perturbation[f, r, column1]


@compiled
def clear_still(row, first, stop, column0, column1, left, right, moves):
    """Put zeros to the points of a row of the cotangent that no step computes.

    A boundary point keeps its value, so its cotangent reaches no other point; and beyond the
    boundary there is nothing.

    Args:
        row: (2, pitch), written from column `first` to `stop`, of which column0 .. column1-1 count.
        left, right: column of the western boundary, and the one after the eastern boundary's.
        moves: whether the row is not the boundary itself.
    """
    start = column0 + (column0 == left) if moves else column1
    end = column1 - (column1 == right) if moves else column1
    for f in range(2):
        for i in range(first, start):
            row[f, i] = 0.0
        for i in range(end, stop):
            row[f, i] = 0.0


@compiled
def adjoint(cotangent, states, density, c, box, moving, ring):
    """Apply the transposed Jacobians of consecutive steps, the last one's first, in one sweep.

    Row r of the cotangent before a step needs rows r-1 .. r+1 of the one after it. As in `advance`,
    rows on their way through the steps live in a ring buffer, and the bits are those of single
    steps. What reaches a boundary point stays there: it is added up in place.

    Args:
        cotangent: dJ/d(state after the last step) -> dJ/d(state before the first one), in place;
            (2, rows, pitch), k halo layers filled, which are not what they were afterwards.
        states: (k,) addresses of the states at the START of the steps, the last step's first; the
            same shape, with k, k-1, .. 1 halo layers filled.
        density: (rows, pitch): each point's part of dJ/d(viscosity) is added; or empty.
        c: `stencil.Coefficients`.
        box: row start, row stop, column start, column stop of the tile.
        moving: the same of the points that move, farther out than k layers where no boundary is.
        ring: (more than k + 1, 4, 2, pitch) work space, whose last part stays zero.
    """
    k = states.size
    n_rows, pitch = cotangent.shape[1], cotangent.shape[2]
    to_v = n_rows * pitch * DOUBLE_BYTES
    ring_to_v = pitch * DOUBLE_BYTES
    own_row0, own_row1, own_column0, own_column1 = box
    bottom, top, left, right = moving[0] - 1, moving[1] + 1, moving[2] - 1, moving[3] + 1
    for wave in range(max(own_row0 - k, bottom) - 1, own_row1 + k - 1):
        for s in range(-1, k):
            # step s computes what the steps after it need; "step -1" is the cotangent as it comes
            reach = k - 1 - s
            r = wave - s
            if r < max(own_row0 - reach, bottom) or r >= min(own_row1 + reach, top):
                continue
            column0, column1 = max(own_column0 - reach, left), min(own_column1 + reach, right)
            first, n_lines = lines_of(column0, column1)
            moves = moving[0] <= r < moving[1]
            result = ring[s + 1, r & 3]
            to_result, to_result_v = address(result, 0, first), ring_to_v
            if s < 0:
                source = address(cotangent, r, first)
                copy_lines(
                    (),
                    (source, source + to_v),
                    (to_result, to_result + to_result_v),
                    (),
                    n_lines,
                )
                clear_still(
                    result, first, first + n_lines * LINE, column0, column1, left, right, moves
                )
                continue
            here = address(ring, (s * 4 + (r & 3)) * 2, first)
            nothing = address(ring, (ring.shape[0] - 1) * 8, first)
            south = address(ring, (s * 4 + (r - 1 & 3)) * 2, first) if r > bottom else nothing
            north = address(ring, (s * 4 + (r + 1 & 3)) * 2, first) if r + 1 < top else nothing
            state = states[s] + (r * pitch + first) * DOUBLE_BYTES
            row = pitch * DOUBLE_BYTES
            sources = (
                star(state - row, state, state + row)
                + star(state + to_v - row, state + to_v, state + to_v + row)
                + star(south, here, north)
                + star(south + ring_to_v, here + ring_to_v, north + ring_to_v)
            )
            ahead = (state + 2 * row, state + to_v + 2 * row)
            in_place = moves and s == k - 1
            kept = (
                cotangent[0, r, own_column0],
                cotangent[1, r, own_column0],
                cotangent[0, r, own_column1 - 1],
                cotangent[1, r, own_column1 - 1],
            )
            if in_place:
                to_result, to_result_v = address(cotangent, r, first), to_v
            targets = (to_result, to_result + to_result_v)
            if density.size > 0 and own_row0 <= r < own_row1:
                own = (address(density, r, first),)
                adjoint_viscosity_row(c, sources + own, targets + own, ahead, n_lines)
            else:
                adjoint_row(c, sources, targets, ahead, n_lines)
            # what does not move is carried over: the identity row of a boundary point, transposed
            if not moves:
                for f in range(2):
                    for i in range(own_column0, own_column1):
                        cotangent[f, r, i] += result[f, i]
            elif in_place:
                if own_column0 == left:
                    cotangent[0, r, left] += kept[0]
                    cotangent[1, r, left] += kept[1]
                if own_column1 == right:
                    cotangent[0, r, right - 1] += kept[2]
                    cotangent[1, r, right - 1] += kept[3]
            else:
                if own_column0 == left:
                    cotangent[0, r, left] += result[0, left]
                    cotangent[1, r, left] += result[1, left]
                if own_column1 == right:
                    cotangent[0, r, right - 1] += result[0, right - 1]
                    cotangent[1, r, right - 1] += result[1, right - 1]
            if not in_place:
                clear_still(
                    result, first, first + n_lines * LINE, column0, column1, left, right, moves
                )


@compiled
def adjoint_sweeps(cotangent, states, density, c, box, moving, ring):
    """Make sweeps of `adjoint` in a row: more than one where there is no halo to fill."""
    longest = ring.shape[0] - 2
    for start in range(0, states.size, longest):
        adjoint(cotangent, states[start : start + longest], density, c, box, moving, ring)

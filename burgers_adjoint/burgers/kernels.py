"""Sweeps over a tile: advance it, its tangent and its adjoint.

Arrays are laid out as `layout.Layout` says. Rows are handed to the formulas of `stencil` by
address, in whole cache lines: the loops start at the line of the first point and end with that of
the last, which makes them compute up to a line of points too many on either side. Those lie in the
padding or the halo, or keep their values (boundary) and are put back.
"""

import numpy as np

from burgers_adjoint.burgers.lanes import copy_lines
from burgers_adjoint.burgers.layout import LINE
from burgers_adjoint.burgers.stencil import (
    adjoint_row,
    adjoint_viscosity_row,
    step_row,
    tangent_row,
)
from burgers_adjoint.compilation import compiled

DOUBLE_BYTES = 8


@compiled
def address(array, row, column):
    """Address of a point in an array of any shape, its rows numbered through."""
    pitch = array.shape[array.ndim - 1]
    return np.int64(array.ctypes.data) + (row * pitch + column) * DOUBLE_BYTES


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
def advance_alone(source, state, c, box, limits, ring, n_sweeps):
    """Make so many sweeps of `advance` in a row, where no halo has to be filled in between."""
    for _ in range(n_sweeps):
        advance(source, state, c, box, limits, ring)
        source = state


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
        (address(state, r, first), address(state, state.shape[1] + r, first)),
        (),
        n_lines,
    )


@compiled
def row_star(array, f, r, first):
    """Addresses of the five points around the first point of row r of a field."""
    row = f * array.shape[1] + r
    return star(
        address(array, row - 1, first), address(array, row, first), address(array, row + 1, first)
    )


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
            row_star(state, 0, r, first)
            + row_star(state, 1, r, first)
            + row_star(perturbation, 0, r, first)
            + row_star(perturbation, 1, r, first),
            (address(out, r, first), address(out, out.shape[1] + r, first)),
            (),
            n_lines,
        )
        for f in range(2):
            out[f, r, column0 - 1] = perturbation[f, r, column0 - 1]
            out[f, r, column1] = perturbation[f, r, column1]


@compiled
def load_moving(cotangent, r, box, limits, ring):
    """Copy row r of the cotangent to the ring, with zeros at the points that no step computes.

    A boundary point keeps its value, so its cotangent reaches no other point; and beyond the
    boundary there is nothing.
    """
    row0, row1, column0, column1 = limits
    west, east = box[2] - 1, box[3]
    moves = row0 <= r < row1
    if moves:
        first, n_lines = lines_of(box[2], box[3])
        copy_lines(
            (),
            (address(cotangent, r, first), address(cotangent, cotangent.shape[1] + r, first)),
            (address(ring, r % 3 * 2, first), address(ring, r % 3 * 2 + 1, first)),
            (),
            n_lines,
        )
    for f in range(2):
        for i in (west, east):
            ring[r % 3, f, i] = cotangent[f, r, i]
        for i in range(west, column0 if moves else east + 1):
            ring[r % 3, f, i] = 0.0
        for i in range(column1 if moves else east + 1, east + 1):
            ring[r % 3, f, i] = 0.0


@compiled
def adjoint(cotangent, state, density, c, box, limits, ring):
    """Apply the transposed Jacobian of one step to the cotangent, in place.

    Args:
        cotangent: dJ/d(state at n+1) -> dJ/d(state at n); (2, rows, pitch), one halo layer filled,
            which is not what it was afterwards.
        state: state at the START of the step, the same shape, one halo layer filled.
        density: (rows, pitch): each point's part of dJ/d(viscosity) is added; or empty.
        c: `stencil.Coefficients`.
        box: row start, row stop, column start, column stop of the tile.
        limits: (row start, ...) of the points that move, one layer of a neighbour's included.
        ring: (4, 2, pitch) work space: three rows of the old cotangent, and one that stays.
    """
    row0, row1, column0, column1 = box
    first, n_lines = lines_of(column0, column1)
    still = ring[3]
    load_moving(cotangent, row0 - 1, box, limits, ring)
    load_moving(cotangent, row0, box, limits, ring)
    for r in range(row0, row1):
        load_moving(cotangent, r + 1, box, limits, ring)
        row_moves = limits[0] <= r < limits[1]
        if not row_moves:
            still[0, column0:column1] = cotangent[0, r, column0:column1]
            still[1, column0:column1] = cotangent[1, r, column0:column1]
        p_west, q_west = cotangent[0, r, column0], cotangent[1, r, column0]
        p_east, q_east = cotangent[0, r, column1 - 1], cotangent[1, r, column1 - 1]
        south, here, north = (r - 1) % 3 * 2, r % 3 * 2, (r + 1) % 3 * 2
        sources = (
            row_star(state, 0, r, first)
            + row_star(state, 1, r, first)
            + star(address(ring, south, first), address(ring, here, first),
                   address(ring, north, first))
            + star(address(ring, south + 1, first), address(ring, here + 1, first),
                   address(ring, north + 1, first))
        )  # fmt: skip
        targets = (
            address(cotangent, r, first),
            address(cotangent, cotangent.shape[1] + r, first),
        )
        ahead = (
            address(state, min(r + 2, row1), first),
            address(state, state.shape[1] + min(r + 2, row1), first),
            address(cotangent, min(r + 2, row1), first),
            address(cotangent, cotangent.shape[1] + min(r + 2, row1), first),
        )
        if density.size > 0:
            own = (address(density, r, first),)
            adjoint_viscosity_row(c, sources + own, targets + own, ahead, n_lines)
        else:
            adjoint_row(c, sources, targets, ahead, n_lines)
        # what does not move is carried over: the identity row of a boundary point, transposed
        if not row_moves:
            cotangent[0, r, column0:column1] += still[0, column0:column1]
            cotangent[1, r, column0:column1] += still[1, column0:column1]
            continue
        if column0 < limits[2]:
            cotangent[0, r, column0] += p_west
            cotangent[1, r, column0] += q_west
        if column1 > limits[3]:
            cotangent[0, r, column1 - 1] += p_east
            cotangent[1, r, column1 - 1] += q_east

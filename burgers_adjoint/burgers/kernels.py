"""Loops over a tile: advance it, its tangent and its adjoint.

Arrays are laid out as `layout.Layout` says. Rows are handed on as separate contiguous slices,
already shifted by one point where a neighbour is meant: an index that the compiler cannot prove
non-negative would stop vectorisation.
"""

from burgers_adjoint.burgers.stencil import (
    adjoint_point,
    step_point,
    tangent_point,
    viscosity_point,
)
from burgers_adjoint.compilation import compiled


@compiled
def copy_row(source, out):
    for i in range(out.size):
        out[i] = source[i]


@compiled
def add_row(source, out):
    for i in range(out.size):
        out[i] += source[i]


@compiled
def step_row(c, u_s, u_w, u, u_e, u_n, v_s, v_w, v, v_e, v_n, new_u, new_v):
    for i in range(new_u.size):
        new_u[i], new_v[i] = step_point(
            c, u[i], u_e[i], u_w[i], u_n[i], u_s[i], v[i], v_e[i], v_w[i], v_n[i], v_s[i]
        )


@compiled
def advance(state, c, limits, ring):
    """Advance the state by several steps in one sweep over memory, in place.

    Row r of step s needs rows r-1 .. r+1 of step s-1. So while step 0 is at row j, step s is at
    row j-s, and the rows in between live in a ring buffer that stays in the cache. Every point is
    computed by the same operations as in single steps: the bits are the same.

    Args:
        state: (2, rows, pitch).
        c: `stencil.Coefficients`.
        limits: (k, 4) row start, row stop, column start, column stop that step s computes. Points
            beyond the limits of step s - 1 keep their values (boundary) or are not read.
        ring: (k, 3, 2, pitch) work space.
    """
    k = limits.shape[0]
    for wave in range(limits[0, 0], limits[k - 1, 1] + k - 1):
        for s in range(k):
            r = wave - s
            row0, row1, column0, column1 = limits[s]
            if r < row0 or r >= row1:
                continue
            u_s, v_s = state[0, r - 1], state[1, r - 1]
            u, v = state[0, r], state[1, r]
            u_n, v_n = state[0, r + 1], state[1, r + 1]
            if s > 0:
                before0, before1 = limits[s - 1, 0], limits[s - 1, 1]
                u, v = ring[s - 1, r % 3, 0], ring[s - 1, r % 3, 1]
                if r - 1 >= before0:
                    u_s, v_s = ring[s - 1, (r - 1) % 3, 0], ring[s - 1, (r - 1) % 3, 1]
                if r + 1 < before1:
                    u_n, v_n = ring[s - 1, (r + 1) % 3, 0], ring[s - 1, (r + 1) % 3, 1]
            new_u, new_v = ring[s, r % 3, 0], ring[s, r % 3, 1]
            step_row(
                c,
                u_s[column0:column1],
                u[column0 - 1 : column1 - 1],
                u[column0:column1],
                u[column0 + 1 : column1 + 1],
                u_n[column0:column1],
                v_s[column0:column1],
                v[column0 - 1 : column1 - 1],
                v[column0:column1],
                v[column0 + 1 : column1 + 1],
                v_n[column0:column1],
                new_u[column0:column1],
                new_v[column0:column1],
            )
            # a boundary column keeps its value; elsewhere the next step does not read these
            new_u[column0 - 1], new_v[column0 - 1] = u[column0 - 1], v[column0 - 1]
            new_u[column1], new_v[column1] = u[column1], v[column1]
            if s == k - 1:
                # one row late: step 0 has just read the old row r - 1 for the last time
                if r > row0:
                    for f in range(2):
                        copy_row(
                            ring[s, (r - 1) % 3, f, column0:column1],
                            state[f, r - 1, column0:column1],
                        )
                if r == row1 - 1:
                    for f in range(2):
                        copy_row(ring[s, r % 3, f, column0:column1], state[f, r, column0:column1])


@compiled
def tangent_row(
    c, d_nu,
    u_s, u_w, u, u_e, u_n, v_s, v_w, v, v_e, v_n,
    du_s, du_w, du, du_e, du_n, dv_s, dv_w, dv, dv_e, dv_n,
    new_du, new_dv,
):  # fmt: skip
    for i in range(new_du.size):
        new_du[i], new_dv[i] = tangent_point(
            c, d_nu,
            u[i], u_e[i], u_w[i], u_n[i], u_s[i],
            v[i], v_e[i], v_w[i], v_n[i], v_s[i],
            du[i], du_e[i], du_w[i], du_n[i], du_s[i],
            dv[i], dv_e[i], dv_w[i], dv_n[i], dv_s[i],
        )  # fmt: skip


@compiled
def tangent(perturbation, out, state, d_nu, c, limits):
    """Derivative of one step in the direction (perturbation, d_nu), at the state at its start.

    Args:
        perturbation, state: (2, rows, pitch), one halo layer filled.
        out: the same shape; only the points within the limits are written.
        d_nu: perturbation of the viscosity.
        limits: row start, row stop, column start, column stop of the points that move.
    """
    row0, row1, column0, column1 = limits
    inner = slice(column0, column1)
    western, eastern = slice(column0 - 1, column1 - 1), slice(column0 + 1, column1 + 1)
    for r in range(row0, row1):
        u, v, du, dv = state[0], state[1], perturbation[0], perturbation[1]
        tangent_row(
            c, d_nu,
            u[r - 1, inner], u[r, western], u[r, inner], u[r, eastern], u[r + 1, inner],
            v[r - 1, inner], v[r, western], v[r, inner], v[r, eastern], v[r + 1, inner],
            du[r - 1, inner], du[r, western], du[r, inner], du[r, eastern], du[r + 1, inner],
            dv[r - 1, inner], dv[r, western], dv[r, inner], dv[r, eastern], dv[r + 1, inner],
            out[0, r, inner], out[1, r, inner],
        )  # fmt: skip


@compiled
def adjoint_row(
    c,
    u_s, u_w, u_e, u_n, v_s, v_w, v_e, v_n,
    p_s, p_w, p, p_e, p_n, q_s, q_w, q, q_e, q_n,
    new_p, new_q,
):  # fmt: skip
    for i in range(new_p.size):
        new_p[i], new_q[i] = adjoint_point(
            c,
            u_e[i], u_w[i], u_n[i], u_s[i],
            v_e[i], v_w[i], v_n[i], v_s[i],
            p[i], p_e[i], p_w[i], p_n[i], p_s[i],
            q[i], q_e[i], q_w[i], q_n[i], q_s[i],
        )  # fmt: skip


@compiled
def viscosity_row(c, u_s, u_w, u, u_e, u_n, v_s, v_w, v, v_e, v_n, p, q, density):
    for i in range(density.size):
        density[i] += viscosity_point(
            c, u[i], u_e[i], u_w[i], u_n[i], u_s[i], v[i], v_e[i], v_w[i], v_n[i], v_s[i],
            p[i], q[i],
        )  # fmt: skip


@compiled
def load_moving(cotangent, r, box, limits, out):
    """Copy row r of the cotangent, with zeros at the points that no step computes.

    A boundary point keeps its value, so its cotangent reaches no other point; and beyond the
    boundary there is nothing.
    """
    row0, row1, column0, column1 = limits
    west, east = box[2] - 1, box[3] + 1
    for f in range(2):
        if r < row0 or r >= row1:
            out[f, west:east] = 0.0
        else:
            copy_row(cotangent[f, r, west:east], out[f, west:east])
            out[f, west:column0] = 0.0
            out[f, column1:east] = 0.0


@compiled
def adjoint(cotangent, state, density, c, box, limits, ring):
    """Apply the transposed Jacobian of one step to the cotangent, in place.

    Args:
        cotangent: dJ/d(state at n+1) -> dJ/d(state at n); (2, rows, pitch), one halo layer filled.
        state: state at the START of the step, the same shape, one halo layer filled.
        density: (rows, pitch): each point's part of dJ/d(viscosity) is added; or empty.
        box: row start, row stop, column start, column stop of the tile.
        limits: (row start, ...) of the points that move, one layer of a neighbour's included.
        ring: (4, 2, pitch) work space: three rows of the old cotangent, and one that stays.
    """
    row0, row1, column0, column1 = box
    inner = slice(column0, column1)
    western, eastern = slice(column0 - 1, column1 - 1), slice(column0 + 1, column1 + 1)
    u, v = state[0], state[1]
    new_p, new_q = cotangent[0], cotangent[1]
    still = ring[3]
    load_moving(cotangent, row0 - 1, box, limits, ring[(row0 - 1) % 3])
    load_moving(cotangent, row0, box, limits, ring[row0 % 3])
    for r in range(row0, row1):
        load_moving(cotangent, r + 1, box, limits, ring[(r + 1) % 3])
        p_s, p, p_n = ring[(r - 1) % 3, 0], ring[r % 3, 0], ring[(r + 1) % 3, 0]
        q_s, q, q_n = ring[(r - 1) % 3, 1], ring[r % 3, 1], ring[(r + 1) % 3, 1]
        row_moves = limits[0] <= r < limits[1]
        if not row_moves:
            copy_row(new_p[r, inner], still[0, inner])
            copy_row(new_q[r, inner], still[1, inner])
        p_west, q_west = new_p[r, column0], new_q[r, column0]
        p_east, q_east = new_p[r, column1 - 1], new_q[r, column1 - 1]
        adjoint_row(
            c,
            u[r - 1, inner], u[r, western], u[r, eastern], u[r + 1, inner],
            v[r - 1, inner], v[r, western], v[r, eastern], v[r + 1, inner],
            p_s[inner], p[western], p[inner], p[eastern], p_n[inner],
            q_s[inner], q[western], q[inner], q[eastern], q_n[inner],
            new_p[r, inner], new_q[r, inner],
        )  # fmt: skip
        if density.size > 0:
            viscosity_row(
                c,
                u[r - 1, inner], u[r, western], u[r, inner], u[r, eastern], u[r + 1, inner],
                v[r - 1, inner], v[r, western], v[r, inner], v[r, eastern], v[r + 1, inner],
                p[inner], q[inner],
                density[r, inner],
            )  # fmt: skip
        # what does not move is carried over: the identity row of a boundary point, transposed
        if not row_moves:
            add_row(still[0, inner], new_p[r, inner])
            add_row(still[1, inner], new_q[r, inner])
            continue
        if column0 < limits[2]:
            new_p[r, column0] += p_west
            new_q[r, column0] += q_west
        if column1 > limits[3]:
            new_p[r, column1 - 1] += p_east
            new_q[r, column1 - 1] += q_east

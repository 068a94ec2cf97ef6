"""Sweeps over a tile, made from the formulas of a scheme: rates, their tangent and adjoint."""

from collections.abc import Callable
from typing import Any, NamedTuple

from burgers_adjoint.equations.burgers.kernels import DOUBLE_BYTES, address, both, lines_of
from burgers_adjoint.equations.burgers.rates import Scheme, row_kernels
from burgers_adjoint.kernels.compilation import compiled, compiled_copy


@compiled
def cross(array, f, r, first):
    """Addresses of the nine points around the first point of row r of a field, as in `Cross`."""
    row = f * array.shape[1] + r
    here = address(array, row, first)
    pitch = array.shape[2] * DOUBLE_BYTES
    return (
        here,
        here + DOUBLE_BYTES,
        here - DOUBLE_BYTES,
        here + pitch,
        here - pitch,
        here + 2 * DOUBLE_BYTES,
        here - 2 * DOUBLE_BYTES,
        here + 2 * pitch,
        here - 2 * pitch,
    )


@compiled
def crosses(array, r, first):
    """Addresses of the nine points around the first point of row r of u, and of v."""
    return cross(array, 0, r, first) + cross(array, 1, r, first)


@compiled
def line(array, first):
    """Addresses of the five points around the first one of a row, as in `Line`."""
    here = address(array, 0, first)
    return (
        here - 2 * DOUBLE_BYTES,
        here - DOUBLE_BYTES,
        here,
        here + DOUBLE_BYTES,
        here + 2 * DOUBLE_BYTES,
    )


@compiled
def at_row(c, w_rows, r):
    """Numbers of row r: those of the step with w of the five rows around."""
    return (*c, w_rows[r - 2], w_rows[r - 1], w_rows[r], w_rows[r + 1], w_rows[r + 2])


def row_kernel(*arguments):
    """Stand for the row kernel of a scheme, one of `rates.row_kernels`, in the sweeps below."""
    raise NotImplementedError("a sweep is compiled with the row kernel of a scheme")


def _rate(state, nu, forcing, out, c, w_rows, w_columns, limits):
    """Rates of change of a state; see `rates.rate`.

    Args:
        state: (2, rows, pitch), halo filled.
        nu: (1, rows, pitch).
        forcing, out: like the state; rates go to the points within the limits, and any value to
            the rest of their cache lines.
        c: the first five of `rates.Numbers`.
        w_rows, w_columns: (rows,) and (1, pitch); see `rates.Scheme`.
        limits: row start, row stop, column start, column stop of the points that move.
    """
    first, n_lines = lines_of(limits[2], limits[3])
    for r in range(limits[0], limits[1]):
        row_kernel(
            at_row(c, w_rows, r),
            (
                *crosses(state, r, first),
                address(nu, r, first),
                *both(forcing, r, first),
                *line(w_columns, first),
            ),
            both(out, r, first),
            (),
            n_lines,
        )


def _tangent(state, d_state, nu, d_nu, d_forcing, out, c, w_rows, w_columns, limits):
    """Derivative of `_rate` in the direction (d_state, d_nu, d_forcing), laid out like it."""
    first, n_lines = lines_of(limits[2], limits[3])
    for r in range(limits[0], limits[1]):
        row_kernel(
            at_row(c, w_rows, r),
            crosses(state, r, first)
            + crosses(d_state, r, first)
            + (address(nu, r, first), address(d_nu, r, first))
            + both(d_forcing, r, first)
            + line(w_columns, first),
            both(out, r, first),
            (),
            n_lines,
        )


def _adjoint(state, cotangent, nu, density, out, c, w_rows, w_columns, box):
    """Transposed Jacobian of `_rate` times a cotangent of it.

    Args:
        state: (2, rows, pitch), halo filled.
        cotangent: like the state, halo filled; zero at points that do not move.
        nu: (1, rows, pitch), halo filled.
        density: (1, rows, pitch): each point's part of dJ/d(nu) is added.
        out: like the state; written at the tile's points and the rest of their cache lines.
        c, w_rows, w_columns: see `_rate`.
        box: row start, row stop, column start, column stop of the tile.
    """
    first, n_lines = lines_of(box[2], box[3])
    for r in range(box[0], box[1]):
        row_kernel(
            at_row(c, w_rows, r),
            crosses(state, r, first)
            + crosses(cotangent, r, first)
            + cross(nu, 0, r, first)
            + line(w_columns, first)
            + (address(density, r, first),),
            (*both(out, r, first), address(density, r, first)),
            (),
            n_lines,
        )


class Sweeps(NamedTuple):
    """A scheme's sweeps, compiled: `_rate`, `_tangent` and `_adjoint` with its row kernels."""

    rate: Any
    tangent: Any
    adjoint: Any


def sweeps_of(scheme: Scheme) -> Sweeps:
    """Make the sweeps of a scheme."""
    loops: tuple[Callable[..., Any], ...] = (_rate, _tangent, _adjoint)
    kernels = zip(loops, row_kernels(scheme), strict=True)
    return Sweeps(*(compiled_copy(loop, type(scheme), row_kernel=row) for loop, row in kernels))

"""Third-order upwind-biased differences, for low viscosity.

speed q_x dx = speed (q_-2 - 8 q_-1 + 8 q_+1 - q_+2) / 12
             + |speed| (q_-2 - 4 q_-1 + 6 q - 4 q_+1 + q_+2) / 12,

a fourth-order central difference and the dissipation that makes it biased towards where the flow
comes from (Leonard 1979; Kawamura and Kuwahara 1984 take three times that dissipation). |speed| is
sqrt(speed^2 + smooth), whose derivative exists at rest too. Beside the boundary of the domain it
becomes the second-order central difference.
"""

from typing import Any

from burgers_adjoint.burgers.advection.sweeps import at_row, cross, line
from burgers_adjoint.burgers.kernels import address, lines_of
from burgers_adjoint.burgers.lanes import fma, square_root
from burgers_adjoint.burgers.rates import Line, row_kernels
from burgers_adjoint.compilation import compiled

REACH = 2
LARGEST_RATE = 1.372  # of the imaginary part of the symbol, times spacing / speed


class Upwind:
    """Dissipates what the grid resolves badly, in proportion to the speed."""

    def weights(self, speed: Any, w: Any, smooth: Any) -> Line:
        magnitude = square_root(fma(speed, speed, smooth))
        return _weights(speed, magnitude, w)

    def weights_by_speed(self, speed: Any, w: Any, smooth: Any) -> Line:
        magnitude = square_root(fma(speed, speed, smooth))
        return _weights(1.0, speed / magnitude, w)


def _weights(speed: Any, magnitude: Any, w: Any) -> Line:
    centred, biased = speed * (w * (1 / 12)), magnitude * (w * (1 / 12))
    return Line(
        biased + centred,
        fma(-4.0, biased, fma(-2.0, centred, -0.5 * speed)),
        6.0 * biased,
        fma(-4.0, biased, fma(2.0, centred, 0.5 * speed)),
        biased - centred,
    )


rate_row, tangent_row, adjoint_row = row_kernels(Upwind())


@compiled
def rate(state, nu, forcing, out, c, w_rows, w_columns, limits):
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
    n_rows = state.shape[1]
    for r in range(limits[0], limits[1]):
        rate_row(
            at_row(c, w_rows, r),
            cross(state, 0, r, first)
            + cross(state, 1, r, first)
            + (address(nu, r, first), address(forcing, r, first))
            + (address(forcing, n_rows + r, first),)
            + line(w_columns, first),
            (address(out, r, first), address(out, n_rows + r, first)),
            (),
            n_lines,
        )


@compiled
def tangent(state, d_state, nu, d_nu, d_forcing, out, c, w_rows, w_columns, limits):
    """Derivative of `rate` in the direction (d_state, d_nu, d_forcing), laid out like it."""
    first, n_lines = lines_of(limits[2], limits[3])
    n_rows = state.shape[1]
    for r in range(limits[0], limits[1]):
        tangent_row(
            at_row(c, w_rows, r),
            cross(state, 0, r, first)
            + cross(state, 1, r, first)
            + cross(d_state, 0, r, first)
            + cross(d_state, 1, r, first)
            + (address(nu, r, first), address(d_nu, r, first))
            + (address(d_forcing, r, first), address(d_forcing, n_rows + r, first))
            + line(w_columns, first),
            (address(out, r, first), address(out, n_rows + r, first)),
            (),
            n_lines,
        )


@compiled
def adjoint(state, cotangent, nu, density, out, c, w_rows, w_columns, box):
    """Transposed Jacobian of `rate` times a cotangent of it.

    Args:
        state: (2, rows, pitch), halo filled.
        cotangent: like the state, halo filled; zero at points that do not move.
        nu: (1, rows, pitch), halo filled.
        density: (1, rows, pitch): each point's part of dJ/d(nu) is added.
        out: like the state; written at the tile's points and the rest of their cache lines.
        c, w_rows, w_columns: see `rate`.
        box: row start, row stop, column start, column stop of the tile.
    """
    first, n_lines = lines_of(box[2], box[3])
    n_rows = state.shape[1]
    for r in range(box[0], box[1]):
        adjoint_row(
            at_row(c, w_rows, r),
            cross(state, 0, r, first)
            + cross(state, 1, r, first)
            + cross(cotangent, 0, r, first)
            + cross(cotangent, 1, r, first)
            + cross(nu, 0, r, first)
            + line(w_columns, first)
            + (address(density, r, first),),
            (
                address(out, r, first),
                address(out, n_rows + r, first),
                address(density, r, first),
            ),
            (),
            n_lines,
        )

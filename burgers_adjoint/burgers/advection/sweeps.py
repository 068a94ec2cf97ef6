"""What the schemes' sweeps over a tile share: addresses of the points around a row's first one."""

from burgers_adjoint.burgers.kernels import DOUBLE_BYTES, address
from burgers_adjoint.compilation import compiled


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

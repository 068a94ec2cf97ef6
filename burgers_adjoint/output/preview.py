"""A small picture of fields for whoever watches a run: every k-th point, in single precision."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burgers_adjoint.files.whole import replace_quickly
from burgers_adjoint.parallel.agreement import at_rank_0
from burgers_adjoint.parallel.decomposition import Decomposition, Shape

FILE = "watch/preview"
MOST = 128  # points along each axis

Points = NDArray[np.float32]


def strides(shape: Shape) -> Shape:
    """How many points of the grid (ny, nx) there are to one of a preview, along y and x."""
    ny, nx = shape
    return -(-ny // MOST), -(-nx // MOST)


def gather(
    decomposition: Decomposition, fields: Mapping[str, NDArray[np.float64]]
) -> dict[str, tuple[float, Points]] | None:
    """Bring every k-th point of fields to rank 0. Collective.

    Args:
        decomposition: whose tiles they are.
        fields: name to this rank's tile, (ny_tile, nx_tile); the same names on every rank.

    Returns:
        On rank 0, name to the largest finite magnitude at these points, and the points in units of
        it, (my, mx) with `MOST` of each at most; None on the other ranks.
    """
    step_y, step_x = strides(decomposition.shape)
    rows, columns = decomposition.rows, decomposition.columns
    own = [
        np.array(tile[-rows.start % step_y :: step_y, -columns.start % step_x :: step_x])
        for tile in fields.values()
    ]
    pieces = at_rank_0(decomposition.comm, own)
    if pieces is None:
        return None
    ny, nx = decomposition.shape
    found = {}
    for number, name in enumerate(fields):
        whole = np.empty((-(-ny // step_y), -(-nx // step_x)))
        for rank, piece in enumerate(pieces):
            south, west = (part.start for part in decomposition.tile_of(rank))
            j, i = -(-south // step_y), -(-west // step_x)
            height, width = piece[number].shape
            whole[j : j + height, i : i + width] = piece[number]
        found[name] = _scaled(whole)
    return found


def _scaled(field: NDArray[np.float64]) -> tuple[float, Points]:
    finite = np.isfinite(field)
    largest = float(np.abs(field).max(where=finite, initial=0.0))
    return largest, (field / (largest or 1.0)).astype(np.float32)


def write(
    directory: Path, facts: Mapping[str, Any], fields: Mapping[str, tuple[float, Points]]
) -> None:
    """Write a preview in place of the last one: a line of JSON, then numbers row by row.

    The line has the facts, the shape (my, mx), the names of the fields and their largest
    magnitudes; the numbers are little-endian floats of 4 bytes, in units of these. Row 0 is the
    southmost.

    Raises:
        OSError: it cannot be written.
    """
    head = {
        **facts,
        "shape": next(iter(fields.values()))[1].shape,
        "fields": list(fields),
        "largest": [largest for largest, _ in fields.values()],
    }
    data = [points.astype("<f4").tobytes() for _, points in fields.values()]
    replace_quickly(directory / FILE, b"".join([json.dumps(head).encode(), b"\n", *data]))


def read(directory: Path) -> tuple[dict[str, Any], dict[str, Points]]:
    """What `write` has written: the facts and others of the line, and the fields in their units.

    Raises:
        OSError: there is none.
    """
    line, _, data = (directory / FILE).read_bytes().partition(b"\n")
    head = json.loads(line)
    fields = np.frombuffer(data, "<f4").reshape(-1, *head["shape"])
    scaled = zip(head["fields"], head["largest"], fields, strict=True)
    return head, {name: points * np.float32(largest) for name, largest, points in scaled}

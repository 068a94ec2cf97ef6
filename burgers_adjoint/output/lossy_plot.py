"""The picture of what lossy snapshots cost and spare, by their tolerance."""

from collections.abc import Sequence
from pathlib import Path

from burgers_adjoint.output.plots import drawable, figure_saved
from burgers_adjoint.output.summary import Lossy

PANELS = (
    ("gradient_error", "relative error of the gradient"),
    ("objective_error", "relative error of J"),
    ("memory_bytes", "snapshots in memory [bytes]"),
    ("seconds", "time of the gradient [s]"),
)


def plot_lossy(path: str | Path, rows: Sequence[Lossy]) -> bool:
    """Draw errors, memory and time against the tolerance into a PNG file.

    The exact gradient, the first row, is a dashed line. A codec without tolerance has no picture.

    Returns:
        False when there is nothing to draw, or no matplotlib.

    Raises:
        BurgersAdjointError: when the picture cannot be written.
    """
    exact, *lossy = rows
    tolerances = [row.tolerance for row in lossy if row.tolerance is not None]
    if len(tolerances) < 2 or not drawable(path):
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    for axis, (name, label) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        values = [getattr(row, name) for row in lossy]
        axis.set_xscale("log")
        if any(value > 0 for value in values):
            axis.set_yscale("log")
        axis.plot(tolerances, values, marker="o", markersize=4)
        if getattr(exact, name) > 0:
            axis.axhline(getattr(exact, name), linestyle="--", color="gray", label="no codec")
            axis.legend()
        axis.set_xlabel("tolerance")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    figure_saved(figure, path)
    return True

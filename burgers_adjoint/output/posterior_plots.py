"""The picture of an uncertainty.h5, drawn where matplotlib is installed."""

from pathlib import Path
from typing import Any

import numpy as np

from burgers_adjoint.files.hdf5 import File, opened
from burgers_adjoint.output.plots import (
    drawable,
    fields_of_controls,
    figure_saved,
    height_over_width,
    largest_of,
    panel,
    stride,
)

MOST_SAMPLES = 2
FLOOR = 1e-3  # of eigenvalues in the picture: what is below says nothing


def plot_posterior(results: str | Path, path: str | Path) -> bool:
    """Draw spectrum, standard deviations and samples of an uncertainty.h5 into a PNG file.

    Returns:
        False when there is no matplotlib.

    Raises:
        BurgersAdjointError: when the picture cannot be written.
    """
    if not drawable(path):
        return False
    from matplotlib.figure import Figure

    with opened(results, str(results)) as file:
        names = fields_of_controls(file)
        if "final_state" in file["deviation/prior"]:
            names = [*names, "final_state/u", "final_state/v"]
        height = height_over_width(file["x"][()], file["y"][()])
        n_rows, spectrum = len(names), 3.2
        figure = Figure(figsize=(16, spectrum + n_rows * 3.0 * height), layout="constrained")
        rows = figure.add_gridspec(
            1 + n_rows, 1, height_ratios=[spectrum, *[3.0 * height] * n_rows]
        )
        _spectrum(figure.add_subplot(rows[0]), file["eigenvalues"][()])
        for row, name in enumerate(names, start=1):
            _fields(figure, rows[row], file, name)
    figure_saved(figure, path)
    return True


def _spectrum(axis: Any, eigenvalues: np.ndarray) -> None:
    shown = np.maximum(eigenvalues, FLOOR)
    axis.semilogy(np.arange(1, len(shown) + 1), shown, marker="o", markersize=4, linestyle="")
    axis.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
    axis.set_xlabel("direction")
    axis.set_ylabel("variance before over noise")
    axis.set_title("eigenvalues: above 1 the observations say more than the prior")
    axis.grid(which="major", alpha=0.3)


def _fields(figure: Any, place: Any, file: File, name: str) -> None:
    """Both standard deviations on one scale; the controls and samples on another."""
    rows, columns = (slice(None, None, stride(file[axis].shape[0])) for axis in ("y", "x"))
    x, y = file["x"][columns], file["y"][rows]
    groups = {"deviation/prior": "prior deviation", "deviation/posterior": "posterior deviation"}
    values: dict[str, str] = {}
    if name in file["controls"]:
        samples = sorted(file["samples"])[:MOST_SAMPLES] if "samples" in file else []
        values = {"controls": "most probable"}
        values |= {f"samples/{number}": f"sample {int(number) + 1}" for number in samples}
    axes = iter(place.subgridspec(1, len(groups) + len(values)).subplots(sharex=True, sharey=True))
    for titles, colours, signed in ((groups, "viridis", False), (values, "RdBu_r", True)):
        if not titles:
            continue
        fields = [file[f"{group}/{name}"][rows, columns] for group in titles]
        largest = largest_of(np.stack(fields))
        least = -largest if signed else 0.0
        for title, field in zip(titles.values(), fields, strict=True):
            panel(figure, next(axes), x, y, field, f"{title}: {name}", colours, largest, least)

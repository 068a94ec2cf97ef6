"""Pictures of a run, drawn where matplotlib is installed."""

import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from burgers_adjoint.files.hdf5 import File, opened
from burgers_adjoint.files.whole import replaced_when_complete

# Finer than a printed page can show; what is beyond only costs time and memory.
MOST_POINTS = 1024
MOST_FIELDS = 4
SLOPE_OF_CENTRAL_DIFFERENCES = 2

Field = NDArray[np.float64]


def plot_results(results: str | Path, path: str | Path) -> bool:
    """Draw the gradient picture of a results.h5, reading no more points than it shows.

    Returns:
        False when there is no gradient field in the file or no matplotlib.

    Raises:
        BurgersAdjointError: when the picture cannot be written.
    """
    with opened(results, str(results)) as file:
        if "gradient/initial" not in file:
            return False
        rows, columns = (slice(None, None, stride(file[axis].shape[0])) for axis in ("y", "x"))

        def pair(name: str) -> Field:
            return np.stack([file[f"{name}/{field}"][rows, columns] for field in ("u", "v")])

        return plot_gradient(
            path,
            file["x"][columns],
            file["y"][rows],
            pair("state/initial"),
            pair("state/final"),
            pair("gradient/initial"),
        )


def plot_gradient(
    path: str | Path, x: ArrayLike, y: ArrayLike, state0: Field, state1: Field, gradient: Field
) -> bool:
    """Draw the initial state, the final state and the gradient side by side into a PNG file.

    Args:
        path: of the picture.
        x: coordinates of the columns, (nx,), equally spaced.
        y: coordinates of the rows, (ny,), equally spaced.
        state0: initial (u, v), (2, ny, nx).
        state1: final (u, v), the same shape.
        gradient: of the objective with respect to state0, the same shape.

    Returns:
        False, and a word in the log, when matplotlib is not installed.

    Raises:
        BurgersAdjointError: when the picture cannot be written.
    """
    if not drawable(path):
        return False
    from matplotlib.figure import Figure

    x, y = np.asarray(x), np.asarray(y)
    rows, columns = slice(None, None, stride(y.size)), slice(None, None, stride(x.size))
    x, y = x[columns], y[rows]
    state0, state1, gradient = (field[:, rows, columns] for field in (state0, state1, gradient))

    height = np.clip((y[-1] - y[0]) / (x[-1] - x[0]), 0.4, 2.0)
    figure = Figure(figsize=(12, 0.8 + 2 * 3.2 * height), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    for row, name in enumerate("uv"):
        # One scale for both states, so that their decay can be seen.
        largest = largest_of(np.stack([state0[row], state1[row]]))
        panel(figure, axes[row, 0], x, y, state0[row], f"initial ${name}$", "RdBu_r", largest)
        panel(figure, axes[row, 1], x, y, state1[row], f"final ${name}$", "RdBu_r", largest)
        title = rf"$\partial J / \partial {name}_0$"
        panel(figure, axes[row, 2], x, y, gradient[row], title, "PuOr_r", largest_of(gradient[row]))
        axes[row, 0].set_ylabel("$y$")
    for axis in axes[-1]:
        axis.set_xlabel("$x$")
    figure_saved(figure, path)
    return True


def fields_of_controls(file: File) -> list[str]:
    """Paths of fields in the group of controls; of a forcing in time the last knots."""
    names: list[str] = []
    file["controls"].visititems(
        lambda name, item: names.append(name) if len(getattr(item, "shape", ())) == 2 else None
    )
    return names[-MOST_FIELDS:]


def height_over_width(x: np.ndarray, y: np.ndarray) -> float:
    """Of panels of a domain with these coordinates, within what a page bears."""
    return float(np.clip((y[-1] - y[0]) / (x[-1] - x[0]), 0.4, 2.0))


def plot_recovery(results: str | Path, path: str | Path) -> bool:
    """Draw the first guess, the truth and the recovered fields of an optimisation's results.h5.

    Returns:
        False when there is no field among the controls, or no matplotlib.

    Raises:
        BurgersAdjointError: when the picture cannot be written.
    """
    if not drawable(path):
        return False
    from matplotlib.figure import Figure

    with opened(results, str(results)) as file:
        names = fields_of_controls(file)
        if not names:
            return False
        rows, columns = (slice(None, None, stride(file[axis].shape[0])) for axis in ("y", "x"))
        x, y = file["x"][columns], file["y"][rows]
        groups = {"prior": "first guess", "truth": "truth", "controls": "recovered"}
        shown = [group for group in groups if f"{group}/{names[0]}" in file]
        height = height_over_width(x, y)
        figure = Figure(figsize=(12, 0.8 + len(names) * 3.2 * height), layout="constrained")
        axes = figure.subplots(len(names), len(shown), sharex=True, sharey=True, squeeze=False)
        for row, name in enumerate(names):
            fields = [file[f"{group}/{name}"][rows, columns] for group in shown]
            largest = largest_of(np.stack(fields))
            for axis, group, field in zip(axes[row], shown, fields, strict=True):
                panel(figure, axis, x, y, field, f"{groups[group]}: {name}", "RdBu_r", largest)
            axes[row, 0].set_ylabel("$y$")
        for axis in axes[-1]:
            axis.set_xlabel("$x$")
    figure_saved(figure, path)
    return True


def plot_differences(path: str | Path, curves: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> bool:
    """Draw the error of central finite differences against their step size into a PNG file.

    The error falls with the square of the step until round-off, which grows as the step shrinks,
    takes over: a V when both axes are logarithmic. A wrong gradient gives a flat line.

    Args:
        path: of the picture.
        curves: what was differenced to (step sizes, relative errors).

    Returns:
        False, and a word in the log, when matplotlib is not installed.

    Raises:
        BurgersAdjointError: when the picture cannot be written.
    """
    if not drawable(path):
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axis = figure.subplots()
    corner = (0.0, 1.0)
    for label, (steps, errors) in curves.items():
        # An error of zero has no place on a logarithmic axis; it is drawn at round-off.
        seen = np.maximum(np.asarray(errors, dtype=float), np.finfo(float).eps)
        axis.loglog(steps, seen, marker="o", markersize=4, label=label)
        largest = int(np.argmax(steps))
        corner = max(corner, (float(np.asarray(steps)[largest]), float(seen[largest])))
    step, error = corner
    if step > 0:
        reference = step * np.logspace(0, -2, 3)
        axis.loglog(
            reference,
            # Above the curves, so that it hides none of them.
            3 * error * (reference / step) ** SLOPE_OF_CENTRAL_DIFFERENCES,
            color="black",
            linestyle="--",
            label="second order",
        )
    axis.set_xlabel("step size of the central difference")
    axis.set_ylabel("relative difference from the adjoint gradient")
    axis.grid(which="major", alpha=0.3)
    axis.legend()
    figure_saved(figure, path)
    return True


def drawable(path: str | Path) -> bool:
    """Whether matplotlib is installed; if not, a word in the log names the picture."""
    if importlib.util.find_spec("matplotlib") is not None:
        return True
    logging.getLogger(__name__).warning(
        "%s is not drawn: matplotlib is not installed", Path(path).name
    )
    return False


def stride(points: int) -> int:
    """Of so many points along an axis, each how many-th is shown."""
    return -(-points // MOST_POINTS)


def largest_of(field: Field) -> float:
    """The largest magnitude, for the end of a scale."""
    # A field of zeros still needs a scale that is not empty.
    return float(np.max(np.abs(field))) or 1.0


def panel(
    figure: Any,
    axis: Any,
    x: Field,
    y: Field,
    field: Field,
    title: str,
    colours: str,
    largest: float,
    least: float | None = None,
) -> None:
    """Draw a field with its scale, which begins at the opposite of its end when not told."""
    # Points are cell centres; all are equally far apart, so the fast image will do.
    half_dx, half_dy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    image = axis.imshow(
        field,
        cmap=colours,
        vmin=-largest if least is None else least,
        vmax=largest,
        origin="lower",
        extent=(x[0] - half_dx, x[-1] + half_dx, y[0] - half_dy, y[-1] + half_dy),
    )
    axis.set_title(title)
    bar = figure.colorbar(image, ax=axis, shrink=0.85)
    bar.formatter.set_powerlimits((-2, 3))


def figure_saved(figure: Any, path: str | Path, dpi: int = 150) -> None:
    """Write a figure, whole or not at all, as what the path ends with; a PNG where with nothing."""
    kind = Path(path).suffix.removeprefix(".") or "png"
    with replaced_when_complete(path) as partial:
        figure.savefig(partial, format=kind, dpi=dpi)

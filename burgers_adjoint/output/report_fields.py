"""Fields of a run as figures of a page: states, gradients, controls that a search has found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from burgers_adjoint.files.hdf5 import File, opened
from burgers_adjoint.output import figures
from burgers_adjoint.output.figures import Axes, Figure

Fields = NDArray[np.float64]  # (n, ny, nx), n = 2 for (u, v), else 1

COORDINATES = {"x", "y", "time"}  # in a group, beside its fields
# In a panel of a page no more can be seen.
MOST_POINTS = 360
MOST_KNOTS = 3  # of a control in time
VELOCITY, DERIVATIVE, ERROR = "RdBu_r", "PuOr_r", "PRGn_r"
COMPONENTS = {1: ("",), 2: ("u", "v")}
SYMBOLS = {
    "initial": "{}₀",
    "boundary": "{} at the boundary",
    "viscosity_field": "\N{GREEK SMALL LETTER NU}",
    "forcing": "f_{}",
    "forcing_in_time": "f_{}",
}
STAGES = {"prior": "first guess", "truth": "truth", "controls": "recovered"}


@dataclass(frozen=True)
class Group:
    """Figures that belong together, and what is to be said of their scales."""

    title: str
    text: str
    figures: list[Figure] = field(default_factory=list)


def thinned(x: ArrayLike, y: ArrayLike) -> tuple[Axes, Any, Any]:
    """Axes of no more points than are shown, and which rows and columns these are."""
    columns, rows = (
        slice(None, None, -(-np.asarray(axis).size // MOST_POINTS)) for axis in (x, y)
    )  # fmt: skip
    return Axes(np.asarray(x)[columns], np.asarray(y)[rows]), rows, columns


def panels(axes: Axes, shown: Mapping[str, Fields], scale: str, colours: str, symbol: str) -> Group:
    """Draw fields on one scale for each component, with arrows on one scale for all.

    Args:
        axes: of the points.
        shown: title of each, with braces where the component goes, to the values.
        scale: what the colours stand for, likewise.
        colours: map of them.
        symbol: of a component, likewise.
    """
    arrays = list(shown.values())
    names = COMPONENTS[len(arrays[0])]
    longest, drawn = 0.0, []
    if len(names) == 2:
        longest = max(float(np.hypot(*values).max()) for values in arrays)
    for component, name in enumerate(names):
        largest = max(float(np.abs(values[component]).max()) for values in arrays) or 1.0
        called = symbol.format(name)
        for title, values in shown.items():
            drawn.append(
                figures.field(
                    axes,
                    values[component],
                    title.format(called),
                    scale.format(called),
                    largest,
                    colours,
                    (values[0], values[1], longest) if longest else None,
                )
            )
    text = "Colours are symmetric about zero"
    if len(shown) > 1:
        text += ", on one scale" + (" for each component" if len(names) == 2 else "")
    if longest:
        shown_by = ", ".join(scale.format(symbol.format(name)) for name in names)
        text += f". Arrows show ({shown_by}); the longest is {longest:.3g}"
    return Group("", f"{text}.", drawn)


def states(path: Path) -> Group:
    """Initial and final state of a results.h5."""
    with opened(path, str(path)) as file:
        axes, read = _reader(file)
        shown = {f"{name} {{}}": read(f"state/{name}") for name in ("initial", "final")}
    return panels(axes, shown, "{}", VELOCITY, "{}")


def gradients(path: Path) -> tuple[list[Group], dict[str, float]]:
    """Gradient fields of a results.h5 by each control, and the gradients by numbers."""
    groups, numbers = [], {}
    with opened(path, str(path)) as file:
        axes, read = _reader(file)
        for control, knots in _controls(file, "gradient"):
            if not knots:
                numbers[control] = float(file[f"gradient/{control}"][()])
                continue
            shown = {
                "∂J/∂{}" + _at(knot): read(f"gradient/{control}{knot}") for knot in _some(knots)
            }
            one = panels(axes, shown, "∂J/∂{}", DERIVATIVE, _symbol(control))
            groups.append(Group(control, one.text + _left_out(knots), one.figures))
    return groups, numbers


def dumped(path: Path) -> tuple[int, float, list[Group]]:
    """Step, time, and the fields of a dump."""
    with opened(path, str(path)) as file:
        axes, read = _reader(file)
        groups = [panels(axes, {"{}": read("primal")}, "{}", VELOCITY, "{}")]
        if "cotangent" in file:
            groups.append(panels(axes, {"∂J/∂{}": read("cotangent")}, "∂J/∂{}", DERIVATIVE, "{}"))
        return int(file["step"][()]), float(file["time"][()]), groups


@dataclass(frozen=True)
class Number:
    """A control that is a number: its first guess, truth (None where unknown) and what came out."""

    name: str
    prior: float | None
    truth: float | None
    found: float


def recovered(path: Path) -> tuple[list[Group], list[Number]]:
    """Controls of a search, in a results.h5, beside first guess, truth and error.

    A controls.h5 of a search that goes on has them alone.
    """
    groups, numbers = [], []
    with opened(path, str(path)) as file:
        axes, read = _reader(file)
        for control, knots in _controls(file, "controls"):
            stages = [one for one in STAGES if f"{one}/{control}" in file]
            if not knots:
                values = {one: float(file[f"{one}/{control}"][()]) for one in stages}
                numbers.append(
                    Number(control, values.get("prior"), values.get("truth"), values["controls"])
                )
                continue
            for knot in _some(knots):
                groups.append(_stages(axes, read, control, knot, stages))
            if more := _left_out(knots):
                groups.append(Group("", more.strip()))
    return groups, numbers


def _stages(
    axes: Axes, read: Callable[[str], Fields], control: str, knot: str, stages: list[str]
) -> Group:
    """First guess, truth and what was found on one scale; the error on its own."""
    values = {one: read(f"{one}/{control}{knot}") for one in stages}
    symbol, title = _symbol(control), control + _at(knot)
    shown = {f"{STAGES[one]}: {{}}": value for one, value in values.items()}
    if len(values) == 1:
        shown = {"best so far: {}": values["controls"]}
    one = panels(axes, shown, "{}", VELOCITY, symbol)
    if "truth" not in values:
        return Group(title, one.text, one.figures)
    error = {"error of {}": values["controls"] - values["truth"]}
    wrong = panels(axes, error, "error of {}", ERROR, symbol)
    # the figures of a component end with its error
    per = len(shown)
    drawn = [
        figure
        for component, last in enumerate(wrong.figures)
        for figure in (*one.figures[component * per : (component + 1) * per], last)
    ]
    said = "The error is recovered less truth; its colours and arrows have scales of their own."
    text = f"{one.text} {said}"
    return Group(title, text, drawn)


def _symbol(control: str) -> str:
    return SYMBOLS.get(control, f"{control} {{}}")


def _at(knot: str) -> str:
    return f", knot {int(knot[1:])}" if knot else ""


def _reader(file: File) -> tuple[Axes, Callable[[str], Fields]]:
    axes, rows, columns = thinned(file["x"][()], file["y"][()])

    def read(name: str) -> Fields:
        item = file[name]
        parts = [item] if hasattr(item, "shape") else [item["u"], item["v"]]
        return np.stack([part[rows, columns] for part in parts])

    return axes, read


def _controls(file: File, group: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Controls of a group, and the paths of their fields below them; none of a number."""
    if group not in file:
        return
    for name, item in file[group].items():
        if name in COORDINATES:
            continue
        if hasattr(item, "shape"):
            yield name, [""] if len(item.shape) == 2 else []
        else:
            knots = [f"/{knot}" for knot in item if knot not in COORDINATES]
            yield name, [""] if "u" in item else knots


def _some(knots: Sequence[str]) -> list[str]:
    if len(knots) <= MOST_KNOTS:
        return list(knots)
    return [knots[i] for i in np.linspace(0, len(knots) - 1, MOST_KNOTS).round().astype(int)]


def _left_out(knots: Sequence[str]) -> str:
    more = len(knots) - MOST_KNOTS
    return f" {MOST_KNOTS} of {len(knots)} knots are shown." if more > 0 else ""

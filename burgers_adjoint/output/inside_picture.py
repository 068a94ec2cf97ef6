"""A picture of choices that were tried: the most memory against run time."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burgers_adjoint.output.plots import figure_saved

INCHES = (7.0, 5.0)
COLORS = ("tab:blue", "tab:red")

Points = Sequence[tuple[int, float]]
"""(bytes, seconds)."""


def add_choices(
    figure: Any, paths: Mapping[str, Points], at_random: Points = (), binomial: Points = ()
) -> None:
    """Draw choices into a figure of matplotlib.

    Args:
        figure: empty.
        paths: name of a strategy to the choices that it went through.
        at_random: choices by chance.
        binomial: one choice inside the step with several numbers of snapshots.
    """
    axes = figure.add_subplot()
    for points, style, label in (
        (at_random, {"color": "0.65", "marker": "o"}, "at random"),
        (binomial, {"color": "tab:green", "marker": "s"}, "all checkpointed, binomial"),
    ):
        if points:
            axes.plot(*_columns(points), linestyle="none", markersize=4, label=label, **style)
    for color, (name, points) in zip(COLORS, paths.items(), strict=False):
        axes.plot(*_columns(points), "o-", color=color, label=name, alpha=0.8)
        axes.plot(*_columns(points[-1:]), "*", color=color, markersize=14)
    axes.set_xlabel("most memory of snapshots and tapes [MB]")
    axes.set_ylabel("run time of a gradient [s]")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def draw_inside(
    path: str | Path, paths: Mapping[str, Points], at_random: Points, binomial: Points
) -> bool:
    """Draw what a plan has tried into a picture file; see `add_choices`.

    Returns:
        False when there is no matplotlib.

    Raises:
        BurgersAdjointError: when the picture cannot be written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    add_choices(figure, paths, at_random, binomial)
    figure_saved(figure, path)
    return True


def _columns(points: Points) -> tuple[list[float], list[float]]:
    return [size / 1e6 for size, _ in points], [seconds for _, seconds in points]

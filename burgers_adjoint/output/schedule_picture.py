"""A picture of a schedule: steps across, time down, snapshots as lines."""

import copy
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

from burgers_adjoint.checkpointing.actions import (
    Advance,
    AdvanceSaving,
    Free,
    Load,
    Reverse,
    ReverseLoading,
    Save,
    Turn,
    parts_of,
)
from burgers_adjoint.checkpointing.fusion import Limits, fused
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.output.plots import figure_saved

INCHES = (7.0, 8.0)
POINTS_PER_INCH = 72

Line = tuple[tuple[float, float], tuple[float, float]]


@dataclass
class Trace:
    """Lines of the picture; a point is (step, time), with a forward and a reverse step one unit.

    Attributes:
        forward: ranges of steps that are taken.
        reverse: ranges of steps that are reversed one after the other.
        near: lives of snapshots in memory.
        far: lives of snapshots on disk.
        duration: of the whole.
    """

    forward: list[Line] = field(default_factory=list)
    reverse: list[Line] = field(default_factory=list)
    near: list[Line] = field(default_factory=list)
    far: list[Line] = field(default_factory=list)
    duration: float = 0.0


def trace(schedule: Schedule, n_steps: int | None = None) -> Trace:
    """Follow a copy of a schedule from where it is to its end.

    Args:
        schedule: to follow.
        n_steps: when a schedule that does not know its steps is to learn of them.
    """
    found, time = Trace(), 0.0
    held: dict[int, tuple[int, float]] = {}
    schedule = copy.deepcopy(schedule)
    for action in fused(schedule, Limits(), lambda slot: True):
        if schedule.n_steps is None and isinstance(action, Advance):
            assert n_steps is not None
            if action.step1 >= n_steps:
                action = Advance(action.step0, n_steps)
                schedule.end(n_steps, n_steps)
        if isinstance(action, Advance | AdvanceSaving):
            until = time + action.step1 - action.step0
            found.forward.append(((action.step0, time), (action.step1, until)))
        elif isinstance(action, Turn):
            found.forward.append(((action.step, time), (action.step + 1, time + 1)))
        elif isinstance(action, Reverse):
            found.reverse.append(((action.step + 1, time), (action.step, time + 1)))
        elif isinstance(action, ReverseLoading):
            until = time + 1 + len(action.slots)
            found.reverse.append(((action.step + 1, time), (action.last, until)))
        for part in parts_of(action):
            if isinstance(part, Advance):
                time += part.step1 - part.step0
            elif isinstance(part, Turn | Reverse):
                time += 1
            elif isinstance(part, Save):
                held[part.slot] = (part.step, time)
            elif isinstance(part, Free) or (isinstance(part, Load) and part.free):
                step, since = held.pop(part.slot)
                lives = found.near if part.slot < schedule.memory_slots else found.far
                lives.append(((step, since), (step, time)))
    found.duration = time
    return found


def draw_schedule(schedule: Schedule, path: str | Path) -> bool:
    """Draw a schedule whose number of steps is known into a picture file.

    Lines get thinner the more there are, down to what a printer resolves, so that thousands of
    steps stay a drawing.

    Returns:
        False when there is no matplotlib.

    Raises:
        BurgersAdjointError: when the picture cannot be written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    n_steps = schedule.n_steps
    assert n_steps is not None
    found = trace(schedule)
    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.add_subplot()
    width = min(1.5, max(0.15, 0.5 * INCHES[1] * POINTS_PER_INCH / max(1.0, found.duration)))
    lives_width = min(1.2, max(0.1, 0.4 * INCHES[0] * POINTS_PER_INCH / n_steps))
    for lines, color, line_width, label in (
        (found.near, "tab:blue", lives_width, "snapshot in memory"),
        (found.far, "tab:orange", max(lives_width, 0.4), "snapshot on disk"),
        (found.forward, "black", width, "forward steps"),
        (found.reverse, "tab:red", max(width, 0.5), "reverse steps"),
    ):
        if lines:
            shown = found.duration / 50  # longer ones are few enough to be thick
            widths = [
                max(line_width, 0.8) if abs(end[1] - start[1]) > shown else line_width
                for start, end in lines
            ]
            drawn = LineCollection(lines, colors=color, linewidths=widths, label=label)
            # many thin lines as paths would make a file of many megabytes
            drawn.set_rasterized(len(lines) > 2000)
            axes.add_collection(drawn)
    axes.set_xlim(0, n_steps)
    axes.set_ylim(found.duration, 0)
    axes.set_xlabel("step")
    axes.set_ylabel("time, in steps forward and in reverse")
    axes.set_title(
        f"{schedule.name}: {n_steps} steps, {schedule.predicted_forward_steps} taken, "
        f"{schedule.memory_slots} snapshots in memory"
        + (f", {schedule.slots - schedule.memory_slots} on disk" if found.far else ""),
        fontsize="medium",
    )
    legend = figure.legend(loc="outside lower center", ncols=2, frameon=False)
    for line in legend.get_lines():
        line.set_linewidth(1.5)
    figure_saved(figure, path, dpi=200)
    return True

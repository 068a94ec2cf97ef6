"""Figures of a page: SVG in data URIs, whose text and frames follow the reader's light or dark."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.output.schedule_picture import Trace, trace

Field = NDArray[np.float64]

INK = "#1b2c3d"  # in the SVG, replaced by the reader's own
LIGHT, DARK = "#1c2430", "#e4e9f0"  # what it is replaced by
CURVES = ("#3b82d6", "#d9703f", "#3c9a6f", "#9a74d0", "#b08a2e", "#808a96")  # on light and dark
STYLE = {
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
    "axes.facecolor": "none",
    "axes.titlesize": 11,
    "figure.facecolor": "none",
    "font.size": 9.5,
    "legend.frameon": False,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
}
# Layouts are fixed: to find one takes longer than to draw the figure.
PANEL = 2.35  # width of a field in inches, and around it: west, east, south, north
AROUND = (0.55, 1.0, 0.48, 0.34)
BAR = (0.12, 0.14)  # its distance from the field, its width
ARROWS = 18  # along the longer side
LONGEST_ARROW = 1.5  # over the distance between two
MOST_LINES = 1000  # of a drawing of lines; more become points


@dataclass(frozen=True)
class Figure:
    """A figure in a page: its data URI, what it shows, in words, and its size in pixels."""

    source: str
    title: str
    width: int
    height: int


@dataclass(frozen=True)
class Axes:
    """Coordinates of columns and rows, equally spaced, as the shown points have them."""

    x: Field
    y: Field

    @property
    def width(self) -> float:
        """From the west edge to the east edge."""
        return self.extent[1] - self.extent[0]

    @property
    def height(self) -> float:
        """From the south edge to the north edge."""
        return self.extent[3] - self.extent[2]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """West, east, south and north edge of the points, which are cell centres."""
        half_dx, half_dy = (self.x[1] - self.x[0]) / 2, (self.y[1] - self.y[0]) / 2
        return (
            self.x[0] - half_dx, self.x[-1] + half_dx, self.y[0] - half_dy, self.y[-1] + half_dy
        )  # fmt: skip


@contextmanager
def _drawn(title: str, inches: tuple[float, float]) -> Iterator[tuple[Any, list[Figure]]]:
    """Offer a figure of matplotlib's; at the end the list has what became of it."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    made: list[Figure] = []
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": title}):
        figure = Canvas(figsize=inches)
        yield figure, made
        text = io.StringIO()
        figure.savefig(text, format="svg", dpi=250, metadata={"Date": None})
    svg = text.getvalue().replace(INK, "currentColor")
    head, start, rest = svg[svg.index("<svg") :].partition(">")
    colours = f"svg{{color:{LIGHT}}}@media(prefers-color-scheme:dark){{svg{{color:{DARK}}}}}"
    svg = f"{head}{start}<style>{colours}</style>{rest}"
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    width, height = (round(96 * side) for side in inches)
    made.append(Figure(source, title, width, height))


def field(
    axes: Axes,
    values: Field,
    title: str,
    scale: str,
    largest: float,
    colours: str = "RdBu_r",
    arrows: tuple[Field, Field, float] | None = None,
) -> Figure:
    """Draw a field (ny, nx) in colours from -largest to largest, with arrows over it.

    Args:
        axes: of the points.
        values: of them.
        title: of the figure.
        scale: label of the colour scale.
        largest: end of the colour scale, above zero.
        colours: a colour map that is neutral in the middle.
        arrows: both components, and the length in these units of the longest arrow.
    """
    height = float(np.clip(axes.height / axes.width, 0.4, 1.8)) * PANEL
    west, east, south, north = AROUND
    inches = (west + PANEL + east, south + height + north)
    with _drawn(title, inches) as (figure, made):
        panel = _placed(figure, inches, west, south, PANEL, height)
        image = panel.imshow(
            values,
            cmap=colours,
            vmin=-largest,
            vmax=largest,
            origin="lower",
            extent=axes.extent,
            interpolation="none",
        )
        if arrows is not None:
            _arrows(panel, axes, *arrows)
        panel.set_title(title)
        panel.set_xlabel("x")
        panel.set_ylabel("y")
        beside = _placed(figure, inches, west + PANEL + BAR[0], south, BAR[1], height)
        bar = figure.colorbar(image, cax=beside)
        bar.solids.set_rasterized(True)
        _label(bar, scale, largest, 5 if height > 1.4 else 3)
    return made[0]


def _label(bar: Any, scale: str, largest: float, ticks: int) -> None:
    """Label a colour scale from end to end, with a power of ten beside its name."""
    power = int(np.floor(np.log10(largest)))
    if -1 <= power <= 2:
        power = 0
    shares = np.linspace(-1.0, 1.0, ticks)
    labels = [f"{share * largest / 10.0**power:.3g}" for share in shares]
    bar.set_ticks([share * largest for share in shares], labels=labels)
    bar.set_label(f"{scale}, in 1e{power}" if power else scale, labelpad=1)


def _placed(
    figure: Any,
    inches: tuple[float, float],
    left: float,
    bottom: float,
    width: float,
    height: float,
) -> Any:
    """Axes at a place given in inches."""
    across, up = inches
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _arrows(panel: Any, axes: Axes, u: Field, v: Field, longest: float) -> None:
    apart = max(axes.width, axes.height) / ARROWS
    columns, rows = (
        slice(every // 2, None, every)
        for every in (
            max(1, round(apart / (axis[1] - axis[0]))) for axis in (axes.x, axes.y)
        )
    )  # fmt: skip
    u, v = u[rows, columns], v[rows, columns]
    # an arrow that is no longer than its line is wide would be a dot
    seen = np.hypot(u, v) > 0.02 * longest
    x, y = np.meshgrid(axes.x[columns], axes.y[rows])
    panel.quiver(
        x[seen],
        y[seen],
        u[seen],
        v[seen],
        angles="xy",
        scale_units="xy",
        scale=longest / (LONGEST_ARROW * apart),
        width=0.005,
        color="#101418",
        alpha=0.75,
    )


def curves(
    title: str,
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    across: str,
    up: str,
    logarithmic_across: bool = False,
) -> Figure:
    """Draw lines over a common axis; upwards it is logarithmic. What is not above 0 is left out."""
    inches = (4.6, 3.4)
    with _drawn(title, inches) as (figure, made):
        panel = _placed(figure, inches, 0.8, 0.52, 3.7, 2.5)
        for number, (name, (x, y)) in enumerate(lines.items()):
            heights = np.asarray(y, dtype=float)
            heights = np.where(heights > 0, heights, np.nan)
            panel.plot(
                x,
                heights,
                marker="o",
                markersize=3.5,
                label=name,
                color=CURVES[number % len(CURVES)],
            )
        panel.set_yscale("log")
        if logarithmic_across:
            panel.set_xscale("log")
        else:
            panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_title(title)
        panel.set_xlabel(across)
        panel.set_ylabel(up)
        panel.grid(which="major", alpha=0.25)
        if len(lines) > 1:
            panel.legend()
    return made[0]


def schedule(
    made: Schedule, n_steps: int, done: float | None = None, saved: Sequence[int] = ()
) -> Figure:
    """Draw a schedule: steps across, work done downwards.

    Args:
        made: the schedule, at its beginning.
        n_steps: of the run.
        done: forward and reverse steps taken; what comes after them is drawn faintly. None for all.
        saved: steps whose snapshots are in the restart data.
    """
    found = trace(made, n_steps)
    inches = (4.95, 5.0)
    with _drawn("Schedule", inches) as (figure, drawn):
        panel = _placed(figure, inches, 0.8, 1.2, 3.9, 3.7)
        panel.set_xlim(0, n_steps)
        panel.set_ylim(found.duration, 0)
        if done is None or done >= found.duration:
            _lines(panel, found, n_steps, 1.0)
        else:
            _lines(panel, found, n_steps, 0.3, named=False)
            _lines(panel, found, n_steps, 1.0, until=done)
            panel.axhline(done, color=CURVES[2], linewidth=1.2, label="saved so far")
            if saved:
                panel.plot(
                    saved, [done] * len(saved), "v", color=CURVES[2], markersize=5, clip_on=False,
                    label="snapshot in the restart data", linestyle="none",
                )  # fmt: skip
        panel.set_xlabel("step")
        panel.set_ylabel("work done: forward and reverse steps")
        legend = figure.legend(loc="lower center", ncol=2)
        for line in legend.get_lines():
            line.set_alpha(1.0)
            line.set_linewidth(1.5)
    return drawn[0]


def _lines(
    panel: Any,
    found: Trace,
    n_steps: int,
    alpha: float,
    until: float | None = None,
    named: bool = True,
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    thin = float(np.clip(400 / max(1.0, found.duration), 0.5, 1.4))
    for lines, colour, width, name in (
        (found.near, CURVES[0], float(np.clip(180 / n_steps, 0.2, 1.1)), "snapshot in memory"),
        (found.far, CURVES[1], float(np.clip(180 / n_steps, 0.4, 1.1)), "snapshot on disk"),
        (found.forward, "#808a96", thin, "forward steps"),
        (found.reverse, "#d64550", max(thin, 0.7), "reverse steps"),
    ):
        if not lines:
            continue
        long = found.duration / 50  # of these there are few, so they can be thick
        widths = [max(width, 0.8) if abs(b[1] - a[1]) > long else width for a, b in lines]
        drawn = LineCollection(
            lines, colors=colour, linewidths=widths, alpha=alpha, label=name if named else None
        )
        drawn.set_rasterized(len(lines) > MOST_LINES)
        panel.add_collection(drawn)
        if until is not None:
            drawn.set_clip_path(Rectangle((0, 0), n_steps, until, transform=panel.transData))

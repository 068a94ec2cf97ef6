"""What all benchmarks share: options, interleaved timing, and tables, JSON and plots of results.

Competitors are timed in turn, round after round, so that whatever else the machine does meets all
of them alike; what is reported are medians over the rounds, and ratios are medians of the ratios
within each round.
"""

import argparse
import json
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import psutil

Clock = Callable[[], float]


@dataclass
class Samples:
    """Seconds per call of some competitors.

    Attributes:
        seconds: one array (rounds,) per competitor.
    """

    seconds: dict[str, np.ndarray]

    def median(self, name: str) -> float:
        """Median of the seconds per call."""
        return float(np.median(self.seconds[name]))

    def ratio(self, name: str, base: str) -> float:
        """Median over the rounds of one competitor's seconds over another's."""
        return float(np.median(self.seconds[name] / self.seconds[base]))

    def spread(self, name: str) -> float:
        """Range of the middle half of the rounds over their median: how noisy the machine was."""
        low, middle, high = np.quantile(self.seconds[name], [0.25, 0.5, 0.75])
        return float((high - low) / middle)

    def as_dict(self) -> dict[str, list[float]]:
        """All samples, for JSON."""
        return {name: seconds.tolist() for name, seconds in self.seconds.items()}


def interleave(
    competitors: Mapping[str, Callable[[], object]],
    rounds: int,
    least_seconds: float = 0.0,
    clock: Clock = perf_counter,
    warm: bool = True,
) -> Samples:
    """Time the competitors in turn, round after round, after calls of each that do not count.

    Args:
        competitors: what to call, by name.
        rounds: samples of each.
        least_seconds: calls shorter than that are repeated, and a sample is the mean of them.
        clock: returns seconds.
        warm: whether there are such calls; none where each has been called before.
    """
    timers = {name: partial(timed, call, clock) for name, call in competitors.items()}
    return take_turns(timers, rounds, least_seconds, warm)


def take_turns(
    timers: Mapping[str, Callable[[int], float]],
    rounds: int,
    least_seconds: float = 0.0,
    warm: bool = True,
) -> Samples:
    """What `interleave` does, for competitors that time themselves.

    Args:
        timers: by name; each is told a number of calls, and returns what they take together.
        rounds, least_seconds, warm: see `interleave`.
    """
    repeats = dict.fromkeys(timers, 1)
    for name, timer in timers.items() if warm else ():
        timer(1)
        shortest = min(timer(1) for _ in range(3 if least_seconds else 1))
        repeats[name] = max(1, math.ceil(least_seconds / max(shortest, 1e-7)))
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            seconds[name].append(timer(repeats[name]) / repeats[name])
    return Samples({name: np.array(values) for name, values in seconds.items()})


def timed(call: Callable[[], object], clock: Clock = perf_counter, repeats: int = 1) -> float:
    """Seconds that so many calls take together."""
    start = clock()
    for _ in range(repeats):
        call()
    return clock() - start


def options(benchmark: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have: --output, --quick and --rounds."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{benchmark}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("output/benchmarks"),
        metavar="DIR",
        help="folder of the JSON file and the plot",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small and few: shows in seconds that all of it runs"
    )
    parser.add_argument("--rounds", type=int, default=7, help="samples of each competitor")
    parser.add_argument(
        "--cpu-time",
        dest="clock",
        action="store_const",
        const=process_time,
        default=perf_counter,
        help="count this process's processor time, where others keep the machine busy",
    )
    return parser


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format rows as a Markdown table that is aligned when read as text."""
    texts = [list(columns), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(3, *(len(line[i]) for line in texts)) for i in range(len(columns))]
    numeric = [
        any(isinstance(row[i], int | float) for row in rows)
        and not any(isinstance(row[i], str) for row in rows)
        for i in range(len(columns))
    ]
    rule = [
        "-" * (width - 1) + ":" if right else "-" * width
        for width, right in zip(widths, numeric, strict=True)
    ]
    lines = [
        [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        for line in texts
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        if cell and abs(cell) < 1e-3:
            return f"{cell:.2e}"
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def machine() -> dict[str, Any]:
    """What the benchmark ran on, and how busy that was."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def describe_machine(clock: str = "perf_counter") -> str:
    """One line about the machine and the clock, to be printed above a table."""
    here = machine()
    return (
        f"{here['processor']}, {here['usable_cores']} of {here['cores']} cores, "
        f"load average {here['load_average'][0]:.1f}, "
        f"{'processor' if clock == 'process_time' else 'wall'} time"
    )


def write(
    folder: Path,
    name: str,
    results: Mapping[str, Any],
    draw: Callable[[Any], None] | None = None,
) -> list[Path]:
    """Write NAME.json, and NAME.png where matplotlib is installed, into the folder.

    Args:
        folder: is made when it is not there.
        name: of the benchmark.
        results: what JSON can hold; the machine is added.
        draw: draws the results into a `matplotlib.figure.Figure`.

    Returns:
        The files that were written, whose names are printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.json"]
    content = {"benchmark": name, "machine": machine(), **results}
    written[0].write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if draw is not None:
        try:
            from matplotlib.figure import Figure
        except ImportError:
            print("no plot: matplotlib is not installed")
        else:
            figure = Figure(figsize=(8, 5), layout="constrained")
            draw(figure)
            written.append(folder / f"{name}.png")
            figure.savefig(written[1], dpi=120)
    print("written:", ", ".join(map(str, written)))
    return written

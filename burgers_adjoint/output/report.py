"""What a report page says beside its figures of fields: bars of seconds, tables, histories."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from burgers_adjoint.config import Config
from burgers_adjoint.output import figures
from burgers_adjoint.output.check_file import Checked
from burgers_adjoint.output.figures import Figure
from burgers_adjoint.output.summary import Restarted, RunSummary

REST = "the rest"


@dataclass(frozen=True)
class Part:
    """A part of a bar: name, seconds, and share of the whole bar's width in percent."""

    name: str
    seconds: float
    percent: float


@dataclass(frozen=True)
class Bar:
    """Seconds and what they were spent on."""

    title: str
    text: str
    parts: list[Part]


def bar(title: str, parts: Mapping[str, float], whole: float, text: str = "") -> Bar:
    """A bar of parts; what is left of the whole, if the parts are less, is the rest."""
    shown = {name: seconds for name, seconds in parts.items() if seconds > 0}
    left = whole - sum(shown.values())
    if left > 0.005 * whole:
        shown[REST] = left
    width = sum(shown.values()) or 1.0
    return Bar(
        title, text, [Part(name, taken, 100 * taken / width) for name, taken in shown.items()]
    )


def bars(summary: RunSummary) -> list[Bar]:
    """Where the time of a run went, the most of all ranks."""
    seconds = summary.seconds
    job = {name: seconds.get(name, 0.0) for name in ("startup", "sweeps", "output")}
    made = [bar("The job", job, 0.0)]
    if summary.optimize:
        search = {name: seconds.get(name, 0.0) for name in ("evaluations", "saving", "tao")}
        made.append(bar("The search, of its sweeps' time", search, job["sweeps"]))
    sweeps = {
        f"{name} steps" if name != "snapshots" else name: seconds.get(name, 0.0)
        for name in ("forward", "adjoint", "snapshots")
    }
    whole = seconds.get("evaluations", job["sweeps"])
    title = "The sweeps of all evaluations" if summary.optimize else "The sweeps"
    made.append(bar(title, sweeps, whole))
    if halo := seconds.get("halo", 0.0):
        # counted from the beginning on, where ranks wait for those that compile
        name = "halo exchange, with the waiting for neighbours"
        made.append(
            bar(
                "Halo exchange, of startup and sweeps", {name: halo}, job["startup"] + job["sweeps"]
            )
        )
    inside = {}
    if summary.restart:
        inside["saves of restart data"] = summary.restart.seconds
    if summary.dumps:
        inside["dumps"] = summary.dumps.seconds
    for name, taken in inside.items():
        if taken > 0:
            made.append(bar(f"{name[0].upper()}{name[1:]}, of the sweeps", {name: taken}, whole))
    if summary.restart and summary.restart.resumed:
        made.append(_of_all_jobs(summary.restart))
    return made


def _of_all_jobs(restart: Restarted) -> Bar:
    seconds = dict(restart.seconds_of_all_jobs)
    whole = seconds.pop("sweeps", 0.0)
    parts = {one if one == "snapshots" else f"{one} steps": took for one, took in seconds.items()}
    return bar("The sweeps of all jobs of this run", parts, whole)


def schedule_rows(summary: RunSummary, planned: int) -> list[tuple[str, str, str]]:
    """What a schedule had planned and what was done: name, plan, done."""
    schedule, restart = summary.schedule, summary.restart
    assert schedule is not None
    rows = [("forward steps", str(planned), str(schedule.forward_steps))]
    if not summary.optimize:
        rows.append(("reverse steps", str(summary.steps), str(summary.steps)))
    rows.append(("snapshots written", "-", str(schedule.snapshots_written)))
    if schedule.kept_steps:
        rows.append(("steps whose stages were kept", "-", str(schedule.kept_steps)))
    if schedule.damaged:
        rows.append(("damaged snapshots", "0", str(schedule.damaged)))
        rows.append(("steps for damaged snapshots", "0", str(schedule.recomputed_steps)))
    if restart and restart.resumed:
        rows.append(("interruptions", "0", str(restart.resumed)))
        rows.append(("steps lost in interruptions", "0", str(restart.lost_steps)))
        if restart.repeated_steps is not None:
            rows.append(("forward steps beyond the plan", "0", str(restart.repeated_steps)))
    return rows


def history(entries: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Objective with its parts, and the norm of the gradient, by iteration."""
    iterations = list(range(len(entries)))
    lines = {"J": (iterations, [_number(entry["objective"]) for entry in entries])}
    parts = list(dict.fromkeys(name for entry in entries for name in entry["parts"]))
    if len(parts) > 1:
        for name in parts:
            values = [_number(entry["parts"].get(name)) for entry in entries]
            lines[name] = (iterations, values)
    norms = [_number(entry["gradient_norm"]) for entry in entries]
    return [
        figures.curves("Objective", lines, "iteration", "J"),
        figures.curves("Gradient norm", {"": (iterations, norms)}, "iteration", "norm of ∂J/∂m"),
    ]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def differences(checked: Checked) -> Figure:
    """Error of central differences against their step size."""
    tiny = 2.0**-52  # what agrees to all bits is drawn at round-off
    lines = {
        name: (sizes, [max(_number(error), tiny) for error in errors])
        for name, (sizes, errors) in checked.differences.items()
    }
    return figures.curves(
        "Central differences", lines, "step size", "difference from the adjoint gradient, relative",
        logarithmic_across=True,
    )  # fmt: skip


def changed_keys(config: Config) -> list[tuple[str, str, str]]:
    """Keys whose values are not the defaults: key, value, default."""
    ours, defaults = msgspec.to_builtins(config), msgspec.to_builtins(Config())
    return [
        (f"{section}.{key}", _shown(value), _shown(defaults[section][key]))
        for section, keys in ours.items()
        for key, value in keys.items()
        if value != defaults[section][key]
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return msgspec.json.encode(value).decode() if not isinstance(value, str) else value or "-"


def iterations(entries: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of a table: iteration, objective, norm of the gradient."""
    return [
        (
            str(number),
            f"{_number(entry['objective']):.10g}",
            f"{_number(entry['gradient_norm']):.4g}",
        )
        for number, entry in enumerate(entries)
    ]

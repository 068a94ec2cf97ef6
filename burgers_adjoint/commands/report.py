"""`report`: one HTML page of a run, finished or not; it only reads the folder."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from burgers_adjoint.assembly.schedules import make_schedule
from burgers_adjoint.commands.folder_facts import Facts, facts_of
from burgers_adjoint.commands.identity import folder_of
from burgers_adjoint.config import Config
from burgers_adjoint.errors import BurgersAdjointError, ConfigError
from burgers_adjoint.files.whole import require_writable, write_text
from burgers_adjoint.output import figures, report, report_fields
from burgers_adjoint.output.page import render, require_packages
from burgers_adjoint.output.report_fields import DERIVATIVE, VELOCITY, Group
from burgers_adjoint.output.results import BEST, RESULTS
from burgers_adjoint.output.system import package_version
from burgers_adjoint.output.tables import size_of, summary_rows
from burgers_adjoint.parallel.agreement import ALONE
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.restart.manifest import Manifest
from burgers_adjoint.restart.reader import read_part

PAGE = "report.html"
# Of forward and reverse steps: in a drawing of more no line can be told from its neighbours.
MOST_WORK = 500_000
# Saved fields of more points would take a gigabyte of memory.
MOST_SAVED_POINTS = 2**24


class Reported(Struct, kw_only=True):
    """A page that was written: where, of what, with how many figures, and what it leaves out."""

    page: str
    bytes: int
    folder: str
    command: str
    state: str
    figures: int
    notes: list[str]


def write_report(folder: str, target: str | None) -> Reported:
    """Write the page of an output folder, whole or not at all.

    Args:
        folder: of the output.
        target: the page; report.html in the folder when it is None.

    Raises:
        ConfigError: the folder is not that of a run, the page cannot be written, or a package is
            missing.
        BurgersAdjointError: the page could not be written.
    """
    require_packages("report", "jinja2", "matplotlib")
    facts = facts_of(folder)
    path = Path(os.path.expanduser(target) if target else os.path.join(folder, PAGE))
    try:
        require_writable(path)
    except ConfigError as error:
        raise ConfigError(f"{error}; -o FILE writes the page elsewhere") from None
    values = contents_of_page(facts)
    text = render("report.html.j2", **values)
    write_text(path, text)
    return Reported(
        page=str(path),
        bytes=len(text.encode()),
        folder=folder,
        command=facts.command,
        state=values["state"],
        figures=text.count("<img "),
        notes=facts.notes,
    )


def contents_of_page(facts: Facts) -> dict[str, Any]:
    """All that the template is filled with."""
    state, colour = state_of(facts)
    summary, results = facts.summary, facts.folder / RESULTS
    values: dict[str, Any] = {
        "folder": os.path.abspath(facts.folder),
        "command": facts.command,
        "state": state,
        "colour": colour,
        "facts": facts,
        "grid": facts.config.grid,
        "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "version": package_version(),
        "summary": summary,
        "rows": list(summary_rows(summary)) if summary else [],
        "changed": report.changed_keys(facts.config),
        "progress": _progress(facts),
        "unfinished": _unfinished(facts),
        # of a finished run nothing is left to tell, and `check` goes as far as it goes
        "far": state in ("running", "in use", "interrupted", "unfinished"),
        "size_of": size_of,
        "clock": lambda at: time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)),
        "states": report_fields.states(results) if summary else None,
        "gradients": ([], {}),
        "schedule": _schedule(facts),
        "bars": report.bars(summary) if summary else [],
        "history": report.history(facts.history) if facts.history else [],
        "iterations": report.iterations(facts.history),
        "recovered": ([], []),
        "differences": None,
    }
    if summary and summary.gradient_norm:
        values["gradients"] = report_fields.gradients(results)
    if facts.searching:
        values["recovered"] = report_fields.recovered(facts.folder / BEST)
    elif summary and summary.optimize:
        values["recovered"] = report_fields.recovered(results)
    if facts.checked and facts.checked.differences:
        values["differences"] = report.differences(facts.checked)
    return values


def state_of(facts: Facts) -> tuple[str, str]:
    """How a run is, in a word, and the word's class in the style sheet."""
    if facts.alive:
        return "running", "live"
    if facts.alive is None:
        return "in use", "live"
    if facts.unfinished or facts.searching:
        return "interrupted", "warn"
    if facts.summary:
        if (search := facts.summary.optimize) and not search.converged:
            return "not converged", "bad"
        return ("converged" if search else "finished"), "good"
    if facts.checked:
        passed = facts.checked.summary.passed
        return ("checks passed", "good") if passed else ("checks failed", "bad")
    return "unfinished", "warn"


def _progress(facts: Facts) -> dict[str, Any] | None:
    """How far an unfinished run has come by its restart data."""
    found = facts.unfinished
    if found is None:
        return None
    done = int(found.counts["forward_steps"] + found.counts["reverse_steps"])
    whole = None
    if found.n_steps is not None:
        whole = found.n_steps
        if found.command == "gradient":
            planned = _plan(facts.config, found.n_steps, facts)
            whole = found.n_steps + planned.predicted_forward_steps if planned else None
    return {
        "manifest": found,
        "done": done,
        "whole": whole,
        "percent": min(100.0, 100 * done / whole) if whole else None,
        "behind": max(0, facts.noted - done) if facts.noted is not None else None,
    }


def _unfinished(facts: Facts) -> list[tuple[str, list[Group]]]:
    """The latest fields that a run without results has left: what they are, and their figures."""
    found, shown = facts.unfinished, []
    if found is not None and found.sweep is not None:
        try:
            shown.append(_saved(facts.config, found))
        except (BurgersAdjointError, OSError) as error:
            facts.notes.append(f"the saved fields are left out: {error}")
    if facts.summary is not None and found is None:
        return shown
    for path in reversed(facts.dumps):
        try:
            if found is not None and path.stat().st_mtime < found.saved_at:
                break  # the saved fields are later ones
            step, at, groups = report_fields.dumped(path)
        except (BurgersAdjointError, OSError, KeyError):
            continue  # removed meanwhile
        shown.append((f"{path.name}: at the start of step {step}, t = {at:.6g}", groups))
        break
    return shown


def _saved(config: Config, found: Manifest) -> tuple[str, list[Group]]:
    ny, nx = found.shape
    if ny * nx > MOST_SAVED_POINTS:
        raise ConfigError(f"{ny} x {nx} points are more than a page reads")
    assert found.sweep is not None
    periodic = config.grid.boundary == "periodic"
    grid = Grid(nx, ny, config.grid.x, config.grid.y, periodic)
    fields = read_part(
        folder_of(config), found, found.sweep, Decomposition(ALONE, (ny, nx), periodic)
    )
    axes, rows, columns = report_fields.thinned(grid.x, grid.y)
    at = f"saved at the start of step {found.position}"
    if "state" in fields:
        values = fields["state"][:, rows, columns]
        return f"State, {at}", [report_fields.panels(axes, {"{}": values}, "{}", VELOCITY, "{}")]
    values = np.asarray(fields["field"])[:, rows, columns]
    one = report_fields.panels(axes, {"∂J/∂{}": values}, "∂J/∂{}", DERIVATIVE, "{}")
    return f"Cotangent, {at}", [one]


def _plan(config: Config, n_steps: int, facts: Facts) -> Any:
    """The schedule of a run without interruptions; None, and a note, where nobody knows it."""
    section, name, snapshots = config.checkpointing, None, config.checkpointing.snapshots
    if section.schedule == "auto" or not isinstance(snapshots, int):
        done = facts.summary.schedule if facts.summary and not facts.summary.optimize else None
        if done is None or done.snapshots is None:
            facts.notes.append("the schedule is not drawn: nothing in the folder says which it was")
            return None
        name, snapshots = done.name, done.snapshots
        section = replace(section, snapshots_on_disk=done.snapshots_on_disk or 0)
    try:
        return make_schedule(section, n_steps, snapshots, name)
    except BurgersAdjointError as error:
        facts.notes.append(f"the schedule is not drawn: {error}")
        return None


def _schedule(facts: Facts) -> dict[str, Any] | None:
    """The drawing of the schedule, and what was really done."""
    found, summary = facts.unfinished, facts.summary
    if found is not None:
        if found.command != "gradient" or found.n_steps is None:
            return None
        n_steps, config = found.n_steps, facts.config
    elif summary is not None and summary.schedule is not None:
        n_steps, config = summary.steps, facts.settings
    else:
        return None
    plan = _plan(config, n_steps, facts)
    if plan is None:
        return None
    planned = plan.predicted_forward_steps
    if summary and summary.schedule and summary.schedule.predicted_forward_steps:
        planned = summary.schedule.predicted_forward_steps  # of an online one, known at its end
    work = n_steps + planned
    picture, done, saved = None, None, []
    if found is not None:
        done = found.counts["forward_steps"] + found.counts["reverse_steps"]
        saved = sorted(found.snapshots)
    if work > MOST_WORK:
        facts.notes.append(f"the schedule is not drawn: it has {work} steps, above {MOST_WORK}")
    else:
        picture = figures.schedule(plan, n_steps, done, saved)
    return {
        "figure": picture,
        "name": plan.name,
        "snapshots": plan.snapshots,
        "on_disk": plan.snapshots_on_disk,
        "steps": n_steps,
        "evaluations": summary.optimize.evaluations if summary and summary.optimize else None,
        "rows": report.schedule_rows(summary, planned) if summary and found is None else [],
        "resumed": found.facts.get("resumed", 0) if found else 0,
        "saved": len(saved),
        "partial": found is not None,
    }

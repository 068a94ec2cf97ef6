"""The summary of a run: as JSON, and as tables for people."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

import msgspec

from burgers_adjoint.config import Config

# M. Schanen's Burgers.jl, commit a4a5b0b, test/runtests.jl.
PUBLISHED_ENERGY = 0.08426001732938161
PUBLISHED_POINTWISE_SQUARE_NORM = 1.3020729832060115e-6
EXACT_POINTWISE_SQUARE_NORM = 1.3020741709303739e-6

WIDTH = 80  # of what is not printed on a terminal
WIDEST = 10_000  # columns that no table needs
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def published_comparison(
    config: Config, objective: float, pointwise_square_norm: float | None
) -> list[dict[str, Any]]:
    """Published values of Burgers.jl beside ours, when the configuration is its problem.

    Args:
        config: of the run; how the gradient is computed and on how many ranks does not matter.
        objective: final energy.
        pointwise_square_norm: Euclidean norm over all points of the field
            (dJ/du0)^2 + (dJ/dv0)^2, Euclidean gradients; None when there is no such gradient.

    Returns:
        One mapping per quantity: quantity, published, ours, relative_difference, note. Empty for
        every other problem.
    """
    default = Config()
    same_time = msgspec.structs.replace(config.time, allow_unstable=default.time.allow_unstable)
    ours = (config.grid, config.physics, config.initial, same_time, config.objective)
    if ours != (default.grid, default.physics, default.initial, default.time, default.objective):
        return []
    rows = [_compared("final energy", PUBLISHED_ENERGY, objective, "")]
    if pointwise_square_norm is not None:
        note = (
            "Burgers.jl linearises its last step one step late; the exact gradient gives "
            f"{EXACT_POINTWISE_SQUARE_NORM!r}"
        )
        rows.append(
            _compared(
                "norm of (dJ/du0)^2 + (dJ/dv0)^2",
                PUBLISHED_POINTWISE_SQUARE_NORM,
                pointwise_square_norm,
                note,
            )
        )
    return rows


def to_json(summary: Mapping[str, Any]) -> str:
    """JSON text of a summary; numbers that are not finite become null, as JSON has none."""
    text = msgspec.json.encode(summary, enc_hook=lambda value: value.item())
    return msgspec.json.format(text, indent=2).decode() + "\n"


def print_summary(summary: Mapping[str, Any], stream: TextIO, terminal: bool) -> None:
    """Print what a forward or gradient run found and what it took.

    Args:
        summary: as the commands return it; what is missing is left out.
        stream: where to.
        terminal: whether to use colours and the width of the terminal, else 80 columns.
    """
    console = _console(stream, terminal)
    _print_table(console, ("", ""), _summary_rows(summary))
    published = summary.get("published")
    if published:
        rows = [
            (
                row["quantity"],
                repr(row["published"]),
                repr(row["ours"]),
                f"{row['relative_difference']:.1e}",
            )
            for row in published
        ]
        header = ("Burgers.jl", "published", "ours", "apart")
        _print_table(console, header, rows, unbroken=(1, 2, 3))
        for row in published:
            if row["note"]:
                console.print(f"{row['quantity']}: {row['note']}.", style="dim")


def print_plan(summary: Mapping[str, Any], stream: TextIO, terminal: bool) -> None:
    """Print what each schedule and store would take, the fastest first."""
    console = _console(stream, terminal)
    rows = [
        (
            option["schedule"],
            option["store"],
            f"{option['snapshots']} + {option['snapshots_on_disk']}",
            _size(option["memory_bytes"]),
            str(option["forward_steps"]),
            str(option["snapshots_written"]),
            _size(option["bytes_written"]),
            f"{option['seconds']:.3g}",
        )
        for option in summary["options"]
    ]
    header = ("schedule", "store", "slots", "memory", "steps", "saves", "to disk", "seconds")
    _print_table(console, header, rows, unbroken=tuple(range(len(header))))
    console.print(
        f"{summary['steps']} time steps on {summary['ranks']} ranks, per rank; slots in memory + "
        f"on disk; measured in {summary['seconds']['planning']:.2g} s",
        style="dim",
    )
    if summary["disk_left_out"]:
        console.print(f"without the disk: {summary['disk_left_out']}", style="dim")


def print_checks(summary: Mapping[str, Any], stream: TextIO, terminal: bool) -> None:
    """Print the table of checks and how many of them failed."""
    console = _console(stream, terminal)
    checks = summary["checks"]
    rows = [
        (
            check["name"],
            f"{check['value']:.6g}" if isinstance(check["value"], float) else str(check["value"]),
            "passed" if check["passed"] else "FAILED",
            check.get("text") or f"limit {check['limit']}",
        )
        for check in checks
    ]
    _print_table(console, ("check", "value", "", "allowed"), rows, unbroken=(1, 2))
    for reason in summary.get("left_out", ()):
        console.print(f"left out: {reason}", style="dim")
    failed = sum(not check["passed"] for check in checks)
    verdict = f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} passed"
    console.print(verdict, style="bold red" if failed else "bold green")


def print_information(information: Mapping[str, Any], stream: TextIO, terminal: bool) -> None:
    """Print versions and the machine."""
    rows = list(information["versions"].items())
    rows.append(("ranks", str(information["ranks"])))
    for node in information["nodes"]:
        rows.append(
            (
                f"node {node['name']}",
                f"{node['ranks']} ranks, {node['usable_cores']} of {node['cores']} cores usable, "
                f"{_size(node['available_memory_bytes'])} of {_size(node['memory_bytes'])} free",
            )
        )
    rows.append(("compiled kernels", information["kernel_cache"]))
    _print_table(_console(stream, terminal), ("", ""), rows)


def print_contents(found: Mapping[str, Any], stream: TextIO, terminal: bool) -> None:
    """Print what an output folder holds; see `restart.contents`."""
    console = _console(stream, terminal)
    rows = [
        ("folder", found["folder"]),
        ("configuration", "config.toml" if found["configuration"] else "none"),
        ("results", "results.h5" if found["results"] else "none"),
        ("restart data", found["restart"] if found["generations"] else "none"),
        *([("in use by", found["running"])] if found.get("running") else ()),
    ]
    _print_table(console, ("", ""), rows)
    if found["generations"]:
        header = ("generation", "saved", "how far", "snapshots", "ranks", "size")
        _print_table(console, header, map(_generation, found["generations"]))


def _generation(found: Mapping[str, Any]) -> tuple[str, ...]:
    number = str(found["generation"])
    if found["state"] != "whole":
        return (number, "", found["state"], "", "", "")
    saved = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["saved_at"]))
    far = f"{found['command']}: {found['phase']} sweep, step {found['position']}"
    if found["phase"] == "done":
        far = f"{found['command']}: done"
    if found["steps"] is not None:
        far += f" of {found['steps']}"
    ranks, size = str(found["ranks"]), _size(found["bytes"])
    return (number, saved, far, str(found["snapshots"]), ranks, size)


def _compared(quantity: str, published: float, ours: float, note: str) -> dict[str, Any]:
    return {
        "quantity": quantity,
        "published": published,
        "ours": float(ours),
        "relative_difference": abs(float(ours) - published) / abs(published),
        "note": note,
    }


def _summary_rows(summary: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if "objective" in summary:
        yield "objective", repr(float(summary["objective"]))
    for control, norm in summary.get("gradient_norm", {}).items():
        yield f"gradient norm, {control}", f"{norm:.15g}"
    if "optimize" in summary:
        yield from _optimize_rows(summary["optimize"])
    schedule = summary.get("schedule") or {}
    if "forward_steps" in schedule:
        yield "forward steps", f"{schedule['forward_steps']} for {summary['steps']} time steps"
        if "predicted_forward_steps" in schedule:
            optimal = schedule["name"] in ("binomial", "multistage", "store_all")
            yield (
                "least possible" if optimal else "predicted",
                str(schedule["predicted_forward_steps"]),
            )
        on_disk = schedule.get("snapshots_on_disk")
        yield (
            "snapshots",
            f"{schedule['snapshots']}{f' and {on_disk} on disk' if on_disk else ''} "
            f"({schedule['name']}), "
            f"written {schedule['snapshots_written']} times, "
            f"{_size(summary['snapshot_bytes'])} per rank",
        )
        for damage in schedule.get("damages", ()):
            yield "damaged snapshot", damage
        if schedule.get("damaged"):
            yield "extra steps", f"{schedule['recomputed_steps']}, for damaged snapshots"
    elif "steps" in summary:
        yield "time steps", str(summary["steps"])
    restart = summary.get("restart")
    if restart:
        yield (
            "restart data",
            f"saved {restart['saves']} times, {restart['overhead']:.2%} of the time "
            f"(predicted {restart['predicted_overhead']:.2%})",
        )
        if restart["resumed"]:
            told = f"{restart['resumed']}; {restart['lost_steps']} steps lost"
            if restart["repeated_steps"] is not None:
                told += f", {restart['repeated_steps']} forward steps beyond the plan"
            yield "interruptions", told
    if "plan" in summary:
        plan = summary["plan"]
        yield (
            "planned",
            f"{schedule['name']}, store {schedule['store']}: "
            f"{plan['predicted_seconds']:.3g} s predicted, {plan['actual_seconds']:.3g} s taken",
        )
    if "dumps" in summary:
        yield "dumps", f"{summary['dumps']['files']} in {summary['dumps']['seconds']:.3g} s"
    seconds = summary.get("seconds", {})
    for title, names in (
        ("seconds", ("startup", "sweeps", "output")),
        ("  of the sweeps", ("forward", "adjoint", "snapshots")),
        ("  of these", ("halo",)),
    ):
        if said := [f"{name} {seconds[name]:.3g}" for name in names if name in seconds]:
            yield title, ", ".join(said)
    if restart and restart["resumed"]:
        totals = restart["seconds_of_all_jobs"].items()
        yield "  of all jobs", ", ".join(f"{name} {taken:.3g}" for name, taken in totals)
    if "peak_rss_bytes" in summary:
        yield "peak memory", f"{_size(summary['peak_rss_bytes'])} on the largest rank"
    if "ranks" in summary:
        grid = summary.get("process_grid")
        shape = f" ({grid[0]} x {grid[1]}, rows x columns)" if grid else ""
        yield "ranks", f"{summary['ranks']}{shape}"
    if "digest" in summary:
        yield "digest", str(summary["digest"])


def _optimize_rows(done: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    verdict = "converged" if done["converged"] else "NOT CONVERGED"
    yield "optimisation", f"{verdict} after {done['iterations']} iterations: {done['reason']}"
    failed = f", {done['failed_trials']} failed trials" if done["failed_trials"] else ""
    yield "  evaluations", f"{done['evaluations']} of objective and gradient{failed}"
    yield "  TAO, vectors", f"{done['tao_share']:.2%} of the time"
    if done["chi_square"] is not None:
        yield "misfit per observation", f"{done['chi_square']:.4g} of the noise variance"
    for control, error in done["control_error"].items():
        recovered = f"{error['recovered']:.4g}, first guess {error['prior']:.4g}"
        yield f"error of {control}", recovered


def _size(count: float) -> str:
    unit = 0
    while count >= 1000 and unit + 1 < len(UNITS):
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {UNITS[unit]}"


def _console(stream: TextIO, terminal: bool) -> Any:
    from rich.console import Console

    return Console(
        file=stream,
        force_terminal=terminal,
        no_color=not terminal,
        width=None if terminal else WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _print_table(
    console: Any,
    header: tuple[str, ...],
    rows: Iterable[tuple[str, ...]],
    unbroken: tuple[int, ...] = (),
) -> None:
    """Print a table whose first column, and the unbroken ones, have one line a row.

    Words of the others stay whole. Where that is wider than the terminal, so is the table: a number
    that goes on in the next line can be read, one that is cut cannot.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    named = any(header)
    table = Table(box=box.SIMPLE_HEAD if named else box.SIMPLE, show_header=named)
    for index, name in enumerate(header):
        whole = index in (0, *unbroken)
        cells = [name, *(row[index] for row in rows)]
        pieces = cells if whole else [word for cell in cells for word in cell.split()]
        least = max(map(cell_len, pieces), default=0)
        table.add_column(name, overflow="fold", no_wrap=whole, min_width=least)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    unlimited = console.options.update(max_width=WIDEST)
    width = console.width
    console.width = max(width, Measurement.get(console, unlimited, table).minimum)
    console.print(table)
    console.width = width

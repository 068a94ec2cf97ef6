"""Tables for people: what a run found and took, a plan, checks, a folder's contents."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from msgspec import UNSET

from burgers_adjoint.output.summary import (
    CheckSummary,
    Compressed,
    Lossy,
    Optimized,
    PlanSummary,
    Restarted,
    RunSummary,
    Scheduled,
    TrainSummary,
    UncertaintySummary,
)

WIDTH = 80  # of what is not printed on a terminal
WIDEST = 10_000  # columns that no table needs
MESSAGES = {"none": "", "direct": "; halos from its memory", "staged": "; halos by the host"}
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def print_summary(summary: RunSummary, stream: TextIO, terminal: bool) -> None:
    """Print what a forward or gradient run found and what it took.

    Args:
        summary: as the commands return it.
        stream: where to.
        terminal: whether to use colours and the width of the terminal, else 80 columns.
    """
    console = _console(stream, terminal)
    _print_table(console, ("", ""), summary_rows(summary))
    if summary.published:
        rows = [
            (row.quantity, repr(row.published), repr(row.ours), f"{row.relative_difference:.1e}")
            for row in summary.published
        ]
        header = ("Burgers.jl", "published", "ours", "apart")
        _print_table(console, header, rows, unbroken=(1, 2, 3))
        for row in summary.published:
            if row.note:
                console.print(f"{row.quantity}: {row.note}.", style="dim")


def print_plan(summary: PlanSummary, stream: TextIO, terminal: bool) -> None:
    """Print what each schedule and store would take, the fastest first."""
    console = _console(stream, terminal)
    rows = [
        (
            option["schedule"],
            option["store"] + ("" if option["codec"] == "none" else f", {option['codec']}"),
            " + ".join(str(option.get(place, 0)) for place in summary.places),
            size_of(option["memory_bytes"]),
            str(option["forward_steps"]),
            str(option["snapshots_written"]),
            size_of(option["bytes_written"]),
            f"{option['seconds']:.3g}",
        )
        for option in summary.options
    ]
    header = ("schedule", "store", "slots", "memory", "steps", "saves", "to disk", "seconds")
    _print_table(console, header, rows, unbroken=tuple(range(len(header))))
    console.print(
        f"{summary.steps} time steps on {summary.ranks} ranks, per rank; slots "
        f"{' + '.join(summary.places.values())}; measured in {summary.seconds['planning']:.2g} s",
        style="dim",
    )
    if summary.disk_left_out:
        console.print(f"without the disk: {summary.disk_left_out}", style="dim")


def print_checks(summary: CheckSummary, stream: TextIO, terminal: bool) -> None:
    """Print the table of checks and how many of them failed."""
    console = _console(stream, terminal)
    checks = summary.checks
    rows = [
        (
            check.name,
            f"{check.value:.6g}" if isinstance(check.value, float) else str(check.value),
            "passed" if check.passed else "FAILED",
            check.text or f"limit {check.limit}",
        )
        for check in checks
    ]
    _print_table(console, ("check", "value", "", "allowed"), rows, unbroken=(1, 2))
    if summary.lossy:
        _print_table(console, LOSSY_HEADER, lossy_rows(summary.lossy), unbroken=tuple(range(7)))
    for reason in summary.left_out:
        console.print(f"left out: {reason}", style="dim")
    failed = sum(not check.passed for check in checks)
    verdict = f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} passed"
    console.print(verdict, style="bold red" if failed else "bold green")


LOSSY_HEADER = ("snapshots", "tolerance", "gradient error", "J error", "ratio", "memory", "s")


def lossy_rows(rows: Iterable[Lossy]) -> Iterable[tuple[str, ...]]:
    """Gradients from snapshots of a codec, in words."""
    for row in rows:
        yield (
            row.codec,
            "" if row.tolerance is None else f"{row.tolerance:.3g}",
            f"{row.gradient_error:.2e}",
            f"{row.objective_error:.2e}",
            f"{row.ratio:.3g}",
            size_of(row.memory_bytes),
            f"{row.seconds:.3g}",
        )


def print_uncertainty(summary: UncertaintySummary, stream: TextIO, terminal: bool) -> None:
    """Print what the observations say of the controls."""
    _print_table(_console(stream, terminal), ("", ""), uncertainty_rows(summary))


def uncertainty_rows(summary: UncertaintySummary) -> Iterable[tuple[str, str]]:
    """What observations say of controls, in words: name and value."""
    yield "objective", repr(float(summary.objective))
    if not summary.converged:
        yield "optimisation", "NOT CONVERGED: these controls need not be the most probable"
    found = len(summary.eigenvalues)
    more = " or more" if found and summary.informed == found < summary.controls else ""
    yield (
        "informed directions",
        f"{summary.informed}{more} of {summary.controls} (eigenvalue above 1)",
    )
    if found:
        yield "eigenvalues", f"{summary.eigenvalues[0]:.4g} to {summary.eigenvalues[-1]:.4g}"
        yield "  largest residual", f"{summary.largest_residual:.2g} of the largest of them"
    yield "degrees of freedom", f"{summary.degrees_of_freedom:.4g}"
    yield (
        "information gain",
        f"{summary.information_gain:.4g} nats (expected {summary.log_determinants:.4g})",
    )
    for name, one in summary.deviation.items():
        yield f"deviation of {name}", f"{one.posterior:.4g}, before {one.prior:.4g}"
    for name, said in summary.predicted.items():
        yield (
            f"predicted {name}",
            f"{said.value:.6g}, deviation {said.posterior:.4g}, before {said.prior:.4g}",
        )
    yield "products", f"{summary.products}, in {summary.seconds['products']:.3g} s"
    yield "ranks", str(summary.ranks)
    yield "digest", summary.digest


def print_information(information: Mapping[str, Any], stream: TextIO, terminal: bool) -> None:
    """Print versions and the machine."""
    rows = list(information["versions"].items())
    rows.append(("ranks", str(information["ranks"])))
    rows.append(("CUDA-aware MPI", "by its word" if information["cuda_aware_mpi"] else "no"))
    for node in information["nodes"]:
        rows.append(
            (
                f"node {node['name']}",
                f"{node['ranks']} ranks, {node['usable_cores']} of {node['cores']} cores usable, "
                f"{size_of(node['available_memory_bytes'])} of {size_of(node['memory_bytes'])} "
                "free",
            )
        )
    rows.append(("compiled kernels", information["kernel_cache"]))
    _print_table(_console(stream, terminal), ("", ""), rows)


def print_training(summary: TrainSummary, stream: TextIO, terminal: bool) -> None:
    """Print how well what was trained does, and which of it is kept."""
    rows = [
        ("codec", f"{summary.kept}, in {summary.path}"),
        ("a patch", f"{summary.patch} x {summary.patch} points in {summary.bytes} bytes"),
        ("  compression ratio", f"{summary.ratio:g}"),
        *(
            (f"error of {name}", f"{one.error:.3g} of a state, {one.largest:.3g} at a point")
            for name, one in summary.kinds.items()
        ),
        *([("network", summary.without)] if summary.without else ()),
        ("samples", f"{summary.samples} patches"),
        ("seconds", ", ".join(f"{name} {one:.3g}" for name, one in summary.seconds.items())),
        ("ranks", str(summary.ranks)),
    ]
    _print_table(_console(stream, terminal), ("", ""), rows)


def print_page(page: Any, stream: TextIO, terminal: bool) -> None:
    """Print where a page is and what it shows."""
    rows = [
        ("page", f"{page.page}, {size_of(page.bytes)}, {page.figures} figures"),
        ("of", f"{page.command or 'run'} in {page.folder}: {page.state}"),
        *(("", note) for note in page.notes),
    ]
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
    ranks, size = str(found["ranks"]), size_of(found["bytes"])
    return (number, saved, far, str(found["snapshots"]), ranks, size)


def summary_rows(summary: RunSummary) -> Iterable[tuple[str, str]]:
    """What a run found and what it took, in words: name and value."""
    yield "objective", repr(float(summary.objective))
    for control, norm in summary.gradient_norm.items():
        yield f"gradient norm, {control}", f"{norm:.15g}"
    for n, norms in enumerate(summary.product_norms or ()):
        for control, norm in norms.items():
            yield f"product {n}, {control}", f"norm {norm:.15g}"
    if summary.optimize:
        yield from _optimize_rows(summary.optimize)
    if summary.schedule is None:
        yield "time steps", str(summary.steps)
    else:
        yield from _schedule_rows(summary.schedule, summary.steps, summary.snapshot_bytes)
    if summary.compression:
        yield from _compression_rows(summary.compression)
    if summary.restart:
        yield from _restart_rows(summary.restart)
    if summary.plan and summary.schedule:
        yield (
            "planned",
            f"{summary.schedule.name}, store {summary.schedule.store}: "
            f"{summary.plan.predicted_seconds:.3g} s predicted, "
            f"{summary.plan.actual_seconds:.3g} s taken",
        )
    if summary.dumps:
        lost = f", {summary.dumps.lost} could not be written" if summary.dumps.lost else ""
        yield "dumps", f"{summary.dumps.files} in {summary.dumps.seconds:.3g} s{lost}"
    yield from _seconds_rows(summary)
    yield "peak memory", f"{size_of(summary.peak_rss_bytes)} on the largest rank"
    rows, columns = summary.process_grid
    yield "ranks", f"{summary.ranks} ({rows} x {columns}, rows x columns)"
    if summary.device:
        yield "device", summary.device.name + MESSAGES[summary.device.messages]
    yield "digest", summary.digest


def _schedule_rows(
    schedule: Scheduled, steps: int, snapshot_bytes: int
) -> Iterable[tuple[str, str]]:
    yield "forward steps", f"{schedule.forward_steps} for {steps} time steps"
    if schedule.predicted_forward_steps is not UNSET:
        optimal = schedule.name in ("binomial", "multistage", "store_all")
        yield "least possible" if optimal else "predicted", str(schedule.predicted_forward_steps)
    on_disk = f" and {n} on disk" if (n := schedule.snapshots_on_disk) else ""
    yield (
        "snapshots",
        f"{schedule.snapshots}{on_disk} ({schedule.name}), written "
        f"{schedule.snapshots_written} times, {size_of(snapshot_bytes)} per rank",
    )
    for damage in schedule.damages or ():
        yield "damaged snapshot", damage
    if schedule.damaged:
        yield "extra steps", f"{schedule.recomputed_steps}, for damaged snapshots"


def _compression_rows(packed: Compressed) -> Iterable[tuple[str, str]]:
    kept = "all bits kept" if packed.lossless else f"errors up to {packed.error_bound}"
    yield (
        "codec",
        f"{packed.codec}: {packed.ratio:.3g} times smaller, {kept}; {size_of(packed.raw_bytes)} "
        f"as {size_of(packed.packed_bytes)}, encoded in {packed.encode:.3g} s, decoded in "
        f"{packed.decode:.3g} s",
    )
    if not packed.lossless:
        yield "bits", "of the gradient: of these ranks, this schedule and store alone (lossy codec)"
    if packed.gradient_error is not None:
        yield (
            "gradient error",
            f"about {packed.gradient_error:.1e} of its norm, estimated in {packed.estimate:.3g} s",
        )
    if n := len(packed.instead):
        yield "stored losslessly", f"{n} steps instead; {packed.instead[0]}"


def _restart_rows(restart: Restarted) -> Iterable[tuple[str, str]]:
    yield (
        "restart data",
        f"saved {restart.saves} times, {restart.overhead:.2%} of the time "
        f"(predicted {restart.predicted_overhead:.2%})",
    )
    if restart.resumed:
        told = f"{restart.resumed}; {restart.lost_steps} steps lost"
        if restart.repeated_steps is not None:
            told += f", {restart.repeated_steps} forward steps beyond the plan"
        yield "interruptions", told


def _seconds_rows(summary: RunSummary) -> Iterable[tuple[str, str]]:
    seconds = summary.seconds
    for title, names in (
        ("seconds", ("startup", "sweeps", "output")),
        ("  of the sweeps", ("forward", "adjoint", "snapshots")),
        ("  of these", ("halo",)),
    ):
        # a summary in results.h5 has no time of writing it
        yield title, ", ".join(f"{name} {seconds[name]:.3g}" for name in names if name in seconds)
    if summary.restart and summary.restart.resumed:
        totals = summary.restart.seconds_of_all_jobs.items()
        yield "  of all jobs", ", ".join(f"{name} {taken:.3g}" for name, taken in totals)


def _optimize_rows(done: Optimized) -> Iterable[tuple[str, str]]:
    verdict = "converged" if done.converged else "NOT CONVERGED"
    yield "optimisation", f"{verdict} after {done.iterations} iterations: {done.reason}"
    failed = f", {done.failed_trials} failed trials" if done.failed_trials else ""
    products = f", {done.products} products with the Hessian" if done.products else ""
    yield "  evaluations", f"{done.evaluations} of objective and gradient{failed}{products}"
    yield "  TAO, vectors", f"{done.tao_share:.2%} of the time"
    if done.chi_square is not None:
        yield "misfit per observation", f"{done.chi_square:.4g} of the noise variance"
    for control, error in done.control_error.items():
        recovered = f"{error['recovered']:.4g}, first guess {error['prior']:.4g}"
        yield f"error of {control}", recovered


def size_of(count: float) -> str:
    """So many bytes in words."""
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

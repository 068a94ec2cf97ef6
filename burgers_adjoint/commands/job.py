"""What all commands that run a problem share: restart data, summary, results.h5, pictures."""

import math
import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import UNSET, UnsetType

from burgers_adjoint.assembly.backends import device_in_use
from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.dumping import DumpViewer
from burgers_adjoint.assembly.runs import Gradient
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.commands.room import hold_room
from burgers_adjoint.equations.burgers.controls import split, times_of_knots
from burgers_adjoint.errors import NumericalError, agreed_error
from burgers_adjoint.output import xdmf
from burgers_adjoint.output.dumps import DUMPED, Dumps
from burgers_adjoint.output.folder import prepare_directory
from burgers_adjoint.output.results import (
    PICTURES,
    POSTERIOR,
    POSTERIOR_PICTURE,
    RESULTS,
    XDMF,
    remove_leftovers,
    write_results,
)
from burgers_adjoint.output.summary import Placed, Planned, RunSummary, Seconds, to_line
from burgers_adjoint.output.system import versions
from burgers_adjoint.parallel.agreement import Comm, everywhere, from_rank, largest
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.problem import Problem

if TYPE_CHECKING:
    from burgers_adjoint.commands.durable import DurableRun, Resume


def seconds_since_start(comm: Comm) -> float:
    """Age of the oldest rank's process."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])  # from boot to our own start
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return float(largest(comm, since))


def durable_run(
    case: Case,
    checkpointing: Checkpointing,
    command: str,
    resume: "Resume",
    also: Mapping[str, Any] | None = None,
) -> "DurableRun | None":
    """What keeps restart data of a run, where it is asked for; see `DurableRun`. Collective."""
    if not case.config.restart.enabled:
        return None
    from burgers_adjoint.commands.durable import DurableRun

    return DurableRun(case, checkpointing, command, resume, also)


def prepare_output(
    case: Case,
    durable: "DurableRun | None",
    groups: int,
    dumped: int = 0,
    searched: bool = False,
) -> Path:
    """Make the output folder, and hold room in it; see `hold_room`. Collective."""
    directory = prepare_directory(case.config, case.comm)
    hold_room(case, directory, durable, groups, dumped, searched)
    return directory


def is_continued(durable: "DurableRun | None") -> bool:
    """Whether a run goes on from restart data."""
    return durable is not None and durable.found is not None


def dumps_of(case: Case, directory: Path, durable: "DurableRun | None") -> Dumps | None:
    """What writes fields on the way, where it is asked for. Collective."""
    every, grid = case.config.output.every, case.grid
    if not every:
        return None
    most = case.model.time_steps.most
    dumps = Dumps(directory, every, most, case.decomposition, grid.x, grid.y, is_continued(durable))
    case.model.viewer = DumpViewer(case.model, dumps)
    return dumps


def seconds_of(counts: Counts) -> Seconds:
    """What the parts of both sweeps have taken on this rank."""
    return {
        "forward": counts.seconds_forward,
        "adjoint": counts.seconds_adjoint,
        "snapshots": counts.seconds_snapshots,
    }


def planned(problem: Problem) -> Planned:
    """The plan of a problem, measured when nobody has asked for it before. Collective."""
    case, found = problem.case, problem.checkpointing.plan
    slot_bytes = largest(case.comm, case.model.new_snapshot().nbytes)
    return Planned(
        memory_slots=found.memory_slots,
        disk_slots=found.disk_slots,
        costs=asdict(found.costs),
        options=found.rows(slot_bytes),
    )


def summarize(
    case: Case,
    objective: float,
    final: np.ndarray,
    gradient: Gradient,
    startup: float,
    sweeps: float,
    seconds: Seconds,
) -> RunSummary:
    """What the summaries of all runs have, the same on all ranks. Collective.

    Raises:
        NumericalError: on all ranks: the gradient is not finite.
    """
    comm = case.comm
    norms = {name: case.controls[name].norm(part) for name, part in gradient.items()}
    for control in gradient:
        if not math.isfinite(norms[control]):
            raise agreed_error(
                NumericalError(
                    f"the gradient with respect to {control} is not finite: the cotangent grew "
                    "beyond all bounds in the reverse sweep; a smaller time.dt may help"
                )
            )
    slowest = {
        name: float(largest(comm, value))
        for name, value in {**seconds, "halo": case.model.halo_seconds}.items()
    }
    return RunSummary(
        objective=objective,
        gradient_norm=norms,
        digest=case.digest(final, gradient),
        ranks=comm.size,
        process_grid=case.decomposition.process_grid,
        device=_placed(case),
        steps=case.n_steps,
        time=case.model.time_steps.time(case.n_steps),
        seconds={"startup": startup, "sweeps": sweeps, **slowest},
        peak_rss_bytes=largest(comm, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024),
    )


def _placed(case: Case) -> Placed | UnsetType:
    device = device_in_use(case.config.parallel.device)
    if device is None:
        return UNSET
    alone = case.comm.size == 1
    direct = everywhere(case.comm, device.direct)
    messages = "none" if alone else "direct" if direct else "staged"
    found: Placed = from_rank(case.comm, Placed(device.name, messages))
    return found


def write_run(
    case: Case,
    directory: Path,
    final: np.ndarray,
    groups: Mapping[str, Gradient],
    summary: RunSummary,
    draw: Callable[[Path, Path], bool],
    picture: str,
    dumps: Dumps | None = None,
) -> None:
    """Write results.h5 with its XDMF and picture, and remove what they make stale. Collective.

    The time that takes goes to the summary, as that of the output.

    Args:
        case: that was run.
        directory: of the output.
        final: state at the end, (2, ny, nx) of the tile.
        groups: name of a group to what it has of the controls.
        summary: as it is so far.
        draw: makes the picture from the results.
        picture: its name.
        dumps: of the run.
    """
    start, comm, grid = time.perf_counter(), case.comm, case.grid
    fields = {f"/state/initial/{name}": case.fields[f] for f, name in enumerate("uv")}
    fields |= {f"/state/final/{name}": final[f] for f, name in enumerate("uv")}
    scalars = {"/objective": summary.objective}
    scalars |= {"/state/initial/time": 0.0, "/state/final/time": summary.time}
    for group, values in groups.items():
        tiles, numbers = split(group, case.controls, values)
        fields |= tiles
        scalars |= numbers
        scalars |= times_of_knots(group, values, case.config.controls.knots)
    attributes = {
        "config": case.config.to_toml(),
        "versions": to_line(versions()) if comm.rank == 0 else "",
        "summary": to_line(summary),
        "files": to_line(case.files),
    }
    results = directory / RESULTS
    write_results(results, case.decomposition, grid.x, grid.y, fields, scalars, attributes)
    if dumps is not None:
        dumps.conclude()
    with agreed(comm):
        if comm.rank == 0:
            xdmf.write(directory / XDMF, RESULTS, grid.shape, sorted(fields))
            stale = [*PICTURES, POSTERIOR, POSTERIOR_PICTURE]
            remove_leftovers(directory, stale if dumps is not None else [*stale, *DUMPED])
            if case.config.output.plots:
                draw(results, directory / picture)
    summary.seconds["output"] = float(largest(comm, time.perf_counter() - start))

"""Room on the disks for what a run will write: looked for, and held, before it begins."""

import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.errors import BurgersAdjointError, ConfigError
from burgers_adjoint.files.whole import release, reserve
from burgers_adjoint.observing.observations import Observations
from burgers_adjoint.output.dumps import STEPS
from burgers_adjoint.output.results import BEST, RESULTS
from burgers_adjoint.parallel.failure import agreed

if TYPE_CHECKING:
    from burgers_adjoint.commands.durable import DurableRun

DOUBLE_BYTES = 8
STATES = 2  # in results.h5: the first and the last one
BESIDE_FIELDS = 2**16  # in a file: attributes and HDF5's own
OF_DUMP = 2**15  # likewise, without a configuration and a summary
OF_TIME = 2**12  # likewise, of the fields of an observed time
OF_ITERATION = 2**9  # of a search, in its history
PICTURE = 2**17
PARTS = ("sweep-*", "final-*", "snapshot-*")  # files of restart data


@dataclass(frozen=True)
class Sizes:
    """Bytes of what a run writes.

    Args:
        case: to be run.
        groups: how many values of each control results.h5 will have.
        searched: a search that keeps its controls is to be run.
    """

    case: Case
    groups: int
    searched: bool

    @property
    def field(self) -> int:
        """Of a field."""
        return DOUBLE_BYTES * math.prod(self.case.grid.shape)

    def _file(self, fields: int, beside: int) -> int:
        return fields * self.field + DOUBLE_BYTES * sum(self.case.grid.shape) + beside

    def _controls(self) -> int:
        """Fields of one group of values."""
        shapes = [control.shape for control in self.case.controls.values() if control.shape]
        return sum(math.prod(shape[:-2]) for shape in shapes)

    def _beside(self) -> int:
        limit = self.case.config.tao.iterations if self.searched else 0
        return BESIDE_FIELDS + OF_ITERATION * min(limit, 10_000)

    def results(self) -> int:
        """Of results.h5."""
        fields = STATES * len(self.case.fields) + self.groups * self._controls()
        return self._file(fields, self._beside())

    def best(self) -> int:
        """Of controls.h5."""
        return self._file(self._controls(), self._beside()) if self.searched else 0

    def dumps(self, dumped: int, written: int = 0) -> int:
        """Of the dumps to come, of so many fields; 0 where the number of steps is not known."""
        every, steps = self.case.config.output.every, self.case.model.n_steps
        if not every or steps is None:
            return 0
        return (steps // every + 1 - written) * self._file(dumped, OF_DUMP)

    def observations(self, seen: Observations) -> int:
        """Of a file of observations, with the truth."""
        values = DOUBLE_BYTES * (seen.count(self.case.decomposition) + seen.positions.size)
        beside = BESIDE_FIELDS + OF_TIME * len(seen.times)
        return values + self._file(len(self.case.fields), beside)

    def restart(self, reverse: bool) -> int:
        """Of the generations that are kept and of the one that is written meanwhile.

        With the snapshots of one save for each: how many more are worth it is known only when
        steps and saves have been timed.
        """
        from burgers_adjoint.restart.keeper import SNAPSHOTS_PER_SAVE

        state = len(self.case.fields)
        generations, fields = self.case.config.restart.keep + 1, state
        if reverse:
            densities = {
                one.kind.density: math.prod(one.shape[:-2])
                for one in self.case.controls.values()
                if one.of_steps
            }
            fields += sum(densities.values()) + SNAPSHOTS_PER_SAVE * state
        final = state if reverse else 0
        return (generations * fields + final) * self.field + BESIDE_FIELDS


def hold_room(
    case: Case,
    directory: Path,
    durable: "DurableRun | None",
    groups: int,
    dumped: int,
    searched: bool,
) -> None:
    """Refuse a run whose files do not fit the disk, and hold room for its results. Collective.

    An older results.h5 stays until the new one is complete, so both have to fit; likewise
    controls.h5. What a run goes on with, and dumps that it removes, are on the disk already.

    Args:
        case: to be run.
        directory: of the output.
        durable: what keeps its restart data.
        groups: how many values of each control results.h5 will have.
        dumped: fields in a dump of a step; 0 where there are none.
        searched: a search that keeps its controls is to be run.

    Raises:
        ConfigError: on all ranks, with the sizes.
        BurgersAdjointError: on all ranks: the disk does not give the room.
    """
    sizes = Sizes(case, groups, searched)
    with agreed(case.comm):
        if case.comm.rank != 0:
            return
        for name in (RESULTS, BEST):
            release(directory / name)
        best = [directory / BEST]
        wanted = [
            ("results", directory, sizes.results() + PICTURE),
            ("controls of the search", directory, 2 * sizes.best() - min(sizes.best(), _on(best))),
        ]
        dumps = list(directory.glob(STEPS))
        if durable is not None and durable.found is not None:
            wanted.append(("dumps", directory, sizes.dumps(dumped, len(dumps))))
        elif dumped:
            wanted.append(("dumps", directory, sizes.dumps(dumped) - _on(dumps)))
        if durable is not None:
            there = sum(_on(durable.folder.glob(part)) for part in PARTS)
            needed = sizes.restart(durable.identity.command != "forward") - there
            wanted.append(("restart data", durable.folder, needed))
        _require(wanted)
        reserve(directory / RESULTS, sizes.results())
        if searched:
            reserve(directory / BEST, sizes.best())


def hold_observations(case: Case, path: str, seen: Observations) -> None:
    """Hold room for a file of observations. Collective.

    Raises:
        BurgersAdjointError: on all ranks: the disk does not give it.
    """
    with agreed(case.comm):
        if case.comm.rank == 0:
            reserve(path, Sizes(case, 0, False).observations(seen))


def hold_again(path: Path) -> None:
    """Hold room for the next version of a file that is whole, if the disk gives it."""
    with suppress(OSError, BurgersAdjointError):
        reserve(path, path.stat().st_size + BESIDE_FIELDS)


def _on(paths: Iterable[Path]) -> int:
    """Bytes that files take on the disk."""
    found = 0
    for path in paths:
        with suppress(OSError):
            found += 512 * path.stat().st_blocks
    return found


def _require(wanted: list[tuple[str, Path, int]]) -> None:
    """See that everything fits, all that goes to one disk together.

    Raises:
        ConfigError: with the sizes.
    """
    disks: dict[int, list[tuple[str, Path, int]]] = {}
    for one in wanted:
        if one[2] > 0:
            disks.setdefault(os.stat(one[1]).st_dev, []).append(one)
    for parts in disks.values():
        folder, needed = parts[0][1], sum(n_bytes for *_, n_bytes in parts)
        free = shutil.disk_usage(folder).free
        if free >= needed:
            continue
        sizes = ", ".join(f"{n_bytes} for the {name}" for name, _, n_bytes in parts)
        names = {name for name, *_ in parts}
        advice = ["make room"]
        if "dumps" in names:
            advice.append("write fewer dumps (output.every)")
        if "restart data" in names:
            advice.append("keep restart data elsewhere (restart.directory)")
        advice.append("take another folder (-o)")
        raise ConfigError(
            f"the run needs {needed} bytes in {folder} ({sizes}), {free} are free there: "
            f"{', '.join(advice[:-1])} or {advice[-1]}"
        )


@contextmanager
def room_released(case: Case, observed: str | None = None) -> Iterator[None]:
    """Give back at the end what was held for the block and what it has not written.

    Args:
        case: that is run.
        observed: path of its observations.
    """
    try:
        yield
    finally:
        if case.comm.rank == 0:
            for name in (RESULTS, BEST):
                release(Path(case.config.output.directory) / name)
            if observed is not None:
                release(observed)

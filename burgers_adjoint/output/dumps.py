"""Fields of every k-th step of a run, each step in a file of its own."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.files.hdf5 import opened
from burgers_adjoint.files.whole import reason
from burgers_adjoint.output.results import remove_leftovers, write_results
from burgers_adjoint.output.xdmf import Series
from burgers_adjoint.parallel.agreement import from_rank
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed

SERIES = "dumps/steps.xdmf"
STEPS = "dumps/step-*.h5"
DUMPED = (SERIES, STEPS)
OPEN_DIGITS = 10  # of a step's number where that of the last one is not known


class Dumps:
    """Writes dumps/step-NNN.h5 in the output folder; all methods are collective.

    A file appears when it is complete, so whatever is there can be read while the run goes on, and
    a run that is killed leaves whole files. HDF5's own way to read while another process writes
    needs a file system with POSIX locks and order of writes, and shares one file among all steps.
    dumps/steps.xdmf lists the files with their times; it may lack the newest ones until the end.

    Args:
        directory: the output folder.
        every: k; steps 0, k, 2 k, ... are written.
        most: the largest step that there can be; None where nobody knows.
        decomposition: whose tiles they are.
        x: coordinates of all columns, (nx,).
        y: coordinates of all rows, (ny,).
        continued: files that are there are of this run, not of an older one to be removed.

    Attributes:
        seconds: that writing took.
    """

    def __init__(
        self,
        directory: Path,
        every: int,
        most: int | None,
        decomposition: Decomposition,
        x: ArrayLike,
        y: ArrayLike,
        continued: bool = False,
    ) -> None:
        self.folder = directory / "dumps"
        self.every = every
        self.seconds = 0.0
        self._digits = OPEN_DIGITS if most is None else len(str(most))
        self._decomposition, self._x, self._y = decomposition, x, y
        self._names: set[str] = set()
        self._series = Series(directory / SERIES, decomposition.shape)
        with agreed(decomposition.comm):
            if decomposition.rank == 0:
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise BurgersAdjointError(
                        f"cannot make the folder {self.folder}: {reason(error)}"
                    ) from error
                if continued:
                    for path in directory.glob(STEPS):
                        self._take_over(path)
                else:
                    remove_leftovers(directory, DUMPED)

    def _take_over(self, path: Path) -> None:
        """Let a file of an earlier job count, and be in the series if it can be read."""
        self._names.add(path.name)
        with suppress(BurgersAdjointError, KeyError), opened(path, str(path)) as file:
            fields = [
                f"/{group}/{name}" for group in file for name in "uv" if f"{group}/{name}" in file
            ]
            self._series.add(path.name, float(file["time"][()]), fields)

    @property
    def files(self) -> int:
        """Files of this run, those from before an interruption too, as rank 0 knows. Collective."""
        return int(from_rank(self._decomposition.comm, len(self._names)))

    def wants(self, step: int) -> bool:
        """Whether this step is one of those."""
        return step % self.every == 0

    def write(
        self,
        step: int,
        time: float,
        primal: NDArray[np.float64],
        cotangents: Mapping[str, NDArray[np.float64]],
    ) -> None:
        """Write the fields at the start of a step.

        Args:
            step: n.
            time: t of it.
            primal: (2, ny, nx) of the tile.
            cotangents: name of what J is derived by to the derivative, (2, ny, nx) of the tile.

        Raises:
            BurgersAdjointError: on all ranks: the file cannot be written.
        """
        start = perf_counter()
        fields = {f"/primal/{name}": primal[f] for f, name in enumerate("uv")}
        for what, field in cotangents.items():
            fields |= {f"/{what}/{name}": field[f] for f, name in enumerate("uv")}
        path = self.folder / f"step-{step:0{self._digits}d}.h5"
        scalars = {"/step": step, "/time": time}
        write_results(path, self._decomposition, self._x, self._y, fields, scalars, {})
        self._names.add(path.name)
        if self._decomposition.rank == 0:
            self._series.add(path.name, time, fields)
            self._series.write_when_due()
        self.seconds += perf_counter() - start

    def conclude(self) -> None:
        """Let the list of steps be complete.

        Raises:
            BurgersAdjointError: on all ranks: it cannot be written.
        """
        with agreed(self._decomposition.comm):
            if self._decomposition.rank == 0:
                self._series.write()

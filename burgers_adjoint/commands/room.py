"""Whether the disk has room for what a run will write, while nothing is computed yet."""

import shutil
from pathlib import Path

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.failure import agreed

DOUBLE_BYTES = 8
STATES = 2  # in results.h5: the first and the last one
BESIDE_FIELDS = 2**17  # axes, attributes and HDF5's own; a picture


def require_room(case: Case, directory: Path, groups: int, dumped: int = 0) -> None:
    """Refuse a run whose results and dumps do not fit the disk. Collective.

    An older results.h5 stays until the new one is complete, so both have to fit.

    Args:
        case: to be run.
        directory: of the output.
        groups: how many values of each control results.h5 will have.
        dumped: fields in a dump of a step; 0 where there are none.

    Raises:
        ConfigError: on all ranks, with the sizes.
    """
    ny, nx = case.grid.shape
    of_state = len(case.fields)
    values = sum(int(np.prod(one.shape[:-2])) for one in case.controls.values() if one.shape)
    needed = (STATES * of_state + groups * values) * DOUBLE_BYTES * ny * nx + BESIDE_FIELDS
    every, steps = case.config.output.every, case.model.n_steps
    if every and steps is not None:
        needed += (steps // every + 1) * (dumped * DOUBLE_BYTES * ny * nx + BESIDE_FIELDS // 4)
    with agreed(case.comm):
        if case.comm.rank == 0 and (free := shutil.disk_usage(directory).free) < needed:
            raise ConfigError(
                f"the results need {needed} bytes in {directory}, {free} are free there: make "
                "room, write fewer dumps (output.every) or take another folder (-o)"
            )

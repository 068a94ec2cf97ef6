"""What has started this process, and the ranks that it has started."""

import os
import sys
from typing import Any

from burgers_adjoint.commands.ending import print_on

# Open MPI, other MPIs by PMI or PMIx, and Slurm's srun.
VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "SLURM_STEP_ID")
# How many ranks there are, and which one this is.
PLACES = (("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK"))


def launched() -> bool:
    """Whether a launcher of ranks has started this process."""
    return any(name in os.environ for name in VARIABLES)


def world() -> Any:
    """All ranks together; ends the process where MPI cannot be used, or is not the launcher's."""
    try:
        from burgers_adjoint.parallel.library import all_ranks, library_name
    except (ImportError, RuntimeError, OSError) as error:
        print_on(
            f"error: MPI cannot be used ({str(error).partition(chr(10))[0]}): run "
            "`pip install mpich`, or load the MPI library that mpi4py was built for",
            sys.stderr,
        )
        sys.exit(1)
    for size, rank in PLACES:
        started = os.environ.get(size, "1")
        if started != "1" and all_ranks().size == 1:
            if os.environ.get(rank, "0") == "0":
                print_on(
                    f"error: mpiexec has started {started} processes, and each is alone: this "
                    f"mpiexec is not that of {library_name()}, which mpi4py uses",
                    sys.stderr,
                )
            sys.exit(1)
    return all_ranks()

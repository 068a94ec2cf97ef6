"""What a run stands on: versions, capabilities and the machine."""

import os
import platform
import socket
from importlib import metadata
from typing import Any


def package_version() -> str:
    """Version of this package as it was installed."""
    return _installed("burgers_adjoint")


def versions() -> dict[str, str]:
    """Versions of this package and of what its results depend on, by name."""
    import numba
    import numpy

    from burgers_adjoint.files import hdf5
    from burgers_adjoint.parallel import library

    return {
        "burgers_adjoint": package_version(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba.__version__,
        **library.library_versions(),
        **hdf5.library_versions(),
        # Importing it would start PETSc, which all ranks have to do together.
        "petsc4py": _installed("petsc4py"),
    }


def information(comm: Any) -> dict[str, Any]:
    """Versions, ranks, and cores and memory of every node; the same on all ranks. Collective."""
    import psutil

    from burgers_adjoint.kernels.cache import kernel_folder
    from burgers_adjoint.parallel.agreement import (
        everywhere,
        from_rank,
        of_every_rank,
        ranks_of_node,
    )
    from burgers_adjoint.parallel.library import claims_device_memory

    with ranks_of_node(comm) as node:
        here = {
            "name": socket.gethostname(),
            "ranks": node.size,
            "cores": os.cpu_count(),
            "usable_cores": len(os.sched_getaffinity(0)),
            "memory_bytes": psutil.virtual_memory().total,
            "available_memory_bytes": psutil.virtual_memory().available,
        }
        first = node.rank == 0
    nodes = [found for found in of_every_rank(comm, here if first else None) if found]
    found = {"versions": versions(), "kernel_cache": str(kernel_folder())}
    aware = everywhere(comm, claims_device_memory())
    here_too = {"ranks": comm.size, "nodes": nodes, "cuda_aware_mpi": aware}
    return from_rank(comm, found) | here_too


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"

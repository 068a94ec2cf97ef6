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
    import h5py
    import mpi4py
    import numba
    import numpy
    from mpi4py import MPI

    standard = ".".join(map(str, MPI.Get_version()))
    parallel = "with" if h5py.get_config().mpi else "without"
    # Open MPI's version string goes on with its build; a C string can end in a null byte.
    library = MPI.Get_library_version().split(",")[0].strip().rstrip("\0")
    return {
        "burgers_adjoint": package_version(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba.__version__,
        "mpi4py": mpi4py.__version__,
        "MPI library": library,
        "MPI standard": standard,
        "h5py": h5py.__version__,
        "HDF5": f"{h5py.version.hdf5_version} ({parallel} MPI-IO)",
        # Importing it would start PETSc, which all ranks have to do together.
        "petsc4py": _installed("petsc4py"),
    }


def information(comm: Any) -> dict[str, Any]:
    """Versions, ranks, and cores and memory of every node; the same on all ranks. Collective."""
    import psutil
    from mpi4py import MPI

    from burgers_adjoint.kernels.cache import kernel_folder

    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    here = {
        "name": socket.gethostname(),
        "ranks": node.size,
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "available_memory_bytes": psutil.virtual_memory().available,
    }
    nodes = [found for found in comm.allgather(here if node.rank == 0 else None) if found]
    node.Free()
    # One rank's word, so that all return the same.
    found = {"versions": versions(), "kernel_cache": str(kernel_folder())}
    return comm.bcast(found, root=0) | {"ranks": comm.size, "nodes": nodes}


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"

"""The MPI library of this process: all its ranks, what it can do, and its end."""

import ctypes

import mpi4py
from mpi4py import MPI

GPU_SUPPORT_CUDA = 0  # MPICH's MPIX_GPU_SUPPORT_CUDA


def all_ranks() -> MPI.Comm:
    """The ranks that were started together."""
    return MPI.COMM_WORLD


def is_freed(comm: MPI.Comm) -> bool:
    """Whether a communicator was given back, so that nobody can talk by it."""
    return bool(comm == MPI.COMM_NULL)


def library_name() -> str:
    """Name and version."""
    # The version goes on with its build, and can end in a null byte.
    first = MPI.Get_library_version().partition(",")[0].partition("\n")[0]
    return " ".join(first.strip("\0").split())


def library_versions() -> dict[str, str]:
    """Versions of what stands between this package and the network, by name."""
    return {
        "mpi4py": mpi4py.__version__,
        "MPI library": library_name(),
        "MPI standard": ".".join(map(str, MPI.Get_version())),
    }


def calls_from_threads() -> bool:
    """Whether several threads may call MPI at a time."""
    return bool(MPI.Query_thread() == MPI.THREAD_MULTIPLE)


def ends_failed_transfers() -> bool:
    """Whether a collective transfer to a file ends on all ranks when it fails on one.

    That of HDF5 on Open MPI 5 leaves the others waiting, with OMPIO and with ROMIO.
    """
    name, version = MPI.get_vendor()
    return not (name == "Open MPI" and version[0] >= 5)


def claims_device_memory() -> bool:
    """Whether the library says that it reads and writes memory of NVIDIA's cards.

    It is asked by the extensions of Open MPI and of MPICH; one without them does not say so.
    """
    for path in (None, MPI.__file__):
        try:
            symbols = ctypes.CDLL(path)
        except OSError:
            continue
        if (query := getattr(symbols, "MPIX_Query_cuda_support", None)) and query() == 1:
            return True
        if query := getattr(symbols, "MPIX_GPU_query_support", None):
            answer = ctypes.c_int(0)
            if query(ctypes.c_int(GPU_SUPPORT_CUDA), ctypes.byref(answer)) == 0 and answer.value:
                return True
    return False


def abort(comm: MPI.Comm, code: int) -> None:
    """End all ranks; MPICH's returns now and then."""
    comm.Abort(code)

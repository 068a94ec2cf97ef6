"""Messages between memories that MPI may be unable to read, tried out before they are relied on."""

import time
from typing import Any, Protocol

from mpi4py import MPI

from burgers_adjoint.parallel.agreement import Comm

SECONDS = 30.0
SECONDS_BETWEEN_LOOKS = 1e-4
TAG = 7

# what MPI may still read or write stays
_unfinished: list[Any] = []


class Memory(Protocol):
    """Memory, of a device or not.

    Attributes:
        address: of its first byte.
        nbytes: of it.
    """

    @property
    def address(self) -> int: ...
    @property
    def nbytes(self) -> int: ...


def apart(comm: Comm) -> Comm:
    """The ranks, whose messages meet no others': what never arrives is in nobody's way.

    To be freed only if all messages have arrived: MPI gives its number to the next communicator,
    and a late message to that one, or to memory that is gone.
    """
    return comm.Dup()


def passed_around(comm: Comm, sent: Memory, received: Memory) -> bool:
    """Send memory to the next rank, the last one's to the first, and get the one before's.

    Collective; all memories have one size.

    Returns:
        Whether this rank's messages have come and gone within `SECONDS`.
    """
    after, before = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    requests = [
        comm.Irecv([_bytes(received), MPI.BYTE], source=before, tag=TAG),
        comm.Isend([_bytes(sent), MPI.BYTE], dest=after, tag=TAG),
    ]
    begun = time.monotonic()
    while not MPI.Request.Testall(requests):
        if time.monotonic() - begun > SECONDS:
            requests[0].Cancel()
            _unfinished.append((requests, sent, received))
            return False
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return True


def _bytes(memory: Memory) -> Any:
    return MPI.memory.fromaddress(memory.address, memory.nbytes)

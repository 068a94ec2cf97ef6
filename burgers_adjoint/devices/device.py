"""The seam to a graphics processor: memory, streams, functions and copies, and nothing else."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

Stream = Any
"""Work of a device that is done in order; of two streams only where one waits for an event."""

Event = Any
"""A place in a stream that can be waited for."""

Function = Any
"""A compiled kernel of a device."""


class Memory(Protocol):
    """A piece of a device's memory, freed when this object dies.

    Attributes:
        address: of its first byte, a multiple of 64.
        n_bytes: of it.
    """

    address: int
    n_bytes: int


class Device(Protocol):
    """A graphics processor, and one stream of it in which steps are taken.

    Calls return before the work is done, all but `synchronize`. Objects are told apart by identity.

    Attributes:
        name: of the card.
        card: what tells cards of a node apart.
        n_processors: its multiprocessors.
        shared_bytes: the most shared memory that a block of threads can have.
        main: the stream of steps.
        direct: whether MPI is to read and write its memory.
    """

    name: str
    card: str
    n_processors: int
    shared_bytes: int
    main: Stream
    direct: bool

    def share(self, n_ranks: int) -> None:
        """Leave the others that have this card, too, their part of its memory.

        Args:
            n_ranks: that have it, this one among them.

        Raises:
            ConfigError: they are more than make sense.
        """
        ...

    def allocate(self, n_bytes: int, zeroed: bool = True) -> Memory:
        """Take memory, filled with zeros in the order of the main stream.

        It may be given away again as soon as the object dies, to work of the main stream: who uses
        it in another one keeps it until that is done, and lets that wait for the zeros.

        Args:
            n_bytes: of it.
            zeroed: False leaves what was there.

        Raises:
            ConfigError: there is not so much.
        """
        ...

    def pinned(self, n_bytes: int) -> np.ndarray:
        """Page-locked memory of the host, uint8, for copies that go on beside other work."""
        ...

    def stream(self) -> Stream:
        """A new stream."""
        ...

    def function(self, source: str, name: str, shared_bytes: int = 0) -> Function:
        """Compile a kernel, once in a process.

        Args:
            source: of it, without the prelude; see `prelude`.
            name: of its entry.
            shared_bytes: the most dynamic shared memory of a block that a launch will ask for.
        """
        ...

    def launch(
        self,
        function: Function,
        blocks: tuple[int, int],
        threads: int,
        shared_bytes: int,
        arguments: Sequence[Any],
        stream: Stream | None = None,
    ) -> None:
        """Start a kernel.

        It is given blocks_x, blocks_y, threads and shared_doubles, each an int, and the arguments.

        Args:
            function: see `function`.
            blocks: of it, (x, y).
            threads: of a block.
            shared_bytes: dynamic shared memory of a block.
            arguments: numbers np.int32, np.int64 and np.float64; addresses np.uint64; structs of
                doubles, by value, arrays of no axes and a dtype with a field.
            stream: of it; the main one when not given.
        """
        ...

    def copy(
        self,
        target: int,
        target_pitch: int,
        source: int,
        source_pitch: int,
        width: int,
        height: int,
        kind: str,
        stream: Stream | None = None,
    ) -> None:
        """Start a copy of rows.

        Args:
            target, source: addresses.
            target_pitch, source_pitch: bytes from one row to the next.
            width: bytes of a row.
            height: number of rows.
            kind: "to device", "to host" or "on device".
            stream: of it; the main one when not given.
        """
        ...

    def record(self, stream: Stream) -> Event:
        """The place in a stream that it has been given work up to."""
        ...

    def wait(self, stream: Stream, event: Event) -> None:
        """Let the further work of a stream wait for an event; returns at once."""
        ...

    def synchronize(self, stream: Stream | Event | None = None) -> None:
        """Wait for an event, or for all work of a stream: the main one when not given."""
        ...

    def memory_info(self) -> tuple[int, int]:
        """Bytes that can still be taken, and all bytes of the device."""
        ...

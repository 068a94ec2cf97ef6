"""NVIDIA's cards, by way of CuPy: its compiler's cache, its pools of memory, its streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burgers_adjoint.devices.device import Event, Function, Stream
from burgers_adjoint.devices.prelude import DEVICE, NVRTC_OPTIONS
from burgers_adjoint.errors import ConfigError

OTHERWISE = 'or set parallel.device = "cpu"'
MOST_RANKS = 8  # of a card: each has its own half a gigabyte there, and they take turns
SHARED_WITHOUT_ASKING = 48 * 1024  # bytes of a block's dynamic shared memory


class CudaMemory:
    """A piece of a card's memory; see `device.Memory`."""

    def __init__(self, pointer: Any, n_bytes: int) -> None:
        self._pointer = pointer  # gives the memory back to the pool when it dies
        self.address, self.n_bytes = int(pointer.ptr), n_bytes


class Cuda:
    """A card; see `device.Device`.

    Args:
        local_rank: number of this rank among those of its node, which share the node's cards.

    Raises:
        ConfigError: there is no CuPy, or it finds no card, driver or compiler.
    """

    def __init__(self, local_rank: int = 0) -> None:
        self._cupy = _cupy()
        self._runtime = runtime = self._cupy.cuda.runtime
        self._number = number = local_rank % self._number_of_cards()
        self._kinds = {
            "to device": runtime.memcpyHostToDevice,
            "to host": runtime.memcpyDeviceToHost,
            "on device": runtime.memcpyDeviceToDevice,
        }
        self._functions: dict[tuple[str, str], Any] = {}
        self._shared_bytes: dict[tuple[str, str], int] = {}
        self._events = self._cupy.cuda.Event
        self._use()
        self._pool = self._cupy.cuda.MemoryPool()
        self.main = self.stream()
        self.name = runtime.getDeviceProperties(number)["name"].decode()
        attributes = self._cupy.cuda.Device(number).attributes
        self.n_processors = int(attributes["MultiProcessorCount"])
        self.shared_bytes = int(attributes["MaxSharedMemoryPerBlockOptin"])
        self.card = str(runtime.deviceGetPCIBusId(number))
        self._n_sharing = 1
        self.direct = False

    def _number_of_cards(self) -> int:
        try:
            n_cards = int(self._runtime.getDeviceCount())
            version = self._cupy.cuda.nvrtc.getVersion()
        except Exception as error:  # of a driver or a library that is not there: of many kinds
            raise _not_usable("finds no card that it can use", error) from error
        if not n_cards or not version:
            raise ConfigError(f'parallel.device = "cuda" needs an NVIDIA card, {OTHERWISE}')
        return n_cards

    def share(self, n_ranks: int) -> None:
        """See `device.Device`."""
        if n_ranks > MOST_RANKS:
            raise ConfigError(
                f'parallel.device = "cuda": {n_ranks} ranks share one card: start one for each '
                f"card, {MOST_RANKS} at most, {OTHERWISE}"
            )
        self._n_sharing = n_ranks

    def _use(self) -> None:
        """Turn the calling thread to this card; threads start with the first one."""
        self._runtime.setDevice(self._number)

    def allocate(self, n_bytes: int, zeroed: bool = True) -> CudaMemory:
        """See `device.Device`."""
        self._use()
        try:
            pointer = self._pool.malloc(max(n_bytes, 1))
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            free, total = self.memory_info()
            raise ConfigError(
                f"{self.name} has no room for {n_bytes} bytes more: {free} of {total} bytes are "
                f"free; take a smaller grid, fewer directions at once or more cards, {OTHERWISE}"
            ) from error
        if zeroed and n_bytes:
            self._runtime.memsetAsync(pointer.ptr, 0, n_bytes, self.main.ptr)
        return CudaMemory(pointer, n_bytes)

    def pinned(self, n_bytes: int) -> np.ndarray:
        """See `device.Device`."""
        self._use()
        # not of CuPy's pool, which would keep it when its user is done
        memory = self._cupy.cuda.PinnedMemory(max(n_bytes, 1))
        pointer = self._cupy.cuda.PinnedMemoryPointer(memory, 0)
        return np.frombuffer(pointer, dtype=np.uint8, count=n_bytes)

    def stream(self) -> Stream:
        """See `device.Device`."""
        self._use()
        return self._cupy.cuda.Stream(non_blocking=True)

    def function(self, source: str, name: str, shared_bytes: int = 0) -> Function:
        """See `device.Device`."""
        key = source, name
        if key not in self._functions:
            self._use()
            module = self._cupy.RawModule(
                code=DEVICE + source, options=NVRTC_OPTIONS, backend="nvrtc"
            )
            self._functions[key] = module.get_function(name)
        function = self._functions[key]
        if shared_bytes > self._shared_bytes.get(key, SHARED_WITHOUT_ASKING):
            self._use()
            function.max_dynamic_shared_size_bytes = shared_bytes
            self._shared_bytes[key] = shared_bytes
        return function

    def launch(
        self,
        function: Function,
        blocks: tuple[int, int],
        threads: int,
        shared_bytes: int,
        arguments: Sequence[Any],
        stream: Stream | None = None,
    ) -> None:
        """See `device.Device`."""
        frame = (np.int32(n) for n in (*blocks, threads, shared_bytes // 8))
        self._use()
        with stream or self.main:
            function(blocks, (threads,), (*frame, *arguments), shared_mem=shared_bytes)

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
        """See `device.Device`."""
        if not width or not height:
            return
        where = (stream or self.main).ptr
        number = self._kinds[kind]
        self._use()
        if height == 1 or target_pitch == source_pitch == width:
            self._runtime.memcpyAsync(target, source, width * height, number, where)
        else:
            self._runtime.memcpy2DAsync(
                target, target_pitch, source, source_pitch, width, height, number, where
            )

    def record(self, stream: Stream) -> Event:
        """See `device.Device`."""
        self._use()
        event = self._events(block=False, disable_timing=True)
        event.record(stream)
        return event

    def wait(self, stream: Stream, event: Event) -> None:
        """See `device.Device`."""
        self._use()
        stream.wait_event(event)

    def synchronize(self, stream: Stream | Event | None = None) -> None:
        """See `device.Device`."""
        self._use()
        (self.main if stream is None else stream).synchronize()

    def memory_info(self) -> tuple[int, int]:
        """See `device.Device`."""
        self._use()
        free, total = self._runtime.memGetInfo()
        return int(free) // self._n_sharing + int(self._pool.free_bytes()), int(total)


def _cupy() -> Any:
    """CuPy, which is imported only where a card is asked for."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "cupy":
            raise _not_usable("cannot be imported", error) from error
        raise ConfigError(
            'parallel.device = "cuda" needs CuPy: pip install burgers_adjoint[cuda], '
            f"or CuPy for this driver's version of CUDA; {OTHERWISE}"
        ) from None
    except ImportError as error:
        raise _not_usable("cannot be imported", error) from error
    return cupy


def _not_usable(what: str, error: Exception) -> ConfigError:
    """One line about a CuPy that is there, but not of use."""
    lines = [line.strip() for line in str(error).splitlines()]
    reason = next((line for line in lines if line.strip("= ")), type(error).__name__)
    return ConfigError(
        f'parallel.device = "cuda": CuPy {what} ({reason}); see that the driver, the card and a '
        f"CuPy for its version of CUDA are there, {OTHERWISE}"
    )

"""A device that is none: memory of the host, kernels compiled by the system's compiler.

It does at once what it is asked for, and writes down what that was.
"""

import ctypes
import hashlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from burgers_adjoint.devices.prelude import HOST, HOST_OPTIONS
from burgers_adjoint.errors import ConfigError

C_TYPES = {
    np.int32: ctypes.c_int,
    np.int64: ctypes.c_longlong,
    np.float64: ctypes.c_double,
    np.uint64: ctypes.c_void_p,
}
FOLDER = Path(tempfile.gettempdir()) / f"burgers_adjoint-stand-in-{os.getuid()}"


def _options() -> tuple[str, ...]:
    flags = Path("/proc/cpuinfo")
    has_fma = flags.exists() and " fma " in flags.read_text(encoding="utf-8")
    return (
        *HOST_OPTIONS,
        "-Wall",
        "-Wno-unused-variable",
        "-Wno-unused-but-set-variable",
        "-Werror",
        *(("-mfma",) if has_fma else ()),
    )


OPTIONS = _options()
LONG = 10_000  # characters of a kernel


class HostMemory:
    """See `Memory`."""

    def __init__(self, n_bytes: int) -> None:
        self.array = np.zeros(n_bytes + 64, dtype=np.uint8)
        self.n_bytes = n_bytes
        self.address = self.array.ctypes.data + -self.array.ctypes.data % 64


@dataclass(frozen=True)
class HostStream:
    """See `Stream`; the main one has number 0."""

    number: int


@dataclass(frozen=True)
class HostEvent:
    """See `Event`; events are counted."""

    number: int


@dataclass(frozen=True)
class HostFunction:
    """A function of a shared library."""

    name: str
    call: Any
    shared_bytes: int


def compiled(source: str) -> ctypes.CDLL:
    """A kernel's text as a library, which stays for later processes."""
    text = HOST + source
    # what takes long to compile is not optimised: sweeps of tests are small
    options = *OPTIONS, "-O1" if len(source) < LONG else "-O0"
    key = hashlib.sha256("\0".join([text, *options]).encode()).hexdigest()[:24]
    library = FOLDER / f"{key}.so"
    if not library.exists():
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        mine = FOLDER / f"{key}.{os.getpid()}.{threading.get_ident()}"
        code = mine.with_name(f"{mine.name}.cpp")
        code.write_text(text, encoding="utf-8")
        command = ["g++", *options, "-shared", "-fPIC", str(code), "-o", str(mine)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{done.stderr}\n{source}")
        code.unlink()
        mine.replace(library)
    return ctypes.CDLL(str(library))


def _given(argument: Any) -> Any:
    """An argument of a kernel, in its own type: a struct, or what is known."""
    if isinstance(argument, np.ndarray):
        assert argument.shape == (), "arrays are given by their addresses"

        class Struct(ctypes.Structure):
            _fields_ = [("bytes", ctypes.c_double * (argument.nbytes // 8))]

        return Struct.from_buffer_copy(argument.tobytes())
    # a KeyError: what a kernel is not given by its own type arrives as something else
    return C_TYPES[type(argument)](argument.item())


class StandIn:
    """See `Device`.

    Args:
        n_processors: that it says it has.
        n_bytes: of its memory.

    Attributes:
        calls: what it was asked to do: ("launch", name, stream), ("copy", kind, stream),
            ("record", event, stream), ("wait", event, stream) and ("synchronize", event or None,
            stream or None), streams and events by number.
        brought: bytes of each copy to the host.
    """

    name = card = "stand-in"

    def __init__(self, n_processors: int = 2, n_bytes: int = 2**34) -> None:
        self.n_processors, self._n_bytes = n_processors, n_bytes
        self.shared_bytes = 227 * 1024
        self.calls: list[tuple[Any, ...]] = []
        self.brought: list[int] = []
        self.main = HostStream(0)
        self.direct = False
        self._n_streams = self._n_events = 0
        self._functions: dict[tuple[str, str], HostFunction] = {}
        self._memories: WeakSet[HostMemory] = WeakSet()

    def share(self, n_ranks: int) -> None:
        assert n_ranks > 0

    def allocate(self, n_bytes: int, zeroed: bool = True) -> HostMemory:
        free, _ = self.memory_info()
        if n_bytes > free:
            raise ConfigError(f"{self.name} has no room for {n_bytes} bytes more: {free} are free")
        memory = HostMemory(n_bytes)
        if not zeroed:
            memory.array.fill(255)  # not a number: nobody may count on zeros
        self._memories.add(memory)
        return memory

    def pinned(self, n_bytes: int) -> np.ndarray:
        return np.full(n_bytes, 255, dtype=np.uint8)

    def stream(self) -> HostStream:
        self._n_streams += 1
        return HostStream(self._n_streams)

    def function(self, source: str, name: str, shared_bytes: int = 0) -> HostFunction:
        key = source, name
        known = self._functions.get(key)
        if known is None or known.shared_bytes < shared_bytes:
            call = known.call if known else getattr(compiled(source), name)
            call.restype = None
            self._functions[key] = HostFunction(name, call, shared_bytes)
        return self._functions[key]

    def launch(
        self,
        function: HostFunction,
        blocks: tuple[int, int],
        threads: int,
        shared_bytes: int,
        arguments: Sequence[Any],
        stream: HostStream | None = None,
    ) -> None:
        assert 0 < blocks[0] < 2**31
        assert 0 < blocks[1] < 2**16
        assert 0 < threads <= 1024
        assert shared_bytes <= function.shared_bytes or shared_bytes == 0
        self.calls.append(("launch", function.name, (stream or self.main).number))
        given = [ctypes.c_int(n) for n in (*blocks, threads, shared_bytes // 8)]
        given += map(_given, arguments)
        function.call(*given)

    def copy(
        self,
        target: int,
        target_pitch: int,
        source: int,
        source_pitch: int,
        width: int,
        height: int,
        kind: str,
        stream: HostStream | None = None,
    ) -> None:
        self.calls.append(("copy", kind, (stream or self.main).number))
        if not width or not height:
            return
        if kind == "to host":
            self.brought.append(width * height)
        there = {"to device": (True, False), "to host": (False, True), "on device": (True, True)}
        ends = (target, target_pitch), (source, source_pitch)
        rows = []
        for (address, pitch), on_device in zip(ends, there[kind], strict=True):
            assert pitch >= width or height == 1
            n_bytes = (height - 1) * pitch + width
            held = self._holds(address, n_bytes)
            assert held == on_device, f"{kind}: {address:#x} is {'' if held else 'not '}there"
            raw = (ctypes.c_uint8 * n_bytes).from_address(address)
            flat = np.frombuffer(raw, dtype=np.uint8)
            rows.append(np.lib.stride_tricks.as_strided(flat, (height, width), (pitch, 1)))
        rows[0][...] = rows[1]

    def record(self, stream: HostStream) -> HostEvent:
        self._n_events += 1
        self.calls.append(("record", self._n_events, stream.number))
        return HostEvent(self._n_events)

    def wait(self, stream: HostStream, event: HostEvent) -> None:
        self.calls.append(("wait", event.number, stream.number))

    def synchronize(self, stream: HostStream | HostEvent | None = None) -> None:
        if isinstance(stream, HostEvent):
            self.calls.append(("synchronize", stream.number, None))
        else:
            self.calls.append(("synchronize", None, (stream or self.main).number))

    def memory_info(self) -> tuple[int, int]:
        used = sum(memory.n_bytes for memory in self._memories)
        return self._n_bytes - used, self._n_bytes

    def _holds(self, address: int, n_bytes: int) -> bool:
        """Whether bytes lie in memory that was taken here and is still held."""
        return any(
            memory.address <= address and address + n_bytes <= memory.address + memory.n_bytes
            for memory in self._memories
        )

"""Kernels compile for NVIDIA's cards, and cards are asked by way of CuPy for what they should."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from device_probe import PROBE

from burgers_adjoint.devices import cuda, parcels, scans
from burgers_adjoint.devices.cuda import Cuda
from burgers_adjoint.devices.elementwise import OPERATIONS, kernel_of
from burgers_adjoint.devices.prelude import DEVICE
from burgers_adjoint.errors import ConfigError


def every_source() -> str:
    binary = {"add", "subtract", "multiply", "divide"}
    texts = [PROBE, scans.ADD_BINS, scans.FIRST_NOT_FINITE, parcels.PACK, parcels.UNPACK]
    texts += [parcels.WRAP, scans.LARGEST, scans.ADD_HASHES]
    for operation in OPERATIONS:
        n_operands = 2 if operation in binary else 1
        texts += [kernel_of(operation, n)[1] for n in product([False, True], repeat=n_operands)]
    return "\n".join(texts)


@pytest.mark.skipif(not shutil.which("nvcc"), reason="needs NVIDIA's compiler")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_kernels_compile_for_cards(architecture: str, tmp_path: Path) -> None:
    source = tmp_path / "all.cu"
    source.write_text(DEVICE + every_source(), encoding="utf-8")
    command = ["nvcc", f"-arch={architecture}", "-cubin", "--fmad=false", "-std=c++17"]
    command += ["-Werror=all-warnings", "-o", str(tmp_path / "all.cubin"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr


def test_error_says_that_cupy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ConfigError, match="CuPy") as caught:
        Cuda()
    assert 'parallel.device = "cpu"' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_error_of_a_broken_cupy_is_one_line() -> None:
    text = "\n=====\nFailed to import CuPy.\n\nOriginal error:\n  libcuda.so.1 is not there\n====="
    message = str(cuda._not_usable("cannot be imported", ImportError(text)))
    assert "Failed to import CuPy." in message
    assert "\n" not in message
    assert "RuntimeError" in str(cuda._not_usable("finds no card", RuntimeError()))


class FakeCupy:
    """As much of CuPy as is called, written down; its memory is the host's."""

    def __init__(self, n_cards: int = 2) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.n_bytes_free = 1000

        class OutOfMemoryError(MemoryError):
            pass

        def noted(name: str) -> Callable[..., None]:
            return lambda *given: self.calls.append((name, *given))

        def malloc(n_bytes: int) -> SimpleNamespace:
            if n_bytes > self.n_bytes_free:
                raise OutOfMemoryError
            return SimpleNamespace(ptr=4096)

        def event(block: bool, disable_timing: bool) -> SimpleNamespace:
            return SimpleNamespace(record=noted("record"), synchronize=noted("event"))

        def stream(non_blocking: bool) -> Any:
            made = MagicMock(ptr=7)
            made.synchronize, made.wait_event = noted("synchronize"), noted("wait")
            return made

        def kernel(blocks: Any, threads: Any, arguments: Any, shared_mem: int) -> None:
            self.calls.append(("launch", blocks, threads, arguments, shared_mem))

        self.kernel = MagicMock(side_effect=kernel, spec_set=["max_dynamic_shared_size_bytes"])
        self.RawModule = MagicMock(return_value=MagicMock(get_function=lambda name: self.kernel))
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(
                memcpyHostToDevice=1, memcpyDeviceToHost=2, memcpyDeviceToDevice=3,
                getDeviceCount=lambda: n_cards, memGetInfo=lambda: (1000, 3000),
                getDeviceProperties=lambda number: {"name": f"card {number}".encode()},
                setDevice=lambda number: None,
                deviceGetPCIBusId=lambda number: f"0:{number}", memsetAsync=noted("memset"),
                memcpyAsync=noted("copy"), memcpy2DAsync=noted("copy2D"),
            ),
            nvrtc=SimpleNamespace(getVersion=lambda: (12, 9)),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            MemoryPool=lambda: SimpleNamespace(malloc=malloc, free_bytes=lambda: 11),
            Device=lambda number: SimpleNamespace(
                attributes={"MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": 166912}
            ),
            PinnedMemory=bytearray, PinnedMemoryPointer=lambda memory, offset: memory,
            Stream=stream, Event=event,
        )  # fmt: skip


def test_card_is_asked_for_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    card = Cuda(local_rank=3)
    assert (card.name, card.n_processors, card.shared_bytes) == ("card 1", 132, 166912)
    assert card.memory_info() == (1011, 3000)
    memory = card.allocate(800)
    assert (memory.address, memory.n_bytes) == (4096, 800)
    card.allocate(800, zeroed=False)
    assert fake.calls == [("memset", 4096, 0, 800, 7)]
    with pytest.raises(ConfigError, match="1001 bytes more: 1011 of 3000 bytes are free"):
        card.allocate(1001)
    assert card.pinned(24).view(np.float64).shape == (3,)
    fake.calls.clear()
    card.copy(1, 20, 2, 30, 10, 3, "to host")
    card.copy(1, 10, 2, 10, 10, 3, "to device")
    card.copy(1, 99, 2, 10, 10, 1, "on device")
    card.copy(1, 99, 2, 10, 0, 1, "on device")
    event = card.record(card.main)
    card.wait(card.stream(), event)
    card.synchronize(event)
    card.synchronize()
    assert fake.calls == [
        ("copy2D", 1, 20, 2, 30, 10, 3, 2, 7), ("copy", 1, 2, 30, 1, 7), ("copy", 1, 2, 10, 3, 7),
        ("record", card.main), ("wait", event), ("event",), ("synchronize",),
    ]  # fmt: skip


def test_kernels_of_a_card_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    card = Cuda()
    for shared_bytes in (0, 1000, 100_000, 60_000):
        assert card.function(PROBE, "probe", shared_bytes) is fake.kernel
    fake.RawModule.assert_called_once_with(
        code=DEVICE + PROBE, options=("--fmad=false", "-std=c++17"), backend="nvrtc"
    )
    assert fake.kernel.max_dynamic_shared_size_bytes == 100_000
    card.launch(fake.kernel, (2, 3), 64, 100_000, [np.uint64(4096), np.float64(0.5)])
    expected = (2, 3, 64, 12_500, 4096, 0.5)
    assert fake.calls == [("launch", (2, 3), (64,), expected, 100_000)]
    types = [type(one) for one in fake.calls[0][3]]
    assert types == [*[np.int32] * 4, np.uint64, np.float64]
    card.main.__enter__.assert_called_once_with()


def test_errors_of_cards_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCupy(n_cards=0)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    with pytest.raises(ConfigError, match="needs an NVIDIA card"):
        Cuda()

    def fails() -> None:
        raise RuntimeError("cudaErrorInsufficientDriver: too old")

    fake.cuda.runtime.getDeviceCount = fails
    with pytest.raises(ConfigError, match=r"finds no card.*too old"):
        Cuda()


def test_too_many_ranks_of_a_card_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCupy(n_cards=2)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    card = Cuda()
    with pytest.raises(ConfigError, match="9 ranks share one card: start one for each card, 8 at"):
        card.share(9)
    free, _ = card.memory_info()
    card.share(4)
    assert card.memory_info()[0] < free

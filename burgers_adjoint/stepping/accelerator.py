"""The seam's second side: sweeps of blocks of threads, on arrays of a graphics processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burgers_adjoint.devices.array import DeviceArray
from burgers_adjoint.devices.device import Device
from burgers_adjoint.kernels.cuda_source import Source
from burgers_adjoint.kernels.marching import March
from burgers_adjoint.kernels.programs import Buffer, Level
from burgers_adjoint.kernels.tiling import Tiling, tiling_of
from burgers_adjoint.kernels.wavefront import Frame
from burgers_adjoint.stepping.backend import Passes
from burgers_adjoint.stepping.passes import Arrays, Finder, Pass
from burgers_adjoint.stepping.runge_kutta import StepKinds
from burgers_adjoint.stepping.step_levels import StepLevels

FAR = 2**29  # a row or column that no tile has


class Accelerator:
    """A backend on a device; see `backend.Backend`.

    Args:
        device: it.
        tiling: of all sweeps; chosen for each when not given.
        most_steps: see `backend.Backend`.
    """

    in_place = False

    def __init__(
        self,
        device: Device,
        tiling: Tiling | None = None,
        most_steps: tuple[int, int] = (4, 3),
    ) -> None:
        self.device, self.tiling = device, tiling
        self.most_steps: tuple[int, int] | None = most_steps

    def passes(
        self, kinds: StepKinds, forward: StepLevels, backward: StepLevels, frame: Frame
    ) -> Passes:
        spares = Spares(self)
        spares.of(0, (kinds.n_fields, frame.layout.n_rows, frame.layout.pitch))
        if not forward.split:
            # a step that no block has room for is refused before the run
            ends = [Buffer(kinds.n_fields, name) for name in ("start", "end")]
            self.tiling_of(March(forward.forward(ends)), frame)
            self.tiling_of(March(backward.adjoint(ends[0], ends[1:])), frame)

        def whole(role: str, levels: Sequence[Level], frame: Frame) -> Pass:
            return MarchPass(levels, frame, self, spares)

        return whole

    def tiling_of(self, march: March, frame: Frame) -> Tiling:
        """The tiling of a sweep over a tile.

        Raises:
            ConfigError: no block of the device has room for it.
        """
        if self.tiling is not None:
            return self.tiling
        rows, columns = frame.rows, frame.columns
        size = rows.stop - rows.start, columns.stop - columns.start
        return tiling_of(march, *size, self.device.n_processors, self.device.shared_bytes)

    def finish(self) -> None:
        self.device.synchronize()

    def zeros(self, shape: tuple[int, ...]) -> DeviceArray:
        return DeviceArray.zeros(self.device, shape)


class Spares:
    """Memory for new values of arrays, which sweeps of one engine take turns with."""

    def __init__(self, backend: Accelerator) -> None:
        self._backend = backend
        self._arrays: dict[tuple[int, tuple[int, ...]], DeviceArray] = {}

    def of(self, number: int, shape: tuple[int, ...]) -> DeviceArray:
        """An array, for so many before it; what it holds is of no meaning."""
        if (number, shape) not in self._arrays:
            self._arrays[number, shape] = self._backend.zeros(shape)
        return self._arrays[number, shape]


class MarchPass:
    """A program as one launch.

    Args:
        levels: of the program.
        frame: of the tile.
        backend: where it runs.
        spares: memory for new values.

    Raises:
        ConfigError: no block of the device has room for the rows of the sweep.
    """

    def __init__(
        self, levels: Sequence[Level], frame: Frame, backend: Accelerator, spares: Spares
    ) -> None:
        self._device, self._spares = backend.device, spares
        march = March(levels)
        columns, rows = frame.columns, frame.rows
        n_columns, n_rows = columns.stop - columns.start, rows.stop - rows.start
        tiling = backend.tiling_of(march, frame)
        self._threads, self._shared_bytes = tiling.threads, tiling.shared_bytes(march)
        source = Source(march, tiling.threads, tiling.points, tiling.ahead)
        self._arrays = source.arrays
        self._table = np.zeros((), dtype=[("c", np.float64, source.numbers_shape)])
        self._function = self._device.function(source.text, "sweep", self._shared_bytes)
        span = tiling.span(march)
        self._blocks = -(-n_columns // span), -(-n_rows // tiling.height)
        ends = [
            far if end is None else end
            for end, far in zip(
                (frame.south, frame.north, frame.west, frame.east),
                (-FAR, FAR, -FAR, FAR),
                strict=True,
            )
        ]
        layout = frame.layout
        self._geometry = [
            np.int32(one)
            for one in (
                layout.pitch, layout.n_rows, rows.start, rows.stop, columns.start, columns.stop,
                *ends, span, tiling.height,
            )
        ]  # fmt: skip

    def run(self, arrays: Arrays, find: Finder, numbers: np.ndarray) -> None:
        """See `passes.Pass`; arrays are those of the device."""
        found: list[Any] = [
            arrays[buffer.source] if buffer.source in arrays else find(buffer.source)
            for buffer, _ in self._arrays
        ]
        read = {one.address for one, (_, new) in zip(found, self._arrays, strict=True) if not new}
        swapped: list[tuple[DeviceArray, DeviceArray]] = []
        addresses = []
        for one, (_, new) in zip(found, self._arrays, strict=True):
            target = one
            if new and one.address in read:
                target = self._spares.of(len(swapped), one.shape)
                swapped.append((one, target))
            addresses.append(np.uint64(target.address))
        own = self._table["c"]
        n_rows, n_columns = own.shape
        own[:, : numbers.shape[1]] = numbers[:n_rows, :n_columns]
        self._device.launch(
            self._function, self._blocks, self._threads, self._shared_bytes,
            [*self._geometry, *addresses, self._table],
        )  # fmt: skip
        for one, target in swapped:
            one.swap(target)

"""Arrays on a device, which the rest of the program uses as it uses NumPy's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from burgers_adjoint.devices import scans
from burgers_adjoint.devices.asides import Aside, has_room
from burgers_adjoint.devices.device import Device, Memory
from burgers_adjoint.devices.elementwise import Operand, compute, number_of, operation_of
from burgers_adjoint.devices.parcels import Parcel, Post, Wrap
from burgers_adjoint.devices.staging import Staging
from burgers_adjoint.devices.view import View, padded, sheets
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.reductions import carry

MOST_COPIES = 8  # of one view: what needs more goes by a kernel


class Whole:
    """Memory of an array and of all views of it."""

    def __init__(self, device: Device, size: int, zeroed: bool = True) -> None:
        self.device, self.size = device, size
        self.memory: Memory = device.allocate(max(size, 1) * 8, zeroed)


class DeviceArray(NDArrayOperatorsMixin):
    """An array of float64 on a device, or a view of one; made by `zeros`.

    Work on it is done in the order of the device's main stream. Indices that are integers, slices
    without a step and an ellipsis give views; what others give is on the host. Sums, differences,
    products, quotients, negatives, squares and magnitudes of arrays of one shape, and of them with
    numbers, are computed on the device, with NumPy's bits; everything else on the host, which gets
    the arrays for it, and results with it unless they are to go into an array of the device.

    Attributes:
        shape, ndim, size, nbytes: as of NumPy's arrays.
        dtype: float64.
        device: that has it.
    """

    dtype = np.dtype(np.float64)

    def __init__(self, whole: Whole, view: View) -> None:
        self._whole, self._view = whole, view
        self.device = whole.device
        self.shape = view.shape

    @classmethod
    def zeros(cls, device: Device, shape: int | Sequence[int]) -> DeviceArray:
        """A new array.

        Raises:
            ConfigError: the device's memory has no room for it.
        """
        return cls._new(device, shape, zeroed=True)

    @classmethod
    def _new(cls, device: Device, shape: int | Sequence[int], zeroed: bool = False) -> DeviceArray:
        numbers = (shape,) if isinstance(shape, int | np.integer) else shape
        view = View.whole(tuple(int(n) for n in numbers))
        return cls(Whole(device, view.size, zeroed), view)

    # ---- what it is

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._view.size

    @property
    def nbytes(self) -> int:
        """Bytes of all entries."""
        return 8 * self.size

    @property
    def address(self) -> int:
        """Where its first entry lies on the device, until the next `swap`."""
        return self._whole.memory.address + 8 * self._view.offset

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one entry to the next along each axis."""
        return tuple(8 * stride for stride in self._view.strides)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __bool__(self) -> bool:
        return bool(np.asarray(self))

    def __float__(self) -> float:
        return float(np.asarray(self))

    def __copy__(self) -> DeviceArray:
        return self.copy()

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, device={self.device.name!r})"

    # ---- views and copies

    def __getitem__(self, key: Any) -> Any:
        view = self._view.at(key)
        if view is None:
            values = np.asarray(np.asarray(self)[key])
            # what is written to it would not arrive here
            values.flags.writeable = False
            return values if values.ndim else values[()]
        found = DeviceArray(self._whole, view)
        return found if view.shape else np.asarray(found)[()]

    def __setitem__(self, key: Any, value: Any) -> None:
        view = self._view.at(key)
        if view is None:
            values = np.asarray(self)
            values[key] = np.asarray(value)
            self._upload(values)
        else:
            DeviceArray(self._whole, view)._assign(value)

    def reshape(self, *shape: Any) -> DeviceArray:
        """A view in another shape, of an array without gaps.

        Raises:
            ValueError: it has gaps, or another number of entries.
        """
        numbers = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return DeviceArray(self._whole, self._view.reshaped(numbers))

    def fill(self, value: float) -> None:
        """Give all entries a value."""
        if padded(self._view) is None:
            self._upload(np.full(self.shape, value, dtype=np.float64))
        else:
            compute(self.device, "copy", self._place, float(value))

    def copy(self) -> DeviceArray:
        """A new array of these entries, without gaps."""
        new = DeviceArray._new(self.device, self.shape)
        new._copy_from(self)
        return new

    def swap(self, other: DeviceArray) -> None:
        """Exchange the memory of two whole arrays of one shape, and so of all views of them.

        Raises:
            ValueError: one is a part of another array, or they are not alike.
        """
        for one in (self, other):
            if one.size != one._whole.size:
                raise ValueError("a part of an array cannot be exchanged")
        if self.shape != other.shape or self.device is not other.device:
            raise ValueError(f"cannot exchange arrays of shapes {self.shape} and {other.shape}")
        mine, theirs = self._whole, other._whole
        mine.memory, theirs.memory = theirs.memory, mine.memory

    # ---- to the host and back

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array of a device is only seen on the host as a copy")
        if self._scattered():
            return self.copy().__array__(dtype)
        values = np.empty(self.shape)
        place = self._place
        Staging.of(self.device).download(self.device, *place, values)
        return values if dtype is None else values.astype(dtype, copy=False)

    def set_aside(self) -> Aside | None:
        """A copy to bring to the host beside further work; None where the device has no room."""
        if not has_room(self.device, self.nbytes):
            return None
        try:
            copy = self.copy()
        except ConfigError:  # in pieces, or taken by others
            return None
        return Aside(self.device, copy, *copy._place)

    def _upload(self, values: np.ndarray) -> None:
        if self._scattered():
            new = DeviceArray._new(self.device, self.shape)
            new._upload(values)
            self._copy_from(new)
            return
        given = np.ascontiguousarray(values, dtype=np.float64)
        Staging.of(self.device).upload(self.device, given, *self._place)

    def _assign(self, value: Any) -> None:
        if isinstance(value, DeviceArray) and value.device is self.device:
            if value.shape == self.shape:
                self._copy_from(value)
                return
        elif (number := number_of(value)) is not None:
            self.fill(number)
            return
        self._upload(np.broadcast_to(np.asarray(value, dtype=np.float64), self.shape))

    def _copy_from(self, other: DeviceArray) -> None:
        """Copy the entries of an array of this shape on this device."""
        if not self.size or (self._whole is other._whole and self._view == other._view):
            return
        if self._overlaps(other):
            other = other.copy()
        together = list(sheets(self._view, other._view))
        if len(together) > MOST_COPIES and padded(self._view, other._view) is not None:
            compute(self.device, "copy", self._place, other._place)
            return
        (target, _), (source, _) = self._place, other._place
        for sheet in together:
            (to, start), (to_pitch, pitch) = sheet.offsets, sheet.pitches
            self.device.copy(
                target + 8 * to, 8 * to_pitch, source + 8 * start, 8 * pitch, 8 * sheet.width,
                sheet.height, "on device",
            )  # fmt: skip

    def _scattered(self) -> bool:
        """Whether a copy without gaps, made by a kernel, is a better start than many copies."""
        many = any(k >= MOST_COPIES for k, _ in enumerate(sheets(self._view)))
        return many and padded(self._view) is not None

    @property
    def _place(self) -> tuple[int, View]:
        return self._whole.memory.address, self._view

    def _overlaps(self, other: DeviceArray) -> bool:
        """Whether entries may be those of another array, if not each in its own place."""
        if self._whole is not other._whole or self._view == other._view:
            return False
        (start, stop), (other_start, other_stop) = self._view.extent, other._view.extent
        return start < other_stop and other_start < stop

    # ---- arithmetic

    def __pow__(self, exponent: Any) -> Any:
        # as NumPy's arrays do, whose power of 2 has other bits than the function of two arrays
        if isinstance(exponent, int | float | np.integer) and exponent == 2:
            return np.square(self)
        given = np.asarray(exponent) if isinstance(exponent, DeviceArray) else exponent
        return np.asarray(self) ** given

    def __ipow__(self, exponent: Any) -> DeviceArray:
        self[...] = self**exponent
        return self

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        operation = operation_of(ufunc)
        if operation and method == "__call__" and not options.keys() - {"out"}:
            (out,) = options.get("out") or (None,)
            if (result := self._on_device(operation, inputs, out)) is not None:
                return result
        return _on_host(ufunc, method, inputs, options)

    def _on_device(self, operation: str, inputs: Sequence[Any], out: Any) -> DeviceArray | None:
        """Result of an operation; None where it is none for this device."""
        arrays = [one for one in inputs if isinstance(one, DeviceArray)]
        if not arrays:
            return None
        arrays += [] if out is None else [out]
        for one in arrays:
            alike = isinstance(one, DeviceArray) and one.shape == self.shape
            if not alike or one.device is not self.device:
                return None
        given: list[DeviceArray | float] = []
        for one in inputs:
            operand = one if isinstance(one, DeviceArray) else number_of(one)
            if operand is None:
                return None
            given.append(operand)
        result = DeviceArray._new(self.device, self.shape) if out is None else out
        if padded(*(one._view for one in [result, *arrays])) is None:
            return None
        operands: list[Operand] = []
        kept = []  # until the operation is started
        for item in given:
            if not isinstance(item, DeviceArray):
                operands.append(item)
                continue
            kept.append(item.copy() if result._overlaps(item) else item)
            operands.append(kept[-1]._place)
        compute(self.device, operation, result._place, *operands)
        return result

    # ---- what is found in it

    def add_to_bins(self, totals: np.ndarray) -> None:
        """Add all entries to bins; see `parallel.reductions.add_to_bins`."""
        if self.size > scans.MOST_ENTRIES or padded(self._view) is None:
            flat = self.reshape(-1) if self._view.contiguous else self
            parts = (flat[: len(flat) // 2], flat[len(flat) // 2 :]) if len(flat) > 1 else flat
            for part in parts:
                part.add_to_bins(totals)
        elif self.size:
            totals += scans.bins_of(self.device, *self._place)
            carry(totals)

    def add_hashes(self, lanes: np.ndarray, first: int, pitch: int) -> None:
        """Add hashes of two axes' entries to lanes (2,) uint64; see `parallel.reductions.digest`.

        The first entry of row r has the number first + r pitch.
        """
        if self.size:
            lanes += scans.hashes_of(self.device, *self._place, first, pitch)

    def max(self, axis: Any = None, out: Any = None, **options: Any) -> Any:
        """The largest entry, as NumPy finds it; of all, and not by `where`, on the device."""
        all_of_it = axis is None and out is None and not options.keys() - {"initial"}
        if not all_of_it or not self.size or padded(self._view) is None:
            return np.asarray(self).max(axis=axis, out=out, **options)
        found = np.array([scans.largest(self.device, *self._place)])
        return found.max(**options)

    def first_not_finite(self) -> tuple[int, ...] | None:
        """Indices of the first entry in C order that is not finite; None where all are."""
        if not self.size:
            return None
        if padded(self._view) is None:
            return self.copy().first_not_finite()
        number = scans.first_not_finite(self.device, *self._place)
        if number is None:
            return None
        return tuple(int(place) for place in np.unravel_index(number, self.shape))

    # ---- messages

    def post(self, size: int) -> Post | None:
        """Memory beside this array for messages; None where MPI cannot read it there."""
        return Post.of(self.device, size)

    def pack(self, regions: np.ndarray, first_field: int, buffer: np.ndarray | Post) -> None:
        """Copy regions of all fields to a message; see `parallel.halo.pack`.

        One on the host is there when this returns, one on the device when its `ready` does.
        """
        if isinstance(buffer, Post):
            buffer.copy("pack", *self._place, regions, first_field)
        elif len(regions) and len(self):
            parcel = Parcel.of(self.device, regions, len(self))
            parcel.pack(self.device, *self._place, first_field, buffer)

    def unpack(self, buffer: np.ndarray | Post, regions: np.ndarray, first_field: int) -> None:
        """Copy a message to regions of all fields: the inverse of `pack`."""
        if isinstance(buffer, Post):
            buffer.copy("unpack", *self._place, regions, first_field)
        elif len(regions) and len(self):
            parcel = Parcel.of(self.device, regions, len(self))
            parcel.unpack(self.device, buffer, first_field, *self._place)

    def wrap(self, pairs: np.ndarray) -> None:
        """Copy regions of all fields to others, (n, 8); none overlaps with any."""
        if len(pairs) and len(self):
            Wrap.of(self.device, pairs).copy(self.device, *self._place)


def _on_host(ufunc: np.ufunc, method: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """What NumPy makes of arrays that are brought to the host; results go where they should."""
    given = [np.asarray(one) if isinstance(one, DeviceArray) else one for one in inputs]
    outs = options.pop("out", None) or ()
    all_new = method == "__call__" and "where" not in options
    theirs = tuple(_landing(one, all_new) if isinstance(one, DeviceArray) else one for one in outs)
    if outs:
        options["out"] = theirs
    if isinstance(options.get("where"), DeviceArray):
        options["where"] = np.asarray(options["where"])
    results = getattr(ufunc, method)(*given, **options)
    if method == "at" and isinstance(inputs[0], DeviceArray):
        inputs[0][...] = given[0]
    for one, values in zip(outs, theirs, strict=True):
        if isinstance(one, DeviceArray):
            one[...] = values
    if not outs:
        return results
    several = isinstance(results, tuple)
    kept = [
        out if isinstance(out, DeviceArray) else result
        for out, result in zip(outs, results if several else (results,), strict=True)
    ]
    return tuple(kept) if several else kept[0]


def _landing(array: DeviceArray, all_new: bool) -> np.ndarray:
    """Host memory for new values of an array; with its old ones where not all become new."""
    return np.empty(array.shape) if all_new else np.asarray(array)

"""Which entries of an array a view has, and where they lie: counts of doubles, no memory."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RANK = 4  # axes of views that kernels go over


@dataclass(frozen=True)
class View:
    """Entries of an array: the first one's place, their shape, and doubles from one to the next.

    Axes run from the slowest to the fastest, and none runs backwards.
    """

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def whole(cls, shape: tuple[int, ...], offset: int = 0) -> View:
        """Entries that lie without gaps in C order."""
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        return cls(offset, shape, tuple(strides))

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether the entries lie without gaps in C order."""
        shape, (strides,) = collapsed(self)
        return not self.size or len(shape) == 0 or (len(shape) == 1 and strides[0] == 1)

    @property
    def extent(self) -> tuple[int, int]:
        """Where the entries start, and past which place none lies."""
        if not self.size:
            return self.offset, self.offset
        last = sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        return self.offset, self.offset + last + 1

    def at(self, key: Any) -> View | None:
        """Entries of an index, as of NumPy's arrays; None where they are no such view.

        Raises:
            IndexError: an integer is out of range, or there are too many.
        """
        parts = list(key) if isinstance(key, tuple) else [key]
        if not all(map(_is_basic, parts)):
            return None
        places = [place for place, part in enumerate(parts) if part is Ellipsis]
        missing = len(self.shape) - len(parts) + len(places)
        if missing < 0 or len(places) > 1:
            raise IndexError(f"index {key} does not fit an array of shape {self.shape}")
        place = places[0] if places else len(parts)
        parts[place : place + len(places)] = [slice(None)] * missing
        offset, shape, strides = self.offset, [], []
        for part, n, stride in zip(parts, self.shape, self.strides, strict=True):
            if isinstance(part, slice):
                start, stop, _ = part.indices(n)
                shape.append(max(0, stop - start))
                strides.append(stride)
            else:
                start = operator.index(part)
                if not -n <= start < n:
                    raise IndexError(f"index {start} is out of range for an axis of {n}")
                start %= n
            offset += start * stride
        return View(offset, tuple(shape), tuple(strides))

    def reshaped(self, shape: Sequence[int]) -> View:
        """The entries in another shape, one of whose numbers may be -1.

        Raises:
            ValueError: they do not lie without gaps, or are not so many.
        """
        known = math.prod(n for n in shape if n != -1)
        numbers = tuple(self.size // max(known, 1) if n == -1 else int(n) for n in shape)
        if math.prod(numbers) != self.size or list(shape).count(-1) > 1:
            raise ValueError(f"cannot give shape {tuple(shape)} to an array of {self.shape}")
        if not self.contiguous:
            raise ValueError("cannot give another shape to a view with gaps; copy it first")
        return View.whole(numbers, self.offset)


def _is_basic(part: Any) -> bool:
    if isinstance(part, slice):
        return part.step is None or part.step == 1
    integer = isinstance(part, int | np.integer) and not isinstance(part, bool)
    return part is Ellipsis or integer


def collapsed(*views: View) -> tuple[list[int], list[list[int]]]:
    """Shape and strides of views of one shape with as few axes as can be, in the same order."""
    shape: list[int] = []
    strides: list[list[int]] = [[] for _ in views]
    for axis, n in enumerate(views[0].shape):
        if n == 1:
            continue
        steps = [view.strides[axis] for view in views]
        if shape and all(one[-1] == n * step for one, step in zip(strides, steps, strict=True)):
            shape[-1] *= n
            for one, step in zip(strides, steps, strict=True):
                one[-1] = step
            continue
        shape.append(n)
        for one, step in zip(strides, steps, strict=True):
            one.append(step)
    return shape, strides


def padded(*views: View) -> tuple[list[int], list[list[int]]] | None:
    """As `collapsed`, with `RANK` axes; None where there are more."""
    shape, strides = collapsed(*views)
    more = RANK - len(shape)
    if more < 0:
        return None
    return [1] * more + shape, [[0] * more + one for one in strides]


@dataclass(frozen=True)
class Sheet:
    """Rows of equal width and distance, counted in doubles.

    Attributes:
        offsets: where the first row starts, for each of several views.
        pitches: from one row to the next, likewise.
        width, height: of a row, and number of rows.
    """

    offsets: tuple[int, ...]
    pitches: tuple[int, ...]
    width: int
    height: int


def sheets(*views: View) -> Iterator[Sheet]:
    """The entries of views of one shape in C order, as few sheets as can be."""
    if not views[0].size:
        return
    shape, strides = collapsed(*views)
    if not shape or any(one[-1] != 1 for one in strides):
        shape, strides = [*shape, 1], [[*one, 1] for one in strides]
    if len(shape) == 1:
        shape, strides = [1, *shape], [[shape[0], *one] for one in strides]
    *outer, height, width = shape
    pitches = tuple(one[-2] for one in strides)
    for place in np.ndindex(*outer):
        offsets = tuple(
            view.offset + sum(map(operator.mul, place, one[:-2]))
            for view, one in zip(views, strides, strict=True)
        )
        yield Sheet(offsets, pitches, width, height)

"""What is found in all entries of an array on a device: exact sums, hashes, the largest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from burgers_adjoint.devices import entries
from burgers_adjoint.devices.device import Device
from burgers_adjoint.devices.staging import Staging
from burgers_adjoint.devices.view import View
from burgers_adjoint.parallel.reductions import LANES, N_BINS

# A bin of 64 bits has room for so many 33-bit integers.
MOST_ENTRIES = 2**29
COPIES = 32  # of the bins in a block, one for each lane of a warp: lanes do not wait for each other

_finite = "(bits_(*value) >> 52 & 2047) != 2047"

FIRST_NOT_FINITE = entries.kernel(
    "first_not_finite",
    ["const double* value"],
    ["int64 size", "uint64* found"],
    # the largest distance from the end, so that 0 says that there is none
    f"if (!({_finite})) ATOMIC_MAX(found, size - number);",
)

# see `parallel.reductions.add_bits`
ADD_BINS = entries.kernel(
    "add_bins",
    ["const double* value"],
    ["uint64* totals"],
    f"""\
const uint64 bits = bits_(*value);
          uint64 exponent = bits >> 52 & 2047, mantissa = bits & ((1ULL << 52) - 1);
          if (exponent == 2047) {{
            ATOMIC_ADD(mine + {N_BINS} * {COPIES}, 1);
          }} else if (exponent || mantissa) {{
            if (exponent) {{ mantissa |= 1ULL << 52; exponent -= 1; }}
            uint64* first = mine + (exponent >> 5) * {COPIES};
            const uint64 shift = exponent & 31;
            const uint64 low = (mantissa & 0xFFFFFFFFULL) << shift;
            const uint64 high = (mantissa >> 32) << shift;
            uint64 part0 = low & 0xFFFFFFFFULL;
            uint64 part1 = (low >> 32) + (high & 0xFFFFFFFFULL);
            uint64 part2 = high >> 32;
            if (bits >> 63) {{ part0 = 0 - part0; part1 = 0 - part1; part2 = 0 - part2; }}
            if (part0) ATOMIC_ADD(first, part0);
            if (part1) ATOMIC_ADD(first + {COPIES}, part1);
            if (part2) ATOMIC_ADD(first + {2 * COPIES}, part2);
          }}""",
    before=f"""\
SHARED(shared)
    uint64* const bins = (uint64*)shared;
    {{ FOR_THREADS(t) {{
      for (int b = t; b < {(N_BINS + 1) * COPIES}; b += threads) bins[b] = 0;
    }} }}
    BARRIER""",
    prepare=f"uint64* const mine = bins + t % {COPIES};",
    after=f"""\
BARRIER
    {{ FOR_THREADS(t) {{
      for (int b = t; b < {N_BINS + 1}; b += threads) {{
        uint64 sum = 0;
        for (int copy = 0; copy < {COPIES}; ++copy)
          sum += bins[b * {COPIES} + (copy + t) % {COPIES}];
        if (sum) ATOMIC_ADD(totals + b, sum);
      }}
    }} }}
    BARRIER""",
)

# Words of a block's threads, n each, in its shared memory: one thread brings them together.
_WORDS = """\
SHARED(shared)
    uint64* const words = (uint64*)shared;"""
_TOGETHER = """\
BARRIER
    {{ FOR_THREADS(t) {{
      if (t < {n}) {{
        uint64 all = 0;
        for (int other = 0; other < threads; ++other) {{
          const uint64 one = words[other * {n} + t];
          {add}
        }}
        {out}
      }}
    }} }}
    BARRIER"""

# Doubles in the order of integers: above all others what is no number.
LARGEST = entries.kernel(
    "largest",
    ["const double* value"],
    ["uint64* found"],
    """\
const uint64 bits = bits_(*value), sign = 1ULL << 63;
          const uint64 key = (bits & ~sign) > (2047ULL << 52) ? ~0ULL
              : bits & sign ? ~bits : bits | sign;
          if (key > mine) mine = key;""",
    before=_WORDS,
    prepare="uint64 mine = 0;",
    finish="words[t] = mine;",
    after=_TOGETHER.format(n=1, add="if (one > all) all = one;", out="ATOMIC_MAX(found, all);"),
)

# see `parallel.reductions.digest`
ADD_HASHES = """\
INLINE uint64 scramble(uint64 word) {
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9ULL;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EBULL;
  return word ^ (word >> 31);
}
""" + entries.kernel(
    "add_hashes",
    ["const double* value"],
    ["int64 first", "int64 pitch", "int64 width", "uint64* lanes"],
    "const uint64 index = first + number / width * pitch + number % width;\n"
    + "\n".join(
        f"sum{lane} += scramble(bits_(*value) ^ scramble(index + {seed}ULL));"
        for lane, seed in enumerate(LANES)
    ),
    before=_WORDS,
    prepare="uint64 sum0 = 0, sum1 = 0;",
    finish="words[2 * t] = sum0; words[2 * t + 1] = sum1;",
    after=_TOGETHER.format(n=2, add="all += one;", out="ATOMIC_ADD(lanes + t, all);"),
)


def bins_of(device: Device, address: int, view: View) -> np.ndarray:
    """Exact sum of entries in bins; see `parallel.reductions.bin_sums`.

    Args:
        device: that has the array.
        address: of the array.
        view: which entries, 1 to `MOST_ENTRIES`.

    Returns:
        (N_BINS + 1,) int64, not carried.
    """
    n = N_BINS + 1
    place, shared_bytes = (address, view), 8 * n * COPIES
    return _scanned(device, ADD_BINS, "add_bins", place, n, shared_bytes).view(np.int64)


def first_not_finite(device: Device, address: int, view: View) -> int | None:
    """Number, in C order, of the first entry that is not finite; None where all are.

    Args:
        device: that has the array.
        address: of the array.
        view: which entries, at least one.
    """
    size = np.int64(view.size)
    place = address, view
    found = _scanned(device, FIRST_NOT_FINITE, "first_not_finite", place, 1, 0, size)
    before_the_end = int(found.view(np.int64)[0])
    return view.size - before_the_end if before_the_end else None


def largest(device: Device, address: int, view: View) -> float:
    """The largest entry, not a number where one is none; 0.0, not -0.0, of both zeros.

    Args:
        device: that has the array.
        address: of the array.
        view: which entries, at least one.
    """
    found = _scanned(device, LARGEST, "largest", (address, view), 1, entries.WIDEST * 8)
    key = int(found.view(np.uint64)[0])
    if key == 2**64 - 1:
        return math.nan
    bits = key - 2**63 if key >= 2**63 else 2**64 - 1 - key
    return float(np.array([bits], dtype=np.uint64).view(np.float64)[0])


def hashes_of(device: Device, address: int, view: View, first: int, pitch: int) -> np.ndarray:
    """What entries of two axes add to a digest; see `parallel.reductions.digest`.

    Args:
        device: that has the array.
        address: of the array.
        view: which entries, at least one.
        first: number of the first one.
        pitch: from a row's number to that of the next.

    Returns:
        (2,) uint64.
    """
    layout = np.int64(first), np.int64(pitch), np.int64(view.shape[1])
    place, shared_bytes = (address, view), 2 * entries.WIDEST * 8
    lanes = _scanned(device, ADD_HASHES, "add_hashes", place, 2, shared_bytes, *layout)
    return lanes.view(np.uint64)


def _scanned(
    device: Device,
    source: str,
    name: str,
    place: tuple[int, View],
    size: int,
    shared_bytes: int,
    *arguments: Any,
) -> np.ndarray:
    """The words that a kernel finds in entries, (size,) of 8 bytes, on the host.

    Args:
        device: that has the array.
        source, name: of the kernel, whose last argument is where the words are; they are zero.
        place: address of the array, and which entries.
        size: words.
        shared_bytes: of each block.
        arguments: those before the last one.
    """
    found = np.zeros(size)
    memory = device.allocate(found.nbytes)
    given = [*arguments, np.uint64(memory.address)]
    entries.start(device, source, name, [place], given, shared_bytes)
    Staging.of(device).download(device, memory.address, View.whole(found.shape), found)
    return found

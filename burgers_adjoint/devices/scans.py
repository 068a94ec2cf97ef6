"""What is found in all entries of an array on a device: their exact sum, the first bad one."""

from __future__ import annotations

import numpy as np

from burgers_adjoint.devices import entries
from burgers_adjoint.devices.device import Device
from burgers_adjoint.devices.staging import Staging
from burgers_adjoint.devices.view import View
from burgers_adjoint.parallel.reductions import N_BINS

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


def bins_of(device: Device, address: int, view: View) -> np.ndarray:
    """Exact sum of entries in bins; see `parallel.reductions.bin_sums`.

    Args:
        device: that has the array.
        address: of the array.
        view: which entries, 1 to `MOST_ENTRIES`.

    Returns:
        (N_BINS + 1,) int64, not carried.
    """
    totals = np.zeros(N_BINS + 1)
    memory = device.allocate(totals.nbytes)
    entries.start(
        device, ADD_BINS, "add_bins", [(address, view)], [np.uint64(memory.address)],
        shared_bytes=totals.nbytes * COPIES,
    )  # fmt: skip
    Staging.of(device).download(device, memory.address, View.whole(totals.shape), totals)
    return totals.view(np.int64)


def first_not_finite(device: Device, address: int, view: View) -> int | None:
    """Number, in C order, of the first entry that is not finite; None where all are.

    Args:
        device: that has the array.
        address: of the array.
        view: which entries, at least one.
    """
    found = np.zeros(1)
    memory = device.allocate(found.nbytes)
    entries.start(
        device, FIRST_NOT_FINITE, "first_not_finite", [(address, view)],
        [np.int64(view.size), np.uint64(memory.address)],
    )  # fmt: skip
    Staging.of(device).download(device, memory.address, View.whole((1,)), found)
    before_the_end = int(found.view(np.int64)[0])
    return view.size - before_the_end if before_the_end else None

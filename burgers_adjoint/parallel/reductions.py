"""Sums, norms and digests over all ranks that do not depend on who owns which point."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from burgers_adjoint.kernels.compilation import compiled
from burgers_adjoint.parallel.agreement import Comm, largest_each, total_each
from burgers_adjoint.parallel.decomposition import Decomposition

BIN_BITS = 32
N_BINS = 68  # 2046 exponents and 53 bits of mantissa, in bins of 32 bits, with room for carries
CHUNK = 2**19  # bins of 64 bits hold the sum of so many 33-bit integers with room to spare
LEAST_EXPONENT = -1074  # log2 of the smallest positive double
LANES = tuple(0x9E3779B97F4A7C15 * (lane + 1) % 2**64 for lane in range(2))  # seeds of a digest


def bin_sums(values: np.ndarray) -> np.ndarray:
    """Split every value into signed integers of 32-bit bins and add each bin up exactly.

    The long accumulator of Kulisch, in the pre-rounded integer bins of Demmel and Nguyen (2013):
    bin b holds multiples of 2^(32 b - 1074). The last entry counts values that are not finite.
    """
    totals = new_bins()
    add_to_bins(values, totals)
    return totals


def new_bins() -> np.ndarray:
    """Bins of an empty sum; bins of several sums can be added, by several calls and ranks."""
    return np.zeros(N_BINS + 1, dtype=np.int64)


def add_to_bins(values: Any, totals: np.ndarray) -> None:
    """Add values to bins, exactly: the order of calls does not matter.

    Arrays that add themselves to bins do so, with the same result.
    """
    if not isinstance(values, np.ndarray) and hasattr(values, "add_to_bins"):
        values.add_to_bins(totals)
        return
    bits = np.ascontiguousarray(values, dtype=np.float64).reshape(-1).view(np.uint64)
    for start in range(0, bits.size, CHUNK):
        add_bits(bits[start : start + CHUNK], totals)


@compiled
def carry(totals: Any) -> None:
    """Bring every bin but the highest into 0 .. 2^32 - 1 without changing the sum."""
    for b in range(N_BINS - 1):
        totals[b + 1] += totals[b] >> 32
        totals[b] &= 0xFFFFFFFF


@compiled
def add_bits(bits: Any, totals: Any) -> None:
    """Add the doubles of these bits, `CHUNK` at most, to bins that a `carry` has left."""
    for k in range(bits.size):
        exponent = (bits[k] >> np.uint64(52)) & np.uint64(0x7FF)
        if exponent == np.uint64(0x7FF):
            totals[N_BINS] += 1
            continue
        mantissa = bits[k] & np.uint64((1 << 52) - 1)
        if exponent > np.uint64(0):
            mantissa |= np.uint64(1 << 52)
            exponent -= np.uint64(1)
        first = np.int64(exponent >> np.uint64(5))
        shift = exponent & np.uint64(31)
        low = (mantissa & np.uint64(0xFFFFFFFF)) << shift
        high = (mantissa >> np.uint64(32)) << shift
        part0 = np.int64(low & np.uint64(0xFFFFFFFF))
        part1 = np.int64((low >> np.uint64(32)) + (high & np.uint64(0xFFFFFFFF)))
        part2 = np.int64(high >> np.uint64(32))
        if bits[k] >> np.uint64(63):
            part0, part1, part2 = -part0, -part1, -part2
        totals[first] += part0
        totals[first + 1] += part1
        totals[first + 2] += part2
    carry(totals)


def exact_sum(comm: Comm, values: np.ndarray) -> float:
    """Sum of all ranks' values, exact and rounded once: the same for every order and tiling.

    Returns:
        The double nearest to the true sum; nan when any value is not finite. The sum of no values
        is 0. Every rank gets the result.
    """
    return float(rounded_sums(comm, bin_sums(values)[None])[0])


def rounded_sums(comm: Comm, bins: np.ndarray) -> list[float]:
    """What all ranks' bins add up to, each rounded once; see `exact_sum`. bins: (n_sums, ...)."""
    return [rounded(row) for row in total_each(comm, bins)]


def rounded(bins: np.ndarray) -> float:
    """The double nearest to what bins add up to; nan when a value in them is not finite."""
    if bins[N_BINS]:
        return math.nan
    total = sum(int(bins[b]) << (BIN_BITS * b) for b in range(N_BINS))
    try:
        return total / (1 << -LEAST_EXPONENT)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def norm(comm: Comm, values: Any) -> float:
    """Euclidean norm of all ranks' values, reproducible like `exact_sum`.

    The values are scaled by a power of two, so that no square overflows, and none that counts
    underflows; such a scaling rounds nothing. nan when any value is not finite.
    """
    size = np.max(np.abs(values), initial=0.0)  # on the device that has the values
    most = largest_or_inf(comm, np.array([size]))[0]
    if not 0 < most < math.inf:
        return 0.0 if most == 0 else math.nan
    exponent = math.frexp(most)[1]
    total = exact_sum(comm, np.square(_scaled(values, -exponent)))
    try:
        return math.ldexp(math.sqrt(total), exponent)
    except OverflowError:
        return math.inf


def _scaled(values: Any, exponent: int) -> Any:
    """Values times a power of two; on a device by products, which round as `ldexp` does."""
    if isinstance(values, np.ndarray):
        return np.ldexp(values, exponent)
    # where there are two, nothing is rounded: all values are small
    most = min(exponent, 1023)
    return values * math.ldexp(1.0, most) * math.ldexp(1.0, exponent - most)


def scramble(words: np.ndarray) -> np.ndarray:
    """Mix 64-bit words so that every bit depends on all.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
    """
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def global_indices(decomposition: Decomposition, field: int) -> np.ndarray:
    """Number of each of this tile's points, (ny, nx) uint64, unique over points and fields."""
    ny, nx = decomposition.shape
    rows = np.arange(decomposition.rows.start, decomposition.rows.stop, dtype=np.uint64)
    columns = np.arange(decomposition.columns.start, decomposition.columns.stop, dtype=np.uint64)
    return (np.uint64(field * ny) + rows[:, None]) * np.uint64(nx) + columns[None, :]


def digest(decomposition: Decomposition, tiles: Sequence[Any], scalars: Sequence[float]) -> str:
    """Fingerprint of the bits of global fields and scalars, 32 hexadecimal digits.

    Every value is hashed with its global index and the hashes are added modulo 2^64, in two
    independent lanes: who owns a point and in which order it is visited does not show.

    Args:
        decomposition: whose tiles they are.
        tiles: (ny, nx) of this rank, one per field. Those of a device are hashed there.
        scalars: values that every rank has alike.
    """
    n_points = decomposition.shape[0] * decomposition.shape[1]
    lanes = np.zeros(2, dtype=np.uint64)
    keys = []
    for f, tile in enumerate(tiles):
        if isinstance(tile, np.ndarray):
            keys.append((global_indices(decomposition, f), tile))
        else:
            first = f * n_points + decomposition.rows.start * decomposition.shape[1]
            tile.add_hashes(lanes, first + decomposition.columns.start, decomposition.shape[1])
    if decomposition.rank == 0:
        behind = np.uint64(len(tiles) * n_points)
        keys.append((behind + np.arange(len(scalars), dtype=np.uint64), np.array(scalars, float)))
    for indices, values in keys:
        bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
        for lane, seed in enumerate(LANES):
            hashes = scramble(bits ^ scramble(indices + np.uint64(seed)))
            lanes[lane : lane + 1] += np.sum(hashes, dtype=np.uint64)  # wraps, as a scalar may not
    return "".join(f"{int(lane):016x}" for lane in total_each(decomposition.comm, lanes))


def random_field(decomposition: Decomposition, seed: int, n_fields: int) -> np.ndarray:
    """Random numbers in [-1, 1), (n_fields, ny, nx), the same at a point whoever owns it."""
    key = scramble(np.array([seed], dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    fields = [
        scramble(scramble(global_indices(decomposition, field) + key)) for field in range(n_fields)
    ]
    return (np.stack(fields) >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def normal_numbers(keys: np.ndarray, seed: int) -> np.ndarray:
    """Random numbers of mean 0 and variance 1, one for each key (uint64), nearly normal.

    Sums of twelve uniform numbers: within 6 standard deviations, and exact enough for noise,
    without a logarithm or cosine, whose vectorised forms may round differently at different places
    of an array.
    """
    key = scramble(np.array([seed], dtype=np.uint64) + np.uint64(0xD1B54A32D192ED03))
    total = np.zeros(keys.shape)
    for draw in range(12):
        stream = scramble(key + np.uint64(draw))
        total += (scramble(scramble(keys + stream)) >> np.uint64(11)) * 2.0**-53
    return total - 6.0


def largest_or_inf(comm: Comm, values: np.ndarray) -> np.ndarray:
    """Largest of all ranks' values at each place of an array; inf at all, where one is no number.

    The maxima are exact, and alike on every rank.
    """
    found = np.array(values, dtype=np.float64)
    if not np.isfinite(found).all():
        found[...] = math.inf
    return largest_each(comm, found)

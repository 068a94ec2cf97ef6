"""Fields in fewer bits: residuals of a prediction of each row from those before it, packed.

A row is predicted by the polynomial through the rows before it, which takes no value of the row
itself: so there, and back, all points of a row are computed side by side. Residuals differ little
from point to point: they are stored as differences along the row, in blocks of as many bits as
their largest one has.

The predictor is that of Lorenzo (Ibarria, Lindstrom, Rossignac, Szymczak, Out-of-core compression
and decompression of large n-dimensional scalar fields, Computer Graphics Forum 22, 2003) with a
higher order along one axis; whole blocks of equal width are those of cuSZp (Huang, Di, Yu, Li,
Cappello, SC 2023).
"""

from math import comb

import numpy as np

from burgers_adjoint.kernels.compilation import compiled

BLOCK = 64  # values of one width
HIGHEST = 20  # order that rows can be predicted with
# Adding it to a number below 2^51, and taking it away, rounds to whole numbers.
ROUNDING = 1.5 * 2.0**52
MOST = 2.0**49  # whole numbers are below, so that all differences of three orders are exact
MAGNITUDE = np.int64(2**63 - 1)  # the bits below the sign
ZERO, ONE, SIXTY_THREE, ALL = np.uint64(0), np.uint64(1), np.uint64(63), np.uint64(2**64 - 1)

# [m, k]: of the row k + 1 before, for the polynomial of degree m - 1 through m rows
WEIGHTS = np.zeros((HIGHEST + 1, HIGHEST))
for _m in range(1, HIGHEST + 1):
    WEIGHTS[_m, :_m] = [(-1) ** k * comb(_m, k + 1) for k in range(_m)]


def n_blocks(nx: int) -> int:
    """Blocks of a row."""
    return -(-nx // BLOCK)


def most_words(ny: int, nx: int) -> int:
    """Words that a field can take, and one more, which `unpack_row` may look at."""
    return ny * nx + 1


@compiled
def predict(rows: np.ndarray, j: int, order: int, found: np.ndarray) -> None:
    """Extrapolate to row j; row k lies at rows[k % len(rows)].

    Args:
        rows: (n, nx), with n > order unless all rows are there.
        j: number of the row.
        order: rows it is predicted from, at most j.
        found: (nx,), the prediction: 0 where that is not finite.
    """
    n, nx = rows.shape
    weights = WEIGHTS[order]
    for i in range(nx):
        found[i] = 0.0
    k = 0
    while k + 4 <= order:
        a, b = rows[(j - k - 1) % n], rows[(j - k - 2) % n]
        c, d = rows[(j - k - 3) % n], rows[(j - k - 4) % n]
        wa, wb, wc, wd = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        for i in range(nx):
            found[i] = (((found[i] + wa * a[i]) + wb * b[i]) + wc * c[i]) + wd * d[i]
        k += 4
    while k < order:
        a, wa = rows[(j - k - 1) % n], weights[k]
        for i in range(nx):
            found[i] += wa * a[i]
        k += 1
    for i in range(nx):  # the bits of NaN need not be the same again
        found[i] = found[i] if abs(found[i]) < np.inf else 0.0


@compiled
def ordered(bits: np.int64) -> np.int64:
    """Bits of a number as an integer that grows with it; of such an integer, the bits."""
    return bits ^ ((bits >> 63) & MAGNITUDE)


@compiled
def differences(values: np.ndarray, found: np.ndarray) -> None:
    """Of each integer and the one before, with the sign as the last bit; they may wrap around."""
    last = values[0]
    found[0] = np.uint64((last << 1) ^ (last >> 63))
    for i in range(1, len(values)):
        d = values[i] - values[i - 1]
        found[i] = np.uint64((d << 1) ^ (d >> 63))


@compiled
def difference(coded: np.uint64) -> np.int64:
    """What `differences` has made this of."""
    return np.int64(coded >> ONE) ^ -np.int64(coded & ONE)


@compiled
def width_of(values: np.ndarray, begin: int, end: int) -> int:
    """Bits of the largest of these values."""
    seen = ZERO
    for i in range(begin, end):
        seen |= values[i]
    width = 0
    while seen:
        seen >>= ONE
        width += 1
    return width


@compiled
def pack_row(values: np.ndarray, widths: np.ndarray, words: np.ndarray, at: int) -> int:
    """Pack values from the word `at` on; returns the word after them."""
    n = len(values)
    for block in range(len(widths)):
        begin = block * BLOCK
        end = min(begin + BLOCK, n)
        widths[block] = width = width_of(values, begin, end)
        if width == 0:
            continue
        word, filled = ZERO, 0
        for i in range(begin, end):
            word |= values[i] << np.uint64(filled)
            filled += width
            if filled >= 64:
                words[at] = word
                at += 1
                filled -= 64
                word = values[i] >> np.uint64(width - filled) if filled else ZERO
        if filled:
            words[at] = word
            at += 1
    return at


@compiled
def n_words(widths: np.ndarray, nx: int) -> int:
    """Words of rows with nx values in blocks of these widths; -1: no block has such a width."""
    total = 0
    for j in range(widths.shape[0]):
        for block in range(widths.shape[1]):
            width = int(widths[j, block])
            if width > 64:
                return -1
            total += (min(BLOCK, nx - block * BLOCK) * width + 63) >> 6
    return total


@compiled
def bits_of(values: np.ndarray) -> int:
    """Bits that `pack_row` packs values into."""
    total, n = 0, len(values)
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        total += width_of(values, begin, end) * (end - begin)
    return total


@compiled
def unpack_row(words: np.ndarray, at: int, widths: np.ndarray, values: np.ndarray) -> int:
    """Undo `pack_row`; the word after those packed must be there, whatever it holds."""
    n = len(values)
    for block in range(len(widths)):
        begin = block * BLOCK
        count = min(BLOCK, n - begin)
        width = int(widths[block])
        if width == 0:
            for i in range(count):
                values[begin + i] = ZERO
            continue
        mask = ALL >> np.uint64(64 - width)
        for i in range(count):
            bit = i * width
            k, shift = at + (bit >> 6), np.uint64(bit & 63)
            above = (words[k + 1] << ONE) << (SIXTY_THREE - shift)
            values[begin + i] = ((words[k] >> shift) | above) & mask
        at += (count * width + 63) >> 6
    return at


@compiled
def pack_exactly(field: np.ndarray, order: int, widths: np.ndarray, words: np.ndarray) -> int:
    """Pack all bits of a field.

    Args:
        field: (ny, nx), of any numbers.
        order: rows that a row is predicted from.
        widths: (ny, `n_blocks`), of the blocks, found.
        words: (`most_words`,), found.

    Returns:
        How many words were needed.
    """
    ny, nx = field.shape
    bits, guess, coded = field.view(np.int64), np.empty(nx), np.empty(nx, np.uint64)
    left, at = guess.view(np.int64), 0
    for j in range(ny):
        predict(field, j, min(order, j), guess)
        row = bits[j]
        for i in range(nx):
            left[i] = ordered(row[i]) - ordered(left[i])
        differences(left, coded)
        at = pack_row(coded, widths[j], words, at)
    return at


@compiled
def unpack_exactly(words: np.ndarray, order: int, widths: np.ndarray, field: np.ndarray) -> None:
    """Undo `pack_exactly`."""
    ny, nx = field.shape
    bits, guess, coded = field.view(np.int64), np.empty(nx), np.empty(nx, np.uint64)
    guessed, at = guess.view(np.int64), 0
    for j in range(ny):
        at = unpack_row(words, at, widths[j], coded)
        predict(field, j, min(order, j), guess)
        row, left = bits[j], np.int64(0)
        for i in range(nx):
            left += difference(coded[i])
            row[i] = ordered(left + ordered(guessed[i]))


@compiled
def exact_bits(field: np.ndarray, order: int, first: int, every: int) -> int:
    """Bits that every so many rows take, from the first one on, predicted with this order."""
    ny, nx = field.shape
    bits, guess, coded = field.view(np.int64), np.empty(nx), np.empty(nx, np.uint64)
    left, total = guess.view(np.int64), 0
    for j in range(first, ny, every):
        predict(field, j, min(order, j), guess)
        row = bits[j]
        for i in range(nx):
            left[i] = ordered(row[i]) - ordered(left[i])
        differences(left, coded)
        total += bits_of(coded)
    return total


@compiled
def quantise(row: np.ndarray, step: float, tolerance: float, found: np.ndarray) -> bool:
    """Round to whole steps; returns whether all of them are within the tolerance of the row."""
    good = True
    for i in range(len(row)):
        found[i] = (row[i] / step + ROUNDING) - ROUNDING
        good &= (abs(found[i] * step - row[i]) <= tolerance) & (abs(found[i]) < MOST)
    return good


@compiled
def pack_quantised(
    field: np.ndarray,
    order: int,
    step: float,
    tolerance: float,
    widths: np.ndarray,
    words: np.ndarray,
) -> int:
    """Pack a field in whole steps.

    Args:
        field: (ny, nx), of any numbers.
        order: rows that a row is predicted from, at most 3.
        step: what a number is rounded to a multiple of.
        tolerance: largest error allowed.
        widths, words: see `pack_exactly`.

    Returns:
        How many words were needed; -1: a value would be further away than allowed.
    """
    ny, nx = field.shape
    n = order + 1
    rows, guess = np.empty((n, nx)), np.empty(nx)
    left, coded, at = np.empty(nx, np.int64), np.empty(nx, np.uint64), 0
    for j in range(ny):
        row = rows[j % n]
        if not quantise(field[j], step, tolerance, row):
            return -1
        predict(rows, j, min(order, j), guess)
        for i in range(nx):
            left[i] = np.int64(row[i] - guess[i])
        differences(left, coded)
        at = pack_row(coded, widths[j], words, at)
    return at


@compiled
def quantised_bits(field: np.ndarray, order: int, step: float, first: int, every: int) -> int:
    """Bits that every so many rows take in whole steps, see `exact_bits`."""
    ny, nx = field.shape
    n = order + 1
    rows, guess, left = np.empty((n, nx)), np.empty(nx), np.empty(nx, np.int64)
    coded, total = np.empty(nx, np.uint64), 0
    for j in range(first, ny, every):
        known = min(order, j)
        for k in range(j - known, j + 1):
            quantise(field[k], step, np.inf, rows[k % n])
        predict(rows, j, known, guess)
        for i in range(nx):
            left[i] = np.int64(rows[j % n, i] - guess[i])
        differences(left, coded)
        total += bits_of(coded)
    return total


@compiled
def unpack_quantised(
    words: np.ndarray, order: int, step: float, widths: np.ndarray, field: np.ndarray
) -> None:
    """Undo `pack_quantised`, up to the tolerance."""
    ny, nx = field.shape
    n = order + 1
    rows, guess, coded, at = np.empty((n, nx)), np.empty(nx), np.empty(nx, np.uint64), 0
    for j in range(ny):
        at = unpack_row(words, at, widths[j], coded)
        predict(rows, j, min(order, j), guess)
        row, left = rows[j % n], np.int64(0)
        for i in range(nx):
            left += difference(coded[i])
            row[i] = guess[i] + left
            field[j, i] = row[i] * step

"""Sums, norms, digests and random fields: exact, and blind to who owns which point."""

import math
import warnings
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from fake_ranks import decompositions
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mpi4py import MPI

from burgers_adjoint.parallel import reductions
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.reductions import (
    bin_sums,
    digest,
    exact_sum,
    norm,
    random_field,
    scramble,
)

SHAPE = (13, 17)
ALONE = Decomposition(MPI.COMM_SELF, SHAPE, periodic=False)
LARGEST = float(np.finfo(float).max)
SMALLEST = 5e-324
finite = st.floats(allow_nan=False, allow_infinity=False)


def total(values: object) -> float:
    return exact_sum(MPI.COMM_SELF, np.array(values, dtype=float))


def rounded(values: list[float]) -> float:
    """The true sum, rounded once."""
    exact = sum(map(Fraction, values), Fraction(0))
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


@given(st.lists(finite, max_size=60))
@example([1e308, 1.0, -1e308])
@example([LARGEST, LARGEST])
@example([-LARGEST, -LARGEST])
@example([LARGEST, LARGEST, -LARGEST])
@example([SMALLEST] * 3)
@example([SMALLEST, -SMALLEST, 2.0**-1022])
@example([1.0, 2.0**-53])  # halfway: to even
@example([1.0, 2.0**-53, SMALLEST])  # just above halfway
@example([1.0, 3 * 2.0**-53, -SMALLEST])
@example([-0.0, -0.0])
@settings(max_examples=500, deadline=None)
def test_sum_is_the_true_sum_rounded_once(values: list[float]) -> None:
    assert total(values) == rounded(values)


@given(st.lists(finite, max_size=40), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_sum_does_not_depend_on_the_order(values: list[float], random: Random) -> None:
    expected = total(values)
    random.shuffle(values)
    assert total(values) == expected


def test_sums_over_all_magnitudes_cancel() -> None:
    random = np.random.default_rng(1)
    values = np.ldexp(random.normal(size=20_001), random.integers(-1070, 1020, size=20_001))
    assert total([*values, *-values[1:]]) == values[0]
    assert total(values) == rounded(values.tolist())
    # plain summation gets this wrong
    assert np.sum([*values, *-values[1:]]) != values[0]


def test_sum_of_more_values_than_are_binned_at_a_time() -> None:
    n = 2 * reductions.CHUNK + 3
    assert total(np.full(n, 0.1)) == float(n * Fraction(0.1))
    # as many bits as there are in each of the bins, so that they run fullest
    full = math.nextafter(2.0, 0.0)
    assert total(np.full(n, -full)) == float(-n * Fraction(full))


def test_bins_of_parts_add_up_to_those_of_the_whole() -> None:
    values = np.random.default_rng(2).normal(size=1000) * 1e20
    for cut in (0, 1, 499, 1000):
        parts = bin_sums(values[:cut]) + bin_sums(values[cut:])
        reductions.carry(parts)
        np.testing.assert_array_equal(parts, bin_sums(values))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_sum_with_a_value_that_is_not_finite_is_not_a_number(bad: float) -> None:
    with warnings.catch_warnings(action="error"):
        assert math.isnan(total([1.0, bad, 3.0]))
        assert math.isnan(total([math.inf, -math.inf]))


def test_sum_of_nothing_and_of_arrays_that_are_not_contiguous() -> None:
    assert total([]) == 0.0
    array = np.arange(24.0).reshape(4, 6)
    assert exact_sum(MPI.COMM_SELF, array[::2, 1::3]) == 1 + 4 + 13 + 16
    assert exact_sum(MPI.COMM_SELF, array.T) == 276


def test_norm() -> None:
    assert norm(MPI.COMM_SELF, np.array([[3.0], [-4.0]])) == 5.0


@pytest.mark.parametrize("exponent", [1020, 700, -700, -1022, -1074])
def test_norm_of_values_whose_squares_overflow_or_underflow(exponent: int) -> None:
    with warnings.catch_warnings(action="error"):
        values = np.ldexp([[0.0, 3.0], [-4.0, 0.0]], exponent)
        assert norm(MPI.COMM_SELF, values) == math.ldexp(5.0, exponent)


def test_norm_that_overflows_itself_or_of_nothing_or_no_numbers() -> None:
    with warnings.catch_warnings(action="error"):
        assert norm(MPI.COMM_SELF, np.array([LARGEST, LARGEST])) == math.inf
        assert norm(MPI.COMM_SELF, np.zeros((2, 0))) == norm(MPI.COMM_SELF, np.zeros(3)) == 0.0
        for bad in (math.nan, math.inf, -math.inf):
            assert math.isnan(norm(MPI.COMM_SELF, np.array([1.0, bad])))


# Squares over the largest one must not be subnormal: they can decide a tie of the others.
@given(st.lists(st.floats(-1e70, 1e70).filter(lambda x: abs(x) > 1e-70), max_size=40))
@example([1.0, 1e-30, -3.7])
@example(
    [1.4635503764247932e69, 1.4635503764247932e69, 6.64547696771065e69, 1.2770426932435354e-63]
)
@settings(deadline=None)
def test_scaling_leaves_every_bit_of_an_ordinary_norm(values: list[float]) -> None:
    array = np.array(values, dtype=float)
    assert norm(MPI.COMM_SELF, array) == math.sqrt(exact_sum(MPI.COMM_SELF, np.square(array)))


def fields(n_fields: int = 2) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(n_fields, *SHAPE))


def test_digest_shows_every_bit() -> None:
    original = fields()
    seen = {digest(ALONE, [*original], [1.5])}
    assert len(next(iter(seen))) == 32
    for bit in range(64):
        changed = original.copy()
        changed.view(np.uint64)[bit % 2, bit % SHAPE[0], 16 - bit % SHAPE[1]] ^= np.uint64(1 << bit)
        seen.add(digest(ALONE, [*changed], [1.5]))
    assert len(seen) == 65


def test_digest_shows_the_sign_of_zero_and_the_bits_of_nan() -> None:
    zeros = np.zeros((1, *SHAPE))
    results = {digest(ALONE, [*zeros], [scalar]) for scalar in (0.0, -0.0, math.nan, -math.nan)}
    assert len(results) == 4


def test_digest_shows_swapped_points_fields_and_scalars() -> None:
    original = fields()
    expected = digest(ALONE, [*original], [1.0, 2.0])
    swapped = original.copy()
    swapped[0, 2, 3], swapped[0, 2, 4] = original[0, 2, 4], original[0, 2, 3]
    assert digest(ALONE, [*swapped], [1.0, 2.0]) != expected
    assert digest(ALONE, [*original[::-1]], [1.0, 2.0]) != expected
    assert digest(ALONE, [*original], [2.0, 1.0]) != expected
    assert digest(ALONE, [*original], [1.0]) != expected
    assert digest(ALONE, [original[0]], [1.0, 2.0]) != expected
    assert digest(ALONE, [*original.copy()], [1.0, 2.0]) == expected


@pytest.mark.parametrize("size", [2, 3, 6, 11, 13])
def test_digest_is_the_sum_over_the_ranks(size: int) -> None:
    """Ranks that keep their own part: their lanes add up, modulo 2^64, to those of one rank."""
    original = fields()
    parts = [
        digest(one, [*original[:, one.rows, one.columns]], [4.0, 5.0])
        for one in decompositions(size, SHAPE)
    ]
    lanes = [sum(int(part[lane], 16) for part in split(parts)) % 2**64 for lane in range(2)]
    assert "".join(f"{lane:016x}" for lane in lanes) == digest(ALONE, [*original], [4.0, 5.0])


def split(parts: list[str]) -> list[tuple[str, str]]:
    return [(part[:16], part[16:]) for part in parts]


def test_scramble_is_that_of_splitmix64() -> None:
    """First outputs of SplitMix64 with seed 1234567, as published with its reference code."""
    gamma = 0x9E3779B97F4A7C15
    words = np.array([(1234567 + (i + 1) * gamma) % 2**64 for i in range(3)], dtype=np.uint64)
    assert scramble(words).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@pytest.mark.parametrize("size", [2, 3, 6, 13])
def test_random_field_does_not_depend_on_the_ranks(size: int) -> None:
    whole = random_field(ALONE, 5, 2)
    for one in decompositions(size, SHAPE):
        np.testing.assert_array_equal(random_field(one, 5, 2), whole[:, one.rows, one.columns])


def test_random_field_is_random() -> None:
    grid = Decomposition(MPI.COMM_SELF, (200, 300), periodic=False)
    field = random_field(grid, 0, 2)
    assert field.shape == (2, 200, 300)
    assert -1 <= field.min() < -0.999
    assert 0.999 < field.max() < 1
    # within five standard deviations of a uniform distribution's moments
    assert abs(field.mean()) < 5 / math.sqrt(3 * field.size)
    assert abs((field**2).mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / field.size)
    u, v = field
    for other in (v, np.roll(u, 1, 0), np.roll(u, 1, 1), random_field(grid, 1, 1)[0]):
        assert abs((u * other).mean()) < 5 / 3 / math.sqrt(u.size)
    np.testing.assert_array_equal(field, random_field(grid, 0, 2))

"""Loops that are made of formulas."""

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from burgers_adjoint.kernels.compilation import compiled
from burgers_adjoint.kernels.lanes import copy_lines, fma, row_kernel
from burgers_adjoint.kernels.tile_layout import LINE, aligned_zeros


class Scale(NamedTuple):
    factor: float


fused_row = row_kernel(lambda c, x, y, z: (fma(x, y, z),), Scale)
mixed_row = row_kernel(lambda c, x, y: (-(c.factor * x) + 3.0 - y, fma(2.0, x, y)), Scale)


@compiled
def fused(x: Any, y: Any, z: Any, out: Any) -> None:
    inputs = (np.int64(x.ctypes.data), np.int64(y.ctypes.data), np.int64(z.ctypes.data))
    fused_row(Scale(0.0), inputs, (np.int64(out.ctypes.data),), (), out.size // LINE)


@compiled
def mixed(x: Any, y: Any, out0: Any, out1: Any) -> None:
    inputs = (np.int64(x.ctypes.data), np.int64(y.ctypes.data))
    outputs = (np.int64(out0.ctypes.data), np.int64(out1.ctypes.data))
    mixed_row(Scale(0.1), inputs, outputs, (), out0.size // LINE)


@compiled
def copy(source: Any, target: Any, n_lines: Any) -> None:
    addresses = (np.int64(source.ctypes.data),), (np.int64(target.ctypes.data),)
    copy_lines((), addresses[0], addresses[1], addresses[0], n_lines)


def fuse_one(x: float, y: float, z: float) -> float:
    out = np.zeros(LINE)
    fused(*(np.full(LINE, number) for number in (x, y, z)), out)
    assert len(set(out.view(np.int64).tolist())) == 1
    return float(out[0])


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite, finite)
@example(1 + 2**-52, 1 - 2**-52, -1.0)  # two roundings give 0 or 2^-52
@example(1e200, 1e200, -math.inf)
@example(5e-324, 0.5, 5e-324)
@settings(max_examples=300, deadline=None)
def test_multiply_add_rounds_once(x: float, y: float, z: float) -> None:
    if math.isinf(z):
        assert fuse_one(x, y, z) == z
        return
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    assume(abs(exact) < Fraction(2) ** 1023)
    assert fuse_one(x, y, z) == float(exact)


def test_every_place_of_a_row_gives_the_same_bits() -> None:
    x, y, z = np.random.default_rng(1).normal(size=(3, 5 * LINE))
    out = np.zeros_like(x)
    fused(x, y, z, out)
    assert out.tolist() == [fuse_one(*row) for row in zip(x, y, z, strict=True)]
    # separate roundings would differ
    assert (out != x * y + z).any()


def test_numbers_and_all_operators_mix() -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 3 * LINE))
    out0, out1 = np.zeros_like(x), np.zeros_like(x)
    mixed(x, y, out0, out1)
    np.testing.assert_array_equal(out0, -(0.1 * x) + 3.0 - y)
    np.testing.assert_array_equal(out1, 2.0 * x + y)  # 2 x is exact


def test_streams_may_coincide() -> None:
    x = np.arange(2.0 * LINE)
    fused(x, x, x, x)
    np.testing.assert_array_equal(x, np.arange(2 * LINE) * (np.arange(2 * LINE) + 1.0))


@pytest.mark.parametrize("n_lines", [0, 1, 3])
def test_copy_writes_so_many_lines(n_lines: int) -> None:
    source, target = np.arange(5.0 * LINE) + 1, np.zeros(5 * LINE)
    copy(source, target, n_lines)
    np.testing.assert_array_equal(target, np.where(source <= n_lines * LINE, source, 0))


def test_arrays_start_on_a_cache_line_with_a_line_to_spare_on_either_side() -> None:
    for size in range(1, 2 * LINE):
        array = aligned_zeros((3, size))
        assert array.ctypes.data % (8 * LINE) == 0
        base = array.base
        while isinstance(base.base, np.ndarray):
            base = base.base
        before = (array.ctypes.data - base.ctypes.data) // 8
        assert before >= LINE
        assert base.size - before - array.size >= LINE

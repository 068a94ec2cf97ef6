"""Loops that are made of formulas."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from burgers_adjoint.kernels.compilation import compiled
from burgers_adjoint.kernels.formula import fma, square_root
from burgers_adjoint.kernels.lanes import MOST_AT_ONCE, row_kernel
from burgers_adjoint.kernels.programs import Kind, Row
from burgers_adjoint.kernels.tile_layout import LINE, aligned_zeros


def looped(formula: Any, n_inputs: int, n_outputs: int, numbers: tuple[float, ...] = ()) -> Any:
    """A function of arrays, inputs then outputs, that runs the formula over all lines."""
    inputs = tuple((Row(f"in{k}"), 0) for k in range(n_inputs))
    outputs = tuple(Row(f"out{k}") for k in range(n_outputs))
    row = row_kernel([Kind(formula, inputs, outputs, n_numbers=len(numbers))])

    @compiled_here
    def run(streams: Any, constants: Any, n_lines: Any) -> None:
        row(0, 0, constants.ctypes.data, streams.ctypes.data, 0, n_lines, 0)

    def call(*arrays: np.ndarray, n_lines: int | None = None) -> None:
        entries = [word for array in arrays for word in (0, array.ctypes.data)]
        lines = arrays[-1].size // LINE if n_lines is None else n_lines
        run(np.array(entries, dtype=np.int64), np.array([*numbers, 0.0]), lines)

    return call


def compiled_here(function: Any) -> Any:
    """Compile without the cache, which does not see what a function closes over."""
    return compiled(function, cache=False)


fused = looped(lambda c, points: [fma(*points)], 3, 1)
mixed = looped(
    lambda c, points: [-(c[0] * points[0]) + 3.0 - points[1], fma(2.0, *points)], 2, 2, (0.1,)
)
copy = looped(lambda c, points: points, 1, 1)


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


def test_square_roots_and_quotients_are_rounded_correctly() -> None:
    x = np.abs(np.random.default_rng(4).normal(size=4 * LINE))
    y, root, quotient = x[::-1].copy(), np.zeros_like(x), np.zeros_like(x)
    both = looped(lambda c, points: [square_root(points[0]), points[0] / points[1]], 2, 2)
    both(x, y, root, quotient)
    np.testing.assert_array_equal(root, np.sqrt(x))
    np.testing.assert_array_equal(quotient, x / y)


@pytest.mark.parametrize("n_lines", [0, 1, 3])
def test_copy_writes_so_many_lines(n_lines: int) -> None:
    source, target = np.arange(5.0 * LINE) + 1, np.zeros(5 * LINE)
    copy(source, target, n_lines=n_lines)
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


@pytest.mark.parametrize("n_fields", [2, MOST_AT_ONCE + 2])
def test_fields_may_be_exchanged_in_place(n_fields: int) -> None:
    """A field is stored only when all that is read of it is in registers."""
    rows = tuple(Row("all", field=k) for k in range(n_fields))
    row = row_kernel([Kind(lambda c, points: points[::-1], tuple((r, 0) for r in rows), rows)])

    @compiled_here
    def run(streams: Any, constants: Any, n_lines: Any) -> None:
        row(0, 0, constants.ctypes.data, streams.ctypes.data, 0, n_lines, 0)

    fields = aligned_zeros((n_fields, 3 * LINE))
    fields[:] = np.arange(fields.size).reshape(fields.shape)
    before = fields.copy()
    streams = np.array([0, *(field.ctypes.data for field in fields)], dtype=np.int64)
    run(streams, np.zeros(1), 3)
    assert np.array_equal(fields, before[::-1])


@pytest.mark.parametrize("n_results", [1, MOST_AT_ONCE + 1])
def test_a_formula_may_be_a_long_chain(n_results: int) -> None:
    def formula(c: Any, points: Any) -> list[Any]:
        total = points[0]
        for _ in range(3000):
            total = total + points[0]
        return [total] * n_results

    out = np.zeros((n_results, LINE))
    looped(formula, 1, n_results)(np.arange(LINE, dtype=float), *out)
    assert np.array_equal(out, np.tile(3001.0 * np.arange(LINE), (n_results, 1)))

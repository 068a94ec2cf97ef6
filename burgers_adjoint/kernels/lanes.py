"""Vector code from a formula: one readable Python function becomes the inner loop of a kernel.

A compiler's own vectoriser gives up on loops with many streams, and must guard against streams that
overlap, row by row. Here the formula itself is run once, at compile time, on values that stand for
a cache line of neighbouring points each, and writes down the operations as it goes. Every point of
a row is computed by the same operations, so the bits depend neither on its place in the row nor on
the machine's vector width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import carray
from numba.core import cgutils, types
from numba.extending import intrinsic

from burgers_adjoint.kernels.compilation import compiled
from burgers_adjoint.kernels.tile_layout import LINE

DOUBLE = ir.DoubleType()
VECTOR = ir.VectorType(DOUBLE, LINE)
POINTER_BITS = ir.IntType(64)
DOUBLE_BYTES = 8


class Lanes:
    """The values of `LINE` neighbouring points; arithmetic on it emits vector instructions."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    def _of(self, other: Lanes | float) -> ir.Value:
        if isinstance(other, Lanes):
            return other.value
        return ir.Constant(VECTOR, [float(other)] * LINE)

    def _emit(self, operation: Callable[..., ir.Value], *operands: Lanes | float) -> Lanes:
        return Lanes(self.builder, operation(*(self._of(operand) for operand in operands)))

    def __add__(self, other: Lanes | float) -> Lanes:
        return self._emit(self.builder.fadd, self, other)

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self._emit(self.builder.fsub, self, other)

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self._emit(self.builder.fmul, self, other)

    def __rmul__(self, other: float) -> Lanes:
        return self * other

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self._emit(self.builder.fdiv, self, other)

    def __neg__(self) -> Lanes:
        return self._emit(self.builder.fneg, self)

    def square_root(self) -> Lanes:
        """The square root, correctly rounded (IEEE 754)."""
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(VECTOR, [VECTOR]), f"llvm.sqrt.v{LINE}f64"
        )
        return Lanes(self.builder, self.builder.call(function, [self.value]))

    def fma(self, factor: Lanes | float, addend: Lanes | float) -> Lanes:
        """Self * factor + addend, rounded once."""
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), f"llvm.fma.v{LINE}f64"
        )
        operands = [self.value, self._of(factor), self._of(addend)]
        return Lanes(self.builder, self.builder.call(function, operands))


def fma(factor0: Any, factor1: Any, addend: Any) -> Any:
    """factor0 * factor1 + addend, rounded once (IEEE 754 fusedMultiplyAdd) in compiled code.

    Numbers and arrays, on which a formula can be tried out in plain Python, are rounded twice.
    """
    if isinstance(factor0, Lanes):
        return factor0.fma(factor1, addend)
    if isinstance(factor1, Lanes):
        return factor1.fma(factor0, addend)
    return factor0 * factor1 + addend


def square_root(value: Any) -> Any:
    """The square root of a number or, in compiled code, of a line of points."""
    return value.square_root() if isinstance(value, Lanes) else value**0.5


def row_kernel(formula: Callable[..., tuple[Any, ...]], coefficients: type) -> Any:
    """Compile a formula of one point into a loop over a row.

    Args:
        formula: (coefficients, point values ...) -> new point values, by +, -, *, /, `fma` and
            `square_root` alone.
        coefficients: the NamedTuple type of floats that is its first argument.

    Returns:
        A function for compiled code, (c, inputs, outputs, ahead, n_lines): c a tuple of the
        coefficients, inputs and outputs tuples of addresses of the first point of every stream,
        ahead a tuple of those of streams to fetch into the cache meanwhile, n_lines the number of
        cache lines of points to compute. Streams may coincide but not overlap shifted:
        a line is stored before the next one is loaded.
    """

    @intrinsic
    def row(
        typing_context: Any, c: Any, inputs: Any, outputs: Any, ahead: Any, n_lines: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            c_value, inputs_value, outputs_value, ahead_value, n_value = arguments
            constants = [
                Lanes(builder, _splat(builder, builder.extract_value(c_value, k)))
                for k in range(len(signature.args[0]))
            ]
            sources = [builder.extract_value(inputs_value, k) for k in range(len(inputs))]
            targets = [builder.extract_value(outputs_value, k) for k in range(len(outputs))]
            soon = [builder.extract_value(ahead_value, k) for k in range(len(ahead))]
            with cgutils.for_range(builder, n_value) as loop:
                offset = builder.mul(loop.index, ir.Constant(POINTER_BITS, LINE * DOUBLE_BYTES))

                def place(address: Any) -> Any:
                    return builder.inttoptr(builder.add(address, offset), VECTOR.as_pointer())

                points = [
                    Lanes(builder, builder.load(place(source), align=DOUBLE_BYTES))
                    for source in sources
                ]
                results = formula(coefficients(*constants), *points)
                for address in soon:
                    _prefetch(builder, place(address))
                for target, result in zip(targets, results, strict=True):
                    builder.store(result.value, place(target), align=DOUBLE_BYTES)
            return context.get_dummy_value()

        return types.void(c, inputs, outputs, ahead, n_lines), generate

    return row


def _prefetch(builder: Any, place: Any) -> None:
    """Begin to load a cache line."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [byte, number, number, number]),
        "llvm.prefetch.p0i8",
    )
    read, keep, data = (ir.Constant(number, value) for value in (0, 2, 1))
    builder.call(function, [builder.bitcast(place, byte), read, keep, data])


def _splat(builder: Any, scalar: Any) -> Any:
    """All lanes equal to one number."""
    first = builder.insert_element(
        ir.Constant(VECTOR, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    pattern = ir.Constant(ir.VectorType(ir.IntType(32), LINE), [0] * LINE)
    return builder.shuffle_vector(first, ir.Constant(VECTOR, ir.Undefined), pattern)


@intrinsic
def _pointer_to(typing_context: Any, address: Any) -> Any:
    """Pointer to the doubles at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], DOUBLE.as_pointer())

    # numba fills the module `types` as it is imported
    pointer = types.CPointer(types.float64)  # type: ignore[attr-defined]
    return pointer(address), generate


@compiled
def array_at(address: Any, shape: Any) -> Any:
    """The doubles at an address as an array in C order."""
    return carray(_pointer_to(address), shape)


class NoCoefficients(NamedTuple):
    """Of a formula that needs none."""


copy_lines = row_kernel(lambda c, *points: points, NoCoefficients)

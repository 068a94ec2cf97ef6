"""What a formula is made of: plain Python that any backend can trace.

A formula computes new values at one point from those around it, by +, -, *, /, `fma` and
`square_root` alone. It runs on numbers, in tests; and a backend runs it once on values that stand
for many points and write down the operations, which fixes their order, and so the bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Traced(ABC):
    """A value that writes operations down; a backend says how, in `emit`."""

    @abstractmethod
    def emit(self, operation: str, *operands: Any) -> Traced:
        """Write down an operation of these operands, this value and others like it.

        Args:
            operation: "add", "sub", "mul", "div", "neg", "sqrt" or "fma" (the first times the
                second plus the third, rounded once), correctly rounded as IEEE 754 says.
            operands: traced values and floats.
        """

    def __add__(self, other: Any) -> Traced:
        return self.emit("add", self, other)

    def __radd__(self, other: float) -> Traced:
        return self.emit("add", other, self)

    def __sub__(self, other: Any) -> Traced:
        return self.emit("sub", self, other)

    def __rsub__(self, other: float) -> Traced:
        return self.emit("sub", other, self)

    def __mul__(self, other: Any) -> Traced:
        return self.emit("mul", self, other)

    def __rmul__(self, other: float) -> Traced:
        return self.emit("mul", self, other)

    def __truediv__(self, other: Any) -> Traced:
        return self.emit("div", self, other)

    def __neg__(self) -> Traced:
        return self.emit("neg", self)


class Listed(Traced):
    """A value that lists operations as text: what tells formulas apart, whoever wrote them."""

    def __init__(self, lines: list[str], name: str) -> None:
        self.lines, self.name = lines, name

    def emit(self, operation: str, *operands: Any) -> Listed:
        names = (one.name if isinstance(one, Listed) else float(one).hex() for one in operands)
        self.lines.append(f"{operation} {' '.join(names)}")
        return Listed(self.lines, str(len(self.lines)))


def fma(factor0: Any, factor1: Any, addend: Any) -> Any:
    """factor0 * factor1 + addend, rounded once (IEEE 754 fusedMultiplyAdd) where it is traced.

    Numbers and arrays, on which a formula can be tried out in plain Python, are rounded twice.
    """
    for value in (factor0, factor1, addend):
        if isinstance(value, Traced):
            if isinstance(factor0, Traced):
                return value.emit("fma", factor0, factor1, addend)
            return value.emit("fma", factor1, factor0, addend)
    return factor0 * factor1 + addend


def square_root(value: Any) -> Any:
    """The square root of a number or a traced value, correctly rounded."""
    return value.emit("sqrt", value) if isinstance(value, Traced) else value**0.5

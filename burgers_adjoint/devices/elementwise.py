"""Arithmetic on a device, entry by entry: each operation is rounded as NumPy rounds it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from burgers_adjoint.devices import entries
from burgers_adjoint.devices.device import Device
from burgers_adjoint.devices.view import View

Operand = tuple[int, View] | float
"""Address of an array and which of its entries, or a number that stands for them all."""

MOST_EXACT = 2**53  # of integers that are doubles

# by the name of NumPy's function: the operation on a and b
OPERATIONS = {
    "add": "add_(a, b)",
    "subtract": "sub_(a, b)",
    "multiply": "mul_(a, b)",
    "divide": "div_(a, b)",
    "negative": "-a",
    "square": "mul_(a, a)",
    "absolute": "abs_(a)",
    "copy": "a",
}


def number_of(value: Any) -> float | None:
    """A number as a double; None where it is none, or NumPy would compute with more than it."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, int | np.integer):
        return float(value) if abs(int(value)) <= MOST_EXACT else None
    if isinstance(value, float | np.float32 | np.float16 | np.bool_):
        return float(value)
    return None


def operation_of(ufunc: np.ufunc) -> str | None:
    """Name of the operation of a function of NumPy; None where devices have none."""
    name = {"true_divide": "divide"}.get(ufunc.__name__, ufunc.__name__)
    return name if name in OPERATIONS else None


@cache
def kernel_of(operation: str, numbers: tuple[bool, ...]) -> tuple[str, str]:
    """Name and text of the kernel of an operation whose operands are numbers or not."""
    operands, parameters, values = ["double* out"], [], []
    for letter, is_number in zip("ab", numbers, strict=False):
        if is_number:
            parameters.append(f"double number_{letter}")
            values.append(f"const double {letter} = number_{letter};")
        else:
            operands.append(f"const double* at_{letter}")
            values.append(f"const double {letter} = *at_{letter};")
    body = " ".join([*values, f"*out = {OPERATIONS[operation]};"])
    name = "_".join([operation, *("number" if one else "array" for one in numbers)])
    return name, entries.kernel(name, operands, parameters, body)


def compute(device: Device, operation: str, out: tuple[int, View], *given: Operand) -> None:
    """Start an operation on the main stream.

    Args:
        device: where.
        operation: one of `OPERATIONS`.
        out: where the results go. Entries may be those of an operand, each in its own place;
            otherwise they do not overlap with any.
        given: one operand or two, as the operation has it.
    """
    arrays = [one for one in given if isinstance(one, tuple)]
    numbers = [np.float64(one) for one in given if not isinstance(one, tuple)]
    name, source = kernel_of(operation, tuple(not isinstance(one, tuple) for one in given))
    if out[1].size:
        entries.start(device, source, name, [out, *arrays], numbers)

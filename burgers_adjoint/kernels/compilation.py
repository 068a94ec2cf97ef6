"""Compiled kernels: one way to compile."""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba

from burgers_adjoint.kernels.cache import KernelCache


def compiled(function: Callable[..., Any], cache: bool = True) -> Any:
    """Compile to machine code with strict IEEE arithmetic, cached on disk unless told otherwise.

    No fast-math flag of any kind: the compiler must neither reassociate nor contract, so that the
    vector body and the scalar remainder of a loop, and hence every tiling, give the same bits.
    """
    dispatcher = numba.njit(function, nogil=True, error_model="numpy")
    if cache:
        dispatcher._cache = KernelCache(function)
    return dispatcher


def compiled_copy(function: Callable[..., Any], name: str, **names: Any) -> Any:
    """Compile a copy of a function in which global names stand for what is given here.

    Numba tells the cached kernels of a file apart by their names, and does not see what they call:
    the name of the copy has to tell all that the given names stand for.
    """
    copy = FunctionType(function.__code__, function.__globals__ | names, function.__name__)
    copy.__qualname__ = f"{function.__name__}.{name}"
    return compiled(copy)

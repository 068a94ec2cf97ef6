"""Compiled kernels: one way to compile, one cache that no stale kernel survives in."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

PACKAGE = Path(__file__).parents[1]
# and what is compiled in
COMPILED = ("kernels/**/*.py", "stepping/**/*.py", "equations/**/*.py", "parallel/**/*.py")


def cache_directory() -> Path:
    """Folder of the compiled kernels, named after a hash of their sources.

    Numba notices a change of the file that holds a kernel but not of the functions that the kernel
    inlines from other files; a folder per source state cannot go stale. It lies under
    ``NUMBA_CACHE_DIR`` when that is set, else in the user's cache folder, else (no home, or one
    that cannot be written) in a temporary folder of this user.
    """
    sources = hashlib.sha256()
    for path in sorted(path for pattern in COMPILED for path in PACKAGE.glob(pattern)):
        sources.update(path.read_bytes())
    name = f"kernels-{sources.hexdigest()[:16]}"
    candidates = [
        os.environ.get("NUMBA_CACHE_DIR"),
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
    ]
    for base in filter(None, candidates):
        folder = Path(base) / "burgers_adjoint" / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    own = Path(tempfile.gettempdir()) / f"burgers_adjoint-{os.getuid()}"
    with suppress(FileExistsError):
        own.mkdir(mode=0o700)
    # Anybody may make a folder of this name there, and what lies in it would be executed.
    found = own.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        own = Path(tempfile.mkdtemp(prefix="burgers_adjoint-"))
    return own / name


numba.config.CACHE_DIR = str(cache_directory())


class KernelCache:
    """Numba's cache on disk, which takes no time for kernels that are not called.

    Every rank loads kernels and one compiles them: importing all that the compiler knows of takes
    longer than loading, and is left until there is something to compile.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @cached_property
    def _cache(self) -> Any:
        return FunctionCache(self._function)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Load a kernel; None when it is not there."""
        if not hasattr(self._cache, "_load_overload"):  # a Numba of another kind
            return self._cache.load_overload(signature, target)
        rtsys.initialize(target)  # what compiled code calls
        with self._cache._guard_against_spurious_io_errors():
            return self._cache._load_overload(signature, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)


def compiled(function: Callable[..., Any], cache: bool = True) -> Any:
    """Compile to machine code with strict IEEE arithmetic, cached on disk unless told otherwise.

    No fast-math flag of any kind: the compiler must neither reassociate nor contract, so that the
    vector body and the scalar remainder of a loop, and hence every tiling, give the same bits.
    """
    dispatcher = numba.njit(function, nogil=True, error_model="numpy")
    if cache:
        dispatcher._cache = KernelCache(function)
    return dispatcher


def compiled_copy(function: Callable[..., Any], name: str, cache: bool = True, **names: Any) -> Any:
    """Compile a copy of a function in which global names stand for what is given here.

    Numba tells the cached kernels of a file apart by their names, and does not see what they call:
    the name of the copy has to tell all that the given names stand for, unless it is not cached.
    """
    copy = FunctionType(function.__code__, function.__globals__ | names, function.__name__)
    copy.__qualname__ = f"{function.__name__}.{name}"
    return compiled(copy, cache=cache)

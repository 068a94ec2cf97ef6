"""Compiled kernels: one way to compile, one cache that no stale kernel survives in."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

PACKAGE = Path(__file__).parent


def cache_directory() -> Path:
    """Folder of the compiled kernels, named after a hash of the package's sources.

    Numba notices a change of the file that holds a kernel but not of the functions that the kernel
    inlines from other files; a folder per source state cannot go stale. It lies under
    ``NUMBA_CACHE_DIR`` when that is set, else in the user's cache folder, else (no home, or one
    that cannot be written) in a temporary folder of this user.
    """
    sources = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
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


class KernelCache(FunctionCache):
    """Numba's cache on disk, which readies the compiler only where there is something to compile.

    Every rank loads kernels, one compiles them; importing all that the compiler knows of takes
    twice as long as loading.
    """

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Load a kernel; None when it is not there."""
        rtsys.initialize(target)  # what compiled code calls
        with self._guard_against_spurious_io_errors():
            return self._load_overload(signature, target)


def compiled(function: Callable[..., Any], cache: bool = True) -> Any:
    """Compile to machine code with strict IEEE arithmetic, cached on disk unless told otherwise.

    No fast-math flag of any kind: the compiler must neither reassociate nor contract, so that the
    vector body and the scalar remainder of a loop, and hence every tiling, give the same bits.
    """
    dispatcher = numba.njit(function, cache=cache, nogil=True, error_model="numpy")
    if cache:
        dispatcher._cache = KernelCache(function)
    return dispatcher


def compiled_copy(function: Callable[..., Any], owner: type, **names: Any) -> Any:
    """Compile a copy of a function in which global names stand for what its owner puts there.

    Numba tells the cached kernels of a file apart by their names, and does not see what they call:
    a copy bears its owner's name, and is cached when the name of the cache's folder covers its
    owner too.
    """
    copy = FunctionType(function.__code__, function.__globals__ | names, function.__name__)
    copy.__qualname__ = f"{owner.__module__}.{owner.__qualname__}.{function.__name__}"
    return compiled(copy, cache=owner.__module__.split(".")[0] == PACKAGE.name)

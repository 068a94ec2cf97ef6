"""Compiled kernels on the disk: a file per kernel, of our functions alone, whole or not used."""

import hashlib
import logging
import os
import pickle
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, InTreeCacheLocator
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from burgers_adjoint.files import disk

PACKAGE = Path(__file__).parents[1]
# and what is compiled in
COMPILED = ("kernels/**/*.py", "parallel/**/*.py")
CHECKSUM_BYTES = hashlib.sha256().digest_size

logger = logging.getLogger(__name__)


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


@cache
def kernel_folder() -> Path:
    """The folder of this process: asked for once, and not before a kernel is called."""
    return cache_directory()


class KernelFiles:
    """The files of one function's kernels, by what tells them apart; takes no lock.

    Numba keeps an index of a function's files. Processes that write at the same time can leave one
    that gives a kernel the file of another, and one that a full disk or a power cut has left
    damaged stops every later run. Here a file is named after its key and begins with its checksum:
    what does not fit is as good as absent, and is replaced as a whole.
    """

    def __init__(self, folder: Path, name: str, source: Any) -> None:
        self._folder, self._name = folder, name
        self._common = (numba.__version__, source)

    def load(self, key: Any) -> Any:
        """Return what was saved under this key; None when it is absent or damaged."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        checksum, data = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
        if hashlib.sha256(data).digest() != checksum:
            return None
        found, kernel = pickle.loads(data)
        return kernel if found == key else None

    def save(self, key: Any, kernel: Any) -> None:
        """Save a kernel under its key; where that fails, the run goes on with what it has."""
        data = dumps((key, kernel))
        partial = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(".partial", self._name, self._folder)
            with open(descriptor, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            disk.replace(Path(partial), self._path(key))
        except OSError as error:
            _warn_of_unsaved(str(self._folder), error.strerror or str(error))
            if partial is not None:
                Path(partial).unlink(missing_ok=True)

    def flush(self) -> None:
        """Remove the kernels of this function."""
        for path in self._folder.glob(f"{self._name}.*.nbc"):
            path.unlink(missing_ok=True)

    def _path(self, key: Any) -> Path:
        name = hashlib.sha256(repr((self._common, key)).encode()).hexdigest()[:32]
        return self._folder / f"{self._name}.{name}.nbc"


@cache
def _warn_of_unsaved(folder: str, reason: str) -> None:
    logger.warning("compiled kernels are not kept in %s: %s", folder, reason)


class KernelLocator(InTreeCacheLocator):
    """Tells Numba of our folder, for our functions alone."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        super().__init__(function, file)
        self._cache_path = str(kernel_folder() / self.get_suitable_cache_subpath(file))

    def ensure_cache_path(self) -> None:
        """Leave it to `KernelFiles`, which can do without."""


class _CacheImplementation(CompileResultCacheImpl):
    _locator_classes = (KernelLocator,)


class _FunctionCache(FunctionCache):
    _impl_class = _CacheImplementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        source = self._impl.locator.get_source_stamp()
        self._cache_file = KernelFiles(Path(self.cache_path), self._impl.filename_base, source)


class KernelCache:
    """Numba's cache on disk, which takes no time for kernels that are not called.

    Every rank loads kernels and one compiles them: importing all that the compiler knows of takes
    longer than loading, and is left until there is something to compile.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @cached_property
    def _cache(self) -> Any:
        return _FunctionCache(self._function)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Load a kernel; None when it is not there."""
        if not hasattr(self._cache, "_load_overload"):  # a Numba of another kind
            return self._cache.load_overload(signature, target)
        rtsys.initialize(target)  # what compiled code calls
        with self._cache._guard_against_spurious_io_errors():
            return self._cache._load_overload(signature, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

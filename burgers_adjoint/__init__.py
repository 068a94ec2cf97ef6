"""Adjoint gradients of the 2D viscous Burgers equation on MPI ranks, in bounded memory."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from burgers_adjoint.config import Config as Config
    from burgers_adjoint.config import load as load
    from burgers_adjoint.errors import BurgersAdjointError as BurgersAdjointError
    from burgers_adjoint.errors import ConfigError as ConfigError
    from burgers_adjoint.errors import NumericalError as NumericalError
    from burgers_adjoint.errors import ScheduleError as ScheduleError
    from burgers_adjoint.errors import SnapshotError as SnapshotError
    from burgers_adjoint.errors import StorageError as StorageError
    from burgers_adjoint.problem import Problem as Problem

# Public names, by the module that has them: it is imported when one is used for the first time.
_HOMES = {
    "Config": "config",
    "load": "config",
    "Problem": "problem",
    "BurgersAdjointError": "errors",
    "ConfigError": "errors",
    "NumericalError": "errors",
    "ScheduleError": "errors",
    "SnapshotError": "errors",
    "StorageError": "errors",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

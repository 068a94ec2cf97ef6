"""Errors that a user meets, each with the exit code of the process that ends with it."""

from collections.abc import Sequence
from typing import TypeVar


class BurgersAdjointError(Exception):
    """A failure with a message that a user can act on.

    `agreed` is True on an error that every rank raises together, so that all ranks can end the
    ordinary way; an error that is not agreed has to abort the whole run.
    """

    exit_code = 1
    agreed = False


class ConfigError(BurgersAdjointError):
    """Wrong usage: command line, configuration, or an initial file that does not fit it."""

    exit_code = 2


class NumericalError(BurgersAdjointError):
    """The numbers went wrong: an unstable time step or a state that is no longer finite."""

    exit_code = 3


class SnapshotError(BurgersAdjointError):
    """Stored data that is damaged or does not belong to the step that was asked for."""

    exit_code = 4


class StorageError(BurgersAdjointError):
    """Snapshots that cannot be written: no room, no permission, no folder."""

    exit_code = 1


class ScheduleError(BurgersAdjointError):
    """An action whose precondition does not hold: the schedule is wrong, not its user."""

    exit_code = 1


class RestartError(BurgersAdjointError):
    """Restart data that is damaged, of another run, or of another version of the format."""

    exit_code = 4


class InterruptedRunError(BurgersAdjointError):
    """A run that was stopped on purpose, with everything saved that it needs to go on."""

    exit_code = 75


class RestartWriteError(BurgersAdjointError):
    """Restart data that cannot be written; older generations of it are as they were."""

    exit_code = 1


Failure = TypeVar("Failure", bound=BurgersAdjointError)


def agreed_error(error: Failure) -> Failure:
    """The same error, marked as one that every rank raises together.

    For what all ranks compute from the same numbers; `parallel.failure.agreed` is for what one
    rank alone may meet.
    """
    error.agreed = True
    return error


def closest(word: str, allowed: Sequence[str]) -> str:
    """Suggest the allowed word that looks most like this one; empty where none does."""
    import difflib

    names = {name.lower(): name for name in allowed}
    matches = difflib.get_close_matches(word.lower(), names, n=1)
    return f", did you mean {names[matches[0]]}?" if matches else ""

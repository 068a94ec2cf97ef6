"""How every rank comes to its end, whatever happens, with the word that the user needs."""

import os
import sys
import time
import traceback
from typing import Any, NoReturn, TextIO

from burgers_adjoint.errors import BurgersAdjointError

INTERRUPTED = 130
SECONDS_BEHIND_A_RANK = 0.2
SECONDS_FOR_THE_MESSAGE = 0.1
LONGEST_SILENCE = 2.0


def failed(comm: Any, error: BaseException, debug: bool) -> int:
    """Say what went wrong; returns the exit code when all ranks know of it.

    Where this rank alone has failed, it ends the others: nobody would come to meet them.
    """
    ours = isinstance(error, BurgersAdjointError)
    if debug and (comm.rank == 0 or not ours or error.__cause__ is not None):
        traceback.print_exception(error)
    if isinstance(error, BurgersAdjointError):
        if error.agreed:
            if comm.rank == 0:
                print_on(f"error: {error}", sys.stderr)
            return error.exit_code
        end_alone(comm, str(error), error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        end_alone(comm, "interrupted", INTERRUPTED)
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else 1
        end_alone(comm, f"left the run with sys.exit({error.code!r})", code)
    if isinstance(error, MemoryError):
        end_alone(comm, f"out of memory: {error}", 1)
    hint = "" if debug else "; --debug shows where"
    if isinstance(error, ImportError) and not (error.name or "").startswith("burgers_adjoint"):
        does_not_fit = f"the packages below {sys.prefix} do not fit each other{hint}"
        end_alone(comm, f"cannot import {error.name}: {error}; {does_not_fit}", 1)
    end_alone(comm, f"{type(error).__name__}: {error} (a bug in burgers-adjoint{hint})", 1)


def end_alone(comm: Any, message: str, code: int) -> NoReturn:
    """End a run in which the other ranks know nothing of the failure and may wait for this one."""
    if comm.size == 1:
        print_on(f"error: {message}", sys.stderr)
        sys.exit(code)
    # Where several ranks fail alike, the first one's word is enough: its end is that of all.
    time.sleep(min(SECONDS_BEHIND_A_RANK * comm.rank, LONGEST_SILENCE))
    from burgers_adjoint.parallel.library import abort

    print_on(f"error: rank {comm.rank}: {message}", sys.stderr)
    sys.stdout.flush()
    # MPICH's launcher drops what it has not read when the abort arrives.
    time.sleep(SECONDS_FOR_THE_MESSAGE)
    try:
        abort(comm, code)
    finally:
        os._exit(code)  # where it returns, and leaves the end to the launcher


def end(comm: Any, code: int) -> NoReturn:
    """Leave together: a launcher ends everybody when the first rank has left with an error."""
    if comm is not None and comm.size > 1:
        from burgers_adjoint.parallel.failure import patient_barrier

        patient_barrier(comm)
    sys.exit(code)


def print_on(text: str, stream: TextIO) -> str | None:
    """Print and flush, or return why not; a reader that has gone away (`| head`) is no error."""
    # File names and tables can hold what an ASCII stream cannot say.
    encoding = stream.encoding or "utf-8"
    try:
        # In one piece with its end: what another stream or rank writes comes before it or after.
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return None if isinstance(error, BrokenPipeError) else error.strerror
    return None

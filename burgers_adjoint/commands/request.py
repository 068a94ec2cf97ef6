"""What all commands share: what was asked for, its configuration, its folders, its report."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from burgers_adjoint.commands.ending import print_on
from burgers_adjoint.commands.launcher import launched
from burgers_adjoint.errors import BurgersAdjointError, ConfigError, agreed_error


@dataclass(frozen=True)
class Request:
    """One parsed command line."""

    command: str
    config: str | None
    overrides: tuple[str, ...] = ()
    directory: str | None = None
    json: str | None = None
    quiet: bool = False
    debug: bool = False
    observe: str | None = None
    resume: str | None = None
    draw: str | None = None
    inside: bool = False
    write: str | None = None
    keys: bool = False
    wait: float = 0.0
    port: int | None = None
    socket: str | None = None


def prepare(request: Request, comm: Any) -> Any:
    """The configuration as rank 0 reads it, on all ranks."""
    from burgers_adjoint.config import load
    from burgers_adjoint.parallel.agreement import from_rank
    from burgers_adjoint.parallel.failure import agreed

    config = None
    with agreed(comm):
        if comm.rank == 0:
            config = load(request.config, request.overrides, request.directory)
    return from_rank(comm, config)


def require_writable(request: Request, comm: Any) -> None:
    """Find out now what would spoil the end: files that cannot be written. Collective."""
    from burgers_adjoint.files.whole import require_writable
    from burgers_adjoint.parallel.failure import agreed

    json = None if request.json == "-" else request.json
    with agreed(comm):
        if comm.rank == 0:
            for path in (json, request.draw, request.observe, request.write):
                if path is not None:
                    require_writable(path)


def require_there(comm: Any, name: str, wanted: str) -> None:
    """Refuse a name that nothing has. Collective."""
    from burgers_adjoint.parallel.agreement import from_rank

    if not from_rank(comm, os.path.exists(os.path.expanduser(name))):
        raise agreed_error(ConfigError(f"{name} is {wanted}: there is nothing of this name"))


@contextlib.contextmanager
def alone(request: Request, comm: Any, config: Any) -> Iterator[None]:
    """Hold the folders that a run writes to. Collective.

    Not that of working snapshots, whose files have names of their run's own: many runs may share
    the disk of a node.
    """
    from burgers_adjoint.commands.identity import folder_of
    from burgers_adjoint.output.lock import locked

    folders = [(Path(config.output.directory), "output folder")]
    if config.restart.enabled:
        folders.append((folder_of(config), "folder of the restart data"))

    def say(message: str) -> None:
        if not request.quiet:
            print_on(message, sys.stderr)

    with locked(folders, comm, say, request.wait):
        # what another run may be writing is left alone
        require_writable(request, comm)
        yield


def report(
    request: Request, comm: Any, summary: Any, show: Callable[[Any, TextIO, bool], None]
) -> None:
    """Print a summary on rank 0 and write its JSON. Collective."""
    from burgers_adjoint.files.whole import write_text
    from burgers_adjoint.output.summary import to_json
    from burgers_adjoint.parallel.failure import agreed

    with agreed(comm):
        if comm.rank != 0:
            return
        failure = None
        if not request.quiet:
            stream = sys.stderr if request.json == "-" else sys.stdout
            # mpiexec gives ranks a pseudo-terminal whose text may well end in a file.
            text = io.StringIO()
            show(summary, text, stream.isatty() and not launched())
            lines = (line.rstrip() for line in text.getvalue().rstrip().splitlines())
            failure = print_on("\n".join(lines), stream)
        if request.json == "-":
            failure = print_on(to_json(summary).rstrip(), sys.stdout)
        elif request.json is not None:
            write_text(request.json, to_json(summary))
        if failure is not None:
            raise BurgersAdjointError(f"cannot write to standard output: {failure}")

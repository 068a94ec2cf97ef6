"""`info`: versions and the machine, or what an output folder holds."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from burgers_adjoint.commands.request import (
    Request,
    prepare,
    report,
    require_there,
    require_writable,
)
from burgers_adjoint.errors import ConfigError, agreed_error


def info(request: Request, comm: Any) -> int:
    """Print what was asked for; returns the exit code. Collective."""
    from burgers_adjoint.output.system import information
    from burgers_adjoint.output.tables import print_information

    folder = request.config is not None and os.path.isdir(os.path.expanduser(request.config))
    if request.keys and folder:
        raise agreed_error(
            ConfigError(
                f"--keys goes with a configuration file or none, not the folder {request.config}"
            )
        )
    if folder:
        return _contents(request, comm)
    if request.config is not None:
        require_there(comm, request.config, "neither an output folder nor a configuration file")
    config = prepare(request, comm)
    require_writable(request, comm)
    if request.keys:
        from burgers_adjoint.config.keys import keys, print_keys

        report(request, comm, keys(config), print_keys)
        return 0
    report(request, comm, information(comm), print_information)
    return 0


def _contents(request: Request, comm: Any) -> int:
    """Tell what an output folder holds and how far its run was."""
    from burgers_adjoint.commands.identity import folder_of
    from burgers_adjoint.output.lock import holder_of
    from burgers_adjoint.output.tables import print_contents
    from burgers_adjoint.parallel.agreement import from_rank
    from burgers_adjoint.parallel.failure import agreed
    from burgers_adjoint.restart.contents import contents

    folder = os.path.expanduser(request.config or "")
    configuration = os.path.join(folder, "config.toml")
    there = from_rank(comm, os.path.isfile(configuration))
    request = replace(
        request,
        config=configuration if there else None,
        directory=folder,
    )
    config = prepare(request, comm)
    require_writable(request, comm)
    found = None
    with agreed(comm):
        if comm.rank == 0:
            holder = holder_of(Path(folder)) or holder_of(folder_of(config))
            found = contents(folder, folder_of(config), there)
            found["running"] = str(holder) if holder and holder.alive() is not False else None
    report(request, comm, from_rank(comm, found), print_contents)
    return 0

"""Which run it is: what another must have in common with it to go on with its data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.config import Config
from burgers_adjoint.restart.keeper import Identity

MAY_DIFFER = {
    "checkpointing", "snapshots", "restart", "parallel", "output", "check", "uncertainty",
    "hessian",
}  # fmt: skip


def folder_of(config: Config) -> Path:
    """Where the restart data of a run is."""
    return Path(config.restart.directory or Path(config.output.directory) / "restart")


def identity_of(case: Case, command: str, also: Mapping[str, Any]) -> Identity:
    """What another run must have in common with this one to go on with it. Collective.

    Args:
        case: that is run.
        command: that runs it.
        also: what else, by name.
    """
    config = case.config
    values = {
        name: section
        for name, section in msgspec.to_builtins(config).items()
        if name not in MAY_DIFFER
    }
    values["initial"].pop("path")  # the fields count, wherever they come from
    values["gradient"].pop("inner_product")
    values["time"].pop("stages")
    values["initial"]["digest"] = case.digest(case.fields[:2], {})  # tangents may lie behind
    # of an initial state the fields count, as above
    values["files"] = {key: one for key, one in case.files.items() if key != "initial.path"}
    values = msgspec.json.decode(msgspec.json.encode({"command": command, **values, **also}))
    goes_on = f"burgers-adjoint resume {config.output.directory}"
    return Identity(command, values, goes_on)

"""Which run it is: what another must have in common with it to go on with its data."""

from pathlib import Path

import msgspec

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.config import Config
from burgers_adjoint.restart.keeper import Identity

MAY_DIFFER = {
    "checkpointing", "snapshots", "train", "restart", "parallel", "output", "check", "uncertainty",
}  # fmt: skip


def folder_of(config: Config) -> Path:
    """Where the restart data of a run is."""
    return Path(config.restart.directory or Path(config.output.directory) / "restart")


def identity_of(case: Case, command: str) -> Identity:
    """What another run must have in common with this one to go on with it. Collective."""
    config = case.config
    values = {
        name: section
        for name, section in msgspec.to_builtins(config).items()
        if name not in MAY_DIFFER
    }
    values["initial"].pop("path")  # the fields count, wherever they come from
    values["gradient"].pop("inner_product")
    values["time"].pop("stages")
    values["initial"]["digest"] = case.digest(case.fields, {})
    # of an initial state the fields count, as above
    values["files"] = {key: one for key, one in case.files.items() if key != "initial.path"}
    values = msgspec.json.decode(msgspec.json.encode({"command": command, **values}))
    goes_on = f"burgers-adjoint resume {config.output.directory}"
    return Identity(command, values, goes_on)

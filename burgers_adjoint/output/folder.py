"""The output folder of a run."""

from pathlib import Path
from socket import gethostname
from typing import Any

from burgers_adjoint.config import Config
from burgers_adjoint.config.messages import show
from burgers_adjoint.errors import BurgersAdjointError, ConfigError
from burgers_adjoint.files.whole import reason, write_text
from burgers_adjoint.parallel.failure import agreed


def prepare_directory(config: Config, comm: Any) -> Path:
    """Create the output folder and leave the configuration of the run in it. Collective.

    Raises:
        BurgersAdjointError: on all ranks, when the folder cannot be made or written to.
        ConfigError: on all ranks, when it is another folder on one of them.
    """
    directory = Path(config.output.directory)
    with agreed(comm):
        if comm.rank == 0:
            make_folder(directory, "output folder")
            write_text(directory / "config.toml", config.to_toml())
    with agreed(comm):
        if not (directory / "config.toml").exists():
            raise ConfigError(
                f"output.directory = {show(config.output.directory)}: rank {comm.rank} on node "
                f"{gethostname()} does not see what rank 0 has written there; expected a folder "
                "that all nodes share"
            )
    return directory


def make_folder(folder: Path, title: str) -> None:
    """Make a folder unless it is there; the title says in messages what it is for.

    Raises:
        BurgersAdjointError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BurgersAdjointError(f"cannot make the {title} {folder}: {reason(error)}") from error

"""The output folder of a run."""

from pathlib import Path
from typing import Any

from burgers_adjoint.config import Config
from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.files.whole import reason, write_text
from burgers_adjoint.parallel.failure import agreed


def prepare_directory(config: Config, comm: Any) -> Path:
    """Create the output folder and leave the configuration of the run in it. Collective.

    Raises:
        BurgersAdjointError: on all ranks, when the folder cannot be made or written to.
    """
    directory = Path(config.output.directory)
    with agreed(comm):
        if comm.rank == 0:
            make_folder(directory, "output folder")
            write_text(directory / "config.toml", config.to_toml())
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

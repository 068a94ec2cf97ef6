"""The folder of snapshot files, once there is room for them."""

import shutil
import socket
import tempfile
from contextlib import nullcontext
from pathlib import Path

from burgers_adjoint.config import Config
from burgers_adjoint.errors import ConfigError, StorageError
from burgers_adjoint.files.whole import reason
from burgers_adjoint.parallel.agreement import Comm, ranks_of_node, total
from burgers_adjoint.parallel.failure import agreed


def folder_for(
    config: Config, comm: Comm, capacity: int, slot_bytes: int, shared: bool = False
) -> Path:
    """Make the folder, and see that it has room for the files of all ranks of the node. Collective.

    Args:
        config: [snapshots] names it, or [output].
        comm: all ranks.
        capacity: slots of each file.
        slot_bytes: of this rank's part of a snapshot.
        shared: one file of all ranks.

    Raises:
        ConfigError: on all ranks: the disk is too small.
        StorageError: on all ranks: the folder cannot be made, or written to.
    """
    from burgers_adjoint.snapshots.file_layout import needed_bytes

    folder = Path(config.snapshots.directory or config.output.directory)
    needed = needed_bytes(capacity, slot_bytes)
    with nullcontext(comm) if shared else ranks_of_node(comm) as writers:
        of_all, n_ranks = int(total(writers, needed)), writers.size
    with agreed(comm):
        try:
            if not shared or comm.rank == 0:
                folder.mkdir(parents=True, exist_ok=True)
                free = shutil.disk_usage(folder).free
                # A real try: root passes every test of permissions, and disks are read-only.
                tempfile.TemporaryFile(dir=folder).close()
                if free < of_all:
                    raise ConfigError(
                        f"the snapshots need {of_all} bytes in {folder} of node "
                        f"{socket.gethostname()} ({n_ranks} ranks), "
                        f"{free} are free there: use fewer (checkpointing.snapshots) or "
                        "another folder (snapshots.directory)"
                    )
        except OSError as error:
            raise StorageError(
                f"cannot use the snapshot folder {folder} on node {socket.gethostname()}, "
                f"which is to hold {of_all} bytes: {reason(error)}; "
                "-s snapshots.directory=DIR names another one, for resume, too"
            ) from error
    return folder

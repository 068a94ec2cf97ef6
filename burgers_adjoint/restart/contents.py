"""What an output folder holds, for people who wonder how far a run was."""

import os
from pathlib import Path
from typing import Any

from burgers_adjoint.errors import RestartError
from burgers_adjoint.restart.manifest import Manifest, generations, path_of, read_manifest
from burgers_adjoint.restart.parts import PartFile


def contents(folder: str, restart: Path, configured: bool) -> dict[str, Any]:
    """Look at an output folder and at all generations of its restart data.

    Args:
        folder: output folder.
        restart: folder of the restart data.
        configured: whether the folder holds the configuration of a run.

    Returns:
        folder, configuration and results (whether they are there), and per generation, newest
        first: generation, state ("whole", or what is wrong), and where it is whole: saved_at,
        phase, position, steps, forward_steps, reverse_steps, snapshots, ranks and bytes.
    """
    return {
        "folder": folder,
        "configuration": configured,
        "results": os.path.isfile(os.path.join(folder, "results.h5")),
        "restart": str(restart),
        "generations": [_generation(restart, number) for number in generations(restart)],
    }


def _generation(folder: Path, number: int) -> dict[str, Any]:
    try:
        manifest = read_manifest(path_of(folder, number))
        _require_files(folder, manifest)
    except RestartError as error:
        return {"generation": number, "state": str(error)}
    seals = [seal for part in manifest.parts.values() for seal in part.seals]
    return {
        "generation": number,
        "state": "whole",
        "saved_at": manifest.saved_at,
        "command": manifest.command,
        "phase": manifest.phase,
        "position": manifest.position,
        "steps": manifest.n_steps,
        "forward_steps": manifest.counts["forward_steps"],
        "reverse_steps": manifest.counts["reverse_steps"],
        "snapshots": len(manifest.snapshots),
        "ranks": max((len(part.seals) for part in manifest.parts.values()), default=0),
        "bytes": sum(seal.size for seal in seals),
    }


def _require_files(folder: Path, manifest: Manifest) -> None:
    """See that all files are there and have their sizes and indices; fields are not read."""
    for name, part in manifest.parts.items():
        for rank, seal in enumerate(part.seals):
            with PartFile(folder, name, rank, seal):
                pass

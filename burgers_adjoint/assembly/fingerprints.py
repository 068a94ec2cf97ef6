"""Fingerprints of the files that a run reads, by which whoever goes on with it knows them again."""

import hashlib
from collections.abc import Mapping

from burgers_adjoint.config import Config
from burgers_adjoint.errors import ConfigError, RestartError
from burgers_adjoint.files.whole import reason
from burgers_adjoint.parallel.agreement import Comm, from_rank
from burgers_adjoint.parallel.failure import agreed


def fingerprints(config: Config, comm: Comm) -> dict[str, str]:
    """SHA-256 of each file that a configuration names, by its key, on all ranks. Collective.

    Raises:
        ConfigError: on all ranks: a file cannot be read.
    """
    found: dict[str, str] = {}
    with agreed(comm):
        if comm.rank == 0:
            for key, path in _files(config).items():
                try:
                    with open(path, "rb") as file:
                        found[key] = hashlib.file_digest(file, "sha256").hexdigest()
                except OSError as error:
                    raise ConfigError(f"{key} = {path}: {reason(error)}") from error
    return dict(from_rank(comm, found))


def _files(config: Config) -> dict[str, str]:
    files: dict[str, str] = {}
    objective = config.objective
    if "misfit" in (objective.weights or (objective.kind,)):
        files["observations.path"] = config.observations.path
    if config.initial.kind == "file":
        files["initial.path"] = config.initial.path
    if config.truth.twin and config.truth.kind == "file":
        files["truth.path"] = config.truth.path
    files["background.informed"] = config.background.informed
    return {key: path for key, path in files.items() if path}


def require_same_files(
    config: Config, there: Mapping[str, str], here: Mapping[str, str], where: str, anew: str
) -> None:
    """See that what a run goes on with was made from the same files.

    Args:
        config: of the run.
        there, here: fingerprints of what was read then, and of what is there now.
        where: what holds the first ones.
        anew: how to begin anew.

    Raises:
        RestartError: naming the first file that is another one.
    """
    for key, path in _files(config).items():
        if key in there and there[key] != here[key]:
            raise RestartError(
                f"{where} is of a run that has read another file: {key} = {path} has changed since "
                f"then (SHA-256 {there[key][:12]}... then, {here[key][:12]}... now): put that file "
                f"back, or {anew}"
            )

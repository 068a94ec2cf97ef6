"""controls.h5: what an `optimize` has found, whose search it is of, and whether that has ended."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from burgers_adjoint.assembly.fingerprints import fingerprints, require_same_files
from burgers_adjoint.config import Config
from burgers_adjoint.files.hdf5 import attributes
from burgers_adjoint.output.results import BEST, RESULTS
from burgers_adjoint.output.summary import RunSummary, summary_of
from burgers_adjoint.parallel.agreement import Comm, from_rank
from burgers_adjoint.parallel.failure import agreed

# What makes two runs look for the same controls.
IDENTITY = (
    "grid", "physics", "initial", "time", "objective", "observations", "gradient", "controls",
    "background", "truth",
)  # fmt: skip


def ended_search(config: Config, facts: Mapping[str, Any]) -> RunSummary | None:
    """The summary of a search that has ended and whose results could not be written.

    None where there is none, and where the search was told by [tao] to end in another way.
    """
    if not facts.get("ended") or facts.get("tao") != settings_of(config):
        return None
    return summary_of(json.loads(facts["ended"]))


def settings_of(config: Config) -> str:
    """How a search is to go and to end."""
    return json.dumps(msgspec.to_builtins(config.tao), sort_keys=True)


def identity_of_search(config: Config) -> str:
    """What two runs have in common that look for the same controls."""
    sections = {name: msgspec.to_builtins(getattr(config, name)) for name in IDENTITY}
    sections["time"].pop("stages")  # makes no difference to the bits
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()


def summary_when_converged(config: Config, comm: Comm) -> RunSummary | None:
    """The summary of the optimisation in the output folder, unless there is more to do."""
    if not found_by_search(config, comm):
        return None
    path = Path(config.output.directory) / RESULTS
    summary = json.loads(read_facts(path, comm).get("summary", "{}"))
    if "optimize" not in summary:  # another command's results
        return None
    return summary_of(summary)


def found_by_search(config: Config, comm: Comm) -> bool:
    """Whether an optimisation of this problem has converged in the output folder. Collective.

    Raises:
        RestartError: on all ranks: it has read another file of observations, or of a first guess.
    """
    facts = read_facts(Path(config.output.directory) / BEST, comm)
    if facts.get("identity") != identity_of_search(config) or not facts.get("converged"):
        return False
    require_same_search_files(config, comm, facts, fingerprints(config, comm))
    return True


def require_same_search_files(
    config: Config, comm: Comm, facts: Mapping[str, Any], files: Mapping[str, str]
) -> None:
    """See that the controls in the output folder were found from the same files. Collective."""
    path, there = Path(config.output.directory) / BEST, json.loads(facts.get("files", "{}"))
    with agreed(comm):
        require_same_files(config, there, files, str(path), "begin anew in another folder (-o)")


def controls_are_of(config: Config, comm: Comm) -> bool:
    """Whether an optimisation of this problem has left its controls in the output folder."""
    facts = read_facts(Path(config.output.directory) / BEST, comm)
    return bool(facts.get("identity") == identity_of_search(config))


def read_facts(path: Path, comm: Comm) -> dict[str, Any]:
    """Attributes of an HDF5 file as rank 0 finds them, on all ranks."""
    return dict(from_rank(comm, attributes(path) if comm.rank == 0 else None))

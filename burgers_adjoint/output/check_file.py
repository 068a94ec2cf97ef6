"""check_results.json: what `check` found, in the output folder, for the pages that show it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from burgers_adjoint.files.whole import write_text
from burgers_adjoint.output.summary import CheckSummary, to_json

CHECKS = "check_results.json"
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


class Checked(Struct, frozen=True, kw_only=True):
    """Checks of a run: its configuration as TOML, the summary, (sizes, errors) of differences."""

    config: str
    summary: CheckSummary
    differences: dict[str, tuple[list[float], list[float | None]]]


def write_checks(folder: Path, config: str, summary: CheckSummary, differences: Curves) -> None:
    """Write the file whole.

    Raises:
        BurgersAdjointError: it cannot be written.
    """
    curves: dict[str, tuple[list[float], list[float | None]]] = {
        name: ([float(size) for size in sizes], [float(error) for error in errors])
        for name, (sizes, errors) in differences.items()
    }
    checked = Checked(config=config, summary=summary, differences=curves)
    write_text(folder / CHECKS, to_json(checked))


def read_checks(folder: Path) -> Checked | None:
    """Read the file; None where there is none, or none that this version can read."""
    try:
        return msgspec.json.decode((folder / CHECKS).read_bytes(), type=Checked)
    except (OSError, msgspec.DecodeError):
        return None

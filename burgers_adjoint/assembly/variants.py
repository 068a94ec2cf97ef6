"""A case with other keys of its configuration, and the same model."""

from dataclasses import replace
from typing import Any

import msgspec

from burgers_adjoint.assembly.case import Case


def with_snapshots(case: Case, **keys: Any) -> Case:
    """The case with other keys of [snapshots]."""
    snapshots = msgspec.structs.replace(case.config.snapshots, **keys)
    return replace(case, config=msgspec.structs.replace(case.config, snapshots=snapshots))


def exactly(case: Case) -> Case:
    """The case with snapshots as they are."""
    return with_snapshots(
        case, codec="none", tolerance=None, tolerance_kind="relative", gradient_error=None
    )

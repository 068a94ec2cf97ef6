"""How far the gradient from lossy snapshots is from the exact one, over tolerances."""

import math
from collections.abc import Callable

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.encoding import packed_ratio
from burgers_adjoint.assembly.runs import Gradient, Reversal, reverse
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.assembly.variants import exactly, with_snapshots
from burgers_adjoint.output.summary import Check, Lossy
from burgers_adjoint.parallel.agreement import largest, last_arrival
from burgers_adjoint.planning.checkpointing import Checkpointing

FACTORS = (100.0, 10.0, 1.0, 0.1, 0.01)  # times the configured tolerance
LARGEST_TOLERANCE = 0.1
DEFAULT_TOLERANCE = 1e-6
ROUND_OFF = 1e-13  # of the gradient, relative: what no tolerance makes smaller
LEAST_ORDER = 0.5  # of the gradient's error in the tolerance


def is_lossy(checkpointing: Checkpointing) -> bool:
    """Whether snapshots lose bits."""
    encoding = checkpointing.stores.encoding
    return encoding is not None and not encoding.codec.lossless


def gradient_error(case: Case, found: Gradient, exact: Gradient) -> float:
    """Euclidean norm of the difference over that of the exact one: the largest of all controls."""
    errors = [0.0]
    for name, control in case.controls.items():
        difference = found[name] - exact[name]
        size = control.dot(exact[name], exact[name])
        if size > 0:
            errors.append(math.sqrt(control.dot(difference, difference) / size))
    return max(errors)


def compared(
    case: Case, base: Reversal, count: Callable[[], None]
) -> tuple[list[Lossy], list[Check]]:
    """Gradients from lossy snapshots beside the exact one. Collective.

    Args:
        case: with the lossy codec.
        base: the exact gradient.
        count: is called after each sweep.

    Returns:
        The exact one, the lossy ones from large to small tolerances; and what that shows.
    """
    section = case.config.snapshots
    encoding = Checkpointing(case).stores.encoding
    assert encoding is not None
    bounded, name = encoding.codec.bounded, encoding.codec.name
    tolerances: list[float | None] = [None]
    if bounded:
        middle = section.tolerance or section.gradient_error or DEFAULT_TOLERANCE
        scaled = [factor * middle for factor in FACTORS]
        tolerances = [one for one in scaled if one <= LARGEST_TOLERANCE] or [middle]
    rows = [_row(exactly(case), base, "none", None)]
    count()
    for tolerance in tolerances:
        rows.append(
            _row(
                with_snapshots(case, tolerance=tolerance, gradient_error=None),
                base,
                name,
                tolerance,
            )
        )
        count()
    checks = []
    if len(tolerances) > 1:
        first, last = rows[1], rows[-1]
        assert first.tolerance is not None
        assert last.tolerance is not None
        apart = first.gradient_error / max(last.gradient_error, ROUND_OFF)
        order = math.log(max(apart, ROUND_OFF)) / math.log(first.tolerance / last.tolerance)
        passed = order >= LEAST_ORDER or first.gradient_error <= 10 * ROUND_OFF
        text = f"at least {LEAST_ORDER:g}: it falls with the tolerance"
        checks.append(
            Check("order of the gradient's error, lossy", order, passed, LEAST_ORDER, text)
        )
    return rows, checks


def _row(case: Case, base: Reversal, codec: str, tolerance: float | None) -> Lossy:
    checkpointing, comm = Checkpointing(case), case.comm
    schedule = checkpointing.schedule()
    with closed_at_end(checkpointing.store(schedule)) as store:
        start = last_arrival(comm)
        found = reverse(case, schedule, store)
        seconds = last_arrival(comm) - start
        ratio = packed_ratio(case.comm, store)
        memory_bytes = largest(comm, store.nbytes)
    return Lossy(
        codec=codec,
        tolerance=tolerance,
        gradient_error=gradient_error(case, found.gradient, base.gradient),
        objective_error=abs(found.objective - base.objective) / (abs(base.objective) or 1.0),
        ratio=ratio,
        memory_bytes=memory_bytes,
        seconds=seconds,
    )

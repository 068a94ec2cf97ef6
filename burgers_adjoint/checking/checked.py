"""All tests of a case, and what they have found."""

from typing import Any

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.assembly.variants import exactly, with_snapshots
from burgers_adjoint.checking.checker import Checker
from burgers_adjoint.checking.curvature import CurvatureChecks
from burgers_adjoint.checking.lossy import compared, is_lossy
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import CheckSummary, Lossy
from burgers_adjoint.planning.checkpointing import Checkpointing

LOSSY = (
    "the same bits for any ranks, schedule and store: not with lossy snapshots; the checks are of "
    "snapshots as they are"
)


def checked(
    case: Case, checkpointing: Checkpointing, progress: Progress
) -> tuple[CheckSummary, dict[str, tuple[Any, Any]]]:
    """Test the gradient at a case's inputs. Collective.

    Returns:
        What was found; and the curves of the finite differences: by name sizes and errors.

    Raises:
        BurgersAdjointError: on all ranks: a run fails, or too little memory is free.
    """
    if case.config.snapshots.gradient_error and checkpointing.stores.encoding is None:
        case = with_snapshots(case, codec="bounded")  # which "auto" may take
        checkpointing = Checkpointing(case)
    lossy = is_lossy(checkpointing)
    tested = exactly(case) if lossy else case
    if lossy:
        checkpointing = Checkpointing(tested)
    with closed_at_end(checkpointing.store(checkpointing.schedule())) as store:
        prepare_kernels(case.model, tangent=True)
        checker = Checker(tested, checkpointing, store, progress)
        curves = checker.run()
        if case.config.check.second_order:
            CurvatureChecks(checker).run()
    base, rows = checker.base, list[Lossy]()
    if lossy:
        rows, checks = compared(case, base, checker.count)
        checker.checks += checks
        checker.left_out.append(LOSSY)
    progress.end()
    summary = CheckSummary(
        checks=checker.checks,
        left_out=checker.left_out,
        objective=base.objective,
        digest=case.digest(base.final, base.gradient),
        seed=case.config.check.seed,
        ranks=case.comm.size,
        steps=case.n_steps,
        lossy=rows,
    )
    return summary, curves

"""All tests of a case, and what they have found."""

from typing import Any

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.checking.checker import Checker
from burgers_adjoint.checking.curvature import CurvatureChecks
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import CheckSummary
from burgers_adjoint.planning.checkpointing import Checkpointing


def checked(
    case: Case, checkpointing: Checkpointing, progress: Progress
) -> tuple[CheckSummary, dict[str, tuple[Any, Any]]]:
    """Test the gradient at a case's inputs. Collective.

    Returns:
        What was found; and the curves of the finite differences: by name sizes and errors.

    Raises:
        BurgersAdjointError: on all ranks: a run fails, or too little memory is free.
    """
    with closed_at_end(checkpointing.store(checkpointing.schedule())) as store:
        prepare_kernels(case.model, tangent=True)
        checker = Checker(case, checkpointing, store, progress)
        curves = checker.run()
        if case.config.check.second_order:
            CurvatureChecks(checker).run()
    progress.end()
    base = checker.base
    summary = CheckSummary(
        checks=checker.checks,
        left_out=checker.left_out,
        objective=base.objective,
        digest=case.digest(base.final, base.gradient),
        seed=case.config.check.seed,
        ranks=case.comm.size,
        steps=case.n_steps,
    )
    return summary, curves

"""Whether an objective depends on what a search is to change."""

import math

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.failure import agreed


def require_influence(case: Case) -> None:
    """See that the objective depends on every control. Collective.

    Raises:
        ConfigError: on all ranks, naming the control that nothing depends on.
    """
    objective, steps = case.objective, case.n_steps
    looks = (n for n in range(steps, -1, -1) if objective.looks_at(n, n == steps))
    last = next(looks, None)
    names = case.config.gradient.controls
    with agreed(case.comm):
        if not any(objective.terms.values()):
            raise ConfigError("objective.weights are all 0: the objective depends on no control")
        for name in names:
            if last == 0 and name not in ("initial", "boundary"):
                raise ConfigError(
                    f"the objective looks at the initial state alone: it does not depend on {name}"
                )
        if "forcing_in_time" in names and last:
            knots, end = case.config.controls.knots, case.model.time_steps.time(last)
            for knot, since in enumerate((-math.inf, *knots[:-1])):
                until = knots[knot + 1] if knot + 1 < len(knots) else math.inf
                if since >= end or until <= 0:
                    raise ConfigError(
                        f"controls.knots[{knot}] = {knots[knot]:.6g}: the objective does not "
                        f"depend on it, as it looks at times from 0 to {end:.6g}"
                    )

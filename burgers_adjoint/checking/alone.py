"""A case on rank 0 alone, at the values that it has on all ranks."""

from collections.abc import Mapping

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.twin import case_of
from burgers_adjoint.parallel.agreement import ALONE
from burgers_adjoint.parallel.whole_fields import gather
from burgers_adjoint.stepping.stepper import Value


def gathered(case: Case, values: Mapping[str, Value]) -> dict[str, Value]:
    """Values of controls with whole fields on rank 0, empty ones elsewhere. Collective."""
    found: dict[str, Value] = {}
    for name, value in values.items():
        found[name] = value
        if np.ndim(value):
            whole = gather(case.decomposition, np.asarray(value))
            found[name] = np.empty(0) if whole is None else whole
    return found


def case_alone(case: Case, values: Mapping[str, Value]) -> Case:
    """The same case on this rank alone, at whole values of its controls."""
    alone = case_of(case.config, ALONE, process_grid=(1, 1))
    alone.inputs.set_all(values)
    return alone

"""Fields that a run leaves of its way."""

from dataclasses import dataclass

import numpy as np

from burgers_adjoint.output.dumps import Dumps
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.stepper import Cotangent


@dataclass
class DumpViewer:
    """Writes the fields of some steps as the run comes by them: a `stepping.model.Viewer`."""

    model: Model
    dumps: Dumps

    def wants(self, n: int) -> bool:
        """Whether step n is one of those."""
        return self.dumps.wants(n)

    def see(self, n: int, state: np.ndarray, cotangent: Cotangent | None) -> None:
        """Write the state at the start of step n, or at the end of the run, and the cotangent."""
        fields_of = self.model.fields_of
        fields = {} if cotangent is None else {"cotangent": fields_of(cotangent.field)}
        self.dumps.write(n, self.model.time_steps.time(n), fields_of(state), fields)

"""The directions of controls that observations determine, from an earlier `uncertainty`."""

from collections.abc import Mapping

from burgers_adjoint.equations.burgers.controls import Control
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.files.hdf5 import array, opened
from burgers_adjoint.inverse.control_file import read_values
from burgers_adjoint.inverse.vector import Values
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed


def informed_directions(
    path: str, above: float, controls: Mapping[str, Control], decomposition: Decomposition
) -> list[Values]:
    """Those of eigenvalues above a number, from an uncertainty.h5. Collective.

    Raises:
        ConfigError: on all ranks: the file is none, is of other controls, or has none of them.
    """
    label = f"background.informed = {path}"
    with agreed(decomposition.comm), opened(path, label) as file:
        values = array(file, "eigenvalues", (None,), label)
    count = int((values > above).sum())
    if not count:
        largest = f"the largest of {len(values)} is {values[0]:.3g}" if len(values) else "none"
        raise agreed_error(
            ConfigError(f"{label}: has no eigenvalue above informed_above = {above:g}: {largest}")
        )
    found = [read_values(path, f"modes/{n:04d}", controls, decomposition) for n in range(count)]
    missing = [name for name in controls if name not in found[0]]
    if missing:
        raise agreed_error(ConfigError(f"{label}: is of other controls: {missing[0]} is missing"))
    return found

"""The schedule that a configuration asks for."""

from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.interop import PACKAGE, Foreign
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.online import Online
from burgers_adjoint.checkpointing.periodic import Periodic, shortest_period
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.config import Checkpointing
from burgers_adjoint.errors import ConfigError, agreed_error


def make_schedule(section: Checkpointing, n_steps: int | None, name: str | None = None) -> Schedule:
    """Return a new schedule.

    Args:
        section: what is asked for.
        n_steps: steps of the run; only "online" can do without.
        name: in place of `section.schedule`.

    Raises:
        ConfigError: on all ranks: the numbers do not fit each other.
    """
    try:
        return _make(section, n_steps, name or section.schedule)
    except ConfigError as error:
        raise agreed_error(error) from None


def _make(section: Checkpointing, n_steps: int | None, name: str) -> Schedule:
    if name == "online":
        return Online(section.snapshots)
    if n_steps is None:
        raise ConfigError(f"the {name} schedule needs the number of steps before the run")
    if name == "store_all":
        return StoreAll(n_steps)
    if name == "periodic":
        return Periodic(n_steps, section.period or shortest_period(n_steps, section.snapshots))
    if name == "multistage":
        return Multistage(n_steps, section.snapshots, section.snapshots_on_disk)
    if name == "two_level":
        return TwoLevel(n_steps, section.snapshots, section.snapshots_on_disk)
    if name.startswith(f"{PACKAGE}:"):
        return Foreign(n_steps, name.removeprefix(f"{PACKAGE}:"), section.arguments)
    return Binomial(n_steps, section.snapshots)

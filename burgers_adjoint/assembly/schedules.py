"""The schedule that a configuration asks for; the makers that `config.registry` names."""

import msgspec

from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.interop import Foreign
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.online import Online
from burgers_adjoint.checkpointing.periodic import Periodic, shortest_period
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.config import Checkpointing
from burgers_adjoint.config.registry import SCHEDULES
from burgers_adjoint.errors import ConfigError, agreed_error


def make_schedule(
    section: Checkpointing, n_steps: int | None, snapshots: int, name: str | None = None
) -> Schedule:
    """Return a new schedule.

    Args:
        section: what is asked for.
        n_steps: steps of the run; only "online" can do without.
        snapshots: in memory, in place of `section.snapshots`.
        name: in place of `section.schedule`.

    Raises:
        ConfigError: on all ranks: the numbers do not fit each other, or there is no such schedule.
    """
    section = msgspec.structs.replace(
        section, snapshots=snapshots, schedule=name or section.schedule
    )
    try:
        made: Schedule = SCHEDULES[section.schedule](section, n_steps)
    except ConfigError as error:
        raise agreed_error(error) from None
    return made


def known(section: Checkpointing, n_steps: int | None) -> int:
    """The number of steps.

    Raises:
        ConfigError: nobody knows it.
    """
    if n_steps is None:
        raise ConfigError(
            f"the {section.schedule} schedule needs the number of steps before the run"
        )
    return n_steps


def number(section: Checkpointing) -> int:
    """The number of snapshots, once it is one."""
    assert isinstance(section.snapshots, int), "planning.checkpointing finds how many fit"
    return section.snapshots


def binomial(section: Checkpointing, n_steps: int | None) -> Schedule:
    """Make the schedule of the fewest steps."""
    return Binomial(known(section, n_steps), number(section))


def store_all(section: Checkpointing, n_steps: int | None) -> Schedule:
    """Make the schedule that saves every step."""
    return StoreAll(known(section, n_steps))


def periodic(section: Checkpointing, n_steps: int | None) -> Schedule:
    """Make one of the configured period, or of the shortest for the snapshots."""
    n = known(section, n_steps)
    return Periodic(n, section.period or shortest_period(n, number(section)))


def online(section: Checkpointing, n_steps: int | None) -> Schedule:
    """Make one that finds the end on its way."""
    return Online(number(section))


def multistage(section: Checkpointing, n_steps: int | None) -> Schedule:
    """Make one of memory and disk."""
    return Multistage(known(section, n_steps), number(section), section.snapshots_on_disk)


def two_level(section: Checkpointing, n_steps: int | None) -> Schedule:
    """Make one of memory and disk, with stretches between snapshots on disk."""
    return TwoLevel(known(section, n_steps), number(section), section.snapshots_on_disk)


def auto(section: Checkpointing, n_steps: int | None) -> Schedule:
    """Refuse: it takes measurements.

    Raises:
        ConfigError: always.
    """
    raise ConfigError('the "auto" schedule takes measurements: planning.checkpointing makes it')


def foreign(section: Checkpointing, n_steps: int | None) -> Schedule:
    """Make one of the package checkpoint_schedules, by the name of its class."""
    class_name = section.schedule.partition(":")[2]
    return Foreign(known(section, n_steps), class_name, section.arguments)

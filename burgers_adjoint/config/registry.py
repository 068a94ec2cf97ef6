"""What can be chosen by name: one line to add one, here or from outside the package.

The names are at hand wherever configurations are checked; what they stand for is imported when it
is asked for.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any, Generic, TypeVar

from burgers_adjoint.config.messages import closest, one_of, show
from burgers_adjoint.errors import ConfigError

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """Things of one kind by name.

    Args:
        key: of the configuration, which chooses one.
        entries: "module:attribute" of each, or "module", by name.

    Attributes:
        entries: the things, or where they are, by name.
    """

    def __init__(self, key: str, entries: dict[str, str]) -> None:
        self.key = key
        self.entries: dict[str, Any] = dict(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def add(self, name: str, thing: Thing) -> None:
        """Make a thing known by a name.

        Raises:
            ConfigError: another one has this name.
        """
        if name in self.entries:
            raise ConfigError(f"{self.key}: there is a {show(name)} already")
        self.entries[name] = thing

    def require(self, name: str, shown: str | None = None, also: Sequence[str] = ()) -> None:
        """See that something has the name.

        Args:
            name: what is asked for.
            shown: how the message begins, in place of key and value.
            also: names that are allowed beside.

        Raises:
            ConfigError: nothing has; says what the names are.
        """
        names = (*self.entries, *also)
        if name not in names:
            shown = shown or f"{self.key} = {show(name)}"
            raise ConfigError(f"{shown}{closest(name, names)}: expected {one_of(names)}")

    def __getitem__(self, name: str) -> Thing:
        self.require(name)
        found = self.entries[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = import_module(module)
            if attribute:
                found = attrgetter(attribute)(found)
            self.entries[name] = found
        thing: Thing = found
        return thing


_BURGERS = "burgers_adjoint.equations.burgers"
_TABLEAUX = "burgers_adjoint.stepping.tableaux"

# `stepping.tableaux.Tableau`
INTEGRATORS: Registry[Any] = Registry(
    "time.integrator",
    {"euler": f"{_TABLEAUX}:EULER", "ssprk3": f"{_TABLEAUX}:SSPRK3", "rk4": f"{_TABLEAUX}:RK4"},
)
# classes of `equations.burgers.equation.Scheme`
ADVECTION: Registry[Any] = Registry(
    "physics.advection",
    {
        "central": f"{_BURGERS}.advection.central:Central",
        "upwind": f"{_BURGERS}.advection.upwind:Upwind",
    },
)
# functions of an `assembly.objective.Setting` that return an `objectives.term.Term`
TERMS: Registry[Any] = Registry(
    "objective.kind",
    {
        "final_energy": f"{_BURGERS}.objectives.energy:FinalEnergy.of",
        "running_energy": f"{_BURGERS}.objectives.energy:RunningEnergy.of",
        "running_enstrophy": f"{_BURGERS}.objectives.enstrophy:RunningEnstrophy.of",
        "misfit": "burgers_adjoint.assembly.objective:misfit",
    },
)
# `controls.Kind`
CONTROLS: Registry[Any] = Registry(
    "gradient.controls",
    {
        name: f"{_BURGERS}.controls:{name.upper()}"
        for name in (
            "initial", "boundary", "viscosity", "viscosity_field", "forcing", "forcing_in_time",
        )
    },
)  # fmt: skip
# functions of a section like [initial], a grid and a decomposition that return (2, ny, nx)
INITIAL_STATES: Registry[Any] = Registry(
    "initial.kind",
    {
        "gaussian": f"{_BURGERS}.initial:described_gaussian",
        "sines": f"{_BURGERS}.initial:described_sines",
        "file": f"{_BURGERS}.initial:described_file",
    },
)

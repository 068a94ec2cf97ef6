"""What a configuration can name beyond its own words, one line each.

A maker inside the package is told as "module:attribute", or "module", and imported when it is used,
so that a configuration is read, and its mistakes are told, without what lies above it.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any

from burgers_adjoint.config.messages import one_of, show
from burgers_adjoint.errors import ConfigError, closest

ANY = ":CLASS"  # at the end of a name: whatever word stands behind the colon


class Registry:
    """Makers by name; what a maker is called with, its users say.

    Args:
        key: of the configuration that has the names.
        makers: a maker, or where it is, by name.
    """

    def __init__(self, key: str, makers: Mapping[str, Any]) -> None:
        self.key = key
        self._makers = dict(makers)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._makers)

    def add(self, name: str, maker: Any) -> None:
        """Let a configuration use a name.

        Raises:
            ConfigError: it stands for something else.
        """
        if name in self._makers:
            raise ConfigError(f"{self.key}: there is a {show(name)} already")
        self._makers[name] = maker

    def remove(self, name: str) -> None:
        """Let a name mean nothing again."""
        del self._makers[name]

    def require(self, name: str, shown: str | None = None, also: tuple[str, ...] = ()) -> str:
        """Return the registered name that this one stands for.

        Args:
            name: what is asked for.
            shown: how the message begins, in place of key and value.
            also: names that are allowed beside those of the registry.

        Raises:
            ConfigError: there is none.
        """
        if name in also:
            return name
        family, _, word = name.partition(":")
        known = family + ANY if re.fullmatch(r"\w+", word) else name
        if known not in self._makers or name.endswith(ANY):
            names = (*self.names, *also)
            words = [one for one in names if not one.endswith(ANY)]
            shown = shown or f"{self.key} = {show(name)}"
            raise ConfigError(f"{shown}{closest(name, words)}: expected {one_of(names)}")
        return known

    def __getitem__(self, name: str) -> Any:
        """The maker.

        Raises:
            ConfigError: nothing has this name.
        """
        maker = self._makers[self.require(name)]
        if isinstance(maker, str):
            module, _, attribute = maker.partition(":")
            maker = import_module(module)
            if attribute:
                maker = attrgetter(attribute)(maker)
        return maker


_BURGERS = "burgers_adjoint.equations.burgers"
_TABLEAUX = "burgers_adjoint.stepping.tableaux"

# `stepping.tableaux.Tableau`
INTEGRATORS = Registry(
    "time.integrator",
    {"euler": f"{_TABLEAUX}:EULER", "ssprk3": f"{_TABLEAUX}:SSPRK3", "rk4": f"{_TABLEAUX}:RK4"},
)
# classes of `equations.burgers.equation.Scheme`
ADVECTION = Registry(
    "physics.advection",
    {
        "central": f"{_BURGERS}.advection.central:Central",
        "upwind": f"{_BURGERS}.advection.upwind:Upwind",
    },
)
# functions of an `assembly.objective.Setting` that return an `objectives.term.Term`
TERMS = Registry(
    "objective.kind",
    {
        "final_energy": f"{_BURGERS}.objectives.energy:FinalEnergy.of",
        "running_energy": f"{_BURGERS}.objectives.energy:RunningEnergy.of",
        "running_enstrophy": f"{_BURGERS}.objectives.enstrophy:RunningEnstrophy.of",
        "misfit": "burgers_adjoint.assembly.objective:misfit",
    },
)
# `controls.Kind`
CONTROLS = Registry(
    "gradient.controls",
    {
        name: f"{_BURGERS}.controls:{name.upper()}"
        for name in (
            "initial", "boundary", "viscosity", "viscosity_field", "forcing", "forcing_in_time",
        )
    },
)  # fmt: skip
# functions of a section like [initial], a grid and a decomposition that return (2, ny, nx)
INITIAL_STATES = Registry(
    "initial.kind",
    {
        "gaussian": f"{_BURGERS}.initial:described_gaussian",
        "sines": f"{_BURGERS}.initial:described_sines",
        "file": f"{_BURGERS}.initial:described_file",
    },
)

_SCHEDULES = "burgers_adjoint.assembly.schedules"
# called with the section [checkpointing] and the number of steps; return a schedule
SCHEDULES = Registry(
    "checkpointing.schedule",
    {
        "binomial": f"{_SCHEDULES}:binomial",
        "store_all": f"{_SCHEDULES}:store_all",
        "periodic": f"{_SCHEDULES}:periodic",
        "online": f"{_SCHEDULES}:online",
        "multistage": f"{_SCHEDULES}:multistage",
        "two_level": f"{_SCHEDULES}:two_level",
        "auto": f"{_SCHEDULES}:auto",
        f"checkpoint_schedules{ANY}": f"{_SCHEDULES}:foreign",
    },
)

_STORES = "burgers_adjoint.assembly.stores"
# each an `assembly.stores.StoreKind`
STORES = Registry(
    "snapshots.store",
    {
        "memory": f"{_STORES}:MEMORY",
        "hdf5": f"{_STORES}:HDF5",
        "hdf5_shared": f"{_STORES}:HDF5_SHARED",
        "tiered": f"{_STORES}:TIERED",
        "pinned": f"{_STORES}:PINNED",
    },
)

_CODECS = "burgers_adjoint.snapshots.codecs"
# called with the section [snapshots]; return a `snapshots.codecs.codec.Codec`
CODECS = Registry(
    "snapshots.codec",
    {
        "float32": f"{_CODECS}.float32:Float32",
        "lossless": "burgers_adjoint.assembly.packed:lossless",
        "quantised": "burgers_adjoint.assembly.packed:quantised",
        "bounded": f"{_CODECS}.bounded:Bounded",
        "learned": "burgers_adjoint.assembly.learned:learned",
    },
)

"""What a configuration can name beyond its own words: schedules and stores, one line each.

A maker inside the package is told as "module:attribute" and imported when it is used, so that a
configuration is read, and its mistakes are told, without what lies above it.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from burgers_adjoint.config.messages import closest, show
from burgers_adjoint.errors import ConfigError

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
        """Let a configuration use a name."""
        self._makers[name] = maker

    def remove(self, name: str) -> None:
        """Let a name mean nothing again."""
        del self._makers[name]

    def require(self, name: str) -> str:
        """Return the registered name that this one stands for.

        Raises:
            ConfigError: there is none.
        """
        family, _, word = name.partition(":")
        known = family + ANY if re.fullmatch(r"\w+", word) else name
        if known not in self._makers or name.endswith(ANY):
            words = [one for one in self.names if not one.endswith(ANY)]
            raise ConfigError(
                f"{self.key} = {show(name)}{closest(name, words)}: expected one of "
                f"{', '.join(map(show, self.names))}"
            )
        return known

    def __getitem__(self, name: str) -> Any:
        """The maker.

        Raises:
            ConfigError: nothing has this name.
        """
        maker = self._makers[self.require(name)]
        if isinstance(maker, str):
            module, _, attribute = maker.partition(":")
            maker = getattr(import_module(module), attribute)
        return maker


_SCHEDULES = "burgers_adjoint.assembly.schedules"
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
"""Called with the section [checkpointing] and the number of steps; return a schedule."""

_STORES = "burgers_adjoint.assembly.stores"
STORES = Registry(
    "snapshots.store",
    {
        "memory": f"{_STORES}:MEMORY",
        "hdf5": f"{_STORES}:HDF5",
        "hdf5_shared": f"{_STORES}:HDF5_SHARED",
        "tiered": f"{_STORES}:TIERED",
    },
)
"""Each an `assembly.stores.StoreKind`."""

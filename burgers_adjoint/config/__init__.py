"""The configuration of a run: typed sections, read from TOML."""

from burgers_adjoint.config.reader import from_dict, load, validated
from burgers_adjoint.config.sections import Checkpointing, Config, Restart, Truth, time_is_open

__all__ = [
    "Checkpointing", "Config", "Restart", "Truth", "from_dict", "load", "time_is_open",
    "validated",
]  # fmt: skip

"""Packages that a codec needs and not everybody has."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from burgers_adjoint.errors import ConfigError


def required(codec: str, module: str, package: str) -> Any:
    """Import a module for the codec of this name.

    Raises:
        ConfigError: it is not installed; says what brings it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f'snapshots.codec = "{codec}": {package} is not installed: '
            "pip install 'burgers_adjoint[codecs]' brings it along"
        ) from error

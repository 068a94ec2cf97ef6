"""The way in for users: a TOML file and the overrides of the command line become a Config."""

import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from burgers_adjoint.config.checks import cross_check, names_by_key, no_field, require_magnitude
from burgers_adjoint.config.messages import explain, not_a_section, section_type, show
from burgers_adjoint.config.sections import Config
from burgers_adjoint.errors import ConfigError, closest


def load(
    path: str | os.PathLike[str] | None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    directory: str | None = None,
) -> Config:
    """Read a configuration file and apply overrides, in their order.

    Args:
        path: a TOML file, or None for the defaults.
        overrides: "SECTION.KEY=VALUE" each, with a TOML value or a bare word as VALUE; or values
            by "SECTION.KEY".
        directory: output.directory, taken literally; wins over both of the others.

    Raises:
        ConfigError: naming the key, the value and what is allowed, or the file and its line.
    """
    data = {} if path is None else _read(path)
    source = "" if path is None else f"{path}: "
    try:
        from_dict(data)
    except ConfigError as error:
        # What an override puts right is no error, so only the file's own surviving errors name it.
        file_error: str | None = str(error)
    else:
        file_error = None
    for section, key, value in _parsed(overrides):
        table = data.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{source}{not_a_section(section, table)}")
        table[key] = value
    if directory is not None:
        table = data.setdefault("output", {})
        if isinstance(table, dict):
            table["directory"] = directory
    try:
        return from_dict(data)
    except ConfigError as error:
        if str(error) == file_error:
            raise ConfigError(f"{source}{error}") from None
        raise


def from_dict(data: Mapping[str, Any]) -> Config:
    """Check nested sections and keys, as TOML gives them, and make a Config of them.

    Relative paths of files to read and `restart.directory` are resolved against the current folder,
    so that the configuration that a run leaves in its output folder means the same from everywhere.

    Raises:
        ConfigError: naming the first key that is wrong, its value and what is allowed.
    """
    _refuse_unknown(data)
    for key, value in _leaves(data, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key} = {show(value)}: expected a finite number")
        if isinstance(value, float | int):
            require_magnitude(key, value)
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(explain(data, str(error), names_by_key())) from None
    cross_check(config)
    replace, home = msgspec.structs.replace, os.path.expanduser
    return replace(
        config,
        restart=replace(config.restart, directory=_absolute(config.restart.directory)),
        initial=replace(config.initial, path=_absolute(config.initial.path)),
        truth=replace(config.truth, path=_absolute(config.truth.path)),
        observations=replace(config.observations, path=_absolute(config.observations.path)),
        background=replace(config.background, informed=_absolute(config.background.informed)),
        hessian=replace(config.hessian, directions=_absolute(config.hessian.directions)),
        output=replace(config.output, directory=home(config.output.directory)),
        snapshots=replace(config.snapshots, directory=home(config.snapshots.directory)),
    )


def validated(config: Config) -> Config:
    """Check a Config that was put together by a program; see `from_dict`.

    Raises:
        ConfigError: naming the first key that is wrong, its value and what is allowed.
    """
    return from_dict(msgspec.to_builtins(config))


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path)) if path else path


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    text = ""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not TOML: byte {error.start} is not UTF-8 text ({error.reason})"
        ) from None
    except tomllib.TOMLDecodeError as error:
        reason = str(error).replace("end of document", f"line {len(text.splitlines())}, the end")
        raise ConfigError(f"{path} is not TOML: {reason}") from None


def _parsed(overrides: Sequence[str] | Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(overrides, Mapping):
        yield from map(_parse_override, overrides)
        return
    for name, value in overrides.items():
        section, dot, key = name.partition(".")
        if not (section and dot and key):
            raise ConfigError(f"the override {name!r}: expected SECTION.KEY, for example 'grid.nx'")
        yield section, key, value


def _parse_override(override: str) -> tuple[str, str, Any]:
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and section and dot and key):
        raise ConfigError(f"-s {override}: expected SECTION.KEY=VALUE, for example -s grid.nx=200")
    if section not in Config.__struct_fields__ or "." in key:
        _refuse_unknown({section: {key: text}})
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return section, key, text.strip()
    # A line break in the text could smuggle in further keys.
    return section, key, parsed["value"] if parsed.keys() == {"value"} else text


def _refuse_unknown(data: Mapping[str, Any]) -> None:
    sections = Config.__struct_fields__
    for section, table in data.items():
        if section not in sections:
            raise ConfigError(
                f"unknown section [{section}]{closest(section, sections)}; "
                f"allowed: {', '.join(sections)}"
            )
        if not isinstance(table, Mapping):
            raise ConfigError(not_a_section(section, table))
        keys = section_type(section).__struct_fields__
        for key, value in table.items():
            if key not in keys:
                raise ConfigError(
                    f"unknown key {section}.{key} = {show(value)}{closest(key, keys)}; "
                    f"allowed in [{section}]: {', '.join(keys)}"
                    + (no_field(key) if section == "background" else "")
                )


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{name}[{index}]")
    else:
        yield name, value

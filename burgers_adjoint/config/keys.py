"""All keys of a configuration with values, meanings and what is allowed, as a TOML file."""

import inspect
import re
import textwrap
from typing import Any, TextIO

from msgspec import Struct, to_builtins

from burgers_adjoint.config.checks import names_by_key
from burgers_adjoint.config.messages import allowed, show
from burgers_adjoint.config.sections import Config

COLUMN = 26  # of the comments
WIDTH = 100
EXAMPLE = "; for example "


def keys(config: Config) -> dict[str, dict[str, dict[str, Any]]]:
    """What there is to set: value, default, meaning, allowed; by section and key."""
    default, names = Config(), names_by_key()
    return {
        section: {
            key: {
                "value": to_builtins(getattr(getattr(config, section), key)),
                "default": getattr(getattr(default, section), key),
                "meaning": meaning,
                "allowed": re.sub(
                    r" and <= \d{10,}", "", allowed(section, key, names.get(f"{section}.{key}"))
                ),
            }
            for key, meaning in _meanings(type(getattr(default, section))).items()
        }
        for section in Config.__struct_fields__
    }


def as_toml(described: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Write what `keys` tells as a TOML file; what is not set stands there as a comment."""
    lines = ["# All keys are optional, and `-s SECTION.KEY=VALUE` overrides each."]
    for section, table in described.items():
        about = inspect.getdoc(type(getattr(Config(), section))) or ""
        lines += ["", *_commented(f"[{section}]", about.partition("\n")[0])]
        for key, told in table.items():
            meaning, _, example = told["meaning"].partition(EXAMPLE)
            if re.search("one of|[<>]", told["allowed"]):  # more than the value itself shows
                meaning += f" ({told['allowed']})"
            value = told["value"]
            setting = f"# {key} = {example}" if value is None else f"{key} = {_inline(value)}"
            lines += _commented(setting, meaning)
    return "\n".join(lines)


def _inline(value: Any) -> str:
    """Write a value in one line of TOML."""
    if not isinstance(value, dict) or not value:
        return show(value)
    return "{ " + ", ".join(f"{name} = {_inline(one)}" for name, one in value.items()) + " }"


def print_keys(described: dict[str, dict[str, dict[str, Any]]], stream: TextIO, _: bool) -> None:
    """Print what `keys` tells, on a terminal or elsewhere."""
    print(as_toml(described), file=stream)


def _commented(setting: str, comment: str) -> list[str]:
    return textwrap.wrap(
        comment,
        WIDTH,
        initial_indent=f"{setting:{COLUMN - 1}} # ",
        subsequent_indent=f"{'':{COLUMN}}#   ",
        break_on_hyphens=False,
    )


def _meanings(section: type[Struct]) -> dict[str, str]:
    """Read what a section's docstring says of its attributes; empty for one that it leaves out."""
    text = (inspect.getdoc(section) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*?)\.$(?=\n    \w+: |\n?\Z)", text, re.MULTILINE | re.DOTALL)
    meanings = {key: " ".join(meaning.split()) for key, meaning in found}
    return {key: meanings.get(key, "") for key in section.__struct_fields__}

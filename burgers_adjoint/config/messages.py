"""What is said about wrong keys and values: the name, the value and what is allowed."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.inspect import (
    BoolType,
    DictType,
    FloatType,
    IntType,
    LiteralType,
    NoneType,
    StrType,
    StructType,
    TupleType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from burgers_adjoint.config.sections import Config
from burgers_adjoint.errors import closest


def section_type(section: str) -> type[Struct]:
    """Find the struct that holds the keys of a section."""
    return type(getattr(Config(), section))


def not_a_section(section: str, value: Any) -> str:
    """Say that a value stands where a section should."""
    keys = section_type(section).__struct_fields__
    return f"{section} = {show(value)}: expected a section [{section}] with {', '.join(keys)}"


def explain(data: Mapping[str, Any], message: str, names: Mapping[str, Sequence[str]]) -> str:
    """Put the value and the allowed ones beside the key of a failed conversion's message.

    names are those that a key which is a text may have, by "section.key".
    """
    found = re.search(r" - at `\$\.(\w+)\.(\w+)(?:\.(\w+))?", message)
    if found is None:
        return message
    section, key, inner = found.groups()
    value = data[section][key]
    if inner is not None:
        (kind,) = (one.type for one in _tables(section, key) if one.encode_name == inner)
        shown = f"{section}.{key}.{inner} = {show(value[inner])}"
        return f"{shown}: expected {_describe(kind)}"
    shown = f"{section}.{key} = {show(value)}"
    if isinstance(value, str):
        shown += closest(value, _words(section, key))
    return f"{shown}: expected {allowed(section, key, names.get(f'{section}.{key}'))}"


def _words(section: str, key: str) -> list[str]:
    """What a key can say, where that is one of some words."""
    (kind,) = (field.type for field in _fields(section_type(section)) if field.encode_name == key)
    if isinstance(kind, BoolType):
        return ["true", "false"]
    return (
        [one for one in kind.values if isinstance(one, str)]
        if isinstance(kind, LiteralType)
        else []
    )


def allowed(section: str, key: str, names: Sequence[str] | None = None) -> str:
    """Say which values a key can have; names are those of a text."""
    fields = {field.encode_name: field.type for field in _fields(section_type(section))}
    return _describe(fields[key], names)


def _tables(section: str, key: str) -> list[Any]:
    """The keys of the table that a key can be."""
    (kind,) = (field.type for field in _fields(section_type(section)) if field.encode_name == key)
    choices = kind.types if isinstance(kind, UnionType) else [kind]
    return [one for table in choices if isinstance(table, StructType) for one in table.fields]


def _fields(section: type[Struct]) -> tuple[Any, ...]:
    info = type_info(section)
    assert isinstance(info, StructType)
    return info.fields


def one_of(names: Sequence[str]) -> str:
    """Say which names are allowed."""
    return ("one of " if len(names) > 1 else "") + ", ".join(map(show, names))


def _describe(kind: Type, names: Sequence[str] | None = None) -> str:
    match kind:
        case StrType() if names:
            return one_of(names)
        case BoolType():
            return "true or false"
        case IntType():
            return "a whole number" + _range(kind)
        case FloatType():
            return "a number" + _range(kind)
        case StrType():
            return "a text that is not empty" if kind.min_length else "a text"
        case LiteralType():
            return ("one of " if len(kind.values) > 1 else "") + ", ".join(
                show(value) for value in kind.values
            )
        case TupleType():
            return f"a list of {len(kind.item_types)}, each {_describe(kind.item_types[0])}"
        case DictType():
            return f"a table of names, each {_describe(kind.value_type)}"
        case StructType():
            return f"a table with {', '.join(one.encode_name for one in kind.fields)}"
        case VarTupleType():
            filled = " that is not empty" if kind.min_length else ""
            return f"a list{filled}, each {_describe(kind.item_type, names)}"
        case UnionType():
            choices = [_describe(item) for item in kind.types if not isinstance(item, NoneType)]
            return ", or ".join(choices)
    raise TypeError(f"no description of {kind}")


def _range(kind: IntType | FloatType) -> str:
    limits = [("> ", kind.gt), (">= ", kind.ge), ("< ", kind.lt), ("<= ", kind.le)]
    said = [f"{sign}{limit}" for sign, limit in limits if limit is not None]
    return " " + " and ".join(said) if said else ""


def show(value: Any) -> str:
    """Write a value as TOML has it, where that is possible."""
    try:
        return (
            json.dumps(value, ensure_ascii=False).replace("NaN", "nan").replace("Infinity", "inf")
        )
    except TypeError:
        return str(value)

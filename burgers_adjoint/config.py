"""The configuration of a run: typed sections, read from TOML, with every default spelled out.

`load` is the way in for users: it names the key, the value and what is allowed in every error.
"""

import difflib
import json
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tomli_w
from msgspec import Meta, Struct
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

from .errors import ConfigError
from .sizes import parse_size

# Beyond these, indices and step counts would no longer fit the integers of kernels and files.
Points = Annotated[int, Meta(ge=3, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=1, le=2**53)]
Positive = Annotated[float, Meta(gt=0)]
Text = Annotated[str, Meta(min_length=1)]


class Grid(Struct, frozen=True, forbid_unknown_fields=True):
    """Points and extent of the domain; a periodic grid does not repeat its first point."""

    nx: Points = 100
    ny: Points = 100
    x: tuple[float, float] = (-4.95, 4.95)
    y: tuple[float, float] = (-4.95, 4.95)
    boundary: Literal["dirichlet", "periodic"] = "dirichlet"


class Physics(Struct, frozen=True, forbid_unknown_fields=True):
    """Coefficients of the equation and its advection scheme.

    smooth_speed is what |speed| of the upwind scheme is rounded off with at rest.
    """

    viscosity: Annotated[float, Meta(ge=0)] = 0.01
    advection: Literal["central", "upwind"] = "central"
    smooth_speed: Positive = 0.01


class Initial(Struct, frozen=True, forbid_unknown_fields=True):
    """The initial state: a formula, or `/u` and `/v` of shape (ny, nx) in an HDF5 file.

    center and width are (x, y), one width serves both; amplitude is (u, v).
    """

    kind: Literal["gaussian", "sines", "file"] = "gaussian"
    center: tuple[float, float] = (0.0, 0.0)
    # Its sign is checked below: msgspec 0.22 corrupts memory when a number with limits and a
    # tuple of fixed length share a union.
    width: float | tuple[float, float] = 1.65
    amplitude: tuple[float, float] = (1.0, 1.0)
    path: str = ""


class Time(Struct, frozen=True, forbid_unknown_fields=True):
    """The time steps; an unstable dt is refused unless allow_unstable.

    until, a stop time, takes the place of steps; with cfl, dt is the largest step; steady ends the
    run when nothing changes faster than that, and steps (or until) is its end at the latest.
    """

    dt: Positive = 1e-3
    steps: Count = 1000
    until: Positive | None = None
    cfl: Annotated[float, Meta(gt=0, le=1)] | None = None
    steady: Positive | None = None
    integrator: Literal["euler", "ssprk3", "rk4"] = "euler"
    allow_unstable: bool = False


BACKGROUND = ("background", ("deviation", "smoothness"))
UNBOUNDED = ("lmvm", "cg", "owlqn")  # TAO's types that know no bounds
Kind = Literal["final_energy", "running_energy", "running_enstrophy", "misfit", "weighted_sum"]
SCHEDULES = ("binomial", "store_all", "periodic", "online", "multistage", "two_level", "auto")
TERMS = ("final_energy", "running_energy", "running_enstrophy", "misfit")


class Objective(Struct, frozen=True, forbid_unknown_fields=True):
    """The scalar whose gradient is computed: one term, or a sum with a weight for each."""

    kind: Literal[
        "final_energy", "running_energy", "running_enstrophy", "misfit", "weighted_sum"
    ] = "final_energy"
    weights: dict[str, float] = {}


class Observations(Struct, frozen=True, forbid_unknown_fields=True):
    """What the misfit compares with: an HDF5 file; or how `forward --observe` makes one.

    times wins over count, which spreads that many over the run; sensors over sensor_grid, which
    spreads (py, px) of them over the domain.
    """

    path: str = ""
    between_steps: Literal["refuse", "nearest"] = "refuse"
    kind: Literal["fields", "sensors"] = "fields"
    times: tuple[Annotated[float, Meta(ge=0)], ...] = ()
    count: Count = 10
    sensors: tuple[tuple[float, float], ...] = ()
    sensor_grid: tuple[Count, Count] = (8, 8)
    noise: Positive = 0.01
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


Control = Literal[
    "initial", "boundary", "viscosity", "viscosity_field", "forcing", "forcing_in_time"
]


class Gradient(Struct, frozen=True, forbid_unknown_fields=True):
    """What the gradient is taken with respect to, and in which inner product."""

    controls: Annotated[tuple[Control, ...], Meta(min_length=1)] = ("initial", "viscosity")
    inner_product: Literal["euclidean", "l2"] = "euclidean"


class Controls(Struct, frozen=True, forbid_unknown_fields=True):
    """More about the controls, by their names.

    knots are the times of the forcing in time; TAO sees values over scale, and keeps them between
    lower and upper.
    """

    knots: tuple[float, ...] = ()
    scale: dict[str, float] = {}
    lower: dict[str, float] = {}
    upper: dict[str, float] = {}


class Background(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of controls beforehand, by their names; added to the objective.

    J has 1/2 sum ((m - prior) / deviation)^2 and smoothness / 2 times the sum of the squared
    differences of m - prior between neighbours; the prior is what the configuration describes.
    """

    deviation: dict[str, float] = {}
    smoothness: dict[str, float] = {}


class Truth(Struct, frozen=True, forbid_unknown_fields=True):
    """What `optimize` is to find in a twin experiment, whose observations are made from it.

    The initial fields as in [initial]; the other controls, where they are controls, are a viscosity
    and Gaussian bumps of the viscosity field and of the forcing.
    """

    twin: bool = False
    kind: Literal["gaussian", "sines", "file"] = "gaussian"
    center: tuple[float, float] = (0.0, 0.0)
    width: float | tuple[float, float] = 1.65
    amplitude: tuple[float, float] = (1.0, 1.0)
    path: str = ""
    viscosity: Annotated[float, Meta(ge=0)] = 0.01
    bump_center: tuple[float, float] = (0.0, 0.0)
    bump_width: tuple[float, float] = (1.0, 1.0)
    viscosity_bump: float = 0.0
    forcing_bump: tuple[float, float] = (0.0, 0.0)


class Tao(Struct, frozen=True, forbid_unknown_fields=True):
    """How PETSc's TAO minimises."""

    type: Literal["blmvm", "bqnls", "bncg", "bqnkls", "bqnktr", "bqnktl", "lmvm", "cg", "owlqn"] = (
        "blmvm"
    )
    gatol: Annotated[float, Meta(ge=0)] = 1e-8
    grtol: Annotated[float, Meta(ge=0)] = 0.0
    gttol: Annotated[float, Meta(ge=0)] = 1e-3
    iterations: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 100
    evaluations: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1000


class Petsc(Struct, frozen=True, forbid_unknown_fields=True):
    """Options for PETSc, as on its command line."""

    options: str = ""


class Checkpointing(Struct, frozen=True, forbid_unknown_fields=True):
    """The schedule of the reverse sweep; snapshots count the one of the initial state.

    period is that of "periodic", the shortest one for which the snapshots are enough when it is not
    given; arguments are those of a class of checkpoint_schedules.
    """

    schedule: str = "binomial"
    snapshots: Count = 30
    snapshots_on_disk: Annotated[int, Meta(ge=0, le=2**53)] = 0
    period: Count | None = None
    arguments: dict[str, str | int | float | bool] = {}


class Snapshots(Struct, frozen=True, forbid_unknown_fields=True):
    """Where snapshots live, and how much memory they may take.

    memory is a size per rank ("2 GiB"), or a share of what is free on a node.
    """

    store: Literal["memory", "hdf5", "hdf5_shared", "tiered"] = "memory"
    directory: str = ""
    asynchronous: bool | None = None
    buffers: Annotated[int, Meta(ge=2, le=1024)] = 8
    keep: bool = False
    memory: str | float | None = None


class Restart(Struct, frozen=True, forbid_unknown_fields=True):
    """Durable data to go on from after an interruption; seconds where nothing else is said."""

    enabled: bool = False
    directory: str = ""
    overhead: Annotated[float, Meta(gt=0, le=1)] = 0.035
    mtbf: Positive | None = None
    keep: Annotated[int, Meta(ge=2, le=100)] = 2
    walltime: Positive | None = None


class Parallel(Struct, frozen=True, forbid_unknown_fields=True):
    """How the grid is cut: (py, px) ranks, or chosen from the number of ranks when not given.

    steps_per_exchange layers of halo are exchanged once in so many steps; chosen from the tile when
    not given.
    """

    process_grid: tuple[Count, Count] | None = None
    steps_per_exchange: Annotated[int, Meta(ge=1, le=1024)] | None = None


class Output(Struct, frozen=True, forbid_unknown_fields=True):
    """The folder of the results, dumps of every k-th step (0: none), and pictures."""

    directory: Text = "output"
    every: Annotated[int, Meta(ge=0, le=2**53)] = 0
    plots: bool = True


class Check(Struct, frozen=True, forbid_unknown_fields=True):
    """The random directions of `check`, and how many grid points it differences."""

    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    points: Annotated[int, Meta(ge=1, le=1000)] = 3


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole run. The defaults are the published problem of Burgers.jl."""

    grid: Grid = Grid()
    physics: Physics = Physics()
    initial: Initial = Initial()
    time: Time = Time()
    objective: Objective = Objective()
    observations: Observations = Observations()
    gradient: Gradient = Gradient()
    controls: Controls = Controls()
    background: Background = Background()
    truth: Truth = Truth()
    tao: Tao = Tao()
    petsc: Petsc = Petsc()
    checkpointing: Checkpointing = Checkpointing()
    snapshots: Snapshots = Snapshots()
    restart: Restart = Restart()
    parallel: Parallel = Parallel()
    output: Output = Output()
    check: Check = Check()

    def to_toml(self) -> str:
        """The whole configuration as TOML text; `load` reads an equal Config from it."""
        sections = msgspec.to_builtins(self)
        # TOML has no null: a key that is not set is one that is not there.
        return tomli_w.dumps(
            {
                name: {key: value for key, value in section.items() if value is not None}
                for name, section in sections.items()
            }
        )


def load(path: str | None, overrides: Sequence[str] = (), directory: str | None = None) -> Config:
    """Read a configuration file and apply the overrides of the command line, in their order.

    Args:
        path: a TOML file, or None for the defaults.
        overrides: "SECTION.KEY=VALUE" each, with a TOML value or a bare word as VALUE.
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
    for override in overrides:
        section, key, value = _parse_override(override)
        table = data.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{source}{_not_a_section(section, table)}")
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

    Relative `initial.path` and `restart.directory` are resolved against the current folder, so that
    the configuration that a run leaves in its output folder means the same from everywhere.

    Raises:
        ConfigError: naming the first key that is wrong, its value and what is allowed.
    """
    _refuse_unknown(data)
    for key, value in _leaves(data, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key} = {_show(value)}: expected a finite number")
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(data, str(error))) from None
    _cross_check(config)
    path, directory = config.initial.path, config.output.directory
    if path:
        path = os.path.abspath(os.path.expanduser(path))
    observed = config.observations.path
    if observed:
        observed = os.path.abspath(os.path.expanduser(observed))
    restart = config.restart.directory
    if restart:
        restart = os.path.abspath(os.path.expanduser(restart))
    return msgspec.structs.replace(
        config,
        restart=msgspec.structs.replace(config.restart, directory=restart),
        initial=msgspec.structs.replace(config.initial, path=path),
        observations=msgspec.structs.replace(config.observations, path=observed),
        output=msgspec.structs.replace(config.output, directory=os.path.expanduser(directory)),
        snapshots=msgspec.structs.replace(
            config.snapshots, directory=os.path.expanduser(config.snapshots.directory)
        ),
    )


def _read(path: str) -> dict[str, Any]:
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
                f"unknown section [{section}]{_closest(section, sections)}; "
                f"allowed: {', '.join(sections)}"
            )
        if not isinstance(table, Mapping):
            raise ConfigError(_not_a_section(section, table))
        keys = _section_type(section).__struct_fields__
        for key, value in table.items():
            if key not in keys:
                raise ConfigError(
                    f"unknown key {section}.{key} = {_show(value)}{_closest(key, keys)}; "
                    f"allowed in [{section}]: {', '.join(keys)}"
                )


def _section_type(section: str) -> type[Struct]:
    return type(getattr(Config(), section))


def _not_a_section(section: str, value: Any) -> str:
    keys = _section_type(section).__struct_fields__
    return f"{section} = {_show(value)}: expected a section [{section}] with {', '.join(keys)}"


def _closest(word: str, allowed: Sequence[str]) -> str:
    matches = difflib.get_close_matches(word.lower(), allowed, n=1)
    return f", did you mean {matches[0]}?" if matches else ""


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{name}[{index}]")
    else:
        yield name, value


def _explain(data: Mapping[str, Any], message: str) -> str:
    """The message of a failed conversion, with the value and the allowed ones beside the key."""
    place = re.search(r" - at `\$\.(\w+)\.(\w+)", message)
    if place is None:
        return message
    section, key = place.groups()
    fields = {field.encode_name: field.type for field in _fields(_section_type(section))}
    value = _show(data[section][key])
    return f"{section}.{key} = {value}: expected {_describe(fields[key])}"


def _fields(section: type[Struct]) -> tuple[Any, ...]:
    info = type_info(section)
    assert isinstance(info, StructType)
    return info.fields


def _describe(kind: Type) -> str:
    match kind:
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
                _show(value) for value in kind.values
            )
        case TupleType():
            return f"a list of {len(kind.item_types)}, each {_describe(kind.item_types[0])}"
        case DictType():
            return f"a table of names, each {_describe(kind.value_type)}"
        case VarTupleType():
            return f"a list that is not empty, each {_describe(kind.item_type)}"
        case UnionType():
            choices = [_describe(item) for item in kind.types if not isinstance(item, NoneType)]
            return ", or ".join(choices)
    raise TypeError(f"no description of {kind}")


def _range(kind: IntType | FloatType) -> str:
    limits = [("> ", kind.gt), (">= ", kind.ge), ("< ", kind.lt), ("<= ", kind.le)]
    said = [f"{sign}{limit}" for sign, limit in limits if limit is not None]
    return " " + " and ".join(said) if said else ""


def _show(value: Any) -> str:
    try:
        return (
            json.dumps(value, ensure_ascii=False).replace("NaN", "nan").replace("Infinity", "inf")
        )
    except TypeError:
        return str(value)


def _cross_check(config: Config) -> None:
    for name, (low, high) in (("x", config.grid.x), ("y", config.grid.y)):
        if not low < high:
            raise ConfigError(
                f"grid.{name} = [{low}, {high}]: expected [{name}0, {name}1] with {name}0 < {name}1"
            )
    width = config.initial.width
    if not all(one > 0 for one in (width if isinstance(width, tuple) else (width,))):
        raise ConfigError(
            f"initial.width = {_show(width)}: expected a number > 0, or a list of 2, each > 0"
        )
    _cross_check_time(config)
    _cross_check_schedule(config.checkpointing)
    controls = config.gradient.controls
    if len(set(controls)) < len(controls):
        raise ConfigError(f"gradient.controls = {_show(controls)}: expected each control once")
    _cross_check_controls(config)
    _cross_check_objective(config.objective, config.observations, config.truth.twin)
    _cross_check_snapshots(config.snapshots)
    path, kind = config.initial.path, config.initial.kind
    if kind == "file" and not path:
        raise ConfigError(
            'initial.path = "": expected the path of an HDF5 file, as initial.kind = "file"'
        )
    if kind != "file" and path:
        raise ConfigError(
            f"initial.path = {_show(path)}: expected no path, as initial.kind = {_show(kind)}; "
            'set initial.kind = "file" to read it'
        )


def _cross_check_snapshots(snapshots: Snapshots) -> None:
    memory = snapshots.memory
    if isinstance(memory, str):
        try:
            parse_size(memory)
        except ValueError as error:
            raise ConfigError(f"snapshots.memory = {_show(memory)}: {error}") from None
    elif memory is not None and not 0 < memory <= 1:
        raise ConfigError(
            f"snapshots.memory = {_show(memory)}: expected a size per rank such as "
            '"2 GiB", or a share of the free memory > 0 and <= 1'
        )


def _cross_check_controls(config: Config) -> None:
    controls, knots = config.gradient.controls, config.controls.knots
    if "boundary" in controls and config.grid.boundary == "periodic":
        raise ConfigError(
            f"gradient.controls = {_show(controls)}: a periodic domain has no boundary to control"
        )
    for section, keys in (("controls", ("scale", "lower", "upper")), BACKGROUND):
        for key in keys:
            table = getattr(getattr(config, section), key)
            for name, number in table.items():
                shown = f"{section}.{key} = {_show(table)}"
                if name not in controls:
                    raise ConfigError(
                        f"{shown}: {name} is not in gradient.controls = {_show(controls)}"
                    )
                if key in ("scale", "deviation", "smoothness") and number <= 0:
                    raise ConfigError(f"{shown}: expected numbers > 0")
                if key == "smoothness" and name in ("viscosity", "boundary"):
                    raise ConfigError(f"{shown}: {name} is no field of the domain to be smooth")
    lower, upper = config.controls.lower, config.controls.upper
    for name in lower.keys() & upper.keys():
        if lower[name] > upper[name]:
            raise ConfigError(
                f"controls.lower = {_show(lower)} and controls.upper = {_show(upper)} cross: "
                f"expected lower.{name} <= upper.{name}"
            )
    if (lower or upper) and config.tao.type in UNBOUNDED:
        raise ConfigError(
            f"tao.type = {_show(config.tao.type)}: expected one that keeps to bounds, as there are "
            f"controls.lower or controls.upper: any but {', '.join(UNBOUNDED)}"
        )
    shown = f"controls.knots = {_show(knots)}"
    if "forcing_in_time" in controls:
        if not knots:
            raise ConfigError(
                f"{shown}: expected the times of the knots, as gradient.controls has "
                "forcing_in_time"
            )
        if any(later <= earlier for earlier, later in pairwise(knots)):
            raise ConfigError(f"{shown}: expected increasing times")


def _cross_check_objective(objective: Objective, observations: Observations, twin: bool) -> None:
    kind, weights = objective.kind, objective.weights
    shown = f"objective.weights = {_show(weights)}"
    for name in weights:
        if name not in TERMS:
            raise ConfigError(
                f"{shown}: unknown term {name}{_closest(name, TERMS)}; allowed: {', '.join(TERMS)}"
            )
    if (kind == "misfit" or "misfit" in weights) and not observations.path and not twin:
        raise ConfigError(
            'observations.path = "": expected the path of an HDF5 file, as the objective has a '
            "misfit; `forward --observe FILE` makes one, truth.twin = true does without"
        )
    if kind == "weighted_sum" and not weights:
        raise ConfigError(
            f'{shown}: expected a weight for each term of objective.kind = "weighted_sum", '
            "for example { final_energy = 1.0, running_enstrophy = 0.1 }"
        )
    if kind != "weighted_sum" and weights:
        raise ConfigError(
            f"{shown}: expected no weights, as objective.kind = {_show(kind)}; "
            'set objective.kind = "weighted_sum" to use them'
        )


def _cross_check_schedule(section: Checkpointing) -> None:
    name, arguments = section.schedule, section.arguments
    foreign = re.fullmatch(r"checkpoint_schedules:\w+", name)
    if name not in SCHEDULES and not foreign:
        raise ConfigError(
            f"checkpointing.schedule = {_show(name)}{_closest(name, SCHEDULES)}: expected one of "
            f'{", ".join(map(_show, SCHEDULES))}, "checkpoint_schedules:CLASS"'
        )
    if name in ("multistage", "two_level") and section.snapshots_on_disk < 1:
        raise ConfigError(
            f"checkpointing.snapshots_on_disk = {section.snapshots_on_disk}: expected at least 1, "
            f"as checkpointing.schedule = {_show(name)}"
        )
    if arguments and not foreign:
        raise ConfigError(
            f"checkpointing.arguments = {_show(arguments)}: expected none, as "
            f"checkpointing.schedule = {_show(name)}; they are for checkpoint_schedules:CLASS"
        )


def _cross_check_time(config: Config) -> None:
    time, schedule = config.time, config.checkpointing.schedule
    asked = [name for name in ("until", "cfl", "steady") if getattr(time, name) is not None]
    said = " and ".join(f"time.{name} = {_show(getattr(time, name))}" for name in asked)
    if time_is_open(time) and schedule != "online":
        raise ConfigError(
            f'checkpointing.schedule = {_show(schedule)}: expected "online", as {said} leaves the '
            "number of steps open"
        )
    if not asked:
        return
    objective = config.objective
    for name in objective.weights or (objective.kind,):
        if name == "misfit" or (name != "final_energy" and asked != ["steady"]):
            raise ConfigError(f"{said}: expected no such key with the objective {name}")
    if config.restart.enabled and asked != ["until"]:
        raise ConfigError(f"restart.enabled = true: expected false with {said}")


def time_is_open(time: Time) -> bool:
    """Whether nobody knows the number of steps before the run."""
    return time.steady is not None or (time.until is not None and time.cfl is not None)

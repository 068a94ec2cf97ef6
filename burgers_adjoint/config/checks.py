"""What no single key can tell: whether the keys of a configuration go together."""

import math
from itertools import pairwise

from burgers_adjoint.config.messages import one_of, show
from burgers_adjoint.config.registry import (
    ADVECTION,
    CODECS,
    CONTROLS,
    INITIAL_STATES,
    INTEGRATORS,
    SCHEDULES,
    STORES,
    TERMS,
)
from burgers_adjoint.config.sections import (
    Checkpointing,
    Config,
    Initial,
    Objective,
    Observations,
    Snapshots,
    Truth,
    time_is_open,
)
from burgers_adjoint.config.sizes import parse_size
from burgers_adjoint.errors import ConfigError, closest

BACKGROUND = ("background", ("deviation", "smoothness"))
UNBOUNDED = ("lmvm", "cg", "owlqn", "nls", "ntr")  # TAO's types that know no bounds
SUM = "weighted_sum"  # of terms: the one objective that is none
NO_CODEC = "none"
AS_MANY_AS_FIT = "as many as fit"
WITHOUT_TOLERANCE = (NO_CODEC, "float32", "lossless")  # codecs
HOST_STORES = ("pinned", "tiered")
BOUNDED = ("quantised", "bounded")  # codecs


# Powers of what lies in here, and quotients of these, are numbers yet.
LEAST, MOST = 1e-50, 1e50
# Not so for factors that nothing takes a power of; what is compared alone may be any number.
MAGNITUDES = {"objective.weights": (1e-200, 1e200)}
ANY_MAGNITUDE = ("controls.lower", "controls.upper", "tao", "checkpointing.arguments")


def require_magnitude(key: str, number: float) -> None:
    """Refuse numbers whose powers would overflow or underflow.

    Raises:
        ConfigError: naming the key and what is allowed.
    """
    if key.startswith(ANY_MAGNITUDE):
        return
    table = key.rpartition(".")[0]
    least, most = MAGNITUDES.get(table, (LEAST, MOST))
    if number and not least <= abs(number) <= most:
        raise ConfigError(
            f"{key} = {show(number)}: expected a magnitude from {least:g} to {most:g}, "
            "or 0 where that is allowed"
        )


def names_by_key() -> dict[str, tuple[str, ...]]:
    """The names that keys may have, of what can be added to from outside the package."""
    registries = (ADVECTION, INTEGRATORS, INITIAL_STATES, TERMS, CONTROLS)
    names = {registry.key: registry.names for registry in registries}
    names["truth.kind"] = names[INITIAL_STATES.key]
    names[TERMS.key] += (SUM,)
    names[CODECS.key] = (NO_CODEC, *CODECS.names)
    return names


def cross_check(config: Config) -> None:
    """Refuse what contradicts itself.

    Raises:
        ConfigError: naming the key, its value and what is allowed beside the others.
    """
    _check_names(config)
    for name, (low, high) in (("x", config.grid.x), ("y", config.grid.y)):
        if not low < high:
            raise ConfigError(
                f"grid.{name} = [{low}, {high}]: expected [{name}0, {name}1] with {name}0 < {name}1"
            )
        n = getattr(config.grid, f"n{name}")
        if not (high - low) / n > 2 * math.ulp(max(abs(low), abs(high))):
            raise ConfigError(
                f"grid.{name} = [{low}, {high}]: expected an extent in which grid.n{name} = {n} "
                "points are not the same but for round-off"
            )
    _check_fields("initial", config.initial)
    _check_fields("truth", config.truth)
    if not min(config.truth.bump_width) > 0:
        raise ConfigError(
            f"truth.bump_width = {show(config.truth.bump_width)}: expected a list of 2, each > 0"
        )
    _check_time(config)
    _check_schedule(config.checkpointing)
    controls = config.gradient.controls
    if len(set(controls)) < len(controls):
        raise ConfigError(f"gradient.controls = {show(controls)}: expected each control once")
    _check_controls(config)
    _check_objective(config.objective, config.observations, config.truth.twin)
    store = config.snapshots.store
    if config.checkpointing.snapshots == AS_MANY_AS_FIT and store != "memory":
        raise ConfigError(
            f"checkpointing.snapshots = {show(AS_MANY_AS_FIT)}: expected a number, as "
            f"snapshots.store = {show(store)} is not memory"
        )
    automatic = config.checkpointing.schedule == "auto"
    _check_snapshots(config.snapshots, automatic, config.parallel.device)
    options = config.petsc.options
    if options and not options.lstrip().startswith("-"):
        raise ConfigError(
            f"petsc.options = {show(options)}: expected options that begin with a hyphen, "
            'such as "-tao_ls_type armijo"'
        )


def _check_names(config: Config) -> None:
    ADVECTION.require(config.physics.advection)
    INTEGRATORS.require(config.time.integrator)
    INITIAL_STATES.require(config.initial.kind)
    kind = config.truth.kind
    INITIAL_STATES.require(kind, f"truth.kind = {show(kind)}")
    TERMS.require(config.objective.kind, also=(SUM,))
    predict = config.uncertainty.predict
    for name in predict:
        TERMS.require(name, f"uncertainty.predict = {show(predict)}: {name}")
        if name == "misfit":
            raise ConfigError(
                f"uncertainty.predict = {show(predict)}: expected no misfit, which is what the "
                "posterior comes from"
            )
    controls = config.gradient.controls
    for name in controls:
        if name not in CONTROLS.names:
            raise ConfigError(
                f"gradient.controls = {show(controls)}{closest(name, CONTROLS.names)}: expected a "
                f"list that is not empty, each {one_of(CONTROLS.names)}"
            )


def _check_fields(section: str, described: Initial | Truth) -> None:
    path, kind, width = described.path, described.kind, described.width
    if not all(one > 0 for one in (width if isinstance(width, tuple) else (width,))):
        raise ConfigError(
            f"{section}.width = {show(width)}: expected a number > 0, or a list of 2, each > 0"
        )
    if kind == "file" and not path:
        raise ConfigError(
            f'{section}.path = "": expected the path of an HDF5 file, as {section}.kind = "file"'
        )
    if kind != "file" and path:
        raise ConfigError(
            f"{section}.path = {show(path)}: expected no path, as {section}.kind = {show(kind)}; "
            f'set {section}.kind = "file" to read it'
        )


def _check_snapshots(snapshots: Snapshots, automatic: bool, device: str) -> None:
    STORES.require(snapshots.store)
    _check_codec(snapshots, automatic)
    memory, host_memory = snapshots.memory, snapshots.host_memory
    sizes = {"memory": memory, "host_memory": host_memory, "alignment": snapshots.alignment}
    for key, size in sizes.items():
        if isinstance(size, str):
            try:
                parse_size(size)
            except ValueError as error:
                raise ConfigError(f"snapshots.{key} = {show(size)}: {error}") from None
    if snapshots.driver == "mpio" and snapshots.asynchronous:
        raise ConfigError(
            'snapshots.driver = "mpio": expected no snapshots.asynchronous = true beside it, as '
            'HDF5 lets no other thread of Python run in its collective calls; "direct" does'
        )
    if isinstance(memory, int | float) and not 0 < memory <= 1:
        raise ConfigError(
            f"snapshots.memory = {show(memory)}: expected a size per rank such as "
            '"2 GiB", or a share of the free memory > 0 and <= 1'
        )
    if isinstance(host_memory, int | float) and not 0 <= host_memory <= 1:
        raise ConfigError(
            f"snapshots.host_memory = {show(host_memory)}: expected a size per rank such as "
            '"2 GiB", a share of the free memory <= 1, or 0 for none'
        )
    if host_memory and (device == "cpu" or not (automatic or snapshots.store in HOST_STORES)):
        why = "parallel.device", device
        if device != "cpu":
            why = "snapshots.store", snapshots.store
        raise ConfigError(
            f"snapshots.host_memory = {show(host_memory)}: expected none, or 0, as {why[0]} = "
            f"{show(why[1])}; it is for states of a device in the stores "
            + " and ".join(map(show, HOST_STORES))
        )


def _check_codec(snapshots: Snapshots, automatic: bool) -> None:
    codec, wanted = snapshots.codec, snapshots.gradient_error
    CODECS.require(codec, also=(NO_CODEC,))
    shown = f"as snapshots.codec = {show(codec)}"
    if codec in WITHOUT_TOLERANCE:
        for key in ("tolerance", "tolerance_kind", "gradient_error"):
            value = getattr(snapshots, key)
            if key == "gradient_error" and automatic and codec == NO_CODEC:
                continue
            if value != getattr(Snapshots(), key):
                raise ConfigError(
                    f"snapshots.{key} = {show(value)}: expected none, {shown}; "
                    'set snapshots.codec = "quantised" to use it'
                )
    elif wanted is not None and snapshots.tolerance is not None:
        raise ConfigError(
            f"snapshots.tolerance = {show(snapshots.tolerance)}: expected none, as "
            f"snapshots.gradient_error = {show(wanted)} finds it"
        )
    if codec == "learned" and not snapshots.learned:
        raise ConfigError(
            f'snapshots.learned = "": expected the path of a file that `train` has made, {shown}'
        )
    if codec in BOUNDED and wanted is None and snapshots.tolerance is None:
        raise ConfigError(
            "snapshots.tolerance is not set: expected the largest error of a point, such as 1e-6, "
            f"or snapshots.gradient_error, {shown}"
        )


def _check_controls(config: Config) -> None:
    controls, knots = config.gradient.controls, config.controls.knots
    if "boundary" in controls and config.grid.boundary == "periodic":
        raise ConfigError(
            f"gradient.controls = {show(controls)}: a periodic domain has no boundary to control"
        )
    for section, keys in (("controls", ("scale", "lower", "upper")), BACKGROUND):
        for key in keys:
            table = getattr(getattr(config, section), key)
            for name, number in table.items():
                shown = f"{section}.{key} = {show(table)}"
                if name not in controls:
                    raise ConfigError(
                        f"{shown}: {name} is not in gradient.controls = {show(controls)}"
                        + closest(name, controls)
                    )
                if key in ("scale", "deviation", "smoothness") and number <= 0:
                    raise ConfigError(f"{shown}: expected numbers > 0")
                if key == "smoothness" and name in ("viscosity", "boundary"):
                    raise ConfigError(f"{shown}: {name} is no field of the domain to be smooth")
    _check_covariances(config)
    lower, upper = config.controls.lower, config.controls.upper
    for name in lower.keys() & upper.keys():
        if lower[name] > upper[name]:
            raise ConfigError(
                f"controls.lower = {show(lower)} and controls.upper = {show(upper)} cross: "
                f"expected lower.{name} <= upper.{name}"
            )
    if (lower or upper) and config.tao.type in UNBOUNDED:
        raise ConfigError(
            f"tao.type = {show(config.tao.type)}: expected one that keeps to bounds, as there are "
            f"controls.lower or controls.upper: any but {', '.join(UNBOUNDED)}"
        )
    shown = f"controls.knots = {show(knots)}"
    if "forcing_in_time" in controls:
        if not knots:
            raise ConfigError(
                f"{shown}: expected the times of the knots, as gradient.controls has "
                "forcing_in_time"
            )
        if any(later <= earlier for earlier, later in pairwise(knots)):
            raise ConfigError(f"{shown}: expected increasing times")


def no_field(name: str) -> str:
    """Why a control has no covariance of a field, as the end of a message."""
    if name not in CONTROLS.names:
        return ""
    return f"; {name} is no field of the domain: it can have a deviation"


def _check_covariances(config: Config) -> None:
    controls, section = config.gradient.controls, config.background
    if section.informed and not (section.deviation or section.smoothness or section.covariances):
        raise ConfigError(
            f"background.informed = {show(section.informed)}: expected a background term that "
            "directions are left out of"
        )
    for name, matern in config.background.covariances.items():
        shown = f"[background.{name}]"
        if name not in controls:
            raise ConfigError(
                f"{shown}: {name} is not in gradient.controls = {show(controls)}"
                + closest(name, controls)
            )
        for key in BACKGROUND[1]:
            table = getattr(config.background, key)
            if name in table:
                raise ConfigError(
                    f"background.{key} = {show(table)}: expected no {name} in it, as {shown} is "
                    "its covariance"
                )
        spacing = max(
            (high - low) / (n if config.grid.boundary == "periodic" else n - 1)
            for (low, high), n in (
                (config.grid.x, config.grid.nx), (config.grid.y, config.grid.ny),
            )
        )  # fmt: skip
        if matern.length < spacing:
            raise ConfigError(
                f"background.{name}.length = {show(matern.length)}: expected at least the "
                f"distance of the grid's points, {spacing:.6g}"
            )


def _check_objective(objective: Objective, observations: Observations, twin: bool) -> None:
    kind, weights = objective.kind, objective.weights
    shown = f"objective.weights = {show(weights)}"
    for name in weights:
        TERMS.require(name, f"{shown}: {name}")
    if (kind == "misfit" or "misfit" in weights) and not observations.path and not twin:
        raise ConfigError(
            'observations.path = "": expected the path of an HDF5 file, as the objective has a '
            "misfit; `forward --observe FILE` makes one, truth.twin = true does without"
        )
    if kind == SUM and not weights:
        raise ConfigError(
            f'{shown}: expected a weight for each term of objective.kind = "weighted_sum", '
            "for example { final_energy = 1.0, running_enstrophy = 0.1 }"
        )
    if kind != SUM and weights:
        raise ConfigError(
            f"{shown}: expected no weights, as objective.kind = {show(kind)}; "
            'set objective.kind = "weighted_sum" to use them'
        )


def _check_schedule(section: Checkpointing) -> None:
    name, arguments = section.schedule, section.arguments
    foreign = SCHEDULES.require(name) == "checkpoint_schedules:CLASS"
    if name in ("multistage", "two_level") and section.snapshots_on_disk < 1:
        raise ConfigError(
            f"checkpointing.snapshots_on_disk = {section.snapshots_on_disk}: expected at least 1, "
            f"as checkpointing.schedule = {show(name)}"
        )
    if arguments and not foreign:
        raise ConfigError(
            f"checkpointing.arguments = {show(arguments)}: expected none, as "
            f"checkpointing.schedule = {show(name)}; they are for checkpoint_schedules:CLASS"
        )


def _check_time(config: Config) -> None:
    time, schedule = config.time, config.checkpointing.schedule
    asked = [name for name in ("until", "cfl", "steady") if getattr(time, name) is not None]
    said = " and ".join(f"time.{name} = {show(getattr(time, name))}" for name in asked)
    if time_is_open(time) and schedule != "online":
        raise ConfigError(
            f'checkpointing.schedule = {show(schedule)}: expected "online", as {said} leaves the '
            "number of steps open"
        )
    if not asked:
        return
    objective = config.objective
    if "misfit" in (objective.weights or (objective.kind,)) and asked != ["until"]:
        raise ConfigError(
            f"{said}: expected no such key with the objective misfit, which compares states at "
            "times that are known before the run"
        )

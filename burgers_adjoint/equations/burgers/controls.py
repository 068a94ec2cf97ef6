"""Controls: what a gradient can be taken with respect to, by name."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from burgers_adjoint.equations.burgers.objectives.term import counted
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.reductions import exact_sum, norm, random_field
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.stepper import Cotangent, Value


def boundary_points(decomposition: Decomposition) -> np.ndarray:
    """Which of the tile's points lie on the boundary of the domain, (ny, nx)."""
    inside = np.zeros(decomposition.tile_shape, dtype=bool)
    inside[counted(decomposition)[1:]] = True
    return ~inside


@dataclass(frozen=True)
class Kind:
    """A kind of control, on any grid.

    Attributes:
        axes: before (ny, nx) of its values, for a number of knots; None for a number.
        density: name of its part of a cotangent; None for a part of the initial state.
        points: of a part of the initial state, which of the tile's points it has for its own; None
            for all that no other control has.
    """

    axes: Callable[[int], tuple[int, ...]] | None
    density: str | None = None
    points: Callable[[Decomposition], np.ndarray] | None = None


# (u, v) at step 0 [length/time]; that of the points that keep their values; nu [length^2/time];
# what is added to nu; forcing [length/time^2]; forcing at the knots.
INITIAL = Kind(lambda knots: (2,))
BOUNDARY = Kind(lambda knots: (2,), points=boundary_points)
VISCOSITY = Kind(None, "viscosity")
VISCOSITY_FIELD = Kind(lambda knots: (), "viscosity")
FORCING = Kind(lambda knots: (2,), "forcing")
FORCING_IN_TIME = Kind(lambda knots: (knots, 2), "forcing_in_time")


@dataclass(frozen=True)
class Control:
    """A control of a run, on this rank's tile.

    Attributes:
        name: of it.
        kind: what it is.
        shape: of its values, and of its gradient: () for a number, (..., ny, nx) for fields.
        points: (ny, nx), which of the tile's points are its own; None for all.
        scale: value over entry of a control vector.
        lower, upper: bounds of the values; None for none.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    points: np.ndarray | None
    decomposition: Decomposition = field(repr=False)
    layout: Layout = field(repr=False)
    scale: float = 1.0
    lower: float | None = None
    upper: float | None = None

    @property
    def of_steps(self) -> bool:
        """Whether steps depend on it, and not the initial state."""
        return self.kind.density is not None

    def zeros(self) -> Value:
        """Values of zero."""
        return np.zeros(self.shape) if self.shape else 0.0

    def random(self, seed: int) -> Value:
        """Random values in [-1, 1), also at points that are not its own; 1 for a number."""
        if not self.shape:
            return 1.0
        n_fields = math.prod(self.shape[:-2])
        return random_field(self.decomposition, seed, n_fields).reshape(self.shape)

    def checked(self, value: Value) -> Value:
        """The value, if it has the shape: an array, or a float for a number.

        Raises:
            ConfigError: these are not real numbers, or of another shape.
        """
        array, rank = np.asarray(value), self.decomposition.rank
        if array.dtype.kind not in "biuf":
            raise ConfigError(f"{self.name} has real numbers for values, not {array.dtype}")
        if array.shape != self.shape:
            raise ConfigError(
                f"{self.name} has values of the shape {self.shape} on rank {rank}, not of "
                f"{array.shape}"
            )
        return array.astype(np.float64, copy=False) if self.shape else float(array)

    def require_finite(self, value: Value) -> None:
        """See that all values are finite.

        Raises:
            ConfigError: with the place of the first one that is not.
        """
        if not np.isfinite(value).all():
            first = tuple(np.argwhere(~np.isfinite(value))[0].tolist())
            raise ConfigError(
                f"{self.name} of the shape {self.shape} on rank {self.decomposition.rank} has the "
                f"value {np.asarray(value)[first]}" + (f" at {list(first)}" if first else "")
            )

    def masked(self, value: Value) -> Value:
        """The values, with zeros at the points that are not its own."""
        return value if self.points is None else np.where(self.points, value, 0.0)

    def pull_back(self, cotangent: Cotangent) -> Value:
        """Derivative of J by the control, from the cotangent at step 0. Collective."""
        if self.kind.density is None:
            return self.masked(np.asarray(self.layout.interior(cotangent.field)))
        density = self.layout.interior(cotangent.densities[self.kind.density])
        return np.asarray(density).reshape(self.shape) if self.shape else self._sum(density)

    def dot(self, value: Value, other: Value) -> float:
        """Sum of the products of all values, on all ranks. Collective."""
        if not self.shape:
            return float(value * other)
        return self._sum(np.asarray(value) * other)

    def norm(self, value: Value) -> float:
        """Euclidean norm over all ranks. Collective."""
        return norm(self.decomposition.comm, np.asarray(value)) if self.shape else abs(float(value))

    def _sum(self, values: np.ndarray) -> float:
        return exact_sum(self.decomposition.comm, values)

    def tiles(self, value: Value) -> dict[str, np.ndarray]:
        """Tiles (ny, nx) of its values, views, by the path of their dataset; none of a number."""
        return tiles_of(self.name, np.asarray(value)) if self.shape else {}


def as_value(values: np.ndarray) -> Value:
    """An array, or the number that one without axes is."""
    return values if values.ndim else float(values)


def copied(values: Mapping[str, Value]) -> dict[str, Value]:
    """Copies of values by name, which stay as they are."""
    return {name: as_value(np.array(value)) for name, value in values.items()}


def tiles_of(path: str, part: np.ndarray) -> dict[str, np.ndarray]:
    """Tiles (ny, nx) of fields by the path of their dataset in a file."""
    if part.ndim == 2:
        return {path: part}
    if part.ndim == 3:
        return {f"{path}/{name}": part[f] for f, name in enumerate("uv")}
    return {
        name: tile
        for knot, fields in enumerate(part)
        for name, tile in tiles_of(f"{path}/{knot:04d}", fields).items()
    }


def split(
    group: str, controls: Mapping[str, Control], values: Mapping[str, Value]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Tiles, and numbers, of controls by the paths of their datasets in a group of a file."""
    tiles: dict[str, np.ndarray] = {}
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if controls[name].shape:
            tiles |= {
                f"/{group}/{path}": tile for path, tile in controls[name].tiles(value).items()
            }
        else:
            numbers[f"/{group}/{name}"] = float(value)
    return tiles, numbers


def times_of_knots(
    group: str, values: Mapping[str, Value], knots: Sequence[float]
) -> dict[str, float]:
    """Times of the knots by the paths of their datasets, beside the fields that `split` places."""
    return {
        f"/{group}/{name}/{knot:04d}/time": time
        for name, value in values.items()
        if np.ndim(value) == 4
        for knot, time in enumerate(knots)
    }


@dataclass(frozen=True)
class Traits:
    """What a configuration says of controls, by name: scales and bounds; and times of knots."""

    scale: Mapping[str, float] = field(default_factory=dict)
    lower: Mapping[str, float] = field(default_factory=dict)
    upper: Mapping[str, float] = field(default_factory=dict)
    knots: Sequence[float] = ()


def make_controls(
    kinds: Mapping[str, Kind],
    decomposition: Decomposition,
    layout: Layout,
    traits: Traits,
    together: Iterable[str],
) -> dict[str, Control]:
    """Controls of these kinds on a tile.

    Args:
        kinds: by name.
        decomposition, layout: of the tile and its arrays.
        traits: of those that have any.
        together: names of those that a gradient is taken to at once: of the initial state, each
            leaves the others their points.
    """
    own = {
        name: kind.points(decomposition)
        for name, kind in kinds.items()
        if kind.density is None and kind.points is not None
    }
    taken = [own[name] for name in together if name in own]
    rest = ~np.logical_or.reduce(taken) if taken else None
    controls = {}
    for name, kind in kinds.items():
        shape: tuple[int, ...] = ()
        if kind.axes is not None:
            shape = (*kind.axes(len(traits.knots)), *decomposition.tile_shape)
        points = own.get(name, rest) if kind.density is None else None
        controls[name] = Control(
            name, kind, shape, points, decomposition, layout,
            traits.scale.get(name, 1.0), traits.lower.get(name), traits.upper.get(name),
        )  # fmt: skip
    return controls


class Inputs:
    """The values of all controls: parts of the initial state, and what steps depend on.

    Args:
        controls: all that may have values, by name.
        fields: initial (u, v), (2, ny, nx) of the tile.
        model: takes the steps.

    Attributes:
        fields: the initial state.
    """

    def __init__(self, controls: Mapping[str, Control], fields: np.ndarray, model: Model) -> None:
        self._controls, self._model = controls, model
        self.fields = fields

    def _control(self, name: str) -> Control:
        control = self._controls.get(name)
        if control is None or (control.of_steps and self._model.values.get(name) is None):
            have = [
                name
                for name, other in self._controls.items()
                if not other.of_steps or self._model.values.get(name) is not None
            ]
            raise agreed_error(
                ConfigError(f"this problem has no control {name!r}; it has {', '.join(have)}")
            )
        return control

    def value(self, name: str, fields: np.ndarray | None = None) -> Value:
        """Value of a control, laid out like its gradient; not to be changed.

        fields are the initial ones, those of the problem when not given.

        Raises:
            ConfigError: on all ranks: there is no such control.
        """
        control = self._control(name)
        if not control.of_steps:
            return control.masked(self.fields if fields is None else fields)
        value = self._model.values[name]
        assert value is not None
        return value

    def copies(self, names: Iterable[str]) -> dict[str, Value]:
        """Values of controls that stay as they are; see `value`."""
        return {name: np.copy(self.value(name)) for name in names}

    def set_all(self, values: Mapping[str, Value]) -> None:
        """Set controls by name; see `set`."""
        for name, value in values.items():
            self.set(name, value)

    def set(self, name: str, value: Value) -> None:
        """Set a control, laid out like its gradient. Collective; the array is not copied.

        Raises:
            ConfigError: on all ranks, as all have to give values alike: there is no such control,
                or its values do not fit it.
        """
        control = self._control(name)
        try:
            value = control.checked(value)
        except ConfigError as error:
            raise agreed_error(error) from None
        if control.of_steps:
            self._model.set_value(name, value)
        elif control.points is None:
            self.fields = np.asarray(value)
        else:
            self.fields = np.where(control.points, value, self.fields)

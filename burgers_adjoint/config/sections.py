"""The sections of a configuration and their keys, with every default spelled out.

Which integrators, schemes, terms, controls and initial states there are, `registry` knows.
"""

from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta, Struct

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
    advection: Text = "central"
    smooth_speed: Positive = 0.01


class Initial(Struct, frozen=True, forbid_unknown_fields=True):
    """The initial state: a formula, or `/u` and `/v` of shape (ny, nx) in an HDF5 file.

    center and width are (x, y), one width serves both; amplitude is (u, v).
    """

    kind: Text = "gaussian"
    center: tuple[float, float] = (0.0, 0.0)
    # Its sign is left to `checks`: msgspec 0.22 corrupts memory when a number with limits and a
    # tuple of fixed length share a union.
    width: float | tuple[float, float] = 1.65
    amplitude: tuple[float, float] = (1.0, 1.0)
    path: str = ""


class Time(Struct, frozen=True, forbid_unknown_fields=True):
    """The time steps; an unstable dt is refused unless allow_unstable.

    until, a stop time, takes the place of steps; with cfl, dt is the largest step; steady ends the
    run when nothing changes faster than that, and steps (or until) is its end at the latest. stages
    says whether snapshots keep the states of the integrator's stages for the adjoint.
    """

    dt: Positive = 1e-3
    steps: Count = 1000
    until: Positive | None = None
    cfl: Annotated[float, Meta(gt=0, le=1)] | None = None
    steady: Positive | None = None
    integrator: Text = "euler"
    stages: Literal["recompute", "keep"] = "recompute"
    allow_unstable: bool = False


class Objective(Struct, frozen=True, forbid_unknown_fields=True):
    """The scalar whose gradient is computed: one term, or a sum with a weight for each."""

    kind: Text = "final_energy"
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


class Gradient(Struct, frozen=True, forbid_unknown_fields=True):
    """What the gradient is taken with respect to, and in which inner product."""

    controls: Annotated[tuple[Text, ...], Meta(min_length=1)] = ("initial", "viscosity")
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
    kind: Text = "gaussian"
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

    store: str = "memory"
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
    not given. overlap advances the interior of the tiles meanwhile.
    """

    process_grid: tuple[Count, Count] | None = None
    steps_per_exchange: Annotated[int, Meta(ge=1, le=1024)] | None = None
    overlap: bool = False


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


def time_is_open(time: Time) -> bool:
    """Whether nobody knows the number of steps before the run."""
    return time.steady is not None or (time.until is not None and time.cfl is not None)

"""The sections of a configuration and their keys, with every default spelled out.

Which integrators, schemes, terms, controls and initial states there are, `registry` knows.
"""

from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta, Struct

from burgers_adjoint.config.background import Background, Hessian, Uncertainty
from burgers_adjoint.config.searching import Petsc, Tao
from burgers_adjoint.config.training import Train
from burgers_adjoint.config.values import Count, Points, Positive, Seed, Text


class Grid(Struct, frozen=True, forbid_unknown_fields=True):
    """Points and extent of the domain.

    Attributes:
        nx: points along x.
        ny: points along y.
        x: extent; a dirichlet grid has points on both ends, a periodic one does not repeat the
            first point.
        y: likewise.
        boundary: "dirichlet" keeps boundary points at their initial values.
    """

    nx: Points = 100
    ny: Points = 100
    x: tuple[float, float] = (-4.95, 4.95)
    y: tuple[float, float] = (-4.95, 4.95)
    boundary: Literal["dirichlet", "periodic"] = "dirichlet"


class Physics(Struct, frozen=True, forbid_unknown_fields=True):
    """Coefficients of the equation and its advection scheme.

    Attributes:
        viscosity: nu, the same everywhere.
        advection: "central" is of second order; "upwind" is of third order, biased, for low
            viscosity.
        smooth_speed: what |speed| of the upwind scheme is rounded off with at rest, so that it has
            a derivative there.
    """

    viscosity: Annotated[float, Meta(ge=0)] = 0.01
    advection: Text = "central"
    smooth_speed: Positive = 0.01


class Initial(Struct, frozen=True, forbid_unknown_fields=True):
    """The initial state.

    Attributes:
        kind: a formula, or a "file" with `/u` and `/v` of shape (ny, nx) in HDF5.
        center: (x, y).
        width: one for both directions, or [x, y]; each > 0.
        amplitude: (u, v).
        path: of the HDF5 file of kind = "file", and only of it.
    """

    kind: Text = "gaussian"
    center: tuple[float, float] = (0.0, 0.0)
    # Its sign is left to `checks`: msgspec 0.22 corrupts memory when a number with limits and a
    # tuple of fixed length share a union.
    width: float | tuple[float, float] = 1.65
    amplitude: tuple[float, float] = (1.0, 1.0)
    path: str = ""


class Time(Struct, frozen=True, forbid_unknown_fields=True):
    """The time steps.

    Attributes:
        dt: length of a step; with cfl of the longest one.
        steps: how many; with steady, at the latest after so many.
        until: stop time, in place of steps; the last step ends there; for example 1.0.
        cfl: steps follow the flow, up to this share of the stability limit; for example 0.5.
        steady: ends the run when nothing changes faster than that per unit of time; for example
            1e-6.
        integrator: forward Euler; "ssprk3" and "rk4" are of third and fourth order.
        stages: "keep": snapshots keep the states of the integrator's stages, for the adjoint to
            find.
        allow_unstable: true goes on with a dt beyond the stability limits.
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
    """The scalar whose gradient is computed.

    Attributes:
        kind: "final_energy" is the mean of u^2 + v^2 at the end, over the points that are not
            boundary; "running_energy" and "running_enstrophy" are integrals over the run; "misfit"
            is the distance to observations.
        weights: of the terms of a weighted sum: { final_energy = 1.0, running_enstrophy = 0.1 }.
    """

    kind: Text = "final_energy"
    weights: dict[str, float] = {}


class Observations(Struct, frozen=True, forbid_unknown_fields=True):
    """What the misfit compares with, or how `forward --observe` makes it.

    Attributes:
        path: HDF5 file that a misfit compares with; `forward --observe` makes one.
        between_steps: what to do with a time between two steps; "nearest" takes the closer one.
        kind: what `forward --observe` sees: whole fields, or "sensors" at some points.
        times: when; not given, count times spread over the run.
        count: how many times, where times is not given.
        sensors: [[x, y], ...]; not given, sensor_grid spread over the domain.
        sensor_grid: [py, px] sensors.
        noise: standard deviation of each observed value.
        seed: of the noise.
    """

    path: str = ""
    between_steps: Literal["refuse", "nearest"] = "refuse"
    kind: Literal["fields", "sensors"] = "fields"
    times: tuple[Annotated[float, Meta(ge=0)], ...] = ()
    count: Count = 10
    sensors: tuple[tuple[float, float], ...] = ()
    sensor_grid: tuple[Count, Count] = (8, 8)
    noise: Positive = 0.01
    seed: Seed = 0


class Gradient(Struct, frozen=True, forbid_unknown_fields=True):
    """What the gradient is taken with respect to.

    Attributes:
        controls: any of them together; "viscosity_field" is added to the viscosity.
        inner_product: "l2" divides fields by the area of a cell.
    """

    controls: Annotated[tuple[Text, ...], Meta(min_length=1)] = ("initial", "viscosity")
    inner_product: Literal["euclidean", "l2"] = "euclidean"


class Controls(Struct, frozen=True, forbid_unknown_fields=True):
    """More about the controls, by their names.

    Attributes:
        knots: times of the forcing in time, which is linear in between.
        scale: TAO sees values over scale: { viscosity = 0.01 }.
        lower: bounds: { viscosity = 1e-4 }.
        upper: likewise.
    """

    knots: tuple[float, ...] = ()
    scale: dict[str, float] = {}
    lower: dict[str, float] = {}
    upper: dict[str, float] = {}


class Truth(Struct, frozen=True, forbid_unknown_fields=True):
    """What `optimize` is to find in a twin experiment.

    Attributes:
        twin: true makes the observations from this truth.
        kind: initial fields, as in [initial].
        center: as in [initial].
        width: as in [initial].
        amplitude: as in [initial].
        path: as in [initial].
        viscosity: where that is a control.
        bump_center: (x, y) of Gaussian bumps.
        bump_width: (x, y) of Gaussian bumps; each > 0.
        viscosity_bump: height of that of the control viscosity_field.
        forcing_bump: heights, (u, v), of that of the forcing.
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


class Checkpointing(Struct, frozen=True, forbid_unknown_fields=True):
    """The schedule of the reverse sweep.

    Attributes:
        schedule: "binomial": the least recomputation; "store_all": none, all kept; "periodic";
            "online": the end is found on the way; "multistage", "two_level": memory and disk;
            "checkpoint_schedules:CLASS"; "auto": the fastest schedule and store, by a short
            measurement.
        snapshots: that may be alive at once, the one of the initial state included; "as many as
            fit" into snapshots.memory, or half of the free memory, as the codec leaves them.
        snapshots_on_disk: beside those in memory, of "multistage" and "two_level"; in memory, too,
            where that is the store: these alone are encoded.
        period: of "periodic"; the shortest one for the snapshots when it is not given; for example
            50.
        arguments: of the CLASS: { snapshots_in_ram = 3 }.
    """

    schedule: str = "binomial"
    snapshots: Count | Literal["as many as fit"] = 30
    snapshots_on_disk: Annotated[int, Meta(ge=0, le=2**53)] = 0
    period: Count | None = None
    arguments: dict[str, str | int | float | bool] = {}


class Snapshots(Struct, frozen=True, forbid_unknown_fields=True):
    """Where snapshots live, and how much memory they may take.

    Attributes:
        store: "memory"; "hdf5": a file per rank; "hdf5_shared": one file of all; "tiered": memory,
            then, of states on a device, the host's, then a file per rank; "pinned": of states on a
            device, in the host's memory.
        driver: of hdf5_shared: "direct" moves bytes past HDF5; "mpio" is HDF5's own, for an h5py
            with MPI; "auto": the faster one, by a trial.
        alignment: of snapshots in the file of hdf5_shared, such as the stripe of Lustre: "1 MiB".
        directory: of the files; the output folder when empty.
        asynchronous: a thread writes behind and fetches ahead; not given, where cores are idle, and
            not for hdf5_shared; for example true.
        buffers: between the model and the disk.
        keep: whether the files stay after the run.
        memory: per rank at most, or a share of what is free on a node, such as 0.5; of a device,
            where it has the states; for example "2 GiB".
        host_memory: page-locked, for states of a device, in the same way; of "tiered" half of what
            is free unless given, and 0 for none; for example "20 GiB".
        codec: encodes snapshots: "float32" halves them; "lossless" keeps all bits; "quantised", in
            little time, and "bounded", in few bytes, keep errors within tolerance; "learned" is
            what `train` makes.
        tolerance: largest error of a point in a snapshot, of "quantised" and "bounded" and, if set,
            of "learned"; for example 1e-6.
        tolerance_kind: "relative": a share of the field's largest magnitude in the snapshot.
        gradient_error: finds the tolerance for a gradient with this relative error; for example
            1e-6.
        learned: file of the codec "learned", which `train` makes: "codec.h5".
    """

    store: str = "memory"
    driver: Literal["direct", "mpio", "auto"] = "direct"
    alignment: str = "4 KiB"
    directory: str = ""
    asynchronous: bool | None = None
    buffers: Annotated[int, Meta(ge=2, le=1024)] = 8
    keep: bool = False
    memory: str | float | None = None
    host_memory: str | float | None = None
    codec: Text = "none"
    tolerance: Positive | None = None
    tolerance_kind: Literal["relative", "absolute"] = "relative"
    gradient_error: Positive | None = None
    learned: str = ""


class Restart(Struct, frozen=True, forbid_unknown_fields=True):
    """Durable data from which an interrupted run goes on.

    Attributes:
        enabled: true keeps such data on the disk.
        directory: of that data; empty: restart in the output folder.
        overhead: share of the time that saving may cost.
        mtbf: mean time between failures [s]; sets the interval in place of overhead; for example
            86400.0.
        keep: generations.
        walltime: stop, with everything saved, before so many seconds are over; for example 3600.0.
    """

    enabled: bool = False
    directory: str = ""
    overhead: Annotated[float, Meta(gt=0, le=1)] = 0.035
    mtbf: Positive | None = None
    keep: Annotated[int, Meta(ge=2, le=100)] = 2
    walltime: Positive | None = None


class Parallel(Struct, frozen=True, forbid_unknown_fields=True):
    """How the grid is cut and halos are exchanged.

    Attributes:
        process_grid: (py, px) ranks; chosen from the number of ranks when not given; for example
            [2, 3].
        steps_per_exchange: steps that share an exchange of halos; chosen from the tile when not
            given; for example 8.
        overlap: advance the interior while the halo is under way: ranks of whole rows.
        device: where the steps are taken: cpu, or cuda, an NVIDIA card for each rank or for some.
        messages: of cards to other ranks: auto, by MPI from memory of the card where a trial at the
            start shows that it works, else staged, through the host's.
    """

    process_grid: tuple[Count, Count] | None = None
    steps_per_exchange: Annotated[int, Meta(ge=1, le=1024)] | None = None
    overlap: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    messages: Literal["auto", "staged"] = "auto"


class Output(Struct, frozen=True, forbid_unknown_fields=True):
    """What a run leaves.

    Attributes:
        directory: of config.toml, results.h5 and the pictures.
        every: k: fields of every k-th step go to dumps/, of gradient and forward; 0: none.
        plots: gradient.png and others, where matplotlib is installed.
        preview: seconds between two pictures of the fields for `watch`, or more where a picture
            takes long; 0: nothing to watch.
    """

    directory: Text = "output"
    every: Annotated[int, Meta(ge=0, le=2**53)] = 0
    plots: bool = True
    preview: Annotated[float, Meta(ge=0, le=1e9)] = 5.0


class Check(Struct, frozen=True, forbid_unknown_fields=True):
    """How `check` tests the gradient.

    Attributes:
        seed: of the random directions and points.
        points: grid points that are checked by finite differences.
        second_order: test products with the Hessian, too.
    """

    seed: Seed = 0
    points: Annotated[int, Meta(ge=1, le=1000)] = 3
    second_order: bool = False


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
    uncertainty: Uncertainty = Uncertainty()
    hessian: Hessian = Hessian()
    tao: Tao = Tao()
    petsc: Petsc = Petsc()
    checkpointing: Checkpointing = Checkpointing()
    snapshots: Snapshots = Snapshots()
    train: Train = Train()
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

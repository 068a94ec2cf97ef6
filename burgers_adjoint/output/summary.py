"""The summary of a run: values with names and types, written as JSON; tables.py prints them."""

from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

from burgers_adjoint.config import Config

# M. Schanen's Burgers.jl, commit a4a5b0b, test/runtests.jl.
PUBLISHED_ENERGY = 0.08426001732938161
PUBLISHED_POINTWISE_SQUARE_NORM = 1.3020729832060115e-6
EXACT_POINTWISE_SQUARE_NORM = 1.3020741709303739e-6

Seconds: TypeAlias = dict[str, float]  # by what they were spent on, the most of all ranks [s]


class Scheduled(Struct):
    """A schedule, and what came of it; a search has no more than the first four."""

    name: str
    snapshots: int | None
    forward_steps: int
    snapshots_written: int
    snapshots_on_disk: int | UnsetType = UNSET
    predicted_forward_steps: int | UnsetType | None = UNSET
    kept_steps: int | UnsetType = UNSET
    store: str | UnsetType = UNSET
    damaged: int | UnsetType = UNSET
    recomputed_steps: int | UnsetType = UNSET
    damages: list[str] | UnsetType = UNSET


class Dumped(Struct):
    """Files of fields on the way; `lost` are those that this job could not write."""

    files: int
    seconds: float
    lost: int = 0


class Planned(Struct, kw_only=True):
    """What was measured and predicted: `options` are those of `planning.plan.Plan.rows`."""

    memory_slots: int
    disk_slots: int
    costs: dict[str, Any]
    options: list[dict[str, Any]]


class PlanOutcome(Planned, kw_only=True):
    """A plan beside what the run took."""

    predicted_seconds: float
    actual_seconds: float


class Compressed(Struct, kw_only=True):
    """What a codec made of the snapshots of all ranks, those written anew counted again.

    `instead` says which steps were stored losslessly instead, and why; `memory_bytes` is the most
    that encoded snapshots took in memory, of the rank that has most; `gradient_error` estimates the
    gradient's relative error, None where nobody could; `encode`, `decode` and `estimate` are the
    seconds of the slowest rank for these.
    """

    codec: str
    lossless: bool
    error_bound: str
    tolerance: float | None
    ratio: float
    snapshots: int
    raw_bytes: int
    packed_bytes: int
    memory_bytes: int
    instead: list[str]
    encode: float
    decode: float
    estimate: float
    gradient_error: float | None


class Compared(Struct):
    """A published value beside ours."""

    quantity: str
    published: float
    ours: float
    relative_difference: float
    note: str


class Restarted(Struct, kw_only=True):
    """What interruptions and saving have cost; see `restart.keeper.Keeper.report`."""

    resumed: int
    lost_steps: int
    repeated_steps: int | None
    seconds_of_all_jobs: Seconds
    resume_seconds: float
    saves: int
    seconds: float
    overhead: float
    predicted_overhead: float
    interval: float | None
    bytes: int


class Optimized(Struct, kw_only=True):
    """A search: what it took, and by iteration J, its parts and the norm of the gradient."""

    iterations: int
    evaluations: int
    products: int = 0
    failed_trials: int
    converged: bool
    reason: str
    tao_share: float
    objective: list[float | None]
    parts: list[dict[str, float | None]]
    gradient_norm: list[float | None]
    chi_square: float | None
    control_error: dict[str, dict[str, float]]


class Check(Struct):
    """One test of `check`."""

    name: str
    value: float | str
    passed: bool
    limit: float | str
    text: str


class Placed(Struct):
    """The device of rank 0, and how messages go to others: "direct", "staged" or "none"."""

    name: str
    messages: str


class RunSummary(Struct, kw_only=True):
    """What forward, gradient and optimize found and took, the same on all ranks."""

    objective: float
    gradient_norm: dict[str, float]
    digest: str
    ranks: int
    process_grid: tuple[int, int]
    device: Placed | UnsetType = UNSET
    steps: int
    time: float
    seconds: Seconds
    peak_rss_bytes: int
    checks: list[Check] = []
    schedule: Scheduled | None = None
    snapshot_bytes: int = 0
    compression: Compressed | UnsetType = UNSET
    product_norms: list[dict[str, float]] | UnsetType = UNSET
    dumps: Dumped | UnsetType = UNSET
    plan: PlanOutcome | UnsetType = UNSET
    published: list[Compared] | UnsetType = UNSET
    restart: Restarted | UnsetType = UNSET
    optimize: Optimized | UnsetType = UNSET


class Lossy(Struct, kw_only=True):
    """A gradient from snapshots of a codec beside the one from snapshots as they are.

    Errors are relative, that of the gradient the largest of its controls'; `memory_bytes` are those
    of the snapshots, on the rank that has most; `tolerance` is None where the codec has none.
    """

    codec: str
    tolerance: float | None
    gradient_error: float
    objective_error: float
    ratio: float
    memory_bytes: int
    seconds: float


class CheckSummary(Struct, kw_only=True):
    """What `check` found; `left_out` says what could not be tried here, and why.

    `lossy` compares gradients from lossy snapshots with the exact one, which comes first.
    """

    checks: list[Check]
    left_out: list[str]
    objective: float
    digest: str
    seed: int
    ranks: int
    steps: int
    lossy: list[Lossy] = []

    @property
    def passed(self) -> bool:
        """Whether all tests passed."""
        return all(check.passed for check in self.checks)


class Deviations(Struct):
    """Standard deviations before and after observations: roots of the mean variance."""

    prior: float
    posterior: float


class Predicted(Deviations):
    """A number that the controls lead to, and its standard deviations to first order."""

    value: float


class UncertaintySummary(Struct, kw_only=True):
    """What observations say of controls; information in nats, see `inverse.posterior`.

    largest_residual is a share of 1 + the largest eigenvalue, informed the number of those above 1.
    """

    objective: float
    converged: bool
    controls: int
    eigenvalues: list[float]
    largest_residual: float
    informed: int
    degrees_of_freedom: float
    information_gain: float
    log_determinants: float
    deviation: dict[str, Deviations]
    predicted: dict[str, Predicted] = {}
    products: int
    digest: str
    ranks: int
    steps: int
    seconds: Seconds


class Trained(Struct):
    """How well a codec does on a run that it was not trained on.

    error is the mean relative Euclidean error of its states, largest the largest error of a point
    as a share of the largest magnitude in its state.
    """

    error: float
    largest: float


class TrainSummary(Struct, kw_only=True):
    """What was trained, and what it took.

    bytes are of a patch's code; kept is the kind in the file, kinds are those that were tried.
    """

    path: str
    kept: str
    kinds: dict[str, Trained]
    patch: int
    ratio: float
    bytes: int
    samples: int
    without: str
    losses: list[float]
    ranks: int
    seconds: Seconds


class PlanSummary(Planned, kw_only=True):
    """What schedules and stores would take."""

    steps: int
    ranks: int
    configured: str
    disk_left_out: str
    seconds: Seconds

    @property
    def places(self) -> dict[str, str]:
        """Where slots are, by their keys in options; the host has some of a device's states."""
        found = {"snapshots": "in memory", "snapshots_on_disk": "on disk"}
        if any("snapshots_on_host" in option for option in self.options):
            found = {"snapshots": "in memory", "snapshots_on_host": "on the host", **found}
        return found


class InsideSummary(Struct, kw_only=True):
    """What keeping more of a step would spare, what was tried, and what is best of it."""

    steps: int
    ranks: int
    budget: int
    sites: list[dict[str, Any]]
    tried: list[dict[str, Any]]
    chosen: dict[str, Any]


def published_comparison(
    config: Config, objective: float, pointwise_square_norm: float | None
) -> list[Compared]:
    """Published values of Burgers.jl beside ours, when the configuration is its problem.

    Args:
        config: of the run; how the gradient is computed and on how many ranks does not matter.
        objective: final energy.
        pointwise_square_norm: Euclidean norm over all points of the field
            (dJ/du0)^2 + (dJ/dv0)^2, Euclidean gradients; None when there is no such gradient.

    Returns:
        A comparison for each quantity; none for every other problem.
    """
    default = Config()
    same_time = msgspec.structs.replace(config.time, allow_unstable=default.time.allow_unstable)
    ours = (config.grid, config.physics, config.initial, same_time, config.objective)
    if ours != (default.grid, default.physics, default.initial, default.time, default.objective):
        return []
    rows = [_compared("final energy", PUBLISHED_ENERGY, objective, "")]
    if pointwise_square_norm is not None:
        note = (
            "Burgers.jl linearises its last step one step late; the exact gradient gives "
            f"{EXACT_POINTWISE_SQUARE_NORM!r}"
        )
        rows.append(
            _compared(
                "norm of (dJ/du0)^2 + (dJ/dv0)^2",
                PUBLISHED_POINTWISE_SQUARE_NORM,
                pointwise_square_norm,
                note,
            )
        )
    return rows


def to_json(summary: Any) -> str:
    """JSON text of a summary; numbers that are not finite become null, as JSON has none."""
    return msgspec.json.format(to_line(summary), indent=2) + "\n"


def to_line(summary: Any) -> str:
    """The same text in one line."""
    return msgspec.json.encode(summary, enc_hook=_plain).decode()


def to_mapping(summary: Any) -> Any:
    """A summary as mappings, lists and plain numbers."""
    return msgspec.to_builtins(summary, enc_hook=_plain)


def summary_of(found: Any) -> RunSummary:
    """The summary of a run from what `to_mapping` has made of one.

    Raises:
        msgspec.ValidationError: it is of another kind, or of another version of this package.
    """
    return msgspec.convert(found, RunSummary)


def _plain(value: Any) -> Any:
    """A number of NumPy's as one of Python's."""
    return value.item()


def _compared(quantity: str, published: float, ours: float, note: str) -> Compared:
    apart = abs(float(ours) - published) / abs(published)
    return Compared(quantity, published, float(ours), apart, note)

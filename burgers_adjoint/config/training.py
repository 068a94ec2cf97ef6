"""How a codec of snapshots is trained."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from burgers_adjoint.config.values import Count, Seed


class Train(Struct, frozen=True, forbid_unknown_fields=True):
    """How `train` makes the file of snapshots.learned.

    Attributes:
        kind: "linear": principal components; "network": layers that correct them, by PyTorch;
            "best": the one with the smaller error on a run that neither was trained on.
        patch: points along each side of what is encoded at once.
        ratio: bytes of a patch over bytes of its code.
        runs: to learn from, each with other initial fields; one more tells the errors.
        states: of each run.
        perturbation: of the initial fields, as a share of them.
        coarsening: grids of the runs, in turn: the configured one, or every second point of it.
        samples: patches in all.
        hidden: sizes of the encoder's hidden layers; the decoder has them the other way round.
        epochs: passes over the samples.
        seed: of runs, samples and weights.
    """

    kind: Literal["best", "linear", "network"] = "best"
    patch: Annotated[int, Meta(ge=2, le=64)] = 16
    ratio: Annotated[float, Meta(ge=8, le=4096)] = 64.0
    runs: Annotated[int, Meta(ge=1, le=1000)] = 6
    states: Annotated[int, Meta(ge=2, le=1000)] = 20
    perturbation: Annotated[float, Meta(ge=0, lt=1)] = 0.3
    coarsening: Annotated[tuple[Count, ...], Meta(min_length=1)] = (1, 2)
    samples: Annotated[int, Meta(ge=256, le=10_000_000)] = 40_000
    hidden: Annotated[tuple[Annotated[int, Meta(ge=1, le=4096)], ...], Meta(min_length=1)] = (64,)
    epochs: Annotated[int, Meta(ge=1, le=10_000)] = 20
    seed: Seed = 0

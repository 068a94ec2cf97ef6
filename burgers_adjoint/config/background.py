"""What is known of controls before any observation, and what is to be told of them after."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from burgers_adjoint.config.values import Count, Positive, Seed, Text


class Matern(Struct, frozen=True, forbid_unknown_fields=True):
    """The covariance of a smooth random field.

    Attributes:
        kind: of covariance.
        length: of the correlation: points so far apart have one of 0.14.
        deviation: standard deviation from the prior.
    """

    kind: Literal["matern"]
    length: Positive
    deviation: Positive


class Background(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of controls beforehand, by their names; added to the objective.

    Attributes:
        deviation: J has 1/2 sum ((m - prior) / deviation)^2: { initial = 0.5 }; the prior is what
            the configuration describes.
        smoothness: J has smoothness / 2 sum (difference of neighbours in m - prior)^2.
        initial: J has 1/2 (m - prior)' C^-1 (m - prior), C the covariance of a smooth random field
            whose points so far apart as the length correlate by 0.14; for example { kind =
            "matern", length = 1.0, deviation = 0.5 }.
        viscosity_field: likewise; for example { kind = "matern", length = 1.0, deviation = 0.01 }.
        forcing: likewise; for example { kind = "matern", length = 1.0, deviation = 0.1 }.
        forcing_in_time: likewise, each knot for itself; for example { kind = "matern", length =
            1.0, deviation = 0.1 }.
        informed: uncertainty.h5 of an earlier `uncertainty`: the directions in it that observations
            determine are left out of the term.
        informed_above: which directions these are: those of larger eigenvalues.
    """

    deviation: dict[str, float] = {}
    smoothness: dict[str, float] = {}
    initial: Matern | None = None
    viscosity_field: Matern | None = None
    forcing: Matern | None = None
    forcing_in_time: Matern | None = None
    informed: str = ""
    informed_above: Annotated[float, Meta(gt=0)] = 1.0

    @property
    def covariances(self) -> dict[str, Matern]:
        """Of the controls that have one, by name."""
        names = ("initial", "viscosity_field", "forcing", "forcing_in_time")
        found = {name: getattr(self, name) for name in names}
        return {name: one for name, one in found.items() if one is not None}


class Uncertainty(Struct, frozen=True, forbid_unknown_fields=True):
    """How `uncertainty` tells how well the observations determine the controls.

    Attributes:
        eigenpairs: directions of the controls, those that the observations determine best.
        oversampling: more directions that the iteration carries along.
        passes: of the iteration, each a product with every direction.
        batch: directions that go through a forward and a reverse sweep together.
        samples: of the controls, drawn after the observations.
        seed: of the samples and of the directions at the start.
        predict: terms of an objective of which to tell how far the controls leave them open, at the
            end of the run: ["final_energy"].
        final_state_samples: of the controls, before and after the observations, whose tangents at
            the end of the run estimate the standard deviation of the final state; 0 for none.
    """

    eigenpairs: Count = 32
    oversampling: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 8
    passes: Annotated[int, Meta(ge=2, le=100)] = 3
    batch: Count = 4
    samples: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 4
    seed: Seed = 0
    predict: tuple[Text, ...] = ()
    final_state_samples: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class Hessian(Struct, frozen=True, forbid_unknown_fields=True):
    """What `hessian` multiplies.

    Attributes:
        kind: of the second derivative of J: the whole, or the part without the curvature of steps.
        directions: HDF5 file with directions as /directions/0000/NAME and so on, a value for each
            control; random ones when empty.
        group: in that file; an uncertainty.h5 has some in "modes".
        count: of random directions.
        seed: of these.
        keep_states: whether Gauss-Newton products of a search or a program keep the snapshots of
            states for the next ones at the same point: true, false; "auto": where they take no more
            memory than the schedule has snapshots for, or than snapshots.memory gives. The command
            `hessian` takes its products at once, and keeps none.
    """

    kind: Literal["full", "gauss_newton"] = "full"
    directions: str = ""
    group: Text = "directions"
    count: Count = 1
    seed: Seed = 0
    keep_states: Literal["auto"] | bool = "auto"

"""What is known of controls after the observations, close to the most probable ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from burgers_adjoint.equations.burgers.controls import Control, as_value
from burgers_adjoint.inverse.covariance import Covariance
from burgers_adjoint.inverse.eigenpairs import Eigenpairs, combined, dots
from burgers_adjoint.inverse.vector import ControlVector, Values
from burgers_adjoint.parallel.agreement import Comm, total
from burgers_adjoint.parallel.reductions import global_indices, normal_numbers


class Whitening:
    """Departures of controls from the prior as vectors w of what is independent, of variance 1.

    They are B^(1/2) w, with the covariance B of all controls. Vectors are (n, size) of this rank;
    all methods are collective.

    Args:
        comm: the ranks.
        controls: by name.
        covariances: of each.

    Attributes:
        n_values: that all controls have, on all ranks.
    """

    def __init__(
        self, comm: Comm, controls: Mapping[str, Control], covariances: Mapping[str, Covariance]
    ) -> None:
        self.comm = comm
        self.controls, self.covariances = dict(controls), dict(covariances)
        unscaled = {name: replace(control, scale=1.0) for name, control in controls.items()}
        self._vector = ControlVector(comm, unscaled)
        self.n_values = int(total(comm, self._vector.size))

    def departures(self, vectors: np.ndarray) -> list[Values]:
        """B^(1/2) times vectors."""
        return self._rooted([self._vector.values(one) for one in vectors])

    def pulled_back(self, gradients: Sequence[Values]) -> np.ndarray:
        """B^(1/2) times derivatives by the controls: derivatives by the vectors."""
        found = np.zeros((len(gradients), self._vector.size))
        for values, out in zip(self._rooted(gradients), found, strict=True):
            self._vector.put_values(values, out)
        return found

    def _rooted(self, given: Sequence[Values]) -> list[Values]:
        if not given:
            return []
        rooted = {
            name: np.asarray(covariance.applied(np.stack([one[name] for one in given]), 0.5))
            for name, covariance in self.covariances.items()
        }
        return [
            {name: as_value(part[n]) for name, part in rooted.items()} for n in range(len(given))
        ]

    def noise(self, seed: int, count: int) -> np.ndarray:
        """Normal random vectors, the same at each point whoever owns it."""
        shapes = [control.shape for control in self.controls.values()]
        n_fields = [math.prod(shape[:-2]) for shape in shapes]
        found = np.zeros((count, self._vector.size))
        for number, out in enumerate(found):
            field = number * sum(n_fields)
            values: Values = {}
            for (name, control), n in zip(self.controls.items(), n_fields, strict=True):
                if control.shape:
                    keys = [global_indices(control.decomposition, field + one) for one in range(n)]
                    numbers = normal_numbers(np.stack(keys), seed)
                    values[name] = numbers.reshape(control.shape)
                else:  # that of the first point of a field of its own
                    n_y, n_x = control.decomposition.shape
                    key = np.array([field * n_y * n_x], dtype=np.uint64)
                    values[name] = float(normal_numbers(key, seed)[0])
                field += n
            self._vector.put_values(values, out)
        return found


@dataclass(frozen=True)
class Posterior:
    """The normal distribution of controls of the covariance B - V diag(l / (1 + l)) V'.

    B is the prior's, l and V solve H V = B^-1 V diag(l) for what the observations say, H, the
    Gauss-Newton part of their misfit at the most probable controls (Bui-Thanh, Ghattas, Martin and
    Stadler 2013). All methods are collective.

    Attributes:
        whitening: of the controls; V is B^(1/2) times the eigenvectors.
        pairs: of B^(1/2) H B^(1/2), values nowhere negative.
    """

    whitening: Whitening
    pairs: Eigenpairs

    @property
    def _reductions(self) -> np.ndarray:
        """By which share the variance along each eigenvector falls, (n,)."""
        return self.pairs.values / (1.0 + self.pairs.values)

    def modes(self) -> list[Values]:
        """V: what the observations say most of first, each of variance 1 before them."""
        return self.whitening.departures(self.pairs.vectors)

    def deviations(self, modes: Sequence[Values]) -> tuple[Values, Values]:
        """Standard deviations of all values before and after the observations."""
        before: Values = {}
        after: Values = {}
        for name, control in self.whitening.controls.items():
            variance = np.asarray(self.whitening.covariances[name].variance())
            left = np.broadcast_to(variance, control.shape).copy()
            for share, mode in zip(self._reductions, modes, strict=True):
                left -= share * np.square(mode[name])
            found = np.sqrt(np.broadcast_to(variance, control.shape)), np.sqrt(np.maximum(left, 0))
            before[name], after[name] = map(as_value, found)
        return before, after

    def samples(self, seed: int, count: int) -> list[Values]:
        """Random departures from the most probable controls."""
        return self.whitening.departures(self.narrowed(self.whitening.noise(seed, count)))

    def narrowed(self, vectors: np.ndarray) -> np.ndarray:
        """Whitened departures after the observations, of those before them."""
        shares = 1.0 - 1.0 / np.sqrt(1.0 + self.pairs.values)
        along = dots(self.whitening.comm, vectors, self.pairs.vectors)
        return vectors - combined(along * shares, self.pairs.vectors)

    def spread(self, gradient: Values) -> tuple[float, float]:
        """Standard deviations, before and after the observations, of what has this gradient.

        To first order: those of a number that is linear in the controls.
        """
        comm, pulled = self.whitening.comm, self.whitening.pulled_back([gradient])
        before = float(dots(comm, pulled, pulled)[0, 0])
        along = dots(comm, pulled, self.pairs.vectors)[0]
        after = before - math.fsum(self._reductions * np.square(along))
        return math.sqrt(before), math.sqrt(max(after, 0.0))

    @property
    def n_informed(self) -> int:
        """Directions of which the observations say more than the prior."""
        return int(np.count_nonzero(self.pairs.values > 1.0))

    @property
    def degrees_of_freedom(self) -> float:
        """Numbers that the observations determine: the sum of l / (1 + l)."""
        return math.fsum(self._reductions)

    @property
    def log_determinants(self) -> float:
        """Half the logarithm of det B over that of the posterior's covariance.

        The information that the observations are expected to bring (in nats).
        """
        return 0.5 * math.fsum(math.log1p(value) for value in self.pairs.values)

    def information_gain(self, background: float) -> float:
        """The Kullback-Leibler divergence of the posterior from the prior (in nats).

        background is 1/2 (m - prior)' B^-1 (m - prior) at the most probable controls m.
        """
        return self.log_determinants - 0.5 * self.degrees_of_freedom + background

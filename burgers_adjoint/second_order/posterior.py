"""What the observations of a case say of its controls: the posterior at its inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.config.background import Uncertainty
from burgers_adjoint.errors import ConfigError, NumericalError, agreed_error
from burgers_adjoint.inverse.eigenpairs import Eigenpairs, leading
from burgers_adjoint.inverse.posterior import Posterior, Whitening
from burgers_adjoint.second_order.products import SecondOrder

AFTER_OTHERS = 2  # the seed itself is of the start, the next one of the samples
ROUND_OFF = 1e-10  # of the largest eigenvalue, and of the prior's 1


class PosteriorSearch:
    """Finds the posterior of a case, in a batch of directions at a time. Collective.

    Args:
        case: with a misfit.
        section: how.

    Attributes:
        n_products: with a direction, that were asked for.
        most_products: that can be asked for.

    Raises:
        ConfigError: on all ranks: a control has no covariance, there are fewer values of controls
            than eigenpairs are asked for, or a batch does not fit the memory.
    """

    def __init__(self, case: Case, section: Uncertainty) -> None:
        self._case, self._section = case, section
        self.whitening = Whitening(case.comm, case.controls, case.prior.covariances())
        n_values = self.whitening.n_values
        if section.eigenpairs > n_values:
            raise agreed_error(
                ConfigError(
                    f"uncertainty.eigenpairs = {section.eigenpairs}: expected at most {n_values}, "
                    f"as many values as {', '.join(case.controls)} have"
                )
            )
        self._n_vectors = min(section.eigenpairs + section.oversampling, n_values)
        self._batch = min(section.batch, self._n_vectors)
        self.n_products, self.most_products = 0, self._n_vectors * section.passes
        self._second = SecondOrder(case, self._batch, full=False)
        try:
            self._second.require_room()
        except ConfigError as error:
            shown = f"uncertainty.batch = {section.batch}: {error}"
            raise agreed_error(ConfigError(shown)) from None

    def close(self) -> None:
        """Release the model and the store of the products."""
        self._second.close()

    def found(self, update: Callable[[int], None]) -> Posterior:
        """The posterior at the case's inputs; `update` is told how many products are done.

        Raises:
            NumericalError: on all ranks: a state is not finite, or J curves downwards.
        """
        section, whitening = self._section, self.whitening

        def product(vectors: np.ndarray) -> np.ndarray:
            images = np.zeros_like(vectors)
            for first in range(0, len(vectors), self._batch):
                part = slice(first, first + self._batch)
                images[part] = self._product(vectors[part])
                update(self.n_products)
            return images

        start = whitening.noise(section.seed, self._n_vectors)
        pairs = leading(whitening.comm, product, start, section.eigenpairs, section.passes)
        return Posterior(whitening, _nowhere_negative(pairs))

    def final_state_spread(
        self, posterior: Posterior, update: Callable[[int], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations of the final state before and after the observations.

        To first order: roots of the mean squares of tangents along random departures of the
        controls, the same ones before and after. Each, of n of them, is right to 1 / sqrt(2 n).

        Args:
            posterior: of the controls.
            update: is told how many tangents are done.

        Returns:
            Both, (2, ny, nx) of the tile.

        Raises:
            NumericalError: on all ranks: a state is not finite.
        """
        section, whitening = self._section, self.whitening
        count, squares, done = section.final_state_samples, [], 0
        for after in (False, True):
            total = np.zeros_like(self._case.fields)
            for first in range(0, count, self._batch):
                numbers = range(first, min(first + self._batch, count))
                # each has a seed of its own, so that batches make no difference
                first_seed = section.seed + AFTER_OTHERS
                vectors = [whitening.noise(first_seed + number, 1) for number in numbers]
                drawn = [posterior.narrowed(one) if after else one for one in vectors]
                departures = whitening.departures(np.concatenate(drawn))
                for tangent in self._second.tangents(departures):
                    total += np.square(tangent)
                done += len(departures)
                update(done)
            squares.append(total / count)
        prior, posterior_squares = squares
        return np.sqrt(prior), np.sqrt(posterior_squares)

    def _product(self, vectors: np.ndarray) -> np.ndarray:
        """B^(1/2) H B^(1/2) times vectors, at most as many as a batch has."""
        self.n_products += len(vectors)
        directions = self.whitening.departures(vectors)
        products = self._second.of(directions, prior=False).products
        return self.whitening.pulled_back(products)


def _nowhere_negative(pairs: Eigenpairs) -> Eigenpairs:
    """The same pairs, without the round-off of those of zero.

    Raises:
        NumericalError: on all ranks: a value is below zero by more.
    """
    values = pairs.values
    largest = max(1.0, *values) if len(values) else 1.0
    if len(values) and values[-1] < -ROUND_OFF * largest:
        raise agreed_error(
            NumericalError(
                f"the objective curves downwards in a direction of the controls (eigenvalue "
                f"{values[-1]:.3g}), where there is no posterior: expected objective.weights > 0"
            )
        )
    return Eigenpairs(np.maximum(values, 0.0), pairs.vectors, pairs.residuals)

"""Covariances of controls before any observation: products with them, their roots and inverses."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.parallel.agreement import largest_each, total
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.whole_fields import gather, scatter

Value = np.ndarray | float
# How a field goes on beyond its points: it repeats itself, is mirrored (no flux through the edge),
# or is mirrored with the opposite sign (zero at the next point).
Beyond = Literal["repeated", "mirrored", "zero"]
# The Matern correlation of smoothness 1 has fallen to 0.14 at sqrt(8) / kappa (Lindgren et al.).
RANGE = np.sqrt(8.0)


class Covariance(Protocol):
    """A covariance B of one control. All methods are collective."""

    def applied(self, values: Value, power: float) -> Value:
        """B^power times values laid out like the control's; power is 1, 1/2, -1/2 or -1."""

    def variance(self) -> Value:
        """The diagonal of B: (ny, nx) of the tile, or a number."""

    def observed(self, precision: float) -> Covariance:
        """(B^-1 + precision)^-1: what is left once each value is observed, with 1 / variance."""


@dataclass(frozen=True)
class Independent:
    """Values that know nothing of each other.

    Attributes:
        deviation: standard deviation of each.
        points: (ny, nx), which of the tile's points have one; None for all, or for a number.
    """

    deviation: float
    points: np.ndarray | None = None

    def applied(self, values: Value, power: float) -> Value:
        scaled = values * self.deviation ** (2.0 * power)
        return scaled if self.points is None else np.where(self.points, scaled, 0.0)

    def variance(self) -> Value:
        square = self.deviation**2
        return square if self.points is None else np.where(self.points, square, 0.0)

    def observed(self, precision: float) -> Independent:
        return Independent((self.deviation**-2 + precision) ** -0.5, self.points)


class Spectral:
    """A covariance that is a function of the Laplacian on a rectangle of the grid's points.

    The Laplacian of five points is diagonal in the Fourier basis of the field as it goes on beyond
    its points, so that each power of the covariance is exact to round-off: the cosine basis of a
    mirrored field, the sine basis of one that is zero there.

    Each product gathers the field on rank 0, transforms it there, and scatters the result: the same
    bits on any number of ranks, for the price of the messages and of a transform on one core.

    Args:
        decomposition: of the fields.
        rectangle: rows and columns of the domain; zero elsewhere.
        beyond: how fields go on.
        of_laplacian: eigenvalues of the covariance from those of -Laplacian along y, (my, 1), and
            along x, (mx,), both times the squared distance of the points.
    """

    def __init__(
        self,
        decomposition: Decomposition,
        rectangle: tuple[slice, slice],
        beyond: Beyond,
        of_laplacian: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> None:
        self._decomposition, self._rectangle, self._beyond = decomposition, rectangle, beyond
        self._shape = tuple(
            len(range(n)[part]) for n, part in zip(decomposition.shape, rectangle, strict=True)
        )
        self._eigenvalues = np.empty(0)  # on rank 0 alone
        with agreed(decomposition.comm):
            if decomposition.rank == 0:
                # numbers of points until the field repeats itself
                n_y, n_x = self._periods = [
                    {"repeated": n, "mirrored": 2 * n, "zero": 2 * n + 2}[beyond]
                    for n in self._shape
                ]
                along_y, along_x = np.arange(n_y)[:, None], np.arange(n_x // 2 + 1)
                self._eigenvalues = of_laplacian(
                    4.0 * np.sin(np.pi * along_y / n_y) ** 2,
                    4.0 * np.sin(np.pi * along_x / n_x) ** 2,
                )

    def scale_to(self, deviation: float) -> None:
        """Multiply the covariance so that the middle of the rectangle has this deviation.

        There it is that of the whole interior. Towards an edge that mirrors, as far as correlations
        reach, the variance grows up to twice that, in a corner to four times.
        """
        with agreed(self._decomposition.comm):
            if self._decomposition.rank == 0:
                middle = self._diagonal()[self._shape[0] // 2, self._shape[1] // 2]
                self._eigenvalues = self._eigenvalues * (deviation**2 / middle)

    def applied(self, values: Value, power: float) -> Value:
        whole = gather(self._decomposition, np.asarray(values))
        with agreed(self._decomposition.comm):
            if whole is not None:
                factors = self._eigenvalues**power
                for place in np.ndindex(whole.shape[:-2]):
                    field = whole[place][self._rectangle]
                    transformed = np.fft.rfft2(self._extended(field)) * factors
                    product = np.fft.irfft2(transformed, self._periods)[self._own]
                    whole[place] = 0.0
                    whole[place][self._rectangle] = product
        return scatter(self._decomposition, whole)

    def variance(self) -> Value:
        whole = None
        with agreed(self._decomposition.comm):
            if self._decomposition.rank == 0:
                whole = np.zeros(self._decomposition.shape)
                whole[self._rectangle] = self._diagonal()
        return scatter(self._decomposition, whole)

    def observed(self, precision: float) -> Spectral:
        found = copy(self)
        with np.errstate(divide="ignore"):  # nothing may be known of some modes
            found._eigenvalues = 1.0 / (1.0 / self._eigenvalues + precision)
        return found

    @property
    def _own(self) -> tuple[slice, slice]:
        """Where the field lies in its extension."""
        first = int(self._beyond == "zero")
        return slice(first, first + self._shape[0]), slice(first, first + self._shape[1])

    def _extended(self, field: np.ndarray) -> np.ndarray:
        """A field with all that comes before it repeats itself."""
        if self._beyond == "repeated":
            return field
        if self._beyond == "mirrored":
            field = np.concatenate([field, field[::-1]])
            return np.concatenate([field, field[:, ::-1]], axis=1)
        found = np.zeros(self._periods)
        n_y, n_x = self._shape
        found[1 : n_y + 1, 1 : n_x + 1] = field
        found[n_y + 2 :, 1 : n_x + 1] = -field[::-1]
        found[:, n_x + 2 :] = -found[:, n_x:0:-1]
        return found

    def _diagonal(self) -> np.ndarray:
        """The kernel at a point from itself, and from its images beyond the edges."""
        kernel = np.fft.irfft2(self._eigenvalues, self._periods)
        if self._beyond == "repeated":
            return np.full(self._shape, kernel[0, 0])
        sign, first = (1.0, 1) if self._beyond == "mirrored" else (-1.0, 2)
        at_y, at_x = (
            (2 * np.arange(n) + first) % period
            for n, period in zip(self._shape, self._periods, strict=True)
        )
        images = kernel[np.ix_(at_y, at_x)]
        return kernel[0, 0] + sign * (kernel[at_y, 0][:, None] + kernel[0, at_x]) + images


def matern(
    decomposition: Decomposition,
    grid: Grid,
    rectangle: tuple[slice, slice],
    length: float,
    deviation: float,
) -> Spectral:
    """The covariance C = tau^2 (kappa^2 - Laplacian)^-2 of a smooth random field. Collective.

    The Matern covariance of smoothness 1 in two dimensions (Lindgren, Rue and Lindstrom 2011), with
    kappa = sqrt(8) / length: points so far apart have a correlation of 0.14. No flux goes through
    the edges of a dirichlet grid.

    Args:
        decomposition, grid: of the fields.
        rectangle: rows and columns of the domain that the control has.
        length: of the correlation [length].
        deviation: standard deviation at the middle of the rectangle; tau is what gives it.
    """
    kappa2 = (RANGE / length) ** 2

    def of_laplacian(along_y: np.ndarray, along_x: np.ndarray) -> np.ndarray:
        return (kappa2 + along_y / grid.dy**2 + along_x / grid.dx**2) ** -2.0

    beyond: Beyond = "repeated" if grid.periodic else "mirrored"
    found = Spectral(decomposition, rectangle, beyond, of_laplacian)
    found.scale_to(deviation)
    return found


def tikhonov(
    decomposition: Decomposition,
    grid: Grid,
    rectangle: tuple[slice, slice],
    deviation: float,
    smoothness: float,
) -> Spectral:
    """The inverse of 1 / deviation^2 + smoothness times the differences' squares. Collective.

    What is not of the rectangle has no departure from the prior, and neighbours there count; where
    it is the whole domain there are none beyond a dirichlet grid.
    """

    def of_laplacian(along_y: np.ndarray, along_x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return 1.0 / (deviation**-2 + smoothness * (along_y + along_x))

    whole = rectangle == tuple(slice(0, n) for n in grid.shape)
    beyond: Beyond = "zero" if not whole else "repeated" if grid.periodic else "mirrored"
    return Spectral(decomposition, rectangle, beyond, of_laplacian)


def rectangle_of(
    decomposition: Decomposition, points: np.ndarray | None, name: str
) -> tuple[slice, slice]:
    """Rows and columns of the domain that a control's own points fill. Collective.

    Args:
        decomposition: of the fields.
        points: (ny, nx), which of the tile's points are its own; None for all.
        name: of the control.

    Raises:
        ConfigError: on all ranks: they fill no rectangle.
    """
    if points is None:
        return slice(0, decomposition.shape[0]), slice(0, decomposition.shape[1])
    comm, there = decomposition.comm, np.argwhere(points)
    there += (decomposition.rows.start, decomposition.columns.start)
    beyond = sum(decomposition.shape)
    first = -largest_each(comm, -there.min(axis=0, initial=beyond))
    last = largest_each(comm, there.max(axis=0, initial=-1))
    if total(comm, len(there)) != np.prod(last + 1 - first):
        raise agreed_error(ConfigError(f"the points of {name} fill no rectangle"))
    return slice(int(first[0]), int(last[0]) + 1), slice(int(first[1]), int(last[1]) + 1)

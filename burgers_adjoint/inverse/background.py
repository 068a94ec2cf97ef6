"""The background term: what is known of the controls before any observation."""

from collections.abc import Mapping, Sequence

import numpy as np

from burgers_adjoint.equations.burgers.controls import as_value
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.inverse.covariance import Covariance
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.halo import Frame, Halo
from burgers_adjoint.parallel.reductions import exact_sum

Values = Mapping[str, np.ndarray | float]
NOT_ORTHONORMAL = 1e-6  # of scalar products of directions that are


class Background:
    """J = 1/2 sum ((m - prior) / deviation)^2 + 1/2 smoothness sum (difference of neighbours)^2.

    Or J = 1/2 (m - prior)' B^-1 (m - prior), of the controls that have a covariance B.

    Neighbours are the points to the east and to the north, and the differences those of m - prior:
    a field that departs from the prior does so smoothly (Tikhonov, of order one). Controls are laid
    out like their gradients; smoothness is for those that are fields of the whole domain.

    With directions v that observations determine, J = 1/2 (m - prior)' A (m - prior) leaves those
    alone: A becomes A - sum A v v' A, where v_i' A v_j = 1 or 0 (Nguyen, Wittmer and Bui-Thanh
    2022, with eigenvectors of a Hessian in place of their active subspace).

    Args:
        decomposition, layout: of the fields.
        prior: value of every control that has a deviation, a smoothness or a covariance.
        deviation: standard deviation of a control from its prior, by name.
        smoothness: weight by name.
        covariances: by name.
        informed: directions of all controls that the observations determine.

    Raises:
        ConfigError: on all ranks: the directions are not orthonormal in this term.
    """

    def __init__(
        self,
        decomposition: Decomposition,
        layout: Layout,
        prior: Values,
        deviation: Mapping[str, float],
        smoothness: Mapping[str, float],
        covariances: Mapping[str, Covariance],
        informed: Sequence[Values] = (),
    ) -> None:
        self._comm = decomposition.comm
        self._layout = layout
        self._prior = {name: np.copy(value) for name, value in prior.items()}
        self._deviation = dict(deviation)
        self._smoothness = dict(smoothness)
        self._covariances = dict(covariances)
        frame = Frame(layout.rows, layout.columns)
        self._halo = Halo(decomposition, frame, depth=1, n_fields=1, corners=False)
        self._work = layout.new_array(1)
        # which neighbours there are: all, but beyond the boundary of the domain
        self._work[...] = 0.0
        layout.interior(self._work)[...] = 1.0
        self._halo.exchange(self._work)
        self._there = [shifted.copy() for shifted in self._neighbours()]
        images = [self._whole({name: one[name] for name in self._prior})[1] for one in informed]
        products = [[self._dot(image, one) for one in informed] for image in images]
        if not np.allclose(products, np.eye(len(images)), rtol=0.0, atol=NOT_ORTHONORMAL):
            raise agreed_error(
                ConfigError(
                    "the directions of background.informed are of another background term: "
                    "expected the one that `uncertainty` was run with"
                )
            )
        self._informed = images  # A v

    def _neighbours(self) -> list[np.ndarray]:
        """Views (ny, nx) of the points to the east, north, west and south of the work array."""
        rows, columns = self._layout.rows, self._layout.columns
        return [
            self._work[
                0,
                rows.start + north : rows.stop + north,
                columns.start + east : columns.stop + east,
            ]
            for north, east in ((0, 1), (1, 0), (0, -1), (-1, 0))
        ]

    def value_and_gradient(self, values: Values) -> tuple[float, dict[str, np.ndarray | float]]:
        """J, and its derivative by each control that it depends on. Collective."""
        return self._of({name: values[name] - prior for name, prior in self._prior.items()})

    def _of(self, departures: Values) -> tuple[float, dict[str, np.ndarray | float]]:
        total, gradient = self._whole(departures)
        for image in self._informed:
            along = self._dot(image, departures)
            total -= 0.5 * along**2
            for name, part in image.items():
                gradient[name] = as_value(gradient[name] - along * np.asarray(part))
        return total, gradient

    def _dot(self, left: Values, right: Values) -> float:
        """Scalar product of values of the controls that the term has. Collective."""
        total = 0.0
        for name, part in left.items():
            product = np.asarray(part * right[name])
            total += exact_sum(self._comm, product) if product.ndim else float(product)
        return total

    def _whole(self, departures: Values) -> tuple[float, dict[str, np.ndarray | float]]:
        """What no observation has a part in."""
        total = 0.0
        gradient: dict[str, np.ndarray | float] = {}
        for name, departure in departures.items():
            part = np.zeros(np.shape(departure))
            if name in self._deviation:
                scaled = departure / self._deviation[name]
                squares = np.square(scaled)
                total += 0.5 * (exact_sum(self._comm, squares) if squares.ndim else float(squares))
                part += scaled / self._deviation[name]
            if name in self._smoothness:
                weight = self._smoothness[name]
                fields = np.reshape(departure, (-1, *np.shape(departure)[-2:]))
                parts = part.reshape(fields.shape)
                for field, out in zip(fields, parts, strict=True):
                    total += weight * self._roughness(field, weight, out)
            if name in self._covariances:
                weighted = self._covariances[name].applied(departure, -1.0)
                total += 0.5 * exact_sum(self._comm, np.asarray(departure * weighted))
                part += weighted
            gradient[name] = as_value(part)
        return total, gradient

    def product(self, values: Values) -> dict[str, np.ndarray | float]:
        """The second derivative times a direction of the controls: J is quadratic. Collective."""
        return self._of({name: values[name] for name in self._prior})[1]

    def _roughness(self, field: np.ndarray, weight: float, out: np.ndarray) -> float:
        """Half the sum of squared differences of neighbours; adds its derivative to out."""
        self._layout.interior(self._work)[0] = field
        self._halo.exchange(self._work)
        differences = [
            there * (field - neighbour)
            for there, neighbour in zip(self._there, self._neighbours(), strict=True)
        ]
        out += weight * (differences[0] + differences[1] + differences[2] + differences[3])
        # east and north alone, so that every pair counts once
        return 0.5 * exact_sum(self._comm, np.stack([np.square(d) for d in differences[:2]]))

    def close(self) -> None:
        """Release the messages' requests."""
        self._halo.close()

"""A snapshot of a step: the state at its start, and what is kept beside it."""

from typing import Any

import numpy as np

from burgers_adjoint.parallel.decomposition import Shape


class Snapshot:
    """The tile's own points of a state and, where they are kept, of the stages of its step.

    Args:
        n_fields: of a state.
        n_stages: states that are kept beside it.
        shape: (ny, nx) of the tile.

    Attributes:
        array: all of it, what stores write, ((1 + n_stages) n_fields, ny, nx).
        state: view of the state, (n_fields, ny, nx).
        stages: views of what is kept, each like the state.
    """

    def __init__(self, n_fields: int, n_stages: int, shape: Shape) -> None:
        self.array = np.zeros(((1 + n_stages) * n_fields, *shape))
        self.state, *self.stages = np.split(self.array, 1 + n_stages)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The very array, for stores that write it."""
        return np.array(self.array, dtype=dtype, copy=True) if copy else self.array

    @property
    def nbytes(self) -> int:
        """Bytes of the whole."""
        return self.array.nbytes

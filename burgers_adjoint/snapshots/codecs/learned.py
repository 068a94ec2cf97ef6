"""A codec that learned from states: patches of a tile through an encoder, and back.

After Wittmer, Badger, Sundar, Bui-Thanh (arXiv 2304.04781), whose autoencoders take a rank's whole
state: patches fit any tile, and share one network.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.snapshots.codecs.codec import MARGIN, Codec, CodecCannot

Dense = Callable[[np.ndarray, np.ndarray, bool, np.ndarray], None]
WIDE, NARROW = np.dtype("<i2"), np.dtype("<i1")  # of latents
RESIDUALS = (np.dtype("<i1"), np.dtype("<i2"), np.dtype("<i4"))
HEADER = 8  # bytes: the CRC-32 of what follows


def levels(n_wide: int, n_latents: int) -> np.ndarray:
    """Largest integer of each latent, float32."""
    return np.where(np.arange(n_latents) < n_wide, np.float32(32767), np.float32(127))


@dataclass(frozen=True)
class Autoencoder:
    """What was learned: latents of a patch and, of these, the patch. Its arrays are float32.

    Latents, and of these the patch, are what a matrix makes of it plus, of a network, what its
    layers do, with ReLU between them. There are no biases: what is scaled comes back scaled.

    Attributes:
        kind: "linear", principal components alone, or "network".
        equation, fields: whose states it knows.
        patch: points along each side.
        n_wide: latents of 2 bytes; the others have 1.
        analysis: (fields patch^2, n_latents).
        synthesis: (n_latents, fields patch^2).
        encoder, decoder: weights (n_in, n_out) of the network's layers; none where it is linear.
    """

    kind: str
    equation: str
    fields: tuple[str, ...]
    patch: int
    n_wide: int
    analysis: np.ndarray
    synthesis: np.ndarray
    encoder: Sequence[np.ndarray] = ()
    decoder: Sequence[np.ndarray] = ()

    @property
    def n_latents(self) -> int:
        """Of a patch."""
        return self.analysis.shape[1]


class Learned(Codec):
    """Latents of patches and, where it is bounded, the residual in steps of the tolerance.

    Args:
        autoencoder: what was learned.
        dense: `kernels.dense.dense`.
        bounded: whether the residual is stored, so that `tolerances` hold whatever the state.
    """

    name = "learned"
    error = "any size (snapshots.tolerance is not set)"

    def __init__(self, autoencoder: Autoencoder, dense: Dense, bounded: bool = False) -> None:
        self.autoencoder = autoencoder
        self.bounded = self.even = bounded
        self._dense = dense
        self._levels = levels(autoencoder.n_wide, autoencoder.n_latents)

    def bound(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        size = HEADER + self._latent_bytes(shape)
        if self.bounded:
            n_bytes = RESIDUALS[-1].itemsize * math.prod(shape)
            # what zlib cannot compress it stores, in blocks that have a few bytes more
            size += 8 * shape[0] + n_bytes + n_bytes // 500 + 64
        return size

    def encode(self, array: np.ndarray) -> bytes:
        n_fields = len(self.autoencoder.fields)
        if len(array) % n_fields:
            raise CodecCannot(f"{len(array)} fields are no multiple of the {n_fields} it knows")
        groups = array.reshape(-1, n_fields, *array.shape[1:])
        scales = np.abs(groups).max(axis=(1, 2, 3))
        if not np.isfinite(scales).all():
            raise CodecCannot("it has values that are not finite")
        scaled = groups / np.where(scales > 0, scales, 1.0)[:, None, None, None]
        latents = self._through(
            _patches(scaled, self.autoencoder.patch),
            self.autoencoder.analysis,
            self.autoencoder.encoder,
        ).reshape(len(groups), -1, self.autoencoder.n_latents)
        steps = np.abs(latents).max(axis=1) / self._levels
        quantised = np.rint(latents / np.where(steps > 0, steps, np.float32(1))[:, None])
        n_wide = self.autoencoder.n_wide
        body = b"".join(
            part.tobytes()
            for part in (
                scales.astype("<f8"),
                steps.astype("<f4"),
                quantised[..., :n_wide].astype(WIDE),
                quantised[..., n_wide:].astype(NARROW),
            )
        )
        if self.bounded:
            predicted = self._decoded(scales, steps, quantised, array.shape)
            body += self._residual(array, predicted)
        return zlib.crc32(body).to_bytes(HEADER, "little") + body

    def decode(self, data: memoryview, out: np.ndarray) -> None:
        data = memoryview(data)
        size = HEADER + self._latent_bytes(out.shape)
        if len(data) < size or (not self.bounded and len(data) > size):
            raise SnapshotError(f"an encoded snapshot has {len(data)} bytes, expected {size}")
        if zlib.crc32(data[HEADER:]) != int.from_bytes(data[:HEADER], "little"):
            raise SnapshotError("an encoded snapshot has another checksum than was written")
        one = self.autoencoder
        m, p, n, n_wide = *self._counts(out.shape), one.n_latents, one.n_wide
        taken = HEADER

        def take(kind: np.dtype[Any] | str, *shape: int) -> np.ndarray:
            nonlocal taken
            found = np.frombuffer(data, kind, math.prod(shape), taken).reshape(shape)
            taken += found.nbytes
            return found

        scales, steps = take("<f8", m), take("<f4", m, n)
        quantised = np.concatenate([take(WIDE, m, p, n_wide), take(NARROW, m, p, n - n_wide)], 2)
        out[...] = self._decoded(scales, steps, quantised.astype(np.float32), out.shape)
        if self.bounded:
            widths = take("<f8", len(out))
            out += _unpacked(data[taken:], out.shape) * widths[:, None, None]

    def _decoded(
        self, scales: np.ndarray, steps: np.ndarray, quantised: np.ndarray, shape: tuple[int, ...]
    ) -> np.ndarray:
        """What latents alone tell of an array."""
        one = self.autoencoder
        latents = (quantised * steps[:, None]).reshape(-1, one.n_latents)
        patches = self._through(latents, one.synthesis, one.decoder)
        fields = _fields(patches, one.patch, (len(scales), len(one.fields), *shape[1:]))
        return (fields * scales[:, None, None, None]).reshape(shape)

    def _residual(self, array: np.ndarray, predicted: np.ndarray) -> bytes:
        """The widths of steps and how many of them each point is away from what was predicted."""
        tolerances = np.asarray(self.tolerances)[:, None, None]
        widths = 2 * MARGIN * tolerances
        with np.errstate(all="ignore"):
            counts = np.rint((array - predicted) / widths)
            most = np.abs(counts).max(initial=0.0)
            if not most <= np.iinfo(RESIDUALS[-1]).max:
                raise CodecCannot(f"its range is {most:.3g} tolerances")
            within = np.abs(predicted + counts * widths - array) <= tolerances
        if not within.all():
            raise CodecCannot("its tolerance is no larger than its round-off")
        return widths.astype("<f8").tobytes() + _packed(counts, most)

    def _through(
        self, values: np.ndarray, matrix: np.ndarray, layers: Sequence[np.ndarray]
    ) -> np.ndarray:
        """The matrix times each row, plus what the layers make of it; float32."""
        found = self._layer(values, matrix)
        if layers:
            *hidden, last = layers
            for layer in hidden:
                values = self._layer(values, layer, positive=True)
            found += self._layer(values, last)
        return found

    def _layer(self, values: np.ndarray, weights: np.ndarray, positive: bool = False) -> np.ndarray:
        found = np.empty((len(values), weights.shape[1]), np.float32)
        self._dense(values, weights, positive, found)
        return found

    def _counts(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """How many groups of fields an array has, and patches each of them."""
        one = self.autoencoder
        return shape[0] // len(one.fields), math.prod(-(-n // one.patch) for n in shape[1:])

    def _latent_bytes(self, shape: tuple[int, ...]) -> int:
        n_groups, n_patches = self._counts(shape)
        of_patch = self.autoencoder.n_latents + self.autoencoder.n_wide
        return n_groups * (8 + 4 * self.autoencoder.n_latents + n_patches * of_patch)


def _patches(groups: np.ndarray, p: int) -> np.ndarray:
    """Patches of fields (m, n_fields, ny, nx), whose edges are repeated to fill the last ones.

    Returns:
        float32 (m n_patches, n_fields p^2).
    """
    m, n_fields, ny, nx = groups.shape
    rows, columns = -(-ny // p), -(-nx // p)
    filled = np.empty((m, n_fields, rows * p, columns * p), np.float32)
    filled[..., :ny, :nx] = groups
    filled[..., ny:, :nx] = filled[..., ny - 1 : ny, :nx]
    filled[..., nx:] = filled[..., nx - 1 : nx]
    cut = filled.reshape(m, n_fields, rows, p, columns, p).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(cut).reshape(-1, n_fields * p * p)


def _fields(patches: np.ndarray, p: int, shape: tuple[int, ...]) -> np.ndarray:
    """Fields of this shape (m, n_fields, ny, nx) from their patches; a view."""
    m, n_fields, ny, nx = shape
    rows, columns = -(-ny // p), -(-nx // p)
    cut = patches.reshape(m, rows, columns, n_fields, p, p).transpose(0, 3, 1, 4, 2, 5)
    return cut.reshape(m, n_fields, rows * p, columns * p)[..., :ny, :nx]


def _packed(counts: np.ndarray, most: float) -> bytes:
    """Whole numbers in the fewest bytes each, the first bytes of all before the second ones."""
    kind = next(one for one in RESIDUALS if most <= np.iinfo(one).max)
    planes = counts.astype(kind).reshape(-1, 1).view(np.uint8).T
    return bytes([kind.itemsize]) + zlib.compress(planes.tobytes(), 1)


def _unpacked(data: memoryview, shape: tuple[int, ...]) -> np.ndarray:
    kind = next((one for one in RESIDUALS if data[:1] == bytes([one.itemsize])), None)
    try:
        planes = np.frombuffer(zlib.decompress(data[1:]), np.uint8)
        if kind is None or planes.size != kind.itemsize * math.prod(shape):
            raise ValueError(f"there are {planes.size} bytes of {math.prod(shape)} numbers")
    except (zlib.error, ValueError) as error:
        raise SnapshotError(f"an encoded snapshot is damaged: its residual: {error}") from None
    return np.ascontiguousarray(planes.reshape(kind.itemsize, -1).T).view(kind).reshape(shape)

"""The file of a learned codec: what was learned, from what, and a checksum of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burgers_adjoint.config.sections import Snapshots
from burgers_adjoint.equations.burgers.equation import Burgers
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.files.hdf5 import File, array, new_file, opened
from burgers_adjoint.files.whole import replaced_when_complete
from burgers_adjoint.kernels.dense import dense
from burgers_adjoint.snapshots.codecs.learned import Autoencoder, Learned

FORMAT = "burgers_adjoint learned codec 1"
EQUATION = "2D viscous Burgers"
FIELDS = tuple(Burgers.fields)
TOLD = ("kind", "equation", "fields", "patch", "n_wide")  # attributes that the checksum covers


def learned(section: Snapshots) -> Learned:
    """The codec of the file that the configuration names.

    Raises:
        ConfigError: the file is missing, damaged, or for the states of another equation.
    """
    autoencoder = read(section.learned, f"snapshots.learned = {section.learned}")
    bounded = section.tolerance is not None or section.gradient_error is not None
    return codec_of(autoencoder, bounded)


def codec_of(autoencoder: Autoencoder, bounded: bool = False) -> Learned:
    """What encodes with the autoencoder, by compiled code."""
    return Learned(autoencoder, dense, bounded)


def write(path: str | Path, one: Autoencoder, record: Mapping[str, Any]) -> None:
    """Write the file, whole or not at all.

    Args:
        path: of it.
        one: what was learned.
        record: attributes that tell how.

    Raises:
        BurgersAdjointError: it cannot be written.
    """
    with replaced_when_complete(path) as partial, new_file(partial) as file:
        arrays = _arrays(one)
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
        told = {name: getattr(one, name) for name in TOLD}
        told["fields"] = " ".join(one.fields)
        file.attrs.update({"format": FORMAT, **told, "checksum": _checksum(told, arrays), **record})


def read(path: str | Path, label: str) -> Autoencoder:
    """Read the file.

    Args:
        path: of it.
        label: what messages begin with.

    Raises:
        ConfigError: it is missing, damaged, no such file, or of another equation or other fields.
    """
    with opened(path, label) as file:
        if file.attrs.get("format") != FORMAT:
            raise ConfigError(f"{label}: it is no file of `burgers-adjoint train`")
        told = {name: _plain(file.attrs.get(name)) for name in TOLD}
        for name, here in (("equation", EQUATION), ("fields", " ".join(FIELDS))):
            if told[name] != here:
                raise ConfigError(
                    f"{label}: it was trained for the {name} {told[name]!r}, expected {here!r}"
                )
        for name in ("patch", "n_wide"):
            if not isinstance(told[name], int):
                raise ConfigError(f"{label}: it is damaged: its attribute {name} is {told[name]}")
        return _checked(file, told, label)


def _checked(file: File, told: dict[str, Any], label: str) -> Autoencoder:
    n_values = len(FIELDS) * told["patch"] ** 2
    analysis = array(file, "analysis", (n_values, None), label).astype(np.float32)
    synthesis = array(file, "synthesis", (analysis.shape[1], n_values), label).astype(np.float32)
    sides = ([n_values, analysis.shape[1]], [analysis.shape[1], n_values])
    encoder, decoder = (
        _layers(file, side, ends, label)
        for side, ends in zip(("encoder", "decoder"), sides, strict=True)
    )
    one = Autoencoder(
        told["kind"], EQUATION, FIELDS, told["patch"], told["n_wide"],
        analysis, synthesis, encoder, decoder,
    )  # fmt: skip
    if _checksum(told, _arrays(one)) != file.attrs.get("checksum"):
        raise ConfigError(f"{label}: it is damaged: its checksum is not the one that was written")
    return one


def _layers(file: File, side: str, ends: Sequence[int], label: str) -> list[np.ndarray]:
    layers: list[np.ndarray] = []
    n_in, n_layers = ends[0], len(file.get(side, ()))
    for n in range(n_layers):
        n_out = ends[1] if n == n_layers - 1 else None
        weights = array(file, f"{side}/{n}", (n_in, n_out), label).astype(np.float32)
        n_in = weights.shape[1]
        layers.append(weights)
    return layers


def _arrays(one: Autoencoder) -> dict[str, np.ndarray]:
    arrays = {"analysis": one.analysis, "synthesis": one.synthesis}
    for side, layers in (("encoder", one.encoder), ("decoder", one.decoder)):
        arrays |= {f"{side}/{n}": weights for n, weights in enumerate(layers)}
    return arrays


def _checksum(told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(repr([told[name] for name in TOLD]).encode())
    for name, values in arrays.items():
        digest.update(f"{name} {values.shape}".encode())
        digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value

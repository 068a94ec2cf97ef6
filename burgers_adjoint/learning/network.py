"""A network on top of principal components, trained by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.snapshots.codecs.learned import levels

BATCH = 256
RATE = 1e-2  # of learning, at first
OF_LATENTS = 0.1  # what the encoder's layers change them by, at first a share of that
FLOOR = 0.03  # of the mean squared error: smaller ones of the linear codec count as that


def trained(
    samples: np.ndarray,
    analysis: np.ndarray,
    synthesis: np.ndarray,
    n_wide: int,
    hidden: Sequence[int],
    epochs: int,
    seed: int,
    update: Callable[[int], None],
) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Train layers that correct a linear encoder and decoder, by Adam.

    Their last layers are zero at first, so training begins with what the matrices can do. They see
    a patch without its wide latents, so what is smooth is hardly touched. The loss is the squared
    error of a patch over that of the linear codec, smooth patches count like steep ones. Latents
    are rounded as the codec rounds them; gradients go through that as if nothing were rounded.

    Args:
        samples: float32 (n_samples, n_values).
        analysis, synthesis, n_wide: see `Autoencoder`; they stay.
        hidden: sizes of the encoder's hidden layers; the decoder has them the other way round.
        epochs: passes over the samples.
        seed: of weights and batches.
        update: is called with the number of epochs done.

    Returns:
        The weights of encoder and decoder, and the root of each epoch's loss.

    Raises:
        ConfigError: PyTorch is not installed.
    """
    torch = torch_or_error()
    generator = torch.Generator().manual_seed(seed)
    loss_of = _Loss(torch, samples, analysis, synthesis, n_wide)
    sizes = [samples.shape[1], *hidden, analysis.shape[1]]
    encoder, decoder = (_layers(torch, one, generator) for one in (sizes, sizes[::-1]))
    optimizer = torch.optim.Adam([*encoder, *decoder], RATE)
    batches = -(-len(samples) // BATCH)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    losses = []
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(samples), generator=generator).split(BATCH):
            loss = loss_of(batch, encoder, decoder)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*encoder, *decoder], 1.0)
            optimizer.step()
            rates.step()
            total += loss.item()
        losses.append((total / batches) ** 0.5)
        update(epoch + 1)
    with torch.no_grad():
        # what the layers do not see, and what their results are scaled by, goes into their weights
        encoder[0] -= loss_of.unseen(encoder[0])
        decoder[0] *= loss_of.narrow[:, None]
        encoder[-1] *= loss_of.sizes[0]
        decoder[-1] *= loss_of.sizes[1]
    return _arrays(encoder), _arrays(decoder), losses


class _Loss:
    """The mean of a batch's losses; see `trained`.

    Attributes:
        narrow: 1 for each latent that layers see, else 0.
        sizes: what the results of encoder and decoder are scaled by, those of what they correct.
    """

    def __init__(
        self,
        torch: Any,
        samples: np.ndarray,
        analysis: np.ndarray,
        synthesis: np.ndarray,
        n_wide: int,
    ) -> None:
        self._data, self._to_latents, self._to_patches = map(
            torch.from_numpy, (samples, analysis, synthesis)
        )
        n_latents = analysis.shape[1]
        self._levels = torch.from_numpy(levels(n_wide, n_latents))
        self.narrow = (torch.arange(n_latents) >= n_wide).to(self._data.dtype)
        self._wide = self._to_latents[:, :n_wide], self._to_patches[:n_wide]
        self._rough = self._data - self._data @ self._wide[0] @ self._wide[1]
        linear = self._rounded(self._data @ self._to_latents) @ self._to_patches
        errors = (linear - self._data).square().mean(1)
        self.sizes = OF_LATENTS, float(errors.mean().sqrt())
        self._weights = errors.mean() / (errors + FLOOR * errors.mean() + 1e-30)

    def __call__(self, batch: Any, encoder: Sequence[Any], decoder: Sequence[Any]) -> Any:
        data = self._data[batch]
        of_latents, of_patches = self.sizes
        change = of_latents * _through(self._rough[batch], encoder)
        latents = self._rounded(data @ self._to_latents + change)
        change = of_patches * _through(latents * self.narrow, decoder)
        patches = latents @ self._to_patches + change
        return ((patches - data).square().mean(1) * self._weights[batch]).mean()

    def unseen(self, weights: Any) -> Any:
        """The part of the encoder's first weights that sees wide latents."""
        return self._wide[0] @ (self._wide[1] @ weights)

    def _rounded(self, latents: Any) -> Any:
        """Latents as the codec rounds them, whose gradients are those of latents as they are."""
        steps = latents.detach().abs().amax(0).clamp(min=1e-30) / self._levels
        return latents + ((latents / steps).round() * steps - latents).detach()


def torch_or_error() -> Any:
    """The module.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import torch
    except ImportError:
        raise ConfigError(
            "training a network needs PyTorch: install burgers_adjoint[learned], or set "
            'train.kind = "linear"'
        ) from None
    return torch


def _layers(torch: Any, sizes: Sequence[int], generator: Any) -> list[Any]:
    """Weights (n_in, n_out), the last ones zero."""
    found = []
    for n, (n_in, n_out) in enumerate(pairwise(sizes)):
        spread = 0.0 if n == len(sizes) - 2 else (2 / n_in) ** 0.5
        found.append((spread * torch.randn(n_in, n_out, generator=generator)).requires_grad_())
    return found


def _through(values: Any, layers: Sequence[Any]) -> Any:
    for weights in layers[:-1]:
        values = (values @ weights).relu()
    return values @ layers[-1]


def _arrays(layers: Sequence[Any]) -> list[np.ndarray]:
    return [weights.detach().numpy().copy() for weights in layers]

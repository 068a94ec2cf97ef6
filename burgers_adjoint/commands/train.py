"""`train`: a codec of snapshots learns from runs like the configured one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from burgers_adjoint.assembly.learned import EQUATION, FIELDS, codec_of, write
from burgers_adjoint.config import Config
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.files.whole import require_writable
from burgers_adjoint.learning.linear import linear
from burgers_adjoint.learning.network import torch_or_error, trained
from burgers_adjoint.learning.samples import drawn, perturbed
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import Trained, TrainSummary, to_line
from burgers_adjoint.output.system import versions
from burgers_adjoint.parallel.agreement import Comm, from_rank, last_arrival
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.problem import Problem
from burgers_adjoint.snapshots.codecs.learned import Autoencoder

INITIAL = "initial"


def train(config: Config, comm: Comm, progress: Progress) -> TrainSummary:
    """Train the codec of snapshots.learned and write its file; returns the summary. Collective.

    The runs are the configured one, on its grid or on every k-th point of it, with other initial
    fields. All ranks run them, rank 0 learns.

    Raises:
        BurgersAdjointError: on all ranks: a wrong configuration, a state that is not finite, no
            PyTorch for what needs it, or a file that cannot be written.
    """
    without = _prepare(config, comm)
    start = last_arrival(comm)
    section = config.train
    fields, places = (np.random.default_rng([section.seed, n]) for n in range(2))
    progress.begin("runs", section.runs + 1)
    samples, unseen = [], []
    each = -(-section.samples // (section.runs * (section.states + 1)))
    with Problem(_as_trained(config, 1), comm) as problem:
        whole = problem.gather(np.asarray(problem.controls()[INITIAL]))
        for run in range(section.runs + 1):
            for state in _states(problem, whole, run, fields):
                if run == section.runs:
                    unseen.append(state)
                else:
                    samples.append(drawn(state, section.patch, each, places))
            progress.update(run + 1)
    progress.end()
    seconds = {"runs": last_arrival(comm) - start}
    summary = None
    with agreed(comm):
        if comm.rank == 0:
            summary = _Training(config, np.concatenate(samples), unseen, progress).done(without)
    summary = from_rank(comm, summary)
    summary.seconds = {**seconds, "training": last_arrival(comm) - start - seconds["runs"]}
    summary.ranks = comm.size
    return summary


def _prepare(config: Config, comm: Comm) -> str:
    """Find out now what would spoil the end; returns why there is no network, if so. Collective."""
    section, path = config.train, config.snapshots.learned
    if not path:
        raise agreed_error(
            ConfigError('snapshots.learned = "": expected the path of the file that `train` writes')
        )
    if _bytes_of_patch(config) < 2:
        raise agreed_error(
            ConfigError(
                f"train.ratio = {section.ratio:g}: expected a smaller one, which leaves a patch of "
                f"train.patch = {section.patch} points along each side 2 bytes"
            )
        )
    without = ""
    with agreed(comm):
        if comm.rank == 0:
            require_writable(path)
            if section.kind != "linear":
                try:
                    torch_or_error()
                except ConfigError as error:
                    if section.kind == "network":
                        raise
                    without = f"not tried: {error}"
    return str(from_rank(comm, without))


def _bytes_of_patch(config: Config) -> int:
    return int(len(FIELDS) * config.train.patch**2 * 8 / config.train.ratio)


def _as_trained(config: Config, k: int) -> Config:
    """The configuration of a run on every k-th point, whose initial fields are a control."""
    renewed, grid = msgspec.structs.replace, config.grid
    sizes: dict[str, Any] = {}
    for axis in ("x", "y"):
        n, (low, high) = getattr(grid, f"n{axis}"), getattr(grid, axis)
        gaps = n if grid.boundary == "periodic" else n - 1
        points = -(-n // k)
        coarse_gaps = points if grid.boundary == "periodic" else points - 1
        sizes |= {f"n{axis}": points, axis: (low, low + (high - low) * k * coarse_gaps / gaps)}
    fresh = Config()
    changed: dict[str, Any] = {
        "grid": renewed(grid, **sizes),
        "gradient": renewed(config.gradient, controls=(INITIAL,)),
    }
    for name in ("objective", "observations", "controls", "background", "truth", "snapshots"):
        changed[name] = getattr(fresh, name)
    changed["restart"] = fresh.restart
    if k > 1:
        # what a file has would not fit; the fields come as a control
        changed["initial"] = renewed(fresh.initial, amplitude=(0.0, 0.0))
    return renewed(config, **changed)


def _states(
    fine: Problem, whole: np.ndarray | None, run: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Whole states of a run, on rank 0; nothing on the others. Collective."""
    section = fine.config.train
    k = section.coarsening[run % len(section.coarsening)]
    with agreed(fine.comm):
        coarse = _as_trained(fine.config, k)
    problem = fine if k == 1 else Problem(coarse, fine.comm)
    start = None
    if whole is not None:
        start = perturbed(whole[:, ::k, ::k], section.perturbation, generator)
    controls = {INITIAL: problem.scatter(start)}
    every = max(1, (problem.case.model.n_steps or fine.config.time.steps) // section.states)
    try:
        for _, tile in [*problem.trajectory(controls, every)]:
            state = problem.gather(tile)
            if state is not None:
                yield state
    finally:
        if problem is not fine:
            problem.close()


class _Training:
    """What rank 0 does with the states.

    Args:
        config: says what is wanted.
        samples: patches to learn from.
        unseen: states of another run.
        progress: shows how far it is.
    """

    def __init__(
        self, config: Config, samples: np.ndarray, unseen: list[np.ndarray], progress: Progress
    ) -> None:
        self._config, self._samples, self._unseen = config, samples, unseen
        self._progress = progress

    def done(self, without: str) -> TrainSummary:
        """Train, write the file, and tell of it."""
        section, path = self._config.train, self._config.snapshots.learned
        n_bytes = _bytes_of_patch(self._config)
        tried = {"linear": linear(self._samples, n_bytes, section.patch, EQUATION, FIELDS)}
        losses: list[float] = []
        if section.kind != "linear" and not without:
            tried["network"], losses = self._network(tried["linear"])
        kinds = {name: self._trained(one) for name, one in tried.items()}
        best = min(kinds, key=lambda name: kinds[name].error)
        kept = best if section.kind == "best" else section.kind
        record = {
            "config": self._config.to_toml(),
            "seed": section.seed,
            "losses": losses,
            "errors": msgspec.json.encode(kinds).decode(),
            "versions": to_line(versions()),
        }
        write(path, tried[kept], record)
        return TrainSummary(
            path=path,
            kept=kept,
            kinds=kinds,
            patch=section.patch,
            ratio=8 * self._samples.shape[1] / n_bytes,
            bytes=n_bytes,
            samples=len(self._samples),
            without=without,
            losses=losses,
            ranks=1,
            seconds={},
        )

    def _network(self, linear: Autoencoder) -> tuple[Autoencoder, list[float]]:
        section = self._config.train
        self._progress.begin("training, epochs", section.epochs)
        encoder, decoder, losses = trained(
            self._samples, linear.analysis, linear.synthesis, linear.n_wide,
            section.hidden, section.epochs, section.seed, self._progress.update,
        )  # fmt: skip
        self._progress.end()
        network = replace(linear, kind="network", encoder=encoder, decoder=decoder)
        return network, losses

    def _trained(self, one: Autoencoder) -> Trained:
        """How well it does on the unseen states."""
        codec, errors, largest = codec_of(one), np.zeros(len(self._unseen)), 0.0
        for n, state in enumerate(self._unseen):
            found = np.empty_like(state)
            codec.decode(memoryview(codec.encode(state)), found)
            size = np.linalg.norm(state)
            errors[n] = np.linalg.norm(found - state) / size if size else 0.0
            largest = max(largest, np.abs(found - state).max() / (np.abs(state).max() or 1.0))
        return Trained(float(errors.mean()), float(largest))

"""The learned codec: arrays there and back, its file, its training, and gradients with it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from learned_cases import PATCH, QUICK, autoencoder, state
from test_codecs import KINDS, arrays, there_and_back

import burgers_adjoint as ba
from burgers_adjoint.assembly.learned import EQUATION, codec_of, read, write
from burgers_adjoint.commands.gradient import gradient as run_gradient
from burgers_adjoint.commands.train import train
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import BurgersAdjointError, ConfigError, SnapshotError
from burgers_adjoint.kernels.dense import dense
from burgers_adjoint.learning.network import torch_or_error
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.parallel.library import all_ranks
from burgers_adjoint.snapshots.codecs.codec import CodecCannot
from burgers_adjoint.snapshots.codecs.learned import Learned

NETS = [False, True]
over_networks = pytest.mark.parametrize("network", NETS, ids=["linear", "network"])
CODECS = {(network, bounded): codec_of(autoencoder(network=network), bounded)
          for network in NETS for bounded in NETS}  # fmt: skip


@over_networks
@settings(max_examples=40)
@given(array=arrays)
def test_any_state_comes_back_within_the_tolerances(network: bool, array: np.ndarray) -> None:
    codec = CODECS[network, True]
    whole = array[: len(array) // 2 * 2]
    size = np.abs(whole).max(initial=0.0)
    finite = np.isfinite(size)
    with np.errstate(over="ignore", invalid="ignore"):
        codec.tolerances = np.array([1e-3, 1e-7] * (len(whole) // 2)) * (size if finite else 1.0)
    if len(array) % 2:
        with pytest.raises(CodecCannot, match=f"{len(array)} fields are no multiple of the 2"):
            codec.encode(array)
    if len(whole) == 0:
        return
    try:
        found = there_and_back(codec, whole)
    except CodecCannot:
        assert not 1e-300 < size < np.inf
        return
    assert (np.abs(found - whole).max(axis=(1, 2)) <= codec.tolerances).all()


@over_networks
@pytest.mark.parametrize("shape", [(40, 52), (41, 51), (PATCH, 7), (1, 1), (3, 50), (64, 2)])
def test_every_patch_of_any_tile_takes_as_many_bytes(network: bool, shape: tuple[int, int]) -> None:
    codec, array = CODECS[network, False], state(*shape)
    found = there_and_back(codec, array)
    patches = -(-shape[0] // PATCH) * -(-shape[1] // PATCH)
    of_all = 8 + 8 + 4 * codec.autoencoder.n_latents
    assert len(codec.encode(array)) == codec.bound(array.shape, array.dtype)
    assert len(codec.encode(array)) == of_all + 16 * patches
    if not network and min(shape) >= 40:
        assert np.linalg.norm(found - array) < 0.02 * np.linalg.norm(array)


def test_what_is_scaled_comes_back_scaled() -> None:
    """Exactly so for powers of 2, as there are no biases."""
    for network in NETS:
        codec, array = CODECS[network, False], state(21, 19)
        found = there_and_back(codec, array)
        for power in (-900, 0, 700):
            scaled = there_and_back(codec, array * 2.0**power)
            assert (scaled == found * 2.0**power).all()


def test_fields_beside_a_state_are_encoded_like_one() -> None:
    """Stages that are kept, and tangents."""
    codec, one = CODECS[True, False], state(14, 11)
    both = np.concatenate([one, 1e-8 * one[::-1]])
    found = there_and_back(codec, both)
    assert (found[:2] == there_and_back(codec, one)).all()
    assert (found[2:] == there_and_back(codec, both[2:].copy())).all()


def test_compiled_code_has_the_bits_of_the_formula() -> None:
    for network in NETS:
        compiled, plain = (
            CODECS[network, False],
            Learned(autoencoder(network=network), dense.py_func),
        )
        array = state(9, 10)
        assert compiled.encode(array) == plain.encode(array)


@pytest.mark.parametrize("kind", ["nan", "infinite"])
@pytest.mark.parametrize("bounded", NETS)
def test_what_is_no_number_is_refused(kind: str, bounded: bool) -> None:
    codec = CODECS[False, bounded]
    codec.tolerances = np.full(2, 1e-6)
    with pytest.raises(CodecCannot, match="values that are not finite"):
        codec.encode(KINDS[kind]((2, 9, 11), np.random.default_rng(3)))


@pytest.mark.parametrize(
    ("kind", "message"),
    [("huge", r"its range is \S+ tolerances"), ("smooth", "no larger than its round-off")],
)
def test_a_tolerance_that_cannot_be_held_is_said(kind: str, message: str) -> None:
    codec, rng = CODECS[False, True], np.random.default_rng(3)
    array = KINDS[kind]((2, 120, 152), rng)
    if kind == "smooth":
        # what comes back is predicted well when it is encoded again
        array = there_and_back(CODECS[False, False], array)
    codec.tolerances = np.full(2, 5e-14)
    with pytest.raises(CodecCannot, match=message):
        codec.encode(array)


@pytest.mark.parametrize("bounded", NETS)
def test_damage_is_found(bounded: bool) -> None:
    codec, array = CODECS[True, bounded], state(14, 11)
    codec.tolerances = np.full(2, 1e-6)
    data = bytearray(codec.encode(array))
    for cut in (0, 5, len(data) - 1):
        with pytest.raises(SnapshotError, match="an encoded snapshot has"):
            codec.decode(memoryview(data[:cut]), np.empty_like(array))
    for place in (0, 20, len(data) - 1):
        data[place] ^= 4
        with pytest.raises(SnapshotError, match="an encoded snapshot has another checksum"):
            codec.decode(memoryview(data), np.empty_like(array))
        data[place] ^= 4


@over_networks
def test_the_file_brings_the_same_codec(network: bool, tmp_path: Path) -> None:
    one = autoencoder(network=network)
    write(tmp_path / "codec.h5", one, {"seed": 3})
    found = read(tmp_path / "codec.h5", "it")
    assert codec_of(found).encode(state(14, 11)) == codec_of(one).encode(state(14, 11))
    assert (found.kind, len(found.encoder), len(found.decoder)) == (
        one.kind, len(one.encoder), len(one.decoder),
    )  # fmt: skip


def _alter(name: str, value: Any) -> Any:
    def alter(file: h5py.File) -> None:
        if name in file:
            del file[name]
            file[name] = value
        else:
            file.attrs[name] = value

    return alter


def _flip(file: h5py.File) -> None:
    file["decoder/0"][2, 3] += 1e-3


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (_alter("format", "other"), "it is no file of `burgers-adjoint train`"),
        (
            _alter("equation", "heat"),
            f"it was trained for the equation 'heat', expected '{EQUATION}'",
        ),
        (_alter("fields", "u v w"), "it was trained for the fields 'u v w', expected 'u v'"),
        (_alter("patch", 5), r"/analysis has the shape \(32, 12\), expected \(50, any\)"),
        (_alter("decoder/0", np.zeros((3, 6))), r"/decoder/0 has the shape \(3, 6\), expected \("),
        (_alter("synthesis", "text"), "/synthesis holds object, not real numbers"),
        (_alter("patch", "wide"), "it is damaged: its attribute patch is wide"),
        (_alter("n_wide", 2), "it is damaged: its checksum is not the one that was written"),
        (_flip, "it is damaged: its checksum is not the one that was written"),
    ],
)
def test_a_file_that_does_not_fit_is_said(alter: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "codec.h5"
    write(path, autoencoder(network=True), {})
    with h5py.File(path, "r+") as file:
        alter(file)
    sections = {"snapshots": {"codec": "learned", "learned": str(path)}}
    with pytest.raises(ConfigError, match=f"snapshots.learned = {path}: {message}"):
        gradient({**sections, "grid": {"nx": 13, "ny": 9}, "time": {"steps": 3}})


def test_a_missing_or_broken_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "codec.h5"
    with pytest.raises(ConfigError, match="it: there is no such file"):
        read(path, "it")
    path.write_bytes(b"\x89HDF" + bytes(100))
    with pytest.raises(ConfigError, match="it: cannot be read as HDF5"):
        read(path, "it")
    with pytest.raises(ConfigError, match="expected the path of a file that `train` has made"):
        from_dict({"snapshots": {"codec": "learned"}})


def gradient(sections: dict[str, Any]) -> Any:
    with ba.Problem(sections) as problem:
        return problem.value_and_gradient()[1]


def trained(path: Path, **section: Any) -> Any:
    sections = {**QUICK, "train": {**QUICK["train"], **section}}
    config = from_dict({**sections, "snapshots": {"learned": str(path)}})
    return train(config, all_ranks(), Progress(shown=False))


def test_principal_components_are_trained_without_pytorch(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    first, second, other = (tmp_path / f"{name}.h5" for name in ("first", "second", "other"))
    summary = trained(first)
    assert (summary.kept, [*summary.kinds], summary.ratio) == ("linear", ["linear"], 16.0)
    assert summary.without.startswith("not tried: training a network needs PyTorch: install")
    assert 0 < summary.kinds["linear"].error < 0.05
    trained(second)
    assert (read(first, "").analysis == read(second, "").analysis).all()
    trained(other, seed=1)
    assert (read(first, "").analysis != read(other, "").analysis).any()
    with h5py.File(first) as file:
        assert file.attrs["seed"] == 0
        assert "[train]" in file.attrs["config"]
        assert "h5py" in file.attrs["versions"]
    with pytest.raises(BurgersAdjointError, match="training a network needs PyTorch"):
        trained(first, kind="network")


def test_a_network_is_trained_and_its_seed_decides(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "codec.h5"
    summary = trained(path, kind="network", epochs=8)
    found = read(path, "")
    assert (summary.kept, found.kind) == ("network", "network")
    assert summary.losses[-1] < summary.losses[0]
    assert [weights.shape for weights in found.encoder] == [(32, 9), (9, found.n_latents)]
    # smooth patches are those of the wide latents, which layers do not see
    assert np.abs(found.synthesis[: found.n_wide] @ found.encoder[0]).max() < 1e-4
    trained(path, kind="network", epochs=8)
    again = read(path, "")
    for one, two in zip(found.encoder, again.encoder, strict=True):
        assert (one == two).all()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"patch": 2, "ratio": 64}, "train.ratio = 64: expected a smaller one, which leaves a pa"),
        ({"coarsening": [20]}, "grid.nx = 2: expected a whole number >= 3"),
        ({"ratio": 4}, "train.ratio = 4: expected a number >= 8 and <= 4096"),
    ],
)
def test_wrong_training_is_said(section: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        trained(tmp_path / "codec.h5", kind="linear", **section)


def test_training_needs_a_name_for_its_file() -> None:
    with pytest.raises(ConfigError, match="expected the path of the file that `train` writes"):
        train(from_dict(QUICK), all_ranks(), Progress(shown=False))


def test_missing_pytorch_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"install burgers_adjoint\[learned\], or set train"):
        torch_or_error()


@pytest.mark.parametrize("store", ["memory", "hdf5", "tiered"])
@pytest.mark.parametrize("schedule", ["store_all", "binomial"])
def test_gradients_from_encoded_states_are_close(store: str, schedule: str, tmp_path: Path) -> None:
    path = tmp_path / "codec.h5"
    write(path, autoencoder(24), {})
    sections = {
        "grid": {"nx": 30, "ny": 23, "x": [-3, 4]},
        "time": {"steps": 30, "dt": 0.01},
        "checkpointing": {"schedule": schedule, "snapshots": 6},
    }
    exact = gradient(sections)["initial"]
    place = {"store": store, "directory": str(tmp_path), "learned": str(path), "codec": "learned"}
    errors = []
    for more in ({}, {"tolerance": 1e-5}, {"tolerance": 1e-9}):
        found = gradient({**sections, "snapshots": {**place, **more}})["initial"]
        errors.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    assert errors[0] < 0.1
    assert 0 < errors[1] < 1e-4
    assert 0 < errors[2] < 1e-8


def test_the_command_tells_errors_and_what_is_kept(
    tmp_path: Path, mpi_environment: dict[str, str]
) -> None:
    path = tmp_path / "codec.h5"
    keys = ["grid.nx=30", "grid.ny=23", "time.steps=12", "train.patch=4", "train.ratio=16"]
    keys += ["train.runs=1", "train.states=4", "train.samples=300", "train.kind=linear"]
    options = [option for key in keys for option in ("-s", key)]
    command = [sys.executable, "-m", "burgers_adjoint", "train", *options]
    done = subprocess.run(
        [*command, "-s", f"snapshots.learned={path}", "--json", str(tmp_path / "summary.json")],
        env=mpi_environment, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "a patch               4 x 4 points in 16 bytes" in done.stdout
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["kept"] == read(path, "").kind == "linear"
    assert summary["kinds"]["linear"]["error"] > 0
    done = subprocess.run(command, env=mpi_environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 2
    assert 'snapshots.learned = "": expected the path of the file' in done.stderr


@pytest.mark.parametrize("more", [{}, {"tolerance": 1e-5}], ids=["unbounded", "bounded"])
def test_only_errors_that_are_bounded_are_estimated(more: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "codec.h5"
    write(path, autoencoder(), {})
    sections = {
        "grid": {"nx": 30, "ny": 23},
        "time": {"steps": 60},
        "snapshots": {"codec": "learned", "learned": str(path), **more},
        "output": {"directory": str(tmp_path), "plots": False},
    }
    told = run_gradient(from_dict(sections), all_ranks(), Progress(shown=False)).compression
    assert (told.gradient_error is None) == (more == {})
    assert told.ratio > 1

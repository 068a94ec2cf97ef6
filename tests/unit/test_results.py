import json
import logging
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.config import load
from burgers_adjoint.errors import BurgersAdjointError, ConfigError
from burgers_adjoint.files.whole import replaced_when_complete, require_writable, write_text
from burgers_adjoint.output import plots
from burgers_adjoint.output.folder import prepare_directory
from burgers_adjoint.output.results import write_results
from burgers_adjoint.parallel.decomposition import Decomposition

ROOT = Path(__file__).parents[2]
SHAPE = (5, 7)
X, Y = np.linspace(-1, 1, SHAPE[1]), np.linspace(0, 4, SHAPE[0])


def fields(shape=SHAPE):
    random = np.random.default_rng(1)
    names = ("state/initial", "state/final", "gradient/initial")
    return {f"/{name}/{field}": random.normal(size=shape) for name in names for field in "uv"}


def write(path, tiles=None, x=X, y=Y):
    shape = (len(y), len(x))
    decomposition = Decomposition(MPI.COMM_SELF, shape, False)
    tiles = fields(shape) if tiles is None else tiles
    scalars = {"/gradient/viscosity": 0.25}
    attributes = {"config": "[grid]\n", "summary": json.dumps({"ü": "x" * 100_000}), "ranks": 1}
    write_results(path, decomposition, x, y, tiles, scalars, attributes)
    return tiles


def test_results_hold_fields_in_global_order_with_their_coordinates(tmp_path):
    path = tmp_path / "results.h5"
    expected = write(path)
    with h5py.File(path) as file:
        for name, field in expected.items():
            assert file[name].dtype == np.float64
            np.testing.assert_array_equal(file[name], field)
            assert [dimension.keys() for dimension in file[name].dims] == [["y"], ["x"]]
            np.testing.assert_array_equal(file[name].dims[0]["y"], Y)
            np.testing.assert_array_equal(file[name].dims[1]["x"], X)
        assert file["gradient/viscosity"][()] == 0.25
        assert file.attrs["config"] == "[grid]\n"
        assert len(json.loads(file.attrs["summary"])["ü"]) == 100_000
    assert os.listdir(tmp_path) == ["results.h5"]


def test_a_second_run_replaces_the_results_and_what_a_killed_one_left(tmp_path):
    path = tmp_path / "results.h5"
    write(path)
    (tmp_path / "results.h5.partial").write_bytes(b"half a file")
    expected = {name: field + 1 for name, field in fields().items()}
    write(path, expected)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["state/final/v"], expected["/state/final/v"])
    assert os.listdir(tmp_path) == ["results.h5"]


def test_a_tile_of_the_wrong_shape_is_named(tmp_path):
    with pytest.raises(
        BurgersAdjointError,
        match=r"^/state/u has shape \(7, 5\) on rank 0, whose tile has \(5, 7\)$",
    ):
        write(tmp_path / "results.h5", {"/state/u": np.zeros((7, 5))})
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "missing" / "results.h5"
    with pytest.raises(BurgersAdjointError, match=f"^cannot write {path}: No such file") as error:
        write(path)
    assert error.value.agreed
    assert error.value.exit_code == 1


@pytest.fixture
def small_files():
    """Let no file of this process grow beyond 300 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_that_fails_leaves_the_old_results(tmp_path, small_files):
    path = tmp_path / "results.h5"
    expected = write(path)
    with pytest.raises(BurgersAdjointError, match=f"^cannot write {path}: File too large"):
        write(path, x=np.linspace(0, 1, 300), y=np.linspace(0, 1, 200))
    assert os.listdir(tmp_path) == ["results.h5"]
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["state/initial/u"], expected["/state/initial/u"])


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk takes root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("filled", [0, 4, 1000])
def test_a_full_disk_is_named_and_leaves_nothing_behind(small_disk, filled):
    """Filled before, in the last kilobytes, and by the fields: HDF5 fails in different places."""
    path = small_disk / "results.h5"
    if filled:
        (small_disk / "filler").write_bytes(b"x" * (2**20 - filled * 1024))
    with pytest.raises(BurgersAdjointError, match=f"^cannot write {path}: No space left"):
        write(path, x=np.linspace(0, 1, 300), y=np.linspace(0, 1, 200))
    assert [name for name in os.listdir(small_disk) if name != "filler"] == []


def test_a_full_disk_does_not_crash_at_exit(small_disk):
    """HDF5 1.10 ends the process with a segmentation fault when its close meets a full disk."""
    (small_disk / "filler").write_bytes(b"x" * (2**20 - 16 * 1024))
    script = (
        "import test_results, pathlib, sys\n"
        "try:\n"
        "    test_results.write(pathlib.Path(sys.argv[1]))\n"
        "except test_results.BurgersAdjointError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, small_disk / "results.h5"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stderr == ""
    assert done.stdout == f"cannot write {small_disk}/results.h5: No space left on device\n"
    assert done.returncode == 0


def test_the_output_folder_holds_its_config_from_the_start(tmp_path):
    directory = tmp_path / "a" / "b"
    config = load(None, ["grid.nx=9"], str(directory))
    assert prepare_directory(config, MPI.COMM_SELF) == directory
    assert os.listdir(directory) == ["config.toml"]
    assert load(str(directory / "config.toml")) == config
    prepare_directory(config, MPI.COMM_SELF)


def test_an_output_folder_that_cannot_be_is_named_with_the_reason(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for directory in (file, file / "below"):
        with pytest.raises(
            BurgersAdjointError, match=f"^cannot make the output folder {directory}: "
        ) as error:
            prepare_directory(load(None, [], str(directory)), MPI.COMM_SELF)
        assert "is a file" in str(error.value) or "Not a directory" in str(error.value)
        assert error.value.agreed


def test_an_output_folder_without_permission_is_found_at_the_start(tmp_path):
    """Not even root can write to /proc; others are refused by the permissions too."""
    with pytest.raises(BurgersAdjointError, match=r"^cannot (make the output folder|write) /proc"):
        prepare_directory(load(None, [], "/proc/self"), MPI.COMM_SELF)


def test_a_file_is_replaced_only_when_it_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted():
        with replaced_when_complete(path) as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_to_a_file_stays_a_link(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_a_text_goes_straight_into_what_is_no_file(tmp_path):
    reader, writer = os.pipe()
    write_text(f"/dev/fd/{writer}", "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    os.close(writer)
    with pytest.raises(BurgersAdjointError, match=f"^cannot write {tmp_path}: Is a directory"):
        write_text(tmp_path, "text")


def test_a_file_that_cannot_be_written_is_found_out_beforehand(tmp_path):
    require_writable(tmp_path / "new")
    (tmp_path / "old").write_text("old")
    require_writable(tmp_path / "old")
    assert (tmp_path / "old").read_text() == "old"
    assert os.listdir(tmp_path) == ["old"]
    path = tmp_path / "missing" / "file"
    with pytest.raises(ConfigError, match=f"^cannot write {path}: No such file"):
        require_writable(path)
    with pytest.raises(ConfigError, match=f"^cannot write {tmp_path}: Is a directory"):
        require_writable(tmp_path)


def test_looking_at_a_pipe_beforehand_does_not_end_its_reader(tmp_path):
    reader, writer = os.pipe()
    require_writable(f"/dev/fd/{writer}")
    os.write(writer, b"still open")
    assert os.read(reader, 100) == b"still open"
    os.close(writer)
    os.close(reader)
    os.mkfifo(tmp_path / "pipe")
    require_writable(tmp_path / "pipe")  # nobody reads: opening it would wait
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_looking_at_a_full_disk_leaves_nothing_behind(small_disk):
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 2**20)
    with pytest.raises(BurgersAdjointError, match=r"summary\.json: No space left") as error:
        require_writable(small_disk / "summary.json")
    assert error.value.exit_code == 1
    assert os.listdir(small_disk) == ["filler"]


def png_size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_the_gradient_is_drawn_from_the_results(tmp_path):
    pytest.importorskip("matplotlib")
    write(tmp_path / "results.h5")
    assert plots.plot_results(tmp_path / "results.h5", tmp_path / "gradient.png")
    width, height = png_size(tmp_path / "gradient.png")
    assert width > 1000
    assert height > 500
    assert sorted(os.listdir(tmp_path)) == ["gradient.png", "results.h5"]


def test_results_without_a_gradient_give_no_picture(tmp_path):
    write(tmp_path / "results.h5", {"/state/initial/u": np.zeros(SHAPE)})
    assert not plots.plot_results(tmp_path / "results.h5", tmp_path / "gradient.png")
    assert os.listdir(tmp_path) == ["results.h5"]


def test_large_fields_are_thinned_for_the_picture(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(
        plots, "panel", lambda figure, axis, x, y, field, *_: drawn.append((x, y, field))
    )
    x, y = np.linspace(0, 1, 2500), np.linspace(0, 1, 30)
    field = np.arange(2 * 30 * 2500.0).reshape(2, 30, 2500)
    assert plots.plot_gradient(tmp_path / "a.png", x, y, field, field, field)
    for thin_x, thin_y, thin in drawn:
        assert thin.shape == (30, 834)
        np.testing.assert_array_equal(thin_x, x[::3])
        np.testing.assert_array_equal(thin_y, y)
    np.testing.assert_array_equal(drawn[0][2], field[0, :, ::3])
    np.testing.assert_array_equal(drawn[3][2], field[1, :, ::3])


def test_finite_differences_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    steps = np.logspace(-2, -10, 9)
    curves = {"viscosity": (steps, steps**2), "u[1, 2]": (steps, np.zeros(9))}
    assert plots.plot_differences(tmp_path / "differences.png", curves)
    assert png_size(tmp_path / "differences.png")[0] > 500


def test_without_matplotlib_a_word_is_left_instead_of_a_picture(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    write(tmp_path / "results.h5")
    with caplog.at_level(logging.WARNING):
        assert not plots.plot_results(tmp_path / "results.h5", tmp_path / "gradient.png")
        assert not plots.plot_differences(tmp_path / "differences.png", {})
    assert caplog.messages == [
        "gradient.png is not drawn: matplotlib is not installed",
        "differences.png is not drawn: matplotlib is not installed",
    ]
    assert os.listdir(tmp_path) == ["results.h5"]

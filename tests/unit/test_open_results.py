"""Results and dumps as xarray, netCDF and VTK read them, compared with what h5py reads."""

import subprocess
import sys
from pathlib import Path
from posixpath import dirname
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.commands.forward import forward
from burgers_adjoint.commands.gradient import gradient
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.output import results
from burgers_adjoint.output.dumps import Dumps
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.results import write_results
from burgers_adjoint.parallel.decomposition import Decomposition

SHAPE = (11, 14)
KNOTS = (0.0, 0.01, 0.02)
LONG_NAMES = {
    "primal": "velocity along y",
    "cotangent": "derivative of the objective by the velocity along y",
}
ENGINES = ("h5netcdf", "netcdf4")
READER = Path(__file__).parents[1] / "vtk_fields.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The output folder of a gradient by numbers, fields and fields at knots, with its dumps."""
    folder = tmp_path_factory.mktemp("run")
    sections: dict = {
        "grid": {"nx": SHAPE[1], "ny": SHAPE[0], "x": [-1.0, 2.0], "y": [0.0, 1.5]},
        "initial": {"amplitude": [1.0, -0.4], "width": 0.7, "center": [0.3, 0.8]},
        "time": {"steps": 9, "dt": 0.003},
        "gradient": {"controls": ["initial", "viscosity", "viscosity_field", "forcing_in_time"]},
        "controls": {"knots": list(KNOTS)},
        "checkpointing": {"snapshots": 3},
        "output": {"directory": str(folder), "every": 3, "plots": False},
    }
    gradient(from_dict(sections), MPI.COMM_SELF, Progress(False))
    return folder


@pytest.fixture(params=ENGINES)
def engine(request) -> str:
    pytest.importorskip({"h5netcdf": "h5netcdf", "netcdf4": "netCDF4"}[request.param])
    return request.param


@pytest.fixture(scope="module")
def xarray():
    return pytest.importorskip("xarray", minversion="2024.10")


def datasets(path: Path) -> dict[str, np.ndarray]:
    """All datasets by their paths, links to axes and times too."""
    found = {}

    def look(group: h5py.Group, path: str) -> None:
        for name, item in group.items():
            if isinstance(item, h5py.Dataset):
                found[f"{path}/{name}"] = item[()]
            else:
                look(item, f"{path}/{name}")

    with h5py.File(path) as file:
        look(file, "")
    return found


def seen_by_vtk(path: Path, folder: Path) -> dict[str, np.ndarray]:
    pytest.importorskip("vtk", minversion="9.3")
    out = folder / "seen.npz"
    command = [sys.executable, str(READER), str(path), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with np.load(out) as seen:
        return dict(seen)


def test_tree_holds_what_the_file_holds(run, xarray, engine):
    expected = datasets(run / "results.h5")
    assert sum(field.shape == SHAPE for field in expected.values()) == 4 + 2 + 1 + 2 * len(KNOTS)
    with xarray.open_datatree(run / "results.h5", engine=engine) as tree:
        for path, values in expected.items():
            np.testing.assert_array_equal(tree[path], values)
        assert tree.attrs["Conventions"] == "CF-1.8"
        assert "nx = 14" in tree.attrs["config"]
        for node in tree.subtree:
            for name, variable in node.data_vars.items():
                assert variable.attrs["units"] == "1", (node.path, name)
                assert variable.attrs["long_name"]
                if variable.shape:
                    assert variable.dims == ("y", "x")
                    np.testing.assert_array_equal(variable.x, np.linspace(-1, 2, 14))
                    np.testing.assert_array_equal(variable.y, np.linspace(0, 1.5, 11))


@pytest.mark.parametrize(
    "group", ["state/final", "gradient/initial", "gradient/forcing_in_time/0001"]
)
def test_each_group_alone_has_its_coordinates(run, xarray, engine, group):
    with xarray.open_dataset(run / "results.h5", engine=engine, group=group) as fields:
        assert set(fields.data_vars) == {"u", "v"}
        assert {"x", "y"} <= set(fields.coords)
        assert fields.x.attrs["axis"] == "X"
        assert fields.y.attrs["axis"] == "Y"
        assert ("time" in fields.coords) == (group != "gradient/initial")
        rows = fields.u.sel(y=slice(0.2, 0.7))
        with h5py.File(run / "results.h5") as file:
            np.testing.assert_array_equal(rows, file[group]["u"][2:5])


def test_walk_through_a_file_finds_axes_where_they_are(run):
    with h5py.File(run / "results.h5") as file:
        found: list[str] = []
        file.visit(found.append)
        assert [path for path in found if path.endswith(("x", "/y"))] == ["x"]
        assert file["state/final/x"] == file["x"]


def test_long_names_say_what_fields_are(run, xarray, engine):
    with xarray.open_datatree(run / "results.h5", engine=engine) as tree:
        for path, name in {
            "objective": "objective",
            "state/final/v": "final velocity along y",
            "gradient/viscosity": "derivative of the objective by the viscosity",
            "gradient/viscosity_field": "derivative of the objective by the viscosity field",
            "gradient/forcing_in_time/0002/u":
                "derivative of the objective by the forcing at a knot along x",
            "state/initial/time": "time since the start of the run",
        }.items():  # fmt: skip
            assert tree[path].attrs["long_name"] == name


def test_knots_are_a_series(run, xarray, engine):
    with xarray.open_datatree(run / "results.h5", engine=engine) as tree:
        knots = tree["gradient/forcing_in_time"].children.values()
        series = xarray.concat([knot.to_dataset() for knot in knots], "time")
        np.testing.assert_array_equal(series.time, KNOTS)
        assert series.u.shape == (len(KNOTS), *SHAPE)
        assert float(tree["state/final/time"]) == pytest.approx(0.027)


@pytest.mark.parametrize("group", ["primal", "cotangent"])
def test_dumps_are_one_series(run, xarray, engine, group):
    paths = sorted((run / "dumps").glob("step-*.h5"))
    opened = [xarray.open_dataset(path, engine=engine, group=group) for path in paths]
    series = xarray.concat(opened, "time", coords=["step"])  # as open_mfdataset does, with Dask
    assert series.v.dims == ("time", "y", "x")
    assert series.v.attrs == {"long_name": LONG_NAMES[group], "units": "1"}
    np.testing.assert_array_equal(series.step, [0, 3, 6, 9])
    np.testing.assert_allclose(series.time, [0, 0.009, 0.018, 0.027], rtol=1e-14)
    for number, path in enumerate(paths):
        with h5py.File(path) as file:
            assert file["time"][()] == series.time[number]
            np.testing.assert_array_equal(series.v[number], file[group]["v"])
        opened[number].close()


@pytest.mark.filterwarnings("ignore:The 'phony_dims' kwarg")  # of the times, which no field has
def test_observed_fields_are_a_series(tmp_path, xarray, engine):
    times = (0.006, 0.015, 0.027)
    sections: dict = {
        "grid": {"nx": SHAPE[1], "ny": SHAPE[0]},
        "time": {"steps": 9, "dt": 0.003},
        "observations": {"times": list(times)},
        "output": {"directory": str(tmp_path), "plots": False},
    }
    path = tmp_path / "observations.h5"
    forward(from_dict(sections), MPI.COMM_SELF, Progress(False), str(path))
    groups = [f"fields/{number:04d}" for number in range(len(times))]
    fields = [xarray.open_dataset(path, engine=engine, group=group) for group in groups]
    series = xarray.concat(fields, "time")
    np.testing.assert_array_equal(series.time, times)
    assert series.u.attrs["long_name"] == "observed velocity along x"
    with h5py.File(path) as file:
        np.testing.assert_array_equal(series.v[1], file["fields/0001/v"])
    for one in fields:
        one.close()


def test_vtk_reads_the_results(run, tmp_path):
    expected = datasets(run / "results.h5")
    seen = seen_by_vtk(run / "results.xdmf", tmp_path)
    fields = {path.strip("/") for path, values in expected.items() if values.shape == SHAPE}
    assert len(fields) == 13
    assert seen.pop("times").size == 0
    assert seen.keys() == {f"0:{path}" for path in fields | {"x", "y"}}
    for name, values in seen.items():
        np.testing.assert_array_equal(values, expected["/" + name.removeprefix("0:")])


def test_vtk_reads_the_dumps_as_a_series(run, tmp_path):
    paths = sorted((run / "dumps").glob("step-*.h5"))
    seen = seen_by_vtk(run / "dumps" / "steps.xdmf", tmp_path)
    for number, path in enumerate(paths):
        expected = datasets(path)
        assert seen["times"][number] == expected["/time"]
        for name in ("x", "y", "primal/u", "primal/v", "cotangent/u", "cotangent/v"):
            np.testing.assert_array_equal(seen[f"{number}:{name}"], expected[f"/{name}"])
    assert len(seen) == 1 + 6 * len(paths)


@pytest.mark.parametrize("n_groups", [7, 2 * results.GROUPS_OF_A_SCALE + 1])
def test_many_groups_share_some_axes(tmp_path, xarray, engine, n_groups):
    """An axis notes all fields that it is of, in no more than 64 KiB."""
    alone = Decomposition(MPI.COMM_SELF, (3, 4), False)
    fields = {
        f"/gradient/forcing_in_time/{n:04d}/u": np.full((3, 4), n + 0.5) for n in range(n_groups)
    }
    path = tmp_path / "results.h5"
    write_results(
        path, alone, np.arange(4.0), np.arange(3.0) / 2, {"/u": np.eye(3, 4)} | fields, {}, {}
    )
    with h5py.File(path) as file:
        noted = [
            len(file[name]["x"].attrs["REFERENCE_LIST"]) for name in ("/", *map(dirname, fields))
        ]
    assert max(noted) <= results.GROUPS_OF_A_SCALE
    for number in (0, n_groups - 1):
        group = f"gradient/forcing_in_time/{number:04d}"
        with xarray.open_dataset(path, engine=engine, group=group) as found:
            np.testing.assert_array_equal(found.u, fields[f"/{group}/u"])
            np.testing.assert_array_equal(found.x, np.arange(4.0))
            np.testing.assert_array_equal(found.y, np.arange(3.0) / 2)


def listed(folder: Path) -> dict[str, float]:
    """The dumps that steps.xdmf lists, with their times; all are there and have all fields."""
    root = ElementTree.parse(folder / "dumps" / "steps.xdmf").getroot()
    found = {}
    for grid in root.findall(".//Grid[@GridType='Uniform']"):
        for item in grid.iter("DataItem"):
            name, path = item.text.split(":")
            with h5py.File(folder / "dumps" / name) as file:
                assert file[path].shape == tuple(map(int, item.get("Dimensions").split()))
        found[name] = float(grid.find("Time").get("Value"))
    assert list(found.values()) == sorted(found.values())
    return found


def dumps_in(folder: Path, continued: bool = False) -> Dumps:
    alone = Decomposition(MPI.COMM_SELF, SHAPE, False)
    return Dumps(folder, 2, 40, alone, np.arange(14.0), np.arange(11.0), continued)


def write_steps(dumps: Dumps, steps: range, both: bool = False) -> None:
    field = np.random.default_rng(7).normal(size=(2, *SHAPE))
    for step in steps:
        dumps.write(step, step * 0.25, field + step, {"cotangent": -field} if both else {})


def test_the_series_is_whole_at_all_times_and_after_a_kill(tmp_path):
    dumps = dumps_in(tmp_path)
    for step in range(0, 20, 2):
        write_steps(dumps, range(step, step + 1))
        there = listed(tmp_path)
        assert (
            there.items() <= {f"step-{n:02d}.h5": n * 0.25 for n in range(0, step + 1, 2)}.items()
        )
        assert there
    # killed here: the newest steps may be missing, and half a list is beside it
    (tmp_path / "dumps" / "steps.xdmf.partial").write_text("<Xdmf>")
    (tmp_path / "dumps" / "step-06.h5").write_bytes(b"damaged")
    again = dumps_in(tmp_path, continued=True)
    assert again.files == 10
    write_steps(again, range(20, 17, -2), both=True)  # step 18 again, with a cotangent
    again.conclude()
    expected = {f"step-{n:02d}.h5": n * 0.25 for n in range(0, 21, 2) if n != 6}
    assert listed(tmp_path) == expected
    assert not list(tmp_path.glob("dumps/*.partial"))
    text = (tmp_path / "dumps" / "steps.xdmf").read_text()
    assert text.count("step-18.h5:/cotangent/v") == 1
    assert text.count("step-16.h5:/cotangent/v") == 0
    # a new run
    dumps_in(tmp_path)
    assert not list((tmp_path / "dumps").iterdir())


def test_a_series_that_cannot_be_written_is_an_error_of_the_end(tmp_path):
    dumps = dumps_in(tmp_path)
    path = tmp_path / "dumps" / "steps.xdmf"
    path.mkdir()
    write_steps(dumps, range(0, 4, 2))
    with pytest.raises(BurgersAdjointError, match=f"^cannot write {path}: Is a directory") as error:
        dumps.conclude()
    assert error.value.agreed
    path.rmdir()
    dumps.conclude()
    assert len(listed(tmp_path)) == 2

import pickle
import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burgers_adjoint.config import Config, from_dict, load
from burgers_adjoint.config.checks import LEAST, MOST
from burgers_adjoint.config.keys import EXAMPLE, as_toml, keys
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.files import hdf5

CONFIGS = Path(__file__).parents[2] / "configs"


MAGNITUDE = "expected a magnitude from 1e-50 to 1e+50, or 0 where that is allowed"


def test_numbers_that_nothing_takes_a_power_of_may_be_small_or_large():
    config = from_dict(
        {
            "objective": {"kind": "weighted_sum", "weights": {"final_energy": 1e-200}},
            "controls": {"upper": {"viscosity": 1e300}},
            "tao": {"gatol": 1e-300},
        }
    )
    assert config.objective.weights == {"final_energy": 1e-200}


def test_files_may_hold_the_magnitudes_of_a_configuration():
    assert (hdf5.LEAST, hdf5.MOST) == (LEAST, MOST)


def test_defaults_are_the_published_problem():
    config = load(None)
    assert config == Config()
    assert (config.grid.nx, config.grid.ny) == (100, 100)
    assert config.grid.x == config.grid.y == (-4.95, 4.95)
    assert (config.time.dt, config.time.steps, config.physics.viscosity) == (1e-3, 1000, 0.01)
    assert (config.initial.kind, config.initial.width) == ("gaussian", 1.65)


def test_default_file_is_what_the_command_prints():
    """`burgers-adjoint info --keys >configs/default.toml` makes it."""
    path = CONFIGS / "default.toml"
    assert path.read_text() == as_toml(keys(Config())) + "\n"
    assert load(str(path)) == Config()


def test_every_key_is_explained():
    for section, table in keys(Config()).items():
        assert list(table) == list(getattr(Config(), section).__struct_fields__)
        for key, told in table.items():
            assert told["meaning"], f"{section}.{key}: no line in the docstring of its section"
            assert told["allowed"]


def test_keys_that_are_not_set_stand_there_with_an_example():
    described = keys(Config())
    unset = [
        (section, key, told["meaning"].partition(EXAMPLE)[2])
        for section, table in described.items()
        for key, told in table.items()
        if told["value"] is None
    ]
    assert len(unset) > 5
    for section, key, example in unset:
        config = load(None, [f"{section}.{key}={example}", *OTHERWISE.get(key, [])])
        assert getattr(getattr(config, section), key) is not None
        assert f"\n# {key} = {example} " in as_toml(described)


# what goes with an example
OTHERWISE = {
    "steady": ["checkpointing.schedule=online"],
    "host_memory": ["parallel.device=cuda", "snapshots.store=tiered"],
    "tolerance": ["snapshots.codec=bounded"],
    "gradient_error": ["snapshots.codec=bounded"],
} | {
    name: [f'gradient.controls=["{name}"]', "controls.knots=[0.0, 1.0]"]
    for name in ("viscosity_field", "forcing", "forcing_in_time")
}


def test_keys_show_the_values_of_a_configuration():
    config = load(None, ["grid.nx=7", "time.until=2.5", "initial.path=a.h5", "initial.kind=file"])
    text = as_toml(keys(config))
    assert from_dict(tomllib.loads(text)) == config
    prior = '{kind="matern", length=2.0, deviation=0.1}'
    config = load(None, ["controls.scale={viscosity=0.1}", f"background.initial={prior}"])
    assert from_dict(tomllib.loads(as_toml(keys(config)))) == config
    assert keys(config)["grid"]["nx"]["default"] == 100
    assert keys(config)["grid"]["nx"]["allowed"] == "a whole number >= 3"


def test_published_file_is_the_default_problem():
    published = load(str(CONFIGS / "published.toml"), directory="output")
    assert published == Config()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_ready_made_runs_load_and_keep_the_stability_limits(path):
    config = load(str(path))
    grid, nu, dt = config.grid, config.physics.viscosity, config.time.dt
    repeated = 0 if grid.boundary == "periodic" else 1
    dx = (grid.x[1] - grid.x[0]) / (grid.nx - repeated)
    dy = (grid.y[1] - grid.y[0]) / (grid.ny - repeated)
    assert nu * dt * (1 / dx**2 + 1 / dy**2) <= 0.5
    assert dt * sum(amplitude**2 for amplitude in config.initial.amplitude) <= 2 * nu
    assert not config.time.allow_unstable


def test_periodic_run_has_nothing_symmetric():
    config = load(str(CONFIGS / "periodic.toml"))
    assert config.grid.nx != config.grid.ny
    assert config.initial.amplitude[0] != config.initial.amplitude[1]


def test_overrides_take_toml_values_and_bare_words():
    config = load(
        None,
        [
            "grid.boundary=periodic",
            'objective.kind="final_energy"',
            "output.directory=/tmp/x y",
            "grid.nx = 7 # points",
            "initial.width=[1, 2.5]",
            "physics.viscosity=0",
            "parallel.process_grid=[2, 3]",
            "gradient.controls=['viscosity']",
            "time.allow_unstable=true",
        ],
    )
    assert config.grid.boundary == "periodic"
    assert config.output.directory == "/tmp/x y"
    assert config.grid.nx == 7
    assert config.initial.width == (1.0, 2.5)
    assert config.physics.viscosity == 0.0
    assert config.parallel.process_grid == (2, 3)
    assert config.gradient.controls == ("viscosity",)
    assert config.time.allow_unstable


def test_the_last_override_wins_and_the_folder_of_the_command_line_over_all(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('[grid]\nnx = 5\nny = 6\n[output]\ndirectory = "a"\n')
    config = load(str(file), ["grid.nx=8", "grid.nx=9", "output.directory=b"], "12")
    assert (config.grid.nx, config.grid.ny, config.output.directory) == (9, 6, "12")


def test_an_override_can_put_right_what_the_file_has_wrong(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[grid]\nnx = 2\n")
    assert load(str(file), ["grid.nx=4"]).grid.nx == 4


def test_an_initial_path_means_the_same_file_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    config = load(None, ["initial.kind=file", "initial.path=u.h5"])
    assert config.initial.path == str(tmp_path / "u.h5")
    config = load(None, ["truth.kind=file", "truth.path=u.h5", "observations.path=seen.h5"])
    assert config.truth.path == str(tmp_path / "u.h5")
    assert config.observations.path == str(tmp_path / "seen.h5")
    config = load(None, ["initial.kind=file", "initial.path=~/u.h5", "output.directory=~/runs"])
    assert config.initial.path == "/home/somebody/u.h5"
    assert config.output.directory == "/home/somebody/runs"


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["parallel.process_grid=[2, 1]"],
        ["initial.width=[1, 2]", "grid.x=[0, 1e-30]", "time.dt=0.1"],
        ["initial.kind=file", "initial.path=a \"b'\\ü.h5", "check.seed=123456789012345678"],
    ],
    ids=["default", "process grid", "numbers", "text"],
)
def test_toml_of_a_config_loads_to_an_equal_one(tmp_path, overrides):
    config = load(None, overrides)
    (tmp_path / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    assert load(str(tmp_path / "config.toml")) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert pickle.loads(pickle.dumps(config)) == config


@given(
    viscosity=st.just(0.0) | st.floats(LEAST, MOST),
    dt=st.floats(LEAST, MOST),
    directory=st.text(min_size=1).filter(lambda text: not text.startswith("~")),
    steps=st.integers(1, 2**53),
)
def test_every_value_survives_the_way_through_toml(
    tmp_path_factory, viscosity, dt, directory, steps
):
    config = from_dict(
        {
            "physics": {"viscosity": viscosity},
            "time": {"dt": dt, "steps": steps},
            "output": {"directory": directory},
        }
    )
    file = tmp_path_factory.mktemp("toml") / "config.toml"
    file.write_text(config.to_toml(), encoding="utf-8", newline="")
    assert load(str(file)) == config


POINTS = "a whole number >= 3 and <= 2147483647"
COUNT = "a whole number >= 1 and <= 9007199254740992"
NUMBER = f'{COUNT}, or "as many as fit"'
SCHEDULES = (
    'expected one of "binomial", "store_all", "periodic", "online", "multistage", "two_level", '
    '"auto", "checkpoint_schedules:CLASS"'
)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grid.nx=2", f"grid.nx = 2: expected {POINTS}"),
        ("grid.ny=0", f"grid.ny = 0: expected {POINTS}"),
        ("grid.nx=-5", f"grid.nx = -5: expected {POINTS}"),
        ("grid.nx=many", f'grid.nx = "many": expected {POINTS}'),
        ("grid.nx=20.5", f"grid.nx = 20.5: expected {POINTS}"),
        ("grid.nx=true", f"grid.nx = true: expected {POINTS}"),
        ("grid.nx=[20]", f"grid.nx = [20]: expected {POINTS}"),
        ("grid.nx={a = 1}", f'grid.nx = {{"a": 1}}: expected {POINTS}'),
        ("grid.nx=2020-01-01", f"grid.nx = 2020-01-01: expected {POINTS}"),
        ("grid.nx=5\nny = 4", f'grid.nx = "5\\nny = 4": expected {POINTS}'),
        ("grid.x=[2.0, 1.0]", "grid.x = [2.0, 1.0]: expected [x0, x1] with x0 < x1"),
        ("grid.y=[1, 1]", "grid.y = [1.0, 1.0]: expected [y0, y1] with y0 < y1"),
        ("grid.x=[1, 2, 3]", "grid.x = [1, 2, 3]: expected a list of 2, each a number"),
        ("grid.x=[1, 2", 'grid.x = "[1, 2": expected a list of 2, each a number'),
        ("grid.x=[nan, 1]", "grid.x[0] = nan: expected a finite number"),
        ("grid.y=[0, inf]", "grid.y[1] = inf: expected a finite number"),
        ("grid.boundary=wall", 'grid.boundary = "wall": expected one of "dirichlet", "periodic"'),
        ("physics.viscosity=-0.1", "physics.viscosity = -0.1: expected a number >= 0"),
        ("physics.viscosity=nan", "physics.viscosity = nan: expected a finite number"),
        ("physics.viscosity=1e999", "physics.viscosity = inf: expected a finite number"),
        (
            "initial.kind=noise",
            'initial.kind = "noise": expected one of "gaussian", "sines", "file"',
        ),
        (
            "initial.kind=file",
            'initial.path = "": expected the path of an HDF5 file, as initial.kind = "file"',
        ),
        (
            "initial.path=a.h5",
            'initial.path = "a.h5": expected no path, as initial.kind = "gaussian"; '
            'set initial.kind = "file" to read it',
        ),
        ("initial.width=0", "initial.width = 0.0: expected a number > 0, or a list of 2, each > 0"),
        (
            "initial.width=[1, -1]",
            "initial.width = [1.0, -1.0]: expected a number > 0, or a list of 2, each > 0",
        ),
        (
            "initial.width=[1, 2, 3]",
            "initial.width = [1, 2, 3]: expected a number, or a list of 2, each a number",
        ),
        ("initial.amplitude=1", "initial.amplitude = 1: expected a list of 2, each a number"),
        ("initial.center=[nan, 0]", "initial.center[0] = nan: expected a finite number"),
        ("grid.x=[0, 1e200]", f"grid.x[1] = 1e+200: {MAGNITUDE}"),
        ("grid.x=[0, 1e-170]", f"grid.x[1] = 1e-170: {MAGNITUDE}"),
        (f"grid.y=[0, {10**60}]", f"grid.y[1] = {10**60}: {MAGNITUDE}"),
        (
            "grid.x=[1e16, 1.00000000000001e16]",
            "grid.x = [1e+16, 1.00000000000001e+16]: expected an extent in which grid.nx = 100 "
            "points are not the same but for round-off",
        ),
        ("physics.viscosity=5e-324", f"physics.viscosity = 5e-324: {MAGNITUDE}"),
        ("physics.smooth_speed=1e-300", f"physics.smooth_speed = 1e-300: {MAGNITUDE}"),
        ("physics.smooth_speed=1e200", f"physics.smooth_speed = 1e+200: {MAGNITUDE}"),
        ("observations.noise=1e-170", f"observations.noise = 1e-170: {MAGNITUDE}"),
        ("observations.noise=1e200", f"observations.noise = 1e+200: {MAGNITUDE}"),
        ("initial.amplitude=[1, -1e51]", f"initial.amplitude[1] = -1e+51: {MAGNITUDE}"),
        (
            "objective.weights={final_energy = 1e-201}",
            "objective.weights.final_energy = 1e-201: expected a magnitude from 1e-200 to 1e+200, "
            "or 0 where that is allowed",
        ),
        (
            "grid.boundary=periodc",
            'grid.boundary = "periodc", did you mean periodic?: expected one of "dirichlet", '
            '"periodic"',
        ),
        (
            "output.plots=flase",
            'output.plots = "flase", did you mean false?: expected true or false',
        ),
        (
            "controls.scale={viscosty = 1.0}",
            'controls.scale = {"viscosty": 1.0}: viscosty is not in gradient.controls = '
            '["initial", "viscosity"], did you mean viscosity?',
        ),
        (
            "petsc.options=tao_type lmvm",
            'petsc.options = "tao_type lmvm": expected options that begin with a hyphen, such as '
            '"-tao_ls_type armijo"',
        ),
        ("time.dt=0", "time.dt = 0: expected a number > 0"),
        ("time.dt=-1e-3", "time.dt = -0.001: expected a number > 0"),
        ("time.dt=-inf", "time.dt = -inf: expected a finite number"),
        ("time.dt=small", 'time.dt = "small": expected a number > 0'),
        ("time.steps=0", f"time.steps = 0: expected {COUNT}"),
        ("time.steps=-5", f"time.steps = -5: expected {COUNT}"),
        (f"time.steps={10**30}", f"time.steps = {10**30}: expected {COUNT}"),
        (
            "time.integrator=leapfrog",
            'time.integrator = "leapfrog": expected one of "euler", "ssprk3", "rk4"',
        ),
        (
            "time.allow_unstable=True",
            'time.allow_unstable = "True", did you mean true?: expected true or false',
        ),
        ("time.allow_unstable=1", "time.allow_unstable = 1: expected true or false"),
        (
            "objective.kind=cost",
            'objective.kind = "cost": expected one of "final_energy", "running_energy", '
            '"running_enstrophy", "misfit", "weighted_sum"',
        ),
        (
            "gradient.controls=[]",
            "gradient.controls = []: expected a list that is not empty, "
            'each one of "initial", "boundary", "viscosity", "viscosity_field", '
            '"forcing", "forcing_in_time"',
        ),
        (
            "gradient.controls=initial",
            'gradient.controls = "initial": expected a list that is not empty, '
            'each one of "initial", "boundary", "viscosity", "viscosity_field", '
            '"forcing", "forcing_in_time"',
        ),
        (
            "gradient.controls=['initial', 'dt']",
            'gradient.controls = ["initial", "dt"]: expected a list that is not empty, '
            'each one of "initial", "boundary", "viscosity", "viscosity_field", '
            '"forcing", "forcing_in_time"',
        ),
        (
            "gradient.controls=['viscosity', 'viscosity']",
            'gradient.controls = ["viscosity", "viscosity"]: expected each control once',
        ),
        (
            "gradient.controls=['forcing_in_time']",
            "controls.knots = []: expected the times of the knots, as gradient.controls has "
            "forcing_in_time",
        ),
        (
            "gradient.inner_product=h1",
            'gradient.inner_product = "h1": expected one of "euclidean", "l2"',
        ),
        ("checkpointing.snapshots=0", f"checkpointing.snapshots = 0: expected {NUMBER}"),
        ("checkpointing.snapshots=-1", f"checkpointing.snapshots = -1: expected {NUMBER}"),
        ("checkpointing.schedule=random", f'checkpointing.schedule = "random": {SCHEDULES}'),
        (
            "checkpointing.schedule=two_lvel",
            f'checkpointing.schedule = "two_lvel", did you mean two_level?: {SCHEDULES}',
        ),
        (
            "checkpointing.schedule=checkpoint_schedules:",
            f'checkpointing.schedule = "checkpoint_schedules:": {SCHEDULES}',
        ),
        (
            "checkpointing.schedule=two_level",
            "checkpointing.snapshots_on_disk = 0: expected at least 1, "
            'as checkpointing.schedule = "two_level"',
        ),
        (
            "checkpointing.arguments={ max_n = 3 }",
            'checkpointing.arguments = {"max_n": 3}: expected none, as checkpointing.schedule = '
            '"binomial"; they are for checkpoint_schedules:CLASS',
        ),
        ("checkpointing.period=0", f"checkpointing.period = 0: expected {COUNT}"),
        ("time.until=0", "time.until = 0: expected a number > 0"),
        ("time.cfl=1.5", "time.cfl = 1.5: expected a number > 0 and <= 1"),
        ("time.steady=-1", "time.steady = -1: expected a number > 0"),
        (
            "time.steady=1e-3",
            'checkpointing.schedule = "binomial": expected "online", as time.steady = 0.001 '
            "leaves the number of steps open",
        ),
        (
            "snapshots.store=tape",
            'snapshots.store = "tape": expected one of "memory", "hdf5", "hdf5_shared", "tiered", '
            '"pinned"',
        ),
        (
            "snapshots.buffers=1",
            "snapshots.buffers = 1: expected a whole number >= 2 and <= 1024",
        ),
        (
            "snapshots.driver=mpi",
            'snapshots.driver = "mpi", did you mean mpio?: expected one of "auto", "direct", '
            '"mpio"',
        ),
        (
            "snapshots.alignment=1 stripe",
            'snapshots.alignment = "1 stripe": expected a size such as 2 GiB or 500 MB, '
            "with B, kB, MB, GB, TB, KiB, MiB, GiB, TiB",
        ),
        ("snapshots.asynchronous=2", "snapshots.asynchronous = 2: expected true or false"),
        ("snapshots.keep=no", 'snapshots.keep = "no": expected true or false'),
        (
            "snapshots.memory=2 Gib",
            'snapshots.memory = "2 Gib": expected a size such as 2 GiB or 500 MB, '
            "with B, kB, MB, GB, TB, KiB, MiB, GiB, TiB",
        ),
        (
            "snapshots.memory=1.5",
            'snapshots.memory = 1.5: expected a size per rank such as "2 GiB", '
            "or a share of the free memory > 0 and <= 1",
        ),
        (
            "snapshots.host_memory=much",
            'snapshots.host_memory = "much": expected a size such as 2 GiB or 500 MB, '
            "with B, kB, MB, GB, TB, KiB, MiB, GiB, TiB",
        ),
        (
            "snapshots.host_memory=1.5",
            'snapshots.host_memory = 1.5: expected a size per rank such as "2 GiB", '
            "a share of the free memory <= 1, or 0 for none",
        ),
        (
            "snapshots.host_memory=0.5",
            'snapshots.host_memory = 0.5: expected none, or 0, as parallel.device = "cpu"; '
            'it is for states of a device in the stores "pinned" and "tiered"',
        ),
        (
            "parallel.process_grid=[0, 4]",
            f"parallel.process_grid = [0, 4]: expected a list of 2, each {COUNT}",
        ),
        (
            "parallel.process_grid=4",
            f"parallel.process_grid = 4: expected a list of 2, each {COUNT}",
        ),
        ("output.directory=", 'output.directory = "": expected a text that is not empty'),
        ("output.directory=7", "output.directory = 7: expected a text that is not empty"),
        (
            "output.every=-1",
            f"output.every = -1: expected a whole number >= 0 and <= {2**53}",
        ),
        ("output.plots=no", 'output.plots = "no": expected true or false'),
        (
            "check.seed=-1",
            "check.seed = -1: expected a whole number >= 0 and <= 9223372036854775807",
        ),
        ("check.points=0", "check.points = 0: expected a whole number >= 1 and <= 1000"),
        (
            "grid.nxx=3",
            "unknown key grid.nxx = 3, did you mean nx?; allowed in [grid]: nx, ny, x, y, boundary",
        ),
        (
            "time.Steps=3",
            "unknown key time.Steps = 3, did you mean steps?; "
            "allowed in [time]: dt, steps, until, cfl, steady, integrator, stages, "
            "allow_unstable",
        ),
        (
            "physics.colour=red",
            'unknown key physics.colour = "red"; allowed in [physics]: viscosity, advection, '
            "smooth_speed",
        ),
        (
            "grid.nx.points=3",
            'unknown key grid.nx.points = "3"; allowed in [grid]: nx, ny, x, y, boundary',
        ),
        (
            "girds.nx=3",
            "unknown section [girds], did you mean grid?; allowed: grid, physics, initial, time, "
            "objective, observations, gradient, controls, background, truth, uncertainty, hessian, "
            "tao, petsc, checkpointing, snapshots, train, restart, parallel, output, check",
        ),
        ("nx=3", "-s nx=3: expected SECTION.KEY=VALUE, for example -s grid.nx=200"),
        ("grid.nx", "-s grid.nx: expected SECTION.KEY=VALUE, for example -s grid.nx=200"),
        ("=3", "-s =3: expected SECTION.KEY=VALUE, for example -s grid.nx=200"),
        (".=3", "-s .=3: expected SECTION.KEY=VALUE, for example -s grid.nx=200"),
    ],
)
def test_wrong_values_are_named_with_what_is_allowed(override, message):
    with pytest.raises(ConfigError) as error:
        load(None, [override])
    said = str(error.value).replace(str(Path.cwd()) + "/", "")
    assert said == message
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["background.initial={kind='matern', length=2.0, deviation=0.0}"],
            "background.initial.deviation = 0.0: expected a number > 0",
        ),
        (
            ["background.initial={kind='matern', length=0.01, deviation=1.0}", "grid.nx=10"],
            "background.initial.length = 0.01: expected at least the distance of the grid's "
            "points, 1.1",
        ),
        (
            ["background.initial={kind='gauss', length=1.0, deviation=1.0}"],
            'background.initial.kind = "gauss": expected "matern"',
        ),
        (
            ["background.initial={kind='matern', deviation=1.0}"],
            'background.initial = {"kind": "matern", "deviation": 1.0}: expected a table with '
            "kind, length, deviation",
        ),
        (
            [
                "background.initial={kind='matern', length=1.0, deviation=1.0}",
                "background.smoothness={initial=1.0}",
            ],
            'background.smoothness = {"initial": 1.0}: expected no initial in it, as '
            "[background.initial] is its covariance",
        ),
        (
            ["background.forcing={kind='matern', length=1.0, deviation=1.0}"],
            '[background.forcing]: forcing is not in gradient.controls = ["initial", "viscosity"]',
        ),
        (
            ["background.viscosity={kind='matern', length=1.0, deviation=1.0}"],
            "unknown key background.viscosity = "
            '{"kind": "matern", "length": 1.0, "deviation": 1.0}, did you mean viscosity_field?; '
            "allowed in [background]: deviation, smoothness, initial, viscosity_field, forcing, "
            "forcing_in_time, informed, informed_above; "
            "viscosity is no field of the domain: it can have a deviation",
        ),
    ],
)
def test_covariances_are_of_fields_and_alone(overrides, message):
    with pytest.raises(ConfigError) as error:
        load(None, overrides)
    assert str(error.value) == message


def test_parallel_hdf5_is_not_for_a_thread():
    message = '^snapshots.driver = "mpio": expected no snapshots.asynchronous = true beside it'
    with pytest.raises(ConfigError, match=message):
        load(None, ["snapshots.driver=mpio", "snapshots.asynchronous=true"])
    assert load(None, ["snapshots.driver=auto", "snapshots.asynchronous=true"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid = 3", "grid = 3: expected a section [grid] with nx, ny, x, y, boundary"),
        (
            "[[time]]\ndt = 1",
            "expected a section [time] with dt, steps, until, cfl, steady, integrator",
        ),
        ("nx = 3", "unknown section [nx]; allowed: grid, "),
        ("[grid]\nnx = 2", "grid.nx = 2: expected a whole number >= 3"),
        ("[grid]\nnx = ", " is not TOML: Invalid value (at line 2, the end)"),
        ("[grid]\nnx = 5\n[grid]", " is not TOML: Cannot declare ('grid',) twice (at line 3,"),
        ("[grid]\nnx = 5\nnx = 6", " is not TOML: Cannot overwrite a value (at line 3,"),
    ],
)
def test_wrong_files_are_named_with_the_key_or_the_line(tmp_path, text, message):
    file = tmp_path / "run.toml"
    file.write_text(text)
    for overrides in ([], ["time.steps=3"]):
        with pytest.raises(ConfigError, match="^" + re.escape(str(file))) as error:
            load(str(file), overrides)
        assert message in str(error.value)


def test_an_override_of_a_section_that_is_no_section_names_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("grid = 3")
    with pytest.raises(ConfigError, match=re.escape(f"{file}: grid = 3: expected a section")):
        load(str(file), ["grid.nx=5"])


def test_an_error_of_an_override_does_not_blame_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[grid]\nnx = 5")
    with pytest.raises(ConfigError, match=r"^grid\.nx = 1: expected"):
        load(str(file), ["grid.nx=1"])


def test_files_that_cannot_be_read_are_named_with_the_reason(tmp_path):
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigError, match=f"^cannot read the configuration {missing}: No such"):
        load(str(missing))
    with pytest.raises(ConfigError, match=f"^cannot read the configuration {tmp_path}: Is a dir"):
        load(str(tmp_path))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"[grid]\n\xff\xfe")
    with pytest.raises(ConfigError, match=f"^{binary} is not TOML: byte 7 is not UTF-8 text"):
        load(str(binary))


def test_a_byte_order_mark_is_no_error(tmp_path):
    file = tmp_path / "run.toml"
    file.write_bytes(b"\xef\xbb\xbf[grid]\nnx = 5\n")
    assert load(str(file)).grid.nx == 5


def test_a_config_cannot_be_changed():
    with pytest.raises(AttributeError, match="immutable"):
        Config().grid.nx = 5
    assert msgspec.structs.replace(Config()) == Config()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["time.cfl=0.5", "objective.kind=misfit", "truth.twin=true"],
            "time.cfl = 0.5: expected no such key with the objective misfit, which compares "
            "states at times that are known before the run",
        ),
        (
            ["time.until=1.5", "time.cfl=0.5", "checkpointing.schedule=periodic"],
            'checkpointing.schedule = "periodic": expected "online", as time.until = 1.5 and '
            "time.cfl = 0.5 leaves the number of steps open",
        ),
    ],
)
def test_time_steps_that_do_not_fit_the_rest_are_refused(overrides, message):
    online = [] if "periodic" in message else ["checkpointing.schedule=online"]
    with pytest.raises(ConfigError) as error:
        load(None, [*overrides, *online])
    assert str(error.value) == message


def test_arguments_of_a_foreign_schedule_keep_their_types():
    text = "{ snapshots_in_ram = 3, wd = 1.5, move_data = true, storage = 'RAM' }"
    schedule = "checkpointing.schedule=checkpoint_schedules:HRevolve"
    config = load(None, [schedule, f"checkpointing.arguments={text}"])
    arguments = config.checkpointing.arguments
    assert arguments == {"snapshots_in_ram": 3, "wd": 1.5, "move_data": True, "storage": "RAM"}
    assert [type(value) for value in arguments.values()] == [int, float, bool, str]

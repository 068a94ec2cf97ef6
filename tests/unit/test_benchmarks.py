"""Benchmarks run, and what they compute agrees; how fast it is, no test says."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cost_model, device, kept_states, kernels, measure, operations, paper, stages
from benchmarks.against_ad import __main__ as against_ad
from benchmarks.against_ad import setup
from benchmarks.peers import __main__ as peers
from benchmarks.peers import case, environments
from benchmarks.peers.environments import UnavailableError
from benchmarks.peers.process import Worker
from benchmarks.reversals import problem_of
from burgers_adjoint.kernels.formula import fma, square_root
from burgers_adjoint.kernels.programs import Kind, Row
from burgers_adjoint.snapshots.hdf5_places import has_mpi
from burgers_adjoint.stepping.accelerator import Accelerator
from tests.stand_in_device import StandIn

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(
    tmp_path: Path, mpi_environment: dict[str, str]
) -> Callable[..., tuple[str, dict[str, Any]]]:
    """Run a benchmark as users do; returns what it printed and the JSON that it wrote."""

    def run_benchmark(name: str, *arguments: str) -> tuple[str, dict[str, Any]]:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "-o", str(tmp_path)]
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env=mpi_environment,
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / f"{name}.png").stat().st_size > 0
        return done.stdout, json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))

    return run_benchmark


def test_competitors_are_called_in_turn() -> None:
    calls: list[str] = []
    names = ("a", "b")
    samples = measure.interleave({name: lambda name=name: calls.append(name) for name in names}, 3)
    assert calls == ["a", "a", "b", "b", *names, *names, *names]
    assert {name: seconds.shape for name, seconds in samples.seconds.items()} == {
        "a": (3,),
        "b": (3,),
    }


def test_short_calls_are_repeated_and_averaged() -> None:
    ticks = iter(range(1000))
    samples = measure.interleave({"a": lambda: None}, 2, 5.0, clock=lambda: next(ticks))
    assert samples.seconds["a"].tolist() == [0.2, 0.2]


def test_ratios_are_taken_within_rounds() -> None:
    samples = measure.Samples({"a": np.array([2.0, 20.0, 4.0]), "b": np.array([1.0, 10.0, 1.0])})
    assert samples.ratio("a", "b") == 2.0
    assert samples.median("a") == 4.0
    assert samples.spread("b") == 4.5


def test_table_is_aligned() -> None:
    text = measure.table(["what", "ns"], [["copy", 0.75], ["gradient", 12345], ["none", None]])
    assert text.splitlines() == [
        "| what     |     ns |",
        "| -------- | -----: |",
        "| copy     |   0.75 |",
        "| gradient | 12,345 |",
        "| none     |        |",
    ]


def test_kernels(tmp_path: Path) -> None:
    results = kernels.main(["--quick", "-o", str(tmp_path)])
    assert json.loads((tmp_path / "kernels.json").read_text(encoding="utf-8"))["machine"]["cores"]
    assert [tile["tile"] for tile in results["tiles"]] == [16, 64]
    # p(20, 3) = 45, and the last step
    assert results["gradient"]["forward_steps"] == 46


def test_operations_are_those_that_a_compiler_leaves() -> None:
    """Equal ones count once, unused ones and signs not at all."""

    def formula(c: Sequence[Any], points: Sequence[Any]) -> list[Any]:
        x, y = points
        unused = square_root(x) + 1.0
        assert unused is not None
        return [fma(x, y, -(x * y)) / square_root(y), x * y]

    kind = Kind(formula, ((Row("x"), 0), (Row("y"), 0)), (Row("a"), Row("b")))
    assert operations.operations([kind]) == {"sums": 2, "divisions": 1, "roots": 1}


def test_operations(tmp_path: Path) -> None:
    results = operations.main(["--quick", "-o", str(tmp_path)])
    euler, rk4 = (results["programs"][f"{name}, central: primal"] for name in ("euler", "rk4"))
    # four stages, with a step's weights to the sums
    assert 4 * euler["sums"] < rk4["sums"] < 6 * euler["sums"]
    assert results["programs"]["rk4, upwind: primal"]["roots"] == 8
    assert (tmp_path / "operations.json").is_file()


def test_bare_calls_do_what_the_executor_does() -> None:
    grid = kernels.grid_of(12, 9)
    model = kernels.model_on(grid)
    fields = kernels.fields_of(grid, model.decomposition)
    by_executor = kernels.executor_run(model, 15, 3, fields)
    bare = kernels.bare_calls(model, 15, 3, fields)
    interior = model.layout.interior
    expected = interior(by_executor()).copy()
    assert np.abs(expected).max() > 0
    for _ in range(2):
        np.testing.assert_array_equal(interior(bare()), expected)
        np.testing.assert_array_equal(interior(by_executor()), expected)


def test_paper(tmp_path: Path) -> None:
    results = paper.main(["--quick", "-o", str(tmp_path)])
    assert [(row["snapshots"], row["forward_steps"]) for row in results["rows"]] == [
        (5, 123),
        (10, 89),
    ]
    assert results["published"] == {}
    # p(10000, 100) = 24747
    assert paper.theory(10_000, 100) == pytest.approx(2.4748 + 3)


def oval_case(integrator: str, n_steps: int = 3) -> tuple[case.Case, np.ndarray]:
    fields = np.random.default_rng(3).uniform(-1.0, 1.0, (2, 9, 12))
    return case.Case(integrator, "central", n_steps, 0.1, 0.13, 1e-3, 0.02), fields


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start the process of a peer in this environment."""
    cpu = max(os.sched_getaffinity(0))
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(Worker(name, Path(sys.executable), tmp_path, cpu))


RUNS_HERE = {
    "numpy_slices": True,
    "c_loop": shutil.which("cc") is not None,
    "petsc_ts": importlib.util.find_spec("petsc4py") is not None,
    "petsc_assembled": importlib.util.find_spec("petsc4py") is not None,
}


@pytest.mark.parametrize(
    ("peer", "integrator"),
    [
        pytest.param(
            peer,
            name.removesuffix("-central"),
            marks=pytest.mark.skipif(not runs, reason="is not installed"),
        )
        for peer, runs in RUNS_HERE.items()
        for name in peers.PEERS[peer]
    ],
)
def test_peer_agrees(
    peer: str, integrator: str, worker: Callable[[str], Worker], tmp_path: Path
) -> None:
    case.save_case(tmp_path, *oval_case(integrator))
    workers = {name: worker(name) for name in ("ours", peer)}
    differences = peers.compare(workers)
    assert differences[peer] < 1e-13
    assert workers["ours"].name == "burgers_adjoint"
    assert workers[peer].seconds("primal", "", 2) > 0


def test_cases_go_through_files(tmp_path: Path) -> None:
    saved, fields = oval_case("rk4")
    case.save_case(tmp_path, saved, fields)
    loaded, its_fields = case.load_case(tmp_path)
    assert loaded == saved
    assert loaded.a == (0.0, 0.5, 0.5, 1.0)
    np.testing.assert_array_equal(its_fields, fields)


def test_results_go_through_files(tmp_path: Path) -> None:
    u, v = np.ones((2, 3)), np.zeros((2, 3))
    case.save_result(tmp_path / "of_parts.npz", (u, v))
    case.save_result(tmp_path / "whole.npz", np.stack([u, v]))
    case.save_result(tmp_path / "gradient.npz", (0.5, (v, u)))
    for name in ("of_parts", "whole"):
        found = case.load_result(tmp_path / f"{name}.npz")
        assert found.keys() == {"primal"}
        np.testing.assert_array_equal(found["primal"], [u, v])
    found = case.load_result(tmp_path / "gradient.npz")
    assert found["objective"] == 0.5
    np.testing.assert_array_equal(found["gradient"], [v, u])


def test_peer_that_cannot_run_says_why(worker: Callable[[str], Worker], tmp_path: Path) -> None:
    case.save_case(tmp_path, *oval_case("euler"))
    message = r"^no_such_peer: ended with status 1: ModuleNotFoundError: .*no_such_peer"
    with pytest.raises(UnavailableError, match=message):
        worker("no_such_peer")


def test_peer_that_ends_while_it_works_is_told(
    worker: Callable[[str], Worker], tmp_path: Path
) -> None:
    case.save_case(tmp_path, *oval_case("euler"))
    started = worker("numpy_slices")
    with pytest.raises(UnavailableError, match=r"numpy_slices: ended with status 1: KeyError: 'x'"):
        started.seconds("primal", "x")


class Answers(Worker):
    """A worker whose results and seconds are given."""

    def __init__(self, name: str, results: dict[str, Any], seconds: dict[str, list[float]]) -> None:
        self.name = name
        self.variants = {"primal": list(results), "gradient": []}
        self._results, self._seconds = results, seconds

    def result(self, what: str, variant: str) -> dict[str, np.ndarray]:
        return {what: self._results[variant]} if what == "primal" else {}

    def seconds(self, what: str, variant: str, repeats: int = 1) -> float:
        return self._seconds[variant].pop(0)


def test_peer_that_differs_is_refused() -> None:
    right = np.array([1.0, 2.0])
    ours = Answers("ours", {"": right}, {})
    wrong = Answers("wrong", {"a": right, "b": right * (1 + 1e-9)}, {})
    with pytest.raises(ValueError, match=r"^wrong: b primal differs from ours by 1e-09"):
        peers.compare({"ours": ours, "wrong": wrong})
    nans = Answers("nans", {"": right * np.nan}, {})
    with pytest.raises(ValueError, match=r"^nans: primal differs from ours by nan"):
        peers.compare({"ours": ours, "nans": nans})


def test_fastest_variant_counts() -> None:
    seconds = {"a": [9.0, 3.0], "b": [2.0, 8.0], "c": [4.0, 4.0]}
    worker = Answers("", dict.fromkeys(seconds, np.ones(1)), seconds)
    assert list(peers.choose(worker, "primal").items()) == [("b", 2.0), ("a", 3.0), ("c", 4.0)]
    alone = Answers("", {"": np.ones(1)}, {})
    assert peers.choose(alone, "primal") == {"": 0.0}


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_peers(run: Callable[..., tuple[str, dict[str, Any]]]) -> None:
    printed, results = run("peers", "--peers", "c_loop", "--cases", "euler-central")
    (found,) = results["cases"]
    assert [one["peer"] for one in found["peers"]] == ["ours", "c_loop"]
    assert found["peers"][0]["primal"]["over_ours"] == 1.0
    assert found["peers"][1]["gradient"]["ns"] is None
    assert "| C, plain loop" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "fortran"], "argument --peers: invalid choice: 'fortran'"),
        (["--cases", "rk5-central"], "argument --cases: invalid choice: 'rk5-central'"),
    ],
)
def test_peers_and_cases_are_known(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        peers.main(arguments)
    assert message in capsys.readouterr().err


def test_environment_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setattr(environments, "_run", lambda name, command: commands.append(command))
    (tmp_path / "peer.txt").write_text("one\n", encoding="utf-8")

    def make(renew: bool = False) -> int:
        commands.clear()
        (tmp_path / "made/peer").mkdir(parents=True, exist_ok=True)
        python = environments.python_of("peer", tmp_path / "made", renew)
        assert python == tmp_path / "made/peer/bin/python"
        return len(commands)

    assert make() == 2
    assert commands[0][-1] == str(tmp_path / "made/peer")
    assert commands[1][-2:] == ["--requirement", str(tmp_path / "peer.txt")]
    assert make() == 0
    assert make(renew=True) == 2
    (tmp_path / "peer.txt").write_text("two\n", encoding="utf-8")
    assert make() == 2
    assert environments.python_of("without_packages") == Path(sys.executable)
    assert capsys.readouterr().out.count("making") == 3


def test_environment_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "peer.txt").write_text("one\n", encoding="utf-8")
    (tmp_path / "made").write_text("no folder\n", encoding="utf-8")
    monkeypatch.setattr(environments, "HERE", tmp_path)
    with pytest.raises(UnavailableError, match=r"^peer: -m venv --clear failed: Error: .*made"):
        environments.python_of("peer", tmp_path / "made")


def test_derivatives_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (compared,) = (
        one for one in setup.setups(("rk4",)) if one.name == "rk4-upwind-dirichlet-fields"
    )
    arrays = setup.arrays_of(compared)
    setup.save(tmp_path / "problem", compared, arrays)
    loaded, its_arrays = setup.load(tmp_path / "problem")
    assert loaded == compared
    assert its_arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(its_arrays[name], array)
    found = against_ad.ours(loaded, its_arrays, "misfit of sensors", tmp_path)
    names = {*setup.OF_THE_STATE, *setup.OF_FIELDS}
    assert found.keys() == {"objective", *names, *(f"product {name}" for name in names)}
    reference = {name: np.array([part]) for name, part in found.items()}

    def verdict() -> float:
        row = {"integrator": "rk4", "advection": "upwind", "boundary": "dirichlet", "of": "misfit"}
        different = against_ad.differences(loaded, found, reference, 0)
        return against_ad.report([{**row, "differences": different}])

    assert verdict() == 0.0
    assert "\ngradients: all agree to 1e-12" in capsys.readouterr().out
    reference["forcing"][0, 1, 4, 5] += 1e-11 * np.abs(reference["forcing"]).max()
    assert verdict() == pytest.approx(10.0, rel=1e-3)  # over what may be
    assert "NOT all agree" in capsys.readouterr().out
    reference["viscosity"][0] = np.nan
    assert np.isnan(verdict())


def test_scaling(run: Callable[..., tuple[str, dict[str, Any]]]) -> None:
    printed, results = run("scaling")
    assert [row["ranks"] for row in results["strong"]] == [1, 2]
    assert [row["grid"] for row in results["weak"]] == [[16, 16], [32, 16], [32, 32], [64, 32]]
    assert results["projection"]["strong"][-1]["ranks"] == 4096
    assert "projected weak scaling" in printed


def test_messages_are_fitted() -> None:
    sizes = [8, 1024, 2**20]
    seconds = [3e-6 + size / 5e9 for size in sizes]
    latency, bandwidth = cost_model.fit_messages(sizes, seconds)
    assert latency == pytest.approx(3e-6)
    assert bandwidth == pytest.approx(5e9)


def test_cost_of_a_step() -> None:
    machine = cost_model.Machine(1e-6, 1e9, 2e-6, 1e-9, 8e-9, cache=2**20)
    # one neighbour to the north or south, two layers of 100 points with u and v: 3200 bytes
    cost = cost_model.step_seconds(machine, (2, 1), (50, 100), k=2)
    assert cost["exchange"] == pytest.approx((2e-6 + 1e-6 + 3200e-9) / 2)
    # 50 rows in one step, 51 in the other
    assert cost["seconds"] == pytest.approx(cost["exchange"] + 50.5 * 100 * 1e-9)
    assert machine.cost_of_point((50, 100), 2) == 1e-9
    assert machine.cost_of_point((1000, 1000), 2) == 4e-9
    assert cost_model.messages((4, 4), (50, 100), 1) == (8, (300 + 4) * 16, (2, 2))


def test_startup(run: Callable[..., tuple[str, dict[str, Any]]]) -> None:
    _, results = run("startup")
    (row,) = results["rows"]
    assert row["ranks"] == 1
    assert row["seconds"].keys() == {"bare", "warm"}


@pytest.mark.skipif(not has_mpi(), reason="h5py is built without MPI")
def test_drivers(run: Callable[..., tuple[str, dict[str, Any]]], tmp_path: Path) -> None:
    printed, results = run("drivers", "--directory", str(tmp_path))
    (row,) = results["rows"]
    assert (row["ranks"], row["grid"]) == (2, 32)
    for name in ("file per rank", "direct", "mpio"):
        assert name in printed
        assert all(row[name][what] > 0 for what in ("save", "load"))


def test_overlap(run: Callable[..., tuple[str, dict[str, Any]]]) -> None:
    _, results = run("overlap")
    (row,) = results["rows"]
    assert row["grid"] == [64, 32]
    assert row["ratio"] > 0


def test_checkpoints_inside_a_step_run_and_keep_to_their_memory(
    run: Callable[..., tuple[str, dict[str, Any]]],
) -> None:
    printed, found = run("call_tree")
    split, burgers = found["cases"]
    for one in (split, burgers):
        assert len(one["at_random"]) == 4
        assert f"\n{one['name']}: " in printed
        sizes = [size for points in one["paths"].values() for size, _ in points]
        sizes += [size for size, _ in one["at_random"] + one["binomial"]]
        assert all(size > 0 for size in sizes)
    assert "profiling takes" in printed


def test_kept_stages_are_compared_with_recomputed_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = stages.main(["--quick", "-o", str(tmp_path)])
    assert "steps with kept stages" in capsys.readouterr().out
    kept = {(case["integrator"], case["schedule"]): case for case in results["cases"]}
    whole = kept["rk4", "store_all"]
    assert whole["kept_steps"] == 20
    assert whole["snapshot_megabytes"][1] == 4 * whole["snapshot_megabytes"][0]
    assert (
        json.loads((tmp_path / "stages.json").read_text(encoding="utf-8"))["cases"]
        == results["cases"]
    )


def test_uncertainty_table(run) -> None:
    pytest.importorskip("petsc4py")
    printed, found = run("uncertainty", "--truth", "drawn")
    assert "| drawn |" in printed
    (seed,) = found["runs"]
    assert 0 < seed["within"] <= 1
    assert 0 < seed["posterior"] < seed["prior"]


def test_codecs_and_what_gradients_take_with_them(run) -> None:
    pytest.importorskip("pysz")
    printed, found = run("compression", "--only", "all states")
    assert "All states of 12 steps on a disk of 200 MB/s" in printed
    ratios = {tuple(row[:3]): row[3] for row in found["codecs"]}
    assert ratios["smooth", "middle", "float32"] == 2
    assert ratios["smooth", "middle", "quantised 1e-4"] > 8
    errors = {(row[0], row[1]): row[8] for row in found["gradients"]}
    assert errors["rk4, upwind", "lossless, all states"] == 0
    assert 0 < errors["rk4, upwind", "quantised, all states"] < 1e-5
    assert ("euler", "quantised, binomial") not in errors


def test_learned_codecs_beside_others(run) -> None:
    pytest.importorskip("pysz")
    printed, found = run("learned")
    assert "| smooth | binomial, same memory" in printed
    rows = {(one["flow"], one["snapshots"]): one for one in found["runs"]}
    assert rows["steep", "binomial, same memory"]["gradient_error"] == 0
    assert 0 < rows["steep", "SZ3, within 0.0001"]["largest"] < 2e-4
    assert rows["smooth", "linear"]["ratio"] > 5
    assert 0 < rows["smooth", "linear"]["gradient_error"] < 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_steps_on_a_device_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "SNAPSHOTS", 10)
    monkeypatch.setattr(device, "NEAR", 4)
    stand_in = StandIn()
    samples = device.measured(problem_of(24, 30), Accelerator(stand_in), 1)
    assert len(samples.seconds) == 15
    launched = {call[1] for call in stand_in.calls if call[0] == "launch"}
    assert {"wrap", "largest", "add_bins", "add_hashes"} <= launched
    assert all(seconds > 0 for one in samples.seconds.values() for seconds in one)
    kinds = {call[1] for call in stand_in.calls if call[0] == "copy" and call[2]}
    assert kinds == {"to host", "to device"}  # of snapshots, beside the steps


def test_kept_states_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept_states.main(["--quick", "--methods", "euler", "-o", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "| euler central" in printed
    found = json.loads((tmp_path / "kept_states.json").read_text(encoding="utf-8"))
    for part in ("gauss_newton", "tangents_stored", "forward_steps"):
        assert all(ratio > 0 for one in found[part].values() for ratio in one.values())

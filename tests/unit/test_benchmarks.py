"""Benchmarks run, and what they compute agrees; how fast it is, no test says."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cost_model, kernels, measure, paper, stages

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


@pytest.mark.parametrize(
    "peer",
    [
        "numpy_slices",
        pytest.param("c_loop", marks=pytest.mark.skipif(not shutil.which("cc"), reason="no cc")),
        *(
            pytest.param(
                name,
                marks=pytest.mark.skipif(
                    importlib.util.find_spec(needs) is None, reason=f"{needs} is not installed"
                ),
            )
            for name, needs in (
                ("petsc_ts", "petsc4py"),
                ("petsc_assembled", "petsc4py"),
                ("jax_scan", "jax"),
                ("devito_stencil", "devito"),
            )
        ),
    ],
)
def test_peer_agrees(peer: str, run: Callable[..., tuple[str, dict[str, Any]]]) -> None:
    _, results = run("peers", "--peers", peer)
    _, ours, theirs = results["peers"]
    assert ours["name"] == "burgers_adjoint"
    differences = theirs["differences"]
    assert differences.keys() >= {"primal"}
    assert max(differences.values()) < 1e-10


def test_peer_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.peers import __main__ as peers

    grid = kernels.grid_of(8, 8)
    fields = kernels.fields_of(grid, kernels.model_on(grid).decomposition)
    monkeypatch.setitem(sys.modules, "devito", None)
    found = peers.make_peers(peers.Case(fields, 2), ["devito_stencil"])
    assert found.keys() == {"ours"}
    assert capsys.readouterr().out == "skipped: devito is not installed\n"


def test_peer_that_differs_is_refused() -> None:
    from benchmarks.peers import __main__ as peers

    grid = kernels.grid_of(8, 8)
    fields = kernels.fields_of(grid, kernels.model_on(grid).decomposition)
    found = peers.make_peers(peers.Case(fields, 2), [])
    wrong = found["ours"].primal() * (1 + 1e-9)
    found["wrong"] = peers.Peer("wrong", lambda: wrong)
    with pytest.raises(ValueError, match=r"^wrong: primal differs from ours by 1e-09"):
        peers.compare(found)


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


def test_overlap(run: Callable[..., tuple[str, dict[str, Any]]]) -> None:
    _, results = run("overlap")
    (row,) = results["rows"]
    assert row["grid"] == [64, 32]
    assert row["ratio"] > 0


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

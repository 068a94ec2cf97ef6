"""The operator-split example: its adjoint is one, and checkpoints inside its step pay."""

from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI
from split_cases import CHOICES, N_STEPS, SPLIT, bits, split, start

from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.call_tree_check import dry_run
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.planning.inside import SLOT, plan_tree
from burgers_adjoint.verification import taylor_test

ALONE = MPI.COMM_SELF


@pytest.mark.parametrize("path", CHOICES["all"])
def test_adjoint_of_each_part_is_the_transpose(path: str) -> None:
    model = split(ALONE)
    site = next(site for site in model.step.below() if site.path == path)
    numbers = np.random.default_rng(3)
    direction, weights = numbers.standard_normal((2, 2, 14, 19))
    h = 1e-6

    def run(fields: np.ndarray) -> np.ndarray:
        state = model.state(fields)
        site.part.forward(state.variables, 0)
        return np.stack(model.tile.own(state.variables))

    ahead, behind = (run(start(model) + sign * h * direction) for sign in (1, -1))
    state, cotangent = model.state(start(model)), model.state(weights)
    tape = model.reversal._record(site, state.variables, 0)
    model.reversal._adjoint(site, tape, state.variables, cotangent.variables, 0)
    forwards = np.sum((ahead - behind) / (2 * h) * weights)
    backwards = np.sum(direction * model.gradient(cotangent.variables))
    assert backwards == pytest.approx(forwards, rel=1e-7)


def test_the_gradient_passes_a_taylor_test() -> None:
    model = split(ALONE)
    assert model.substeps == 6
    direction = np.random.default_rng(4).standard_normal((2, 14, 19))

    def value(fields: np.ndarray) -> float:
        state = model.state(fields)
        model.advance(state, 0, N_STEPS)
        model.seed(state)
        return float(model.value)

    at = start(model)
    gradient = SPLIT.gradient_of(model, Binomial(N_STEPS, 2), model.state(at))
    slope = float(np.sum(gradient * direction))
    sizes = [0.02 * 0.5**k for k in range(12)]
    result = taylor_test(lambda h: value(at + h * direction), value(at), slope, sizes)
    assert result.order == pytest.approx(1.0, abs=0.1)
    assert result.corrected_order > 1.95


def test_any_choice_gives_the_same_bits() -> None:
    assert len({bits(split(ALONE, choice), Binomial(N_STEPS, 2)) for choice in CHOICES}) == 1


def test_parts_do_what_they_say() -> None:
    model = split(ALONE)
    state = model.state(start(model))
    dry_run(model.step, state, model.state(start(model)).variables)


def test_plan_lists_sites_and_keeps_to_its_budget() -> None:
    model = split(ALONE)
    budget = 14 * model.new_snapshot().nbytes
    found = plan_tree(model, lambda: model.state(start(model)), N_STEPS, budget, ALONE)
    rows = {row.site: row for row in found.rows()}
    assert rows.keys() == {*CHOICES["all"], SLOT}
    assert rows["step/transport/diffuse/block/substep"].occurrences == N_STEPS * 6
    for rounds in found.rounds.values():
        for one in rounds:
            assert one.profile.bytes == one.bytes <= budget
    # its tape is half of its input, and it is held last
    assert rows["step/react"].bytes < 0
    assert "step/react" in found.best.profile.choice.recorded


def test_the_example_writes_a_choice_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> list[str]:
        monkeypatch.setattr("sys.argv", ["operator_split.py", "--steps", "2", *arguments])
        SPLIT.main()
        return capsys.readouterr().out.splitlines()

    file, picture = tmp_path / "inside.toml", tmp_path / "tried.png"
    planned = run("--plan", "2000000", "--write", str(file), "--draw", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert planned[0].split()[:2] == ["site", "occurrences"]
    assert run("--choice", str(file)) == planned[-4:] == run()
    file.write_text(file.read_text(encoding="utf-8").replace("advect", "convect"))
    with pytest.raises(
        ConfigError, match=r"inside.toml is of another model: its step has step/tra"
    ):
        run("--choice", str(file))

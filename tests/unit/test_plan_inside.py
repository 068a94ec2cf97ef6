"""`plan --inside`: what it lists, what it writes, and that the choice changes no bit."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from burgers_adjoint.checkpointing.binomial import least_forward_steps
from burgers_adjoint.checkpointing.call_tree_choice import Choice, Profile
from burgers_adjoint.commands.line import main
from burgers_adjoint.commands.plan_inside import with_choice
from burgers_adjoint.config import from_dict, load
from burgers_adjoint.planning.inside import searched
from burgers_adjoint.planning.inside_engine import ENCODING, STAGES

SMALL = (
    "-s", "grid.nx=13", "-s", "grid.ny=9", "-s", "time.steps=12", "-s", "output.plots=false",
    "-s", "physics.advection=upwind", "-s", "time.allow_unstable=true",
)  # fmt: skip


def run(*arguments: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "-s", "time.dt=1e-4"])
    assert end.value.code == code


def test_a_choice_is_listed_drawn_and_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    summary, picture, choice = (tmp_path / name for name in ("plan.json", "plan.png", "run.toml"))
    run(
        "plan", "--inside", *SMALL, "-s", "time.integrator=rk4", "-s", "snapshots.memory=20 kB",
        "--draw", str(picture), "--write", str(choice), "--json", str(summary),
    )  # fmt: skip
    printed = capfd.readouterr().out
    found = json.loads(summary.read_text(encoding="utf-8"))
    rows = {row["site"]: row for row in found["sites"]}
    assert rows.keys() == {
        "step/stages", "snapshots/lossless", "one snapshot more in the time loop"
    }  # fmt: skip
    assert rows["step/stages"]["occurrences"] == 12
    assert rows["step/stages"]["bytes"] > rows["one snapshot more in the time loop"]["bytes"] > 0
    for row in rows.values():
        assert any(line.startswith(row["site"]) for line in printed.splitlines())
    for one in found["tried"]:
        assert one["bytes"] == one["predicted_bytes"] <= found["budget"] == 20_000
    assert picture.read_bytes().startswith(b"\x89PNG")
    config = load(choice)
    assert config.checkpointing.snapshots == found["chosen"]["snapshots"]
    assert (config.time.stages == "keep") is bool(found["chosen"]["recorded"])

    digests = []
    as_configured = (*SMALL, "-s", "time.integrator=rk4")
    for name, arguments in (("a", (str(choice),)), ("b", as_configured)):
        file = tmp_path / f"{name}.json"
        run("gradient", *arguments, "-o", str(tmp_path / name), "--json", str(file), "--quiet")
        digests.append(json.loads(file.read_text(encoding="utf-8"))["digest"])
    assert digests[0] == digests[1]


def test_forward_euler_has_nothing_to_keep(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run("plan", "--inside", *SMALL, "-s", "snapshots.memory=20 kB")
    sites = [line.split()[0] for line in capfd.readouterr().out.splitlines()]
    assert sorted(sites[1:3]) == ["one", "snapshots/lossless"]


def test_a_chosen_codec_is_in_the_configuration_and_changes_no_bit(tmp_path: Path) -> None:
    config = from_dict({"grid": {"nx": 13, "ny": 9}, "time": {"steps": 12, "integrator": "rk4"}})
    codecs, digests = [], []
    for number, recorded in enumerate(((), (STAGES,), (ENCODING,), (STAGES, ENCODING))):
        chosen = with_choice(config, Choice(frozenset(recorded), 3))
        codecs.append((chosen.time.stages, chosen.snapshots.codec))
        file, summary = tmp_path / "run.toml", tmp_path / f"{number}.json"
        file.write_text(chosen.to_toml(), encoding="utf-8")
        run(
            "gradient", str(file), "-o", str(tmp_path / f"{number}"), "-s", "output.plots=false",
            "--json", str(summary), "--quiet",
        )  # fmt: skip
        digests.append(json.loads(summary.read_text(encoding="utf-8"))["digest"])
    assert codecs == [
        ("recompute", "none"), ("keep", "none"), ("recompute", "lossless"), ("keep", "lossless")
    ]  # fmt: skip
    assert len(set(digests)) == 1


@pytest.mark.parametrize(
    "codec", [("lossless",), ("float32",), ("bounded", "-s", "snapshots.gradient_error=1e-4")]
)
def test_a_configured_codec_is_kept(
    codec: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its bytes are counted as they are, and lossy ones may change bits."""
    choice, (name, *more) = tmp_path / "run.toml", codec
    run(
        "plan", "--inside", *SMALL, "-s", "time.integrator=rk4", "-s", "snapshots.memory=30 kB",
        "-s", f"snapshots.codec={name}", *more, "--write", str(choice),
    )  # fmt: skip
    sites = {line.split()[0] for line in capfd.readouterr().out.splitlines()[1:3]}
    assert sites == {"step/stages", "one"}
    assert load(choice).snapshots.codec == name


def test_encoded_snapshots_are_taken_where_they_are_worth_it() -> None:
    class Kinds(Profile):
        """Snapshots of 100 bytes, or of 50 that take longer."""

        n_steps, paths, bytes = 300, (ENCODING,), 0

        def __init__(self, choice: Choice, encode: float) -> None:
            self.choice, self.encode = choice, encode
            self.seconds = self.seconds_with(choice)

        def seconds_with(self, choice: Choice) -> float:
            steps = least_forward_steps(self.n_steps, choice.snapshots)
            return steps + (self.encode * self.n_steps if choice.recorded else 0.0)

        def bytes_with(self, choice: Choice) -> int:
            return 100 + 50 * choice.snapshots if choice.recorded else 100 * choice.snapshots

        def occurrences(self, path: str) -> int:
            return 1

        def after(self, earlier: "Kinds") -> "Kinds":
            return self

    for encode, taken in ((0.5, True), (5.0, False)):

        def measure(choices: Sequence[Choice], encode: float = encode) -> list[Kinds]:
            return [Kinds(choice, encode) for choice in choices]

        found = searched(measure, Choice(frozenset(), 5), budget=500)
        assert (ENCODING in found.best.profile.choice.recorded) is taken
        (row,) = (row for row in found.rows() if row.site == ENCODING)
        assert row.bytes == -150
        assert row.seconds == -300 * encode
        assert row.value == row.seconds / row.bytes
        assert row.chosen is taken


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--write", "run.toml"), "--write needs --inside: it writes what that finds"),
        (
            ("--inside", "-s", "snapshots.memory=1 kB"),
            "1000 bytes do not hold one snapshot and what a step takes: ",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused(
    arguments: tuple[str, ...], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run("plan", *SMALL, *arguments, code=2)
    assert message in capfd.readouterr().err

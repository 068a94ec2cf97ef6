"""`plan --inside`: what it lists, what it writes, and that the choice changes no bit."""

import json
from pathlib import Path

import pytest

from burgers_adjoint.commands.line import main
from burgers_adjoint.config import load

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
    assert rows.keys() == {"step/stages", "one snapshot more in the time loop"}
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
    assert sites[:2] == ["site", "one"]


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

import io
import json
import re

import msgspec
import numpy as np
import pytest

from burgers_adjoint.config import Config, load
from burgers_adjoint.output.summary import (
    Check,
    CheckSummary,
    Placed,
    RunSummary,
    Scheduled,
    published_comparison,
    summary_of,
    to_json,
    to_line,
    to_mapping,
)
from burgers_adjoint.output.tables import print_checks, print_information, print_summary

SUMMARY = RunSummary(
    objective=0.08426001732938161,
    gradient_norm={"initial": 6.2446795985e-3, "viscosity": 0.25},
    digest="0123456789abcdef",
    ranks=6,
    process_grid=(3, 2),
    steps=1000,
    time=1.0,
    schedule=Scheduled("binomial", 30, 2471, 484, predicted_forward_steps=2471),
    seconds={
        "startup": 1.25,
        "sweeps": 0.5,
        "forward": 0.2,
        "adjoint": 0.2,
        "snapshots": 0.05,
        "halo": 0.1,
        "output": 0.03,
    },
    peak_rss_bytes=123_456_789,
    snapshot_bytes=2_400_000,
    published=published_comparison(Config(), 0.0842600173293816, 1.3020741709303739e-6),
)


def checked(*checks, left_out=()):
    return CheckSummary(
        checks=list(checks), left_out=list(left_out), objective=0.5, digest="0", seed=0, ranks=1,
        steps=7,
    )  # fmt: skip


def printed(show, summary):
    stream = io.StringIO()
    show(summary, stream, False)
    text = stream.getvalue()
    assert "\x1b" not in text
    return text


def test_summary_says_what_was_found_and_what_it_took():
    text = printed(print_summary, SUMMARY)
    said = re.sub(r"\s+", " ", text)
    for expected in (
        "objective 0.08426001732938161",
        "gradient norm, initial 0.0062446795985",
        "gradient norm, viscosity 0.25",
        "forward steps 2471 for 1000 time steps",
        "least possible 2471",
        "snapshots 30 (binomial), written 484 times, 2.4 MB per rank",
        "seconds startup 1.25, sweeps 0.5, output 0.03",
        "of the sweeps forward 0.2, adjoint 0.2, snapshots 0.05",
        "of these halo 0.1",
        "peak memory 123 MB on the largest rank",
        "ranks 6 (3 x 2, rows x columns)",
        "digest 0123456789abcdef",
        "final energy 0.08426001732938161 0.0842600173293816",
        "1.3020729832060115e-06",
        "linearises its last step one step late",
        "1.3020741709303739e-06",
    ):
        assert expected in said


def test_summary_of_a_forward_run_has_no_gradient():
    replace = msgspec.structs.replace
    text = printed(print_summary, replace(SUMMARY, gradient_norm={}, schedule=None, published=[]))
    assert "time steps" in text
    assert "gradient" not in text
    assert "published" not in text


def test_names_and_numbers_have_one_line_without_a_terminal():
    lines = printed(print_summary, SUMMARY).splitlines()
    (line,) = (line for line in lines if "norm of (dJ/du0)^2 + (dJ/dv0)^2  " in line)
    assert "1.3020729832060115e-06   1.3020741709303739e-06   9.1e-07" in line
    assert max(len(line) for line in lines if line.strip() and "dJ/dv0" not in line) <= 96
    name = "the gradient at a second control value, and at the first one again, everywhere"
    check = Check(name, 1e-16, True, 1e-12, "a b " * 30)
    assert f"{name}   1e-16   passed" in printed(print_checks, checked(check))


@pytest.mark.parametrize("columns", [1, 40, 79])
def test_a_narrow_terminal_cuts_neither_numbers_nor_names(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = io.StringIO()
    print_summary(SUMMARY, stream, True)
    words = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue())
    for whole in (
        "gradient norm, viscosity ",
        "0.08426001732938161",
        "1.3020729832060115e-06",
        "1.3020741709303739e-06",
        "norm of (dJ/du0)^2 + (dJ/dv0)^2 ",
        "0123456789abcdef",
        "published ",
    ):
        assert whole in words


def test_a_terminal_gets_its_own_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    stream = io.StringIO()
    print_summary(SUMMARY, stream, True)
    assert max(len(line) for line in stream.getvalue().splitlines()) > 80


def test_checks_say_which_one_failed():
    checks = [
        Check("dot product", 1e-16, True, 1e-12, ""),
        Check("order", 1.0, False, 1.99, "at least 1.99"),
        Check("same bits", True, True, True, "equal"),
    ]
    said = re.sub(r"\s+", " ", printed(print_checks, checked(*checks, left_out=["rank counts"])))
    assert "dot product 1e-16 passed limit 1e-12" in said
    assert "order 1 FAILED at least 1.99" in said
    assert "1 of 3 checks failed" in said
    assert "left out: rank counts" in said
    said = printed(print_checks, checked(checks[0]))
    assert "FAILED" not in said
    assert "all 1 passed" in said


def test_information_names_versions_and_nodes():
    information = {
        "versions": {"numpy": "1.24.2"},
        "ranks": 4,
        "cuda_aware_mpi": True,
        "kernel_cache": "/somewhere",
        "nodes": [
            {
                "name": "alpha",
                "ranks": 4,
                "cores": 64,
                "usable_cores": 32,
                "memory_bytes": 512e9,
                "available_memory_bytes": 500e9,
            }
        ],
    }
    said = re.sub(r"\s+", " ", printed(print_information, information))
    assert "numpy 1.24.2" in said
    assert "CUDA-aware MPI by its word" in said
    no = printed(print_information, information | {"cuda_aware_mpi": False})
    assert re.search(r"CUDA-aware MPI +no *\n", no)
    assert "node alpha 4 ranks, 32 of 64 cores usable, 500 GB of 512 GB free" in said


@pytest.mark.parametrize(
    ("messages", "said"),
    [("none", "H100"), ("direct", "H100; halos from its memory"), ("staged", "H100; halos by the")],
)
def test_summary_tells_of_the_device(messages: str, said: str) -> None:
    placed = msgspec.structs.replace(SUMMARY, device=Placed("H100", messages))
    assert re.search(rf"device +{said}", printed(print_summary, placed))
    assert summary_of(json.loads(to_json(placed))) == placed
    assert "device" not in printed(print_summary, SUMMARY) + to_json(SUMMARY)


def test_json_takes_numpy_numbers_and_has_no_nan():
    summary = {"objective": np.float64(0.1), "steps": np.int64(3), "bad": float("nan")}
    assert json.loads(to_json(summary)) == {"objective": 0.1, "steps": 3, "bad": None}
    known = json.loads(to_json(SUMMARY))
    assert summary_of(known) == SUMMARY
    assert known["schedule"] == {
        "name": "binomial",
        "snapshots": 30,
        "forward_steps": 2471,
        "snapshots_written": 484,
        "predicted_forward_steps": 2471,
    }
    assert "restart" not in known
    assert known == json.loads(to_line(SUMMARY))
    assert summary_of(to_mapping(SUMMARY)) == SUMMARY


def test_published_values_stand_beside_ours():
    energy, gradient = SUMMARY.published
    assert energy.published == 0.08426001732938161
    assert energy.relative_difference < 1e-15
    assert gradient.relative_difference == pytest.approx(9.12e-7, rel=1e-3)
    assert "1.3020741709303739e-06" in gradient.note
    assert len(published_comparison(Config(), 0.0842600173293816, None)) == 1


@pytest.mark.parametrize(
    "override",
    [
        "grid.nx=101",
        "physics.viscosity=0.02",
        "time.steps=999",
        "initial.width=1.6",
        "grid.boundary=periodic",
    ],
)
def test_another_problem_is_not_compared(override):
    assert published_comparison(load(None, [override]), 0.08, 1e-6) == []


def test_how_it_is_computed_does_not_matter_to_the_comparison():
    config = load(None, ["checkpointing.snapshots=3", "output.directory=x", "check.seed=4"])
    assert len(published_comparison(config, 0.08, 1e-6)) == 2

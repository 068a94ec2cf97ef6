"""Bits, J and whole gradients are the pinned ones, on any ranks; `pins` tells how to pin anew."""

from collections.abc import Iterator
from functools import cache
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from tests.mpi import pin_cases
from tests.mpi.pin_cases import CASES, VALUES, Case, pairs
from tests.mpi.pins import Found, differences, inputs, read, solve

TOLERANCE = 1e-13  # of the norm of a control's gradient, and of J
solved = cache(solve)
over_cases = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with inputs() as made:
        yield made


@pytest.fixture(scope="module")
def pins() -> dict[str, Found]:
    return read()


@over_cases
def test_bits_are_the_pinned_ones(case: Case, folder: Path, pins: dict[str, Found]) -> None:
    found, pinned = solved(case, folder), pins[str(case)]
    assert (found.digest, found.objective) == (pinned.digest, pinned.objective)


@over_cases
def test_values_are_the_pinned_ones(case: Case, folder: Path, pins: dict[str, Found]) -> None:
    found, pinned = solved(case, folder), pins[str(case)]
    assert found.steps == pinned.steps
    relative = differences(pinned, found)
    assert {name: x for name, x in relative.items() if not x <= TOLERANCE} == {}


def test_the_smallest_change_is_seen_in_the_bits_a_larger_one_in_the_values(
    folder: Path, pins: dict[str, Found]
) -> None:
    case, start = CASES[0], VALUES["initial"]
    pinned, one_bit = pins[str(case)], start.copy()
    one_bit[1, 3, 5] = np.nextafter(one_bit[1, 3, 5], 2.0)
    found = solve(case, folder, initial=one_bit)
    assert found.digest != pinned.digest
    assert max(differences(pinned, found).values()) <= TOLERANCE
    found = solve(case, folder, initial=start * (1 + 1e-12))
    assert min(differences(pinned, found).values()) > TOLERANCE


def test_every_case_is_pinned_and_every_pin_has_a_case(pins: dict[str, Found]) -> None:
    assert list(pins) == [str(case) for case in CASES]


def test_cases_have_all_pairs_of_choices() -> None:
    lists = (
        pin_cases.INTEGRATORS,
        pin_cases.ADVECTION,
        pin_cases.BOUNDARIES,
        pin_cases.BOUNDARIES["dirichlet"],
        pin_cases.SCHEDULES,
        pin_cases.STORES,
        pin_cases.OBJECTIVES,
        pin_cases.STAGES,
    )
    seen = {pair for case in CASES for pair in pairs(case)}
    missing = {
        (one, other)
        for (i, first), (j, second) in combinations(enumerate(lists), 2)
        for one, other in product(first, second)
        if (i, one, j, other) not in seen
    }
    assert missing == {("periodic", "boundary"), ("periodic", "initial+boundary+viscosity")}
    assert {case.more for case in CASES} == set(pin_cases.MORE)

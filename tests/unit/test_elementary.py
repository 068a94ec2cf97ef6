"""Values that start a run are rounded correctly, on whatever processor and with whatever NumPy."""

import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from burgers_adjoint.equations.burgers.elementary import cosine, exponential, sine

ROOT = Path(__file__).parents[2]
# The default run's, published in the README.
DIGEST = "811638e131c5a5ef91ba48f3dea978e7"


def series(x: Fraction, first: int, step: int, sign: int) -> Fraction:
    """Sum of sign^k x^n / n! for n = first, first + step, ..., to beyond 60 digits."""
    term = x**first / math.factorial(first)
    total, n = term, first
    while abs(term) > Fraction(1, 10**70):
        for _ in range(step):
            n += 1
            term *= x / n
        term *= sign
        total += term
    return total


def test_exponentials_are_those_of_exact_sums() -> None:
    values = np.random.default_rng(3).uniform(-4.0, 1.0, 40)
    expected = [float(series(Fraction(v), 0, 1, 1)) for v in values]
    assert exponential(values).tolist() == expected
    assert exponential(np.array([[0.0, -np.inf], [-1e6, -745.0]])).tolist() == [
        [1.0, 0.0], [0.0, 5e-324]
    ]  # fmt: skip


def test_sines_and_cosines_are_those_of_exact_sums() -> None:
    pi = Fraction("3.1415926535897932384626433832795028841971693993751058209749445923")
    values = np.random.default_rng(4).uniform(-1.5, 1.5, 40)
    turns = [Fraction(v) for v in values]
    assert sine(values).tolist() == [float(series(2 * pi * t, 1, 2, -1)) for t in turns]
    assert cosine(values).tolist() == [float(series(2 * pi * t, 0, 2, -1)) for t in turns]


def test_quarters_and_twelfths_of_a_turn_are_exact() -> None:
    quarters = np.arange(-4, 5) / 4
    assert sine(quarters).tolist() == [0.0, 1.0, 0.0, -1.0] * 2 + [0.0]
    assert cosine(quarters).tolist() == [1.0, 0.0, -1.0, 0.0] * 2 + [1.0]


@pytest.mark.parametrize(
    "switched_off",
    ["", "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL", "AVX2 FMA3"],
)
def test_digest_is_that_of_the_readme_on_other_processors(
    tmp_path: Path, switched_off: str
) -> None:
    """NumPy's exponentials are others without AVX-512, and others again without AVX2."""
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": switched_off, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "burgers_adjoint", "-o", str(tmp_path / "out")),
            *("-s", "output.plots=false", "--quiet", "--json", "-"),
        ],
        capture_output=True, text=True, timeout=50, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == DIGEST
    assert DIGEST in (ROOT / "README.md").read_text(encoding="utf-8")

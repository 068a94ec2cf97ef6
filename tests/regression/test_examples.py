"""Scripts of examples/ as users run them; those with a model of their own are tested elsewhere."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NUMBER = r"([-+.e\d]+)"
Run = Callable[[int, str], str]


@pytest.fixture
def printed(mpiexec: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> Run:
    """What an example prints on a number of ranks, run from a folder elsewhere."""

    def run(n_ranks: int, name: str) -> str:
        script = ROOT / "examples" / name
        done = mpiexec(n_ranks, script, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern.replace("#", NUMBER), text)
    assert found is not None, text
    return [float(number) for number in found.groups()]


def test_own_gradient_is_the_derivative_on_any_ranks(printed: Run) -> None:
    text = printed(1, "own_gradient.py")
    slope, difference = numbers("dJ = #, by a difference #", text)
    assert difference == pytest.approx(slope, rel=1e-5)
    assert "of shape (50, 60)" in text
    first, *_ = text.splitlines()
    assert printed(3, "own_gradient.py").splitlines()[0] == first


def test_scipy_recovers_the_initial_field_on_any_ranks(printed: Run) -> None:
    pytest.importorskip("scipy")
    text = printed(1, "scipy_recovery.py")
    J, before, after = numbers("J = #, error # -> #", text)
    assert before == pytest.approx(0.5)
    assert after < 1e-4
    assert 0 <= J < 1e-6
    assert printed(2, "scipy_recovery.py") == text


def test_a_network_learns_through_the_solver(printed: Run) -> None:
    pytest.importorskip("jax")
    text = printed(1, "jax_network.py")
    losses = [float(number) for number in re.findall(f"loss {NUMBER}", text)]
    assert len(losses) == 7
    assert losses == sorted(losses, reverse=True)
    assert 0 < losses[-1] < losses[0] / 5

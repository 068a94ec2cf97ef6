"""The door for programs, on one rank: what comes in, what goes out, what stays behind."""

import doctest
import gc
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import burgers_adjoint as ba
from burgers_adjoint import problem as module

SECTIONS: dict[str, dict[str, Any]] = {
    "grid": {"nx": 13, "ny": 9, "x": [-1, 2]},
    "time": {"steps": 11},
    "checkpointing": {"snapshots": 3},
}


def test_importing_the_package_imports_none_of_the_heavy_ones() -> None:
    heavy = "numpy", "mpi4py", "h5py", "numba", "matplotlib", "petsc4py", "msgspec"
    program = f"import sys, burgers_adjoint; print([n for n in {heavy} if n in sys.modules])"
    program += "; burgers_adjoint.ConfigError; print('numpy' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.stdout.split("\n")[:2] == ["[]", "False"], said.stderr


def test_public_names_are_there_and_no_others() -> None:
    assert all(getattr(ba, name) is not None for name in ba.__all__)
    assert {"Problem", "load", "Config"} <= {*dir(ba)}
    with pytest.raises(AttributeError, match="no attribute 'problme'"):
        _ = ba.problme  # type: ignore[attr-defined]


def test_example_in_the_docstring_is_right() -> None:
    result = doctest.testmod(module)
    assert result.attempted >= 2
    assert result.failed == 0


def test_gradient_is_the_derivative_of_the_value() -> None:
    with ba.Problem(SECTIONS) as problem:
        m = problem.controls()
        J, g = problem.value_and_gradient(m)
        assert problem.value(m) == J
        direction = np.random.default_rng(1).normal(size=m["initial"].shape)
        size = 1e-5
        values = [
            problem.value({**m, "initial": m["initial"] + sign * size * direction})
            for sign in (1, -1)
        ]
        slope = (values[0] - values[1]) / (2 * size)
        assert np.sum(g["initial"] * direction) == pytest.approx(slope, rel=1e-8)


def test_any_layout_and_real_type_is_read_and_none_is_kept() -> None:
    with ba.Problem(SECTIONS) as problem:
        m = problem.controls()
        base = np.round(m["initial"], 3).astype(np.float32)
        J, g = problem.value_and_gradient({"initial": base.astype(np.float64)})
        frozen = base.astype(np.float64)
        frozen.flags.writeable = False
        strided = np.asfortranarray(base.astype(np.float64))
        wide = np.repeat(base.astype(np.float64), 2, axis=-1)[..., ::2]
        for given in (base, frozen, strided, wide, base.tolist()):
            found, gradient = problem.value_and_gradient({"initial": given})
            assert found == J
            np.testing.assert_array_equal(gradient["initial"], g["initial"])
        kept = g["initial"].copy()
        strided[...] = 7.0
        problem.value_and_gradient({"initial": 0.5 * base})
        np.testing.assert_array_equal(g["initial"], kept)
        assert g["initial"].flags.c_contiguous
        # what is left out is as configured, whatever came before
        assert problem.value() == problem.value(m)


def test_a_config_of_ones_own_is_validated() -> None:
    config = ba.Config()
    changed = type(config.grid)(nx=2)
    with pytest.raises(ba.ConfigError, match=r"grid\.nx = 2"):
        ba.Problem(ba.Config(grid=changed))
    with pytest.raises(ba.ConfigError, match=r"unknown key grid\.nz"):
        ba.Problem({"grid": {"nz": 3}})
    assert ba.load(None, {"grid.nx": 17}).grid.nx == 17
    with pytest.raises(ba.ConfigError, match=r"expected SECTION\.KEY"):
        ba.load(None, {"nx": 17})


def test_a_closed_problem_says_so() -> None:
    problem = ba.Problem(SECTIONS)
    J = problem.value()
    problem.close()
    problem.close()
    for ask in (problem.value, problem.value_and_gradient, lambda: next(problem.trajectory())):
        with pytest.raises(ba.BurgersAdjointError, match="this problem is closed"):
            ask()
    assert J > 0


def test_trajectories_hold_the_problem_until_they_end() -> None:
    with ba.Problem(SECTIONS) as problem:
        states = problem.trajectory(every=4)
        assert next(states)[0] == 0
        with pytest.raises(ba.BurgersAdjointError, match="in use"):
            problem.value()
        states.close()
        assert [n for n, _ in problem.trajectory(every=4)] == [0, 4, 8, 11]
        with pytest.raises(ba.ConfigError, match="every = 0"):
            next(problem.trajectory(every=0))


def test_two_threads_do_not_share_a_problem() -> None:
    with ba.Problem(SECTIONS) as problem:
        inside, done, said = threading.Event(), threading.Event(), []

        def hold() -> None:
            for _ in problem.trajectory():
                inside.set()
                done.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        try:
            assert inside.wait(30)
            with pytest.raises(ba.BurgersAdjointError, match="in use: by another thread") as error:
                problem.value_and_gradient()
            said.append(str(error.value))
        finally:
            done.set()
            thread.join()
        assert said
        assert problem.value() > 0


def test_many_gradients_leave_nothing_behind() -> None:
    # in a process of its own: what other tests have left would come and go meanwhile
    program = f"""
import os, psutil
import burgers_adjoint as ba
with ba.Problem({{**{SECTIONS}, "grid": {{"nx": 60, "ny": 50}}}}) as problem:
    m = problem.controls()
    for n in range(550):
        if n == 50:
            before = psutil.Process().memory_info().rss, len(os.listdir("/proc/self/fd"))
        problem.value_and_gradient(m)
    after = psutil.Process().memory_info().rss, len(os.listdir("/proc/self/fd"))
    print(after[0] - before[0], after[1] - before[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    grown, opened = map(int, done.stdout.split())
    assert grown < 2**20
    assert opened == 0


@pytest.mark.parametrize(("integrator", "store"), [("euler", "memory"), ("rk4", "hdf5")])
def test_no_fields_wait_for_cycles_to_be_found(integrator: str, store: str, tmp_path: Any) -> None:
    sections = {**SECTIONS, "snapshots": {"store": store, "directory": str(tmp_path)}}
    sections["time"] = {"steps": 11, "integrator": integrator}
    with ba.Problem(sections) as problem:
        problem.value_and_gradient()
        gc.collect()
        gc.disable()
        try:
            problem.value_and_gradient()
            problem.value()
            assert gc.collect() == 0
        finally:
            gc.enable()


def test_snapshots_on_disk_are_removed_with_the_problem(tmp_path: Any) -> None:
    sections = SECTIONS | {"snapshots": {"store": "hdf5", "directory": str(tmp_path)}}
    with ba.Problem(SECTIONS) as plain:
        expected = plain.value_and_gradient()[0]
    with ba.Problem(sections) as problem:
        assert problem.value_and_gradient()[0] == expected
        assert [path.suffix for path in tmp_path.iterdir()] == [".h5"]
        assert problem.value_and_gradient()[0] == expected
    assert [*tmp_path.iterdir()] == []


def test_checks_are_a_call_away() -> None:
    with ba.Problem({"grid": {"nx": 13, "ny": 9}, "time": {"steps": 20}}) as problem:
        found = problem.check()
        assert found.passed, found
        assert len(found.checks) >= 8

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from burgers_adjoint.commands import check, forward, launcher, line
from burgers_adjoint.commands.ending import print_on
from burgers_adjoint.commands.line import Request, parse
from burgers_adjoint.config import load
from burgers_adjoint.errors import BurgersAdjointError, NumericalError, SnapshotError
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import Check, CheckSummary, to_mapping

ROOT = Path(__file__).parents[2]
COMMANDS = ("gradient", "forward", "check", "resume", "info")
SMALL = ["-s", "grid.nx=9", "-s", "grid.ny=7", "-s", "time.steps=6", "-s", "output.plots=false"]
# Any folder will do as the current one, so the package is found by name.
PACKAGE = {"PYTHONPATH": str(ROOT)}


def start(*arguments, env=None, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "burgers_adjoint", *map(str, arguments)],
        env=os.environ | PACKAGE | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process):
    try:
        stdout, stderr = process.communicate(timeout=50)
    finally:
        process.kill()
    return process.returncode, stdout, stderr


def ended(*arguments):
    """Run the command line in this process; returns the exit code."""
    with pytest.raises(SystemExit) as end:
        line.main([str(argument) for argument in arguments])
    return end.value.code


@pytest.mark.parametrize(
    ("arguments", "command", "config"),
    [
        ([], "gradient", None),
        (["run.toml"], "gradient", "run.toml"),
        (["configs/run"], "gradient", "configs/run"),
        (["--quiet"], "gradient", None),
        (["-s", "grid.nx=5"], "gradient", None),
        (["-o", "check", "run.toml"], "gradient", "run.toml"),
        (["gradient", "run.toml"], "gradient", "run.toml"),
        (["forward"], "forward", None),
        (["check", "--quiet", "run.toml"], "check", "run.toml"),
        (["info"], "info", None),
    ],
)
def test_the_command_is_gradient_unless_it_is_named(arguments, command, config):
    request, message, code = parse(arguments)
    assert (request.command, request.config) == (command, config)
    assert (message, code) == ("", 0)


def test_options_may_stand_before_and_after_the_configuration():
    expected = Request("forward", "a.toml", ("a.b=1", "c.d=x y"), "out", "-", True, True)
    options = ["-s", "a.b=1", "-o", "out", "--json", "-", "--quiet", "--debug", "-s", "c.d=x y"]
    assert parse(["forward", "a.toml", *options])[0] == expected
    assert parse(["forward", *options, "a.toml"])[0] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["optimise"],
            r"unknown command 'optimise', did you mean optimize\?; there are gradient, forward, "
            "plan, check, resume, optimize, uncertainty, hessian, train, report, info, watch",
        ),
        (
            ["solve", "run.toml"],
            "unknown command 'solve'; there are gradient, forward, plan, check, resume, "
            "optimize, uncertainty, hessian, train, report, info, watch",
        ),
        (["--fast"], r"No such option:? '?--fast"),
        (["-s"], "Option '-s' requires an argument"),
        (["--json"], "Option '--json' requires an argument"),
        (["gradient", "a.toml", "b.toml"], r"Got unexpected extra argument \(b\.toml\)"),
        (["-s", "a.b=1", "check"], "the command comes first: burgers-adjoint check"),
    ],
)
def test_wrong_usage_is_named_and_ends_with_2(arguments, message, capsys, monkeypatch):
    for name in launcher.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert ended(*arguments) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert re.match(f"error: {message}", stderr)
    assert "burgers-adjoint -h shows commands and options" in stderr


@pytest.mark.parametrize("command", ["report", "watch", "info", "resume"])
def test_a_folder_may_have_the_name_of_a_command(command):
    request, _, _ = parse([command, "gradient"])
    assert (request.command, request.config) == (command, "gradient")


def test_help_names_all_commands_and_options():
    for arguments in (["-h"], ["--help"]):
        request, message, code = parse(arguments)
        assert (request, code) == (None, 0)
        assert "burgers-adjoint [COMMAND] [CONFIG.toml] [OPTIONS]" in message
        for expected in (*COMMANDS, "-s SECTION.KEY=VALUE", "-o DIR", "--json FILE", "--quiet"):
            assert expected in message
    for command in COMMANDS:
        message = parse([command, "-h"])[1]
        assert f"Usage: burgers-adjoint {command}" in message
        assert "--debug" in message


def test_help_and_errors_of_usage_start_no_mpi():
    script = (
        "import sys\n"
        "from burgers_adjoint.commands.line import parse\n"
        "assert parse(['-h'])[2] == 0 and parse(['optimise'])[2] == 2\n"
        "slow = {'mpi4py', 'numba', 'numpy', 'h5py', 'matplotlib', 'rich', 'msgspec'}\n"
        "assert not slow & sys.modules.keys(), slow & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], env=os.environ | PACKAGE, check=True, timeout=50)


@pytest.mark.parametrize(
    "error", ["RuntimeError('cannot load MPI library\\nlibmpi.so.12: no such file')",
              "ImportError('libmpi.so.40: cannot open shared object file')"],
)  # fmt: skip
@pytest.mark.parametrize("command", COMMANDS)
def test_without_an_mpi_library_one_line_says_what_to_do(tmp_path, command, error):
    """mpi4py's wheels bring no MPI, and say so when they are imported."""
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py/__init__.py").touch()
    (tmp_path / "mpi4py/MPI.py").write_text(f"raise {error}\n")
    path = os.pathsep.join([str(tmp_path), PACKAGE["PYTHONPATH"]])
    script = "import sys; from burgers_adjoint.commands.line import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", script, command, *(["x"] if command == "resume" else [])],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(("error: MPI cannot be used (cannot load MPI library): run",
                            "error: MPI cannot be used (libmpi.so.40: cannot"))  # fmt: skip
    assert "`pip install mpich`" in line


def test_ranks_that_do_not_see_each_other_are_refused(tmp_path):
    """As the mpiexec of another MPI starts them: each would compute everything alone."""
    launched = {"PMI_SIZE": "2", "PMI_RANK": "0"}
    for rank in ("0", "1"):
        launched["PMI_RANK"] = rank
        code, stdout, stderr = finish(start("info", env=launched))
        assert (code, stdout) == (1, "")
        assert ("mpiexec has started 2 processes, and each is alone" in stderr) == (rank == "0")


def test_a_package_that_cannot_be_imported_is_no_bug_of_ours(tmp_path):
    (tmp_path / "h5py").mkdir()
    (tmp_path / "h5py/__init__.py").write_text("from h5py import nothing\n")
    path = os.pathsep.join([str(tmp_path), PACKAGE["PYTHONPATH"]])
    process = start(*SMALL, "-o", tmp_path / "run", env={"PYTHONPATH": path})
    code, _, stderr = finish(process)
    assert code == 1
    assert re.match("error: cannot import h5py: .*nothing.* do not fit each other", stderr)


def test_info_prints_all_keys_as_a_configuration(capsys, tmp_path):
    """Where there is only the installed package, nothing else tells what can be set."""
    assert ended("info", "--keys", "-s", "grid.nx=7") == 0
    stdout = capsys.readouterr().out
    assert "nx = 7 " in stdout
    assert "points along x (a whole number >= 3)" in stdout
    (tmp_path / "run.toml").write_text(stdout)
    assert load(str(tmp_path / "run.toml")) == load(None, ["grid.nx=7"])
    assert ended("info", tmp_path / "run.toml", "--keys", "--quiet", "--json", "-") == 0
    described = json.loads(capsys.readouterr().out)
    assert described["grid"]["nx"] == {
        "value": 7,
        "default": 100,
        "meaning": "points along x",
        "allowed": "a whole number >= 3",
    }


def test_keys_are_not_those_of_a_folder(capsys, tmp_path):
    assert ended("info", tmp_path, "--keys") == 2
    assert (
        "--keys goes with a configuration file or none, not the folder" in capsys.readouterr().err
    )


SLOW_MESSAGE = """
import os, signal, sys, time
from burgers_adjoint.commands import interrupts, line

def interrupt(request, comm):
    os.kill(os.getpid(), signal.SIGINT)

def failed(comm, error, debug):
    time.sleep(0.5)
    print(type(error).__name__, file=sys.stderr)
    return 130

interrupts.SECONDS_BETWEEN_INTERRUPTS = 0.1
line._COMMANDS["info"], line.failed = interrupt, failed
line.main(["info"])
"""


def test_an_interrupt_does_not_interrupt_its_own_message():
    done = subprocess.run(
        [sys.executable, "-c", SLOW_MESSAGE],
        env=os.environ | PACKAGE,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (130, "KeyboardInterrupt\n")


class Pieces(io.RawIOBase):
    """What is handed to the system, piece by piece."""

    def __init__(self):
        self.pieces = []

    def writable(self):
        return True

    def write(self, data):
        self.pieces.append(bytes(data))
        return len(data)


def test_what_is_printed_leaves_with_the_end_of_its_last_line():
    """What another stream or rank writes would else go on in the same line."""
    raw = Pieces()
    stream = io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True)
    assert print_on("table\nof two lines", stream) is None
    with Progress(stream=stream, terminal=False) as progress:
        progress.say("one\ntwo")
    assert raw.pieces == [b"table\nof two lines\n", b"one\ntwo\n"]


ABORT = """
from burgers_adjoint.commands.ending import end_alone

class Comm:
    size, rank = 2, 1

    def Abort(self, code):
        {what}

end_alone(Comm(), "why", 3)
"""


@pytest.mark.parametrize("what", ["pass", "raise RuntimeError"])
def test_an_abort_that_returns_ends_the_process_all_the_same(what):
    done = subprocess.run(
        [sys.executable, "-c", ABORT.format(what=what)],
        env=os.environ | PACKAGE,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "error: rank 1: why\n")


def test_version():
    code, stdout, stderr = finish(start("--version"))
    assert (code, stderr) == (0, "")
    assert stdout.startswith("burgers-adjoint, version ")


def test_a_gradient_leaves_its_config_and_results(tmp_path, capsys):
    assert ended(*SMALL, "-o", tmp_path / "run", "--json", tmp_path / "summary.json") == 0
    stdout, stderr = capsys.readouterr()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert repr(summary["objective"]) in stdout
    assert stderr == ""
    assert sorted(os.listdir(tmp_path / "run")) == ["config.toml", "results.h5", "results.xdmf"]
    config = load(str(tmp_path / "run" / "config.toml"))
    assert (config.grid.nx, config.time.steps) == (9, 6)
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        assert file["gradient/initial/v"].shape == (7, 9)
    assert summary["steps"] == 6
    assert summary["gradient_norm"].keys() == {"initial", "viscosity"}
    schedule = {"name", "snapshots", "forward_steps", "predicted_forward_steps", "store"}
    schedule |= {"snapshots_on_disk", "snapshots_written"}
    schedule |= {"damaged", "damages", "recomputed_steps", "kept_steps"}
    assert schedule == summary["schedule"].keys()
    parts = {"startup", "sweeps", "forward", "adjoint", "snapshots", "halo", "output"}
    assert parts == summary["seconds"].keys()
    rest = {"objective", "digest", "ranks", "peak_rss_bytes", "snapshot_bytes", "checks"}
    assert rest <= summary.keys()


def test_what_an_older_run_has_left_is_not_beside_new_results(tmp_path, capsys):
    every = [*SMALL, "-o", tmp_path, "-s", "output.every=2", "-s", "output.plots=true"]
    assert ended("gradient", *every) == 0
    steps = [*(f"step-{n}.h5" for n in (0, 2, 4, 6)), "steps.xdmf"]
    assert sorted(os.listdir(tmp_path / "dumps")) == steps
    assert (tmp_path / "gradient.png").exists()
    (tmp_path / "differences.png").write_text("of check, not of the results")
    (tmp_path / "dumps" / "mine.h5").write_text("of the user")
    assert ended("gradient", *every, "-s", "output.every=3", "-s", "output.plots=false") == 0
    assert sorted(os.listdir(tmp_path / "dumps")) == [
        "mine.h5",
        "step-0.h5",
        "step-3.h5",
        "step-6.h5",
        "steps.xdmf",
    ]
    kept = ["config.toml", "differences.png", "dumps", "results.h5", "results.xdmf"]
    assert sorted(os.listdir(tmp_path)) == kept
    (tmp_path / "gradient.png").write_text("of an older run")
    assert ended("forward", *every, "-s", "output.every=0") == 0
    assert os.listdir(tmp_path / "dumps") == ["mine.h5"]
    assert sorted(os.listdir(tmp_path)) == kept


def test_the_primal_alone_dumps_the_states_that_a_reversal_comes_by(tmp_path, capsys):
    every = [*SMALL, "-s", "output.every=4"]
    assert ended("gradient", *every, "-o", tmp_path / "both") == 0
    assert ended("forward", *every, "-o", tmp_path / "one", "--json", tmp_path / "one.json") == 0
    names = ["step-0.h5", "step-4.h5"]
    assert sorted(os.listdir(tmp_path / "one" / "dumps")) == [*names, "steps.xdmf"]
    assert json.loads((tmp_path / "one.json").read_text())["dumps"]["files"] == 2
    for name in names:
        with (
            h5py.File(tmp_path / "one" / "dumps" / name) as one,
            h5py.File(tmp_path / "both" / "dumps" / name) as both,
        ):
            assert both.keys() - one.keys() == {"cotangent"}
            assert one["time"][()] == both["time"][()]
            for field in "uv":
                np.testing.assert_array_equal(one["primal"][field], both["primal"][field])
    capsys.readouterr()
    assert ended("check", *every, "-o", tmp_path / "none") == 0
    said = "output.every = 4: check writes no dumps, gradient and forward do"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["time.until=0.012", "time.steps=3"], ["step-00.h5", "step-06.h5", "step-12.h5"]),
        (
            ["time.until=0.012", "time.cfl=0.5", "checkpointing.schedule=online"],
            ["step-0000000000.h5", "step-0000000006.h5", "step-0000000012.h5"],
        ),
    ],
)
def test_names_of_dumps_sort_by_step_however_many_there_come(keys, names, tmp_path):
    options = [word for key in keys for word in ("-s", key)]
    every = [*SMALL, "-s", "output.every=6", "-o", tmp_path, "--quiet"]
    assert ended("gradient", *every, *options) == 0
    assert sorted(os.listdir(tmp_path / "dumps")) == [*names, "steps.xdmf"]


def test_a_run_starts_from_the_end_of_another_or_from_one_of_its_steps(tmp_path, caplog):
    whole = [*SMALL, "-s", "output.every=2", "-s", "initial.amplitude=[1.0, -0.4]"]
    assert ended("forward", *whole, "-o", tmp_path / "whole") == 0
    first, then = tmp_path / "first", tmp_path / "then"
    assert ended("forward", *whole, "-o", first, "-s", "time.steps=4") == 0
    for path, said in (
        (first / "results.h5", "the run starts from the state at its end, /state/final"),
        (first / "dumps" / "step-4.h5", "the run starts from the state of this step, /primal"),
    ):
        start = ["-s", "initial.kind=file", "-s", f"initial.path={path}", "-s", "time.steps=2"]
        assert ended("forward", *SMALL, *start, "-o", then) == 0
        assert f"initial.path = {path}: {said}" in caplog.messages
        with h5py.File(then / "results.h5") as a, h5py.File(tmp_path / "whole/results.h5") as b:
            for field in "uv":
                np.testing.assert_array_equal(a["state/final"][field], b["state/final"][field])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("info", "neither an output folder nor a configuration file"),
        ("resume", "not the output folder of a run"),
    ],
)
def test_a_folder_that_is_not_there_is_said(command, message, tmp_path, capsys):
    name = tmp_path / "nosuch"
    assert ended(command, name) == 2
    said = f"error: {name} is {message}: there is nothing of this name\n"
    assert capsys.readouterr().err == said


def test_results_say_which_leftover_cannot_be_removed(tmp_path, capsys):
    (tmp_path / "gradient.png").mkdir()
    assert ended("forward", *SMALL, "-o", tmp_path) == 1
    where = tmp_path / "gradient.png"
    expected = f"error: cannot remove {where} of an older run: Is a directory\n"
    assert capsys.readouterr().err == expected


def test_json_on_standard_output_is_alone_there(tmp_path, capsys):
    assert ended("forward", *SMALL, "-o", tmp_path, "--json", "-") == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout)["steps"] == 6
    assert "objective" in stderr


def test_quiet_prints_nothing_and_ends_with_the_command(tmp_path, capsys):
    assert ended("forward", *SMALL, "-o", tmp_path, "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "results.h5").exists()
    assert logging.getLogger("burgers_adjoint").isEnabledFor(logging.WARNING)


def test_info_names_versions_ranks_and_memory(capsys):
    assert ended("info", "--json", "-", "--quiet") == 0
    found = json.loads(capsys.readouterr().out)
    names = {"python", "numpy", "numba", "mpi4py", "MPI library", "MPI standard", "h5py", "HDF5"}
    assert names | {"burgers_adjoint"} <= found["versions"].keys()
    assert found["ranks"] == 1
    (node,) = found["nodes"]
    assert node["ranks"] == 1
    assert 0 < node["usable_cores"] <= node["cores"]
    assert node["memory_bytes"] > node["available_memory_bytes"] > 2**20
    assert Path(found["kernel_cache"]).is_absolute()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.toml"], 2, "error: cannot read the configuration missing.toml: No such file"),
        (["-s", "grid.nx=2"], 2, "error: grid.nx = 2: expected a whole number >= 3"),
        (["-s", "time.dt=1"], 3, "error: time.dt = 1 is unstable"),
        (["--json", "/missing/a.json"], 2, "error: cannot write /missing/a.json: No such file"),
        (["-o", "/proc/self/a"], 1, "error: cannot make the output folder /proc/self/a: "),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(
    arguments, code, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert ended("gradient", *arguments) == code
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith(message)
    assert len(stderr.splitlines()) == 1
    assert not (tmp_path / "output" / "results.h5").exists()


def test_debug_shows_the_traceback_of_an_error(capsys):
    assert ended("missing.toml", "--debug") == 2
    stderr = capsys.readouterr().err
    assert "Traceback (most recent call last)" in stderr
    assert "FileNotFoundError" not in stderr.splitlines()[-1]
    assert stderr.splitlines()[-1].startswith("error: cannot read the configuration missing.toml")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SnapshotError("slot 3 is damaged"), 4, "error: slot 3 is damaged\n"),
        (NumericalError("not finite"), 3, "error: not finite\n"),
        (BurgersAdjointError("disk full"), 1, "error: disk full\n"),
        (MemoryError("Unable to allocate 3 TiB"), 1, "error: out of memory: Unable to allocate 3"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (
            ZeroDivisionError("one over nothing"),
            1,
            "error: ZeroDivisionError: one over nothing (a bug in burgers-adjoint; --debug shows",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_whatever_is_raised_ends_with_a_line_and_a_code(error, code, message, capsys, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(forward, "forward", fail)
    assert ended("forward") == code
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith(message)
    assert "Traceback" not in stderr


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_check_ends_with_1_after_the_table_when_one_fails(
    passed, code, capsys, monkeypatch, tmp_path
):
    done = Check("order", 1.5, passed, 1.9, "over 1.9")
    found = CheckSummary(
        checks=[done], left_out=[], objective=0.0, digest="", seed=0, ranks=1, steps=1
    )
    monkeypatch.setattr(check, "check", lambda *arguments: found)
    assert ended("check", "--json", tmp_path / "checks.json") == code
    stdout = capsys.readouterr().out
    assert ("FAILED" in stdout) is not passed
    assert json.loads((tmp_path / "checks.json").read_text())["checks"] == [to_mapping(done)]


def test_interrupting_a_run_ends_it_with_130_and_no_traceback(tmp_path):
    process = start("-s", "time.steps=100000000", "-o", tmp_path)
    try:
        while not (tmp_path / "config.toml").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
    finally:
        code, stdout, stderr = finish(process)
    assert (code, stdout) == (130, "")
    assert stderr == "error: interrupted\n"
    assert os.listdir(tmp_path) == ["config.toml"]


def require_interrupted(script, folder):
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | PACKAGE,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "error: interrupted\n"


def test_what_the_compiler_was_interrupted_at_is_not_disposed_of_twice(tmp_path):
    """A module that an engine has taken over, interrupted before the module knows of it."""
    script = (
        "import os, signal\n"
        "import llvmlite.binding as llvm\n"
        "from burgers_adjoint.commands import forward\n"
        "from burgers_adjoint.commands.line import main\n"
        "llvm.initialize_native_target()\n"
        "llvm.initialize_native_asmprinter()\n"
        "def interrupted(*arguments):\n"
        "    machine = llvm.Target.from_default_triple().create_target_machine()\n"
        "    module = llvm.parse_assembly('')\n"
        "    engine = llvm.create_mcjit_compiler(module, machine)\n"
        "    module._owned = False\n"
        "    engine._modules.clear()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "forward.forward = interrupted\n"
        "main(['forward'])\n"
    )
    require_interrupted(script, tmp_path)


@pytest.mark.parametrize("then", ["time.sleep(60)", "raise OSError('follows from the interrupt')"])
def test_an_interrupt_that_compiled_code_swallows_is_not_lost(tmp_path, then):
    """C's qsort calls a Python function, as LLVM does while it compiles kernels."""
    script = (
        "import ctypes, os, signal, sys, time\n"
        "from burgers_adjoint.commands import forward\n"
        "from burgers_adjoint.commands.line import main\n"
        "kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)\n"
        "@kind\n"
        "def compare(a, b):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return 0\n"
        "def swallow(*arguments):\n"
        "    ctypes.CDLL(None).qsort((ctypes.c_int * 2)(), 2, 4, compare)\n"
        f"    {then}\n"
        "forward.forward = swallow\n"
        "main(['forward'])\n"
    )
    require_interrupted(script, tmp_path)


def test_a_reader_that_goes_away_is_no_error():
    process = start("info")
    process.stdout.close()
    process.stdout = None
    assert finish(process)[::2] == (0, "")


@pytest.mark.parametrize("stream", ["1>&-", "1>&- 2>&-"])
def test_a_closed_stream_is_no_error(tmp_path, stream):
    command = [sys.executable, "-m", "burgers_adjoint", *SMALL, "-o", tmp_path]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {stream}', "sh", *map(str, command)],
        env=os.environ | PACKAGE,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "results.h5").is_file()


def test_a_full_output_is_named(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "burgers_adjoint", "info"],
            env=os.environ | PACKAGE,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
        )
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1


def test_a_summary_goes_into_a_pipe():
    process = start("info", "--quiet", "--json", "/dev/stdout")
    code, stdout, stderr = finish(process)
    assert (code, stderr) == (0, "")
    assert json.loads(stdout)["ranks"] == 1


def test_a_stream_that_knows_only_ascii_is_no_error():
    done = subprocess.run(
        [sys.executable, "-m", "burgers_adjoint", "-s", "grid.nx=ü"],
        env=os.environ | PACKAGE | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=50,
    )
    assert done.stderr.startswith(b'error: grid.nx = "\\xfc": expected a whole number')
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["optimise"], 2, "error: unknown command 'optimise'"),
        (["missing.toml"], 2, "error: cannot read the configuration missing.toml"),
        (["--json", "/missing/a"], 2, "error: cannot write /missing/a: No such file"),
    ],
)
def test_all_ranks_end_with_one_message(mpiexec, tmp_path, arguments, code, message):
    done = mpiexec(3, "-m", "burgers_adjoint", *arguments, cwd=tmp_path, env=PACKAGE)
    assert done.returncode == code
    assert done.stderr.count("error: ") == 1
    assert message in done.stderr
    assert done.stdout == ""
    assert "MPI_ABORT" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_help_is_printed_once(mpiexec):
    done = mpiexec(3, "-m", "burgers_adjoint", "-h", env=PACKAGE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: ") == 1


def test_only_rank_0_prints_and_no_colours_end_in_files(mpiexec, tmp_path):
    done = mpiexec(2, "-m", "burgers_adjoint", "forward", *SMALL, cwd=tmp_path, env=PACKAGE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("objective") == 1
    assert "\x1b" not in done.stdout
    done = mpiexec(2, "-m", "burgers_adjoint", "info", "--json", "-", cwd=tmp_path, env=PACKAGE)
    assert json.loads(done.stdout)["ranks"] == 2


def test_a_config_need_only_be_where_rank_0_is(mpiexec, tmp_path):
    """Every other rank runs in a folder without the file."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "run.toml").write_text("[grid]\nnx = 9\nny = 7\n[time]\nsteps = 6\n")
    script = (
        "import os, sys\n"
        "from mpi4py import MPI\n"
        "if MPI.COMM_WORLD.rank == 0: os.chdir('here')\n"
        "from burgers_adjoint.commands.line import main\n"
        "main(sys.argv[1:])\n"
    )
    out = ["-o", tmp_path / "out", "--json", tmp_path / "summary.json", "--quiet"]
    done = mpiexec(3, "-c", script, "forward", "run.toml", *out, cwd=tmp_path, env=PACKAGE)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 6


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("SnapshotError('slot 3 is damaged')", 4, "error: rank 1: slot 3 is damaged\n"),
        ("OSError('no disk')", 1, "error: rank 1: OSError: no disk (a bug in burgers-adjoint;"),
        ("KeyboardInterrupt", 130, "error: rank 1: interrupted\n"),
    ],
)
def test_one_failing_rank_ends_those_that_wait_for_it(mpiexec, tmp_path, error, code, message):
    script = (
        "import sys\n"
        "from burgers_adjoint.commands import forward\n"
        "from burgers_adjoint.commands.line import main\n"
        "from burgers_adjoint.errors import SnapshotError\n"
        "def fail(config, comm, *others):\n"
        f"    if comm.rank == 1: raise {error}\n"
        "    comm.Barrier()\n"
        "forward.forward = fail\n"
        "main(sys.argv[1:])\n"
    )
    done = mpiexec(3, "-c", script, "forward", cwd=tmp_path, env=PACKAGE)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr

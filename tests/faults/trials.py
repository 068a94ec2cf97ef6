"""Trials of the campaign: each breaks a run in one way, and sees what becomes of it."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

from tests.conftest import ROOT, _environment
from tests.faults.damage import DAMAGES
from tests.faults.injections import Injection
from tests.faults.power import lost_generations
from tests.faults.table import Row

DRIVER = str(Path(__file__).with_name("driver.py"))
N_STEPS = 3000
CONFIG = f"""
[grid]
nx = 71
ny = 52
x = [-4.95, 4.95]
y = [-4.0, 4.0]
[initial]
amplitude = [1.0, 0.6]
width = [1.65, 1.1]
[time]
steps = {N_STEPS}
[checkpointing]
snapshots = 6
[restart]
enabled = true
overhead = 1.0
[output]
plots = false
"""
SECONDS = 60.0
PACE = "pace:0.01"


@dataclass
class Outcome:
    """How one command ended: its exit code (None: it hung), what it said, and its summary."""

    code: int | None
    text: str
    summary: dict | None


class Campaign:
    """Trials in one scratch folder; `rows` is the table."""

    def __init__(self, scratch: Path, seed: int = 1) -> None:
        self.scratch = scratch
        self.random = random.Random(seed)
        self.rows: dict[tuple[str, str], Row] = {}
        self.config = scratch / "config.toml"
        self.config.write_text(CONFIG, encoding="utf-8")
        plain = self.run(2, [], "gradient", self.config, "-o", scratch / "plain")
        assert plain.summary is not None, plain.text
        self.digest = plain.summary["digest"]
        seconds, forward_steps = (
            plain.summary["seconds"],
            plain.summary["schedule"]["forward_steps"],
        )
        self.sweeps = seconds["sweeps"]
        self.forward_sweep = seconds["forward"] * N_STEPS / forward_steps
        self.steps = forward_steps + N_STEPS

    def row(self, fault: str, phase: str) -> Row:
        """The row of a fault in a phase."""
        return self.rows.setdefault((fault, phase), Row(fault, phase))

    def run(
        self,
        ranks: int,
        faults: list[str],
        *arguments: object,
        traced: tuple[int, list[str]] = (0, []),
    ) -> Outcome:
        """Run the program with faults in it on some ranks, one of them maybe under a tracer."""
        report = self.scratch / "summary.json"
        report.unlink(missing_ok=True)
        words = [DRIVER, PACE, *faults, "--", *map(str, arguments), "--json", str(report)]
        program = [sys.executable, *words]
        command = ["mpiexec", "-n", str(ranks), *program]
        rank, tracer = traced
        if tracer:
            behind = [":", "-n", str(ranks - rank - 1), *program] if rank < ranks - 1 else []
            before = ["-n", str(rank), *program, ":"] if rank else []
            command = ["mpiexec", *before, "-n", "1", *tracer, *program, *behind]
        elif ranks == 1:
            command = program
        process = subprocess.Popen(
            command,
            cwd=self.scratch,
            env=_environment({"PYTHONPATH": str(ROOT)}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            text, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            family = psutil.Process(process.pid).children(recursive=True)
            for member in [*family, process]:
                member.kill()
            text, _ = process.communicate()
            return Outcome(None, text, None)
        summary = None
        if report.exists():
            summary = json.loads(report.read_text(encoding="utf-8"))
        return Outcome(process.returncode, text, summary)

    def begin(self, ranks: int, faults: list[str]) -> tuple[Outcome, Path]:
        """Begin a run in a new folder."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        return self.run(ranks, faults, "gradient", self.config, "-o", folder), folder

    def resume(self, folder: Path, ranks: int, faults: list[str] | None = None) -> Outcome:
        """Go on with a run."""
        return self.run(ranks, faults or [], "resume", folder)

    def finish(self, outcome: Outcome, folder: Path, ranks: int) -> Outcome:
        """Go on with a run unless it is at its end, or hangs."""
        if outcome.summary is None and outcome.code is not None:
            return self.resume(folder, ranks)
        return outcome

    @cached_property
    def stopped(self) -> Path:
        """Output folder of a run that was stopped in its reverse sweep, after several saves."""
        outcome, folder = self.begin(2, [f"1:steps:{self.steps // 2}:term"])
        assert outcome.code == 75, outcome.text
        return folder

    def judge(self, row: Row, outcome: Outcome) -> None:
        """Count how a run ended that was to come to its end, or to be refused."""
        row.trials += 1
        errors = re.findall(r"^error: .*$", outcome.text, re.MULTILINE)
        if outcome.code is None:
            row.hung += 1
        elif outcome.code in (1, 2, 4) and len(errors) == 1 and "a bug in" not in errors[0]:
            row.refused += 1
        elif outcome.summary is None or outcome.summary["digest"] != self.digest:
            row.wrong += 1
            row.notes.append(f"exit {outcome.code}: {outcome.text[-2000:]}")
        else:
            restart = outcome.summary["restart"]
            if "falling back" in outcome.text or "going on without" in outcome.text:
                row.fell_back += 1
            else:
                row.resumed += 1
            row.most_lost = max(row.most_lost, self._lost)
            row.most_repeated = max(row.most_repeated, restart["repeated_steps"])
            row.seconds = max(row.seconds, restart["resume_seconds"])

    _lost = 0

    def note_lost(self, folder: Path) -> None:
        """Note the steps done since the last save that were lost now."""
        newest = max((folder / "restart").glob("generation-*.json"), default=None)
        done = self.steps_done(folder)
        if done is None:
            return
        if newest is not None:
            counts = json.loads(newest.read_text(encoding="utf-8"))["manifest"]["counts"]
            done -= counts["forward_steps"] + counts["reverse_steps"]
        self._lost = max(self._lost, done)

    def steps_done(self, folder: Path) -> int | None:
        """Forward and reverse steps that an interrupted run has noted."""
        try:
            return int((folder / "restart/progress").read_text(encoding="utf-8").split()[1])
        except (OSError, IndexError):
            return None

    def phase(self, folder: Path) -> str:
        """The sweep that an interrupted run was in, as it noted it."""
        done = self.steps_done(folder)
        if done is None:
            return "before the first save"
        return "forward" if done < N_STEPS else "reverse"

    def kills(self, trials: int) -> None:
        """SIGKILL of a random rank at a random time, again and again in one run."""
        folder: Path | None = None
        ranks, self._lost = self.random.choice([2, 2, 3, 4]), 0
        struck: list[Row] = []
        while len(struck) < trials:
            begins = folder is None and self.random.random() < 0.8
            when = self.random.uniform(0, self.forward_sweep if begins else 1.1 * self.sweeps)
            fault = f"{self.random.randrange(ranks)}:time:{when:.4f}:kill"
            if self.random.random() < 0.15:
                fault = f"{self.random.randrange(ranks)}:steps:{N_STEPS}:kill"
            if folder is None:
                outcome, folder = self.begin(ranks, [fault])
            else:
                outcome = self.resume(folder, ranks, [fault])
            if outcome.summary is not None:
                # It was over before the kill came.
                for row in struck:
                    self.judge(row, outcome)
                folder, struck, trials, self._lost = None, [], trials - len(struck), 0
                continue
            phase = "turn" if ":steps:" in fault else self.phase(folder)
            struck.append(self.row("SIGKILL of a random rank", phase))
            if outcome.code is None:
                break
            self.note_lost(folder)
            ranks = self.random.choice([1, 2, 2, 3, 4])
        if struck:
            assert folder is not None
            outcome = self.finish(outcome, folder, ranks)
            for row in struck:
                self.judge(row, outcome)

    def commit(self, point: str, count: int, rank: int) -> None:
        """SIGKILL at a step of a commit."""
        self._lost = 0
        outcome, folder = self.begin(2, [f"{rank}:{point}:{count}:kill"])
        row = self.row("SIGKILL in a commit", point)
        if outcome.summary is not None:
            row.missed += 1
            return
        self.note_lost(folder)
        self.judge(row, self.finish(outcome, folder, 2))

    def signal(self, name: str, steps: int) -> None:
        """A signal that asks a run to stop: it ends with 75, and resumes without a lost step."""
        outcome, folder = self.begin(2, [f"1:steps:{steps}:{name}"])
        row = self.row(f"SIG{name.upper()}", "forward" if steps < N_STEPS else "reverse")
        self._lost = 0
        self.note_lost(folder)
        if outcome.code != 75:
            row.wrong += 1
            row.notes.append(f"exit {outcome.code}: {outcome.text[-500:]}")
        self.judge(row, self.resume(folder, 3))

    def failing_disk(self, error: str, point: str, count: int) -> None:
        """An operation that fails: the run goes on, and an interruption later is no harm."""
        rank = 0 if point in ("replace", "remove") else 1
        kill = f"0:steps:{self.steps * 9 // 10}:kill"
        outcome, folder = self.begin(2, [f"{rank}:{point}:{count}:{error}", kill])
        row = self.row(error.upper(), point)
        self._lost = 0
        self.note_lost(folder)
        if "the run goes on, and tries again later" not in outcome.text and point != "remove":
            row.missed += 1
            return
        self.judge(row, self.finish(outcome, folder, 2))

    def one_rank(self, point: str) -> None:
        """An error that nobody foresees, on one rank: all ranks end, with one message."""
        rank = 0 if point.startswith("replace") else 1
        outcome, folder = self.begin(2, [f"{rank}:{point}:raise"])
        row = self.row("an error on one rank", point.partition(":")[0])
        self._lost = 0
        self.note_lost(folder)
        messages = outcome.text.count("error: ")
        if outcome.code != 1 or messages != 1:
            row.wrong += 1
            row.notes.append(f"exit {outcome.code}, {messages} messages: {outcome.text[-900:]}")
        self.judge(row, self.resume(folder, 2))

    def damage(self, name: str, trial: int, ranks: int = 2) -> None:
        """Damage to data at rest."""
        copy = self.scratch / f"damaged-{trial}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.stopped, copy)
        DAMAGES[name].apply(copy / "restart", random.Random(trial))
        self._lost = 0
        self.judge(self.row(name, "at rest"), self.resume(copy, ranks))

    def small_disk(self, name: str, option: str) -> None:
        """A tmpfs that fills, or that is read-only; root alone can mount them."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        row = self.row(name, "whole run")
        if os.system(f"mount -t tmpfs -o {option} tmpfs {folder} 2>/dev/null"):
            row.missed += 1
            return
        try:
            place = ["-s", f"restart.directory={folder}"]
            output = self.scratch / f"output-{folder.name}"
            self._lost = 0
            outcome = self.run(2, [], "gradient", self.config, "-o", output, *place)
            self.judge(row, outcome)
            if "cannot write restart data" not in outcome.text and option != "ro":
                row.wrong += 1
                row.notes.append(f"the disk did not fill: {outcome.text[-500:]}")
        finally:
            os.system(f"umount {folder}")

    def traced(self, injection: Injection, what: str) -> None:
        """A fault that strace puts into a system call of one rank."""
        row = self.row(f"strace: {what.partition('=')[2]}", injection.call)
        if shutil.which("strace") is None:
            row.missed += 1
            return
        folder, log = Path(tempfile.mkdtemp(dir=self.scratch)), self.scratch / "strace.log"
        log.unlink(missing_ok=True)
        tracer = injection.tracer(folder / "restart", what, log)
        kill = f"*:steps:{self.steps * 9 // 10}:kill"
        command = ("gradient", self.config, "-o", folder)
        outcome = self.run(2, [kill], *command, traced=(injection.rank, tracer))
        told = log.read_text(encoding="utf-8") if log.exists() else ""
        if "INJECTED" not in told and "killed by SIGKILL" not in told.partition("= ?")[2]:
            row.missed += 1
            return
        self._lost = 0
        self.note_lost(folder)
        self.judge(row, self.finish(outcome, folder, 2))

    def power(self, name: str, faults: list[str]) -> Row:
        """Cut the power at every moment of a run: no generation that was valid is lost."""
        log = self.scratch / f"log-{name.replace(' ', '-')}"
        end = f"1:steps:{self.steps * 2 // 3}:term"
        outcome, folder = self.begin(2, [f"log:{log}", *faults, end])
        assert outcome.code == 75, outcome.text
        trials, lost = lost_generations(log, folder / "restart", self.scratch / "power")
        row = self.row(name, "every moment of a run")
        row.trials, row.resumed, row.wrong = trials, trials - len(lost), len(lost)
        row.notes += lost[:3]
        return row

    def unchecked(self) -> None:
        """Damage that a writer without checksums does not notice."""
        off = "*:checksum:1:off"
        outcome, folder = self.begin(2, [off, f"1:steps:{self.steps // 2}:term"])
        assert outcome.code == 75, outcome.text
        for trial in range(4):
            copy = self.scratch / f"unchecked-{trial}"
            shutil.copytree(folder, copy)
            DAMAGES["a flipped bit in a field"].apply(copy / "restart", random.Random(trial))
            row = self.row("negative control: no checksum", "at rest")
            self.judge(row, self.resume(copy, 2, [off]))

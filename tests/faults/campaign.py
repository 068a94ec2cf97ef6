"""Breaks runs in every way there is and counts what becomes of them.

    python -m tests.faults.campaign [--kills 200] [--only PART...] [--json FILE]

One row of the table per fault and phase: trials; how many resumed to the same bits, were refused
with a message and the right exit code, fell back a generation (or a snapshot) and still had the
same bits, had other bits, hung; the most steps that were lost or taken twice; the longest time to
resume. Rows of `negative control` break the writer itself: there the campaign has to find faults.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.conftest import ROOT, _environment
from tests.faults.damage import DAMAGES
from tests.faults.power import lost_generations

DRIVER = str(Path(__file__).with_name("driver.py"))
N_STEPS = 1500
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
class Row:
    """What became of one fault in one phase."""

    fault: str
    phase: str
    trials: int = 0
    resumed: int = 0
    refused: int = 0
    fell_back: int = 0
    wrong: int = 0
    hung: int = 0
    most_repeated: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """Trials that must not be."""
        return self.wrong + self.hung


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
        plain = self.run(1, [], "gradient", self.config, "-o", scratch / "plain")
        assert plain.summary is not None, plain.text
        self.digest = plain.summary["digest"]
        self.sweeps = plain.summary["seconds"]["sweeps"]
        self.steps = plain.summary["schedule"]["forward_steps"] + N_STEPS

    def row(self, fault: str, phase: str) -> Row:
        """The row of a fault in a phase."""
        return self.rows.setdefault((fault, phase), Row(fault, phase))

    def run(
        self, ranks: int, faults: list[str], *arguments: object, prefix: list[str] | None = None
    ) -> Outcome:
        """Run the program with faults in it on some ranks."""
        report = self.scratch / "summary.json"
        report.unlink(missing_ok=True)
        words = [DRIVER, PACE, *faults, "--", *map(str, arguments), "--json", str(report)]
        command = ["mpiexec", "-n", str(ranks), *(prefix or []), sys.executable, *words]
        if ranks == 1:
            command = command[3:]
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

    def begin(self, ranks: int, faults: list[str], **options: list[str]) -> tuple[Outcome, Path]:
        """Begin a run in a new folder."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        return self.run(ranks, faults, "gradient", self.config, "-o", folder, **options), folder

    def resume(self, folder: Path, ranks: int, faults: list[str] | None = None) -> Outcome:
        """Go on with a run."""
        return self.run(ranks, faults or [], "resume", folder)

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
            repeated = restart["lost_steps"] + restart["repeated_steps"]
            row.most_repeated = max(row.most_repeated, repeated)
            row.seconds = max(row.seconds, restart["resume_seconds"])

    def phase(self, folder: Path) -> str:
        """The sweep that an interrupted run was in, as it noted it."""
        try:
            done = int((folder / "restart/progress").read_text(encoding="utf-8").split()[1])
        except (OSError, IndexError):
            return "before the first save"
        return "forward" if done < N_STEPS else "reverse"

    def kills(self, trials: int) -> None:
        """SIGKILL of a random rank at a random time; on 1 to 4 ranks, again and again."""
        done = 0
        while done < trials:
            ranks = self.random.choice([2, 2, 3, 4])
            folder: Path | None = None
            struck: list[Row] = []
            while done < trials:
                # The forward sweep is a seventh of the steps, and gets half of the kills.
                share = self.random.choice([N_STEPS / self.steps, 1.2])
                when = self.random.uniform(0, share * self.sweeps)
                fault = f"{self.random.randrange(ranks)}:time:{when:.4f}:kill"
                if self.random.random() < 0.15:
                    fault = f"{self.random.randrange(ranks)}:steps:{N_STEPS}:kill"
                if folder is None:
                    outcome, folder = self.begin(ranks, [fault])
                else:
                    outcome = self.resume(folder, ranks, [fault])
                if outcome.summary is not None or outcome.code is None:
                    break
                done += 1
                phase = "turn" if ":steps:" in fault else self.phase(folder)
                struck.append(self.row("SIGKILL of a random rank", phase))
                ranks = self.random.choice([1, 2, 2, 3, 4])
            else:
                assert folder is not None
                outcome = self.resume(folder, ranks)
            for row in struck:
                self.judge(row, outcome)

    def commits(self, points: list[tuple[str, int]], ranks: tuple[int, ...] = (0, 1)) -> None:
        """SIGKILL at each step of a commit."""
        for point, count in points:
            for rank in ranks:
                outcome, folder = self.begin(2, [f"{rank}:{point}:{count}:kill"])
                if outcome.summary is None:
                    outcome = self.resume(folder, 2)
                self.judge(self.row("SIGKILL in a commit", point), outcome)

    def signals(self, names: tuple[str, ...] = ("term", "usr1", "int")) -> None:
        """Signals that ask a run to stop: it ends with 75, and resumes without a lost step."""
        for name in names:
            for steps in (N_STEPS // 2, N_STEPS, self.steps * 3 // 4):
                outcome, folder = self.begin(2, [f"1:steps:{steps}:{name}"])
                row = self.row(f"SIG{name.upper()}", "forward" if steps < N_STEPS else "reverse")
                if outcome.code != 75:
                    row.wrong += 1
                    row.notes.append(f"exit {outcome.code}: {outcome.text[-500:]}")
                self.judge(row, self.resume(folder, 3))

    def failing_disk(self, points: list[tuple[str, int]], errors: tuple[str, ...]) -> None:
        """Operations that fail: the run goes on, and an interruption later is no harm."""
        for error in errors:
            for point, count in points:
                fault = f"1:{point}:{count}:{error}"
                if point in ("replace", "remove"):
                    fault = f"0:{point}:{count}:{error}"
                outcome, folder = self.begin(2, [fault, f"0:steps:{self.steps * 2 // 3}:kill"])
                if outcome.summary is None:
                    outcome = self.resume(folder, 2)
                self.judge(self.row(error.upper(), point), outcome)

    def one_rank(self) -> None:
        """Errors that nobody foresees, on one rank: all ranks end, with one message."""
        for point in ("steps:700", "steps:2500", "save:2", "write:3", "replace:1"):
            rank = 0 if point.startswith("replace") else 1
            outcome, folder = self.begin(2, [f"{rank}:{point}:raise"])
            row = self.row("an error on one rank", point.partition(":")[0])
            messages = outcome.text.count("error: ")
            if outcome.code != 1 or messages != 1:
                row.wrong += 1
                row.notes.append(f"exit {outcome.code}, {messages} messages: {outcome.text[-900:]}")
            self.judge(row, self.resume(folder, 2))

    def damages(self, names: list[str], ranks: int = 2) -> None:
        """Damage to data at rest."""
        outcome, folder = self.begin(2, [f"1:steps:{self.steps // 2}:term"])
        assert outcome.code == 75, outcome.text
        for name in names:
            for trial in range(DAMAGES[name].trials):
                copy = self.scratch / f"damaged-{trial}"
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(folder, copy)
                DAMAGES[name].apply(copy / "restart", random.Random(trial))
                self.judge(self.row(name, "at rest"), self.resume(copy, ranks))

    def small_disks(self) -> None:
        """A tmpfs that fills, and one that becomes read-only; root alone can mount them."""
        for name, option in (("a disk that fills", "size=300k"), ("a read-only folder", "ro")):
            folder = Path(tempfile.mkdtemp(dir=self.scratch))
            if os.system(f"mount -t tmpfs -o {option} tmpfs {folder} 2>/dev/null"):
                print(f"{name}: skipped, as tmpfs cannot be mounted here")
                continue
            try:
                place = ["-s", f"restart.directory={folder}"]
                output = self.scratch / f"output-{folder.name}"
                outcome = self.run(2, [], "gradient", self.config, "-o", output, *place)
                self.judge(self.row(name, "whole run"), outcome)
            finally:
                os.system(f"umount {folder}")

    def traced(self, calls: list[tuple[str, str, int]]) -> None:
        """Faults that strace puts into system calls of one rank."""
        if shutil.which("strace") is None:
            print("strace: skipped, as it is not installed")
            return
        for call, what, count in calls:
            folder = Path(tempfile.mkdtemp(dir=self.scratch))
            restart = folder / "restart"
            only = []
            if call == "write":
                # MPI writes too: only what goes to these files counts.
                parts = [f"sweep-{g:08d}.{r:06d}" for g in range(1, 9) for r in range(2)]
                parts += [f"generation-{g:08d}.json.partial" for g in range(1, 9)]
                only = [word for part in parts for word in ("-P", str(restart / part))]
            inject = f"inject={call}:{what}:when={count}"
            prefix = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject, *only]
            arguments = ("gradient", self.config, "-o", folder)
            kill = f"0:steps:{self.steps * 2 // 3}:kill"
            outcome = self.run(2, [kill], *arguments, prefix=prefix)
            if outcome.summary is None and outcome.code is not None:
                outcome = self.resume(folder, 2)
            self.judge(self.row(f"strace: {what.rpartition('=')[2]}", call), outcome)

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

    def negative_controls(self) -> None:
        """Break the writer: the campaign must notice."""
        for what, fault in (
            ("no fsync of files", "*:sync:1:off"),
            ("no fsync of folders", "*:sync_folder:1:off"),
            ("older removed first", "0:remove:1:early"),
        ):
            self.power(f"negative control: {what}", [fault])
        off = "*:checksum:1:off"
        outcome, folder = self.begin(2, [off, f"1:steps:{self.steps // 2}:term"])
        assert outcome.code == 75, outcome.text
        for trial in range(4):
            copy = self.scratch / f"unchecked-{trial}"
            shutil.copytree(folder, copy)
            DAMAGES["a flipped bit in a field"].apply(copy / "restart", random.Random(trial))
            row = self.row("negative control: no checksum", "at rest")
            self.judge(row, self.resume(copy, 2, [off]))

    def table(self) -> Iterator[str]:
        """The rows as Markdown."""
        yield (
            "| fault | phase | trials | resumed, same bits | refused clearly | fell back "
            "| silently wrong or lost | hung | most steps lost or repeated | s to resume |"
        )
        yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        for row in self.rows.values():
            yield (
                f"| {row.fault} | {row.phase} | {row.trials} | {row.resumed} | {row.refused} "
                f"| {row.fell_back} | {row.wrong} | {row.hung} | {row.most_repeated} "
                f"| {row.seconds:.2f} |"
            )


MOMENTS = ("create", "write", "write-half", "write-after", "sync", "sync-after", "close")
MOMENTS += ("sync_folder", "sync_folder-after", "replace", "replace-after", "remove")
MOMENTS += ("remove-after",)


def parts_of(campaign: Campaign, kills: int) -> dict[str, Callable[[], object]]:
    """All parts of the long campaign by name."""
    every = [(point, count) for point in MOMENTS for count in (1, 2, 5)]
    calls = [
        (call, what, count)
        for call in ("write", "fsync", "rename")
        for what in ("signal=SIGKILL", "error=ENOSPC", "error=EIO")
        for count in (1, 2, 3, 5, 8)
    ]
    failing = [(point, n) for point in ("create", "write", "sync", "replace") for n in (1, 3)]
    return {
        "kills": lambda: campaign.kills(kills),
        "commits": lambda: campaign.commits(every),
        "signals": campaign.signals,
        "disk": lambda: campaign.failing_disk(failing, ("enospc", "eio")),
        "strace": lambda: campaign.traced(calls),
        "small": campaign.small_disks,
        "rank": campaign.one_rank,
        "damage": lambda: campaign.damages(list(DAMAGES)),
        "power": lambda: campaign.power("power cut", []),
        "controls": campaign.negative_controls,
    }


def main() -> None:
    """Run the long campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        campaign = Campaign(Path(scratch))
        for name, part in parts_of(campaign, options.kills).items():
            if not options.only or name in options.only:
                part()
                print(f"{name}: done", file=sys.stderr, flush=True)
        print("\n".join(campaign.table()))
        for row in campaign.rows.values():
            for note in row.notes[:3] if row.bad else []:
                print(f"\n{row.fault}, {row.phase}: {note}")
        if options.json is not None:
            rows = [{**row.__dict__} for row in campaign.rows.values()]
            options.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")
        controls = [row for row in campaign.rows.values() if row.fault.startswith("negative")]
        failed = [row for row in campaign.rows.values() if row.bad and row not in controls]
        blind = [row for row in controls if not row.bad]
        sys.exit(1 if failed or blind else 0)


if __name__ == "__main__":
    main()

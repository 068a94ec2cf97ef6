"""What an output folder tells of its run, finished or not; read without disturbing the run."""

import json
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from burgers_adjoint.commands.best import controls_are_of
from burgers_adjoint.commands.identity import MAY_DIFFER, folder_of
from burgers_adjoint.config import Config, from_dict, load
from burgers_adjoint.errors import ConfigError, RestartError
from burgers_adjoint.files.hdf5 import attributes
from burgers_adjoint.output.check_file import Checked, read_checks
from burgers_adjoint.output.dumps import STEPS
from burgers_adjoint.output.lock import Holder, holder_of
from burgers_adjoint.output.results import BEST, RESULTS
from burgers_adjoint.output.summary import RunSummary, summary_of
from burgers_adjoint.parallel.agreement import ALONE
from burgers_adjoint.restart.contents import contents
from burgers_adjoint.restart.manifest import Manifest, path_of, read_manifest
from burgers_adjoint.restart.progress import STOPPED, steps_done


@dataclass
class Facts:
    """What is in an output folder.

    Attributes:
        folder: of the output.
        config: of the run that began last.
        toml: its text.
        holder: run whose lock is in the folder, dead or alive.
        summary: in results.h5, None where there is none.
        settings: configuration of results.h5, config.toml's where there is none.
        versions: of the programs that wrote results.h5.
        generations: of the restart data, newest first; see `restart.contents`.
        manifest: of the newest whole generation.
        noted: forward and reverse steps that its run has done, some not saved.
        stopped: when and why a run stopped with everything saved.
        history: of a search: objective, parts and gradient_norm of each iteration.
        checked: what `check` found.
        dumps: files of fields on the way, the latest to be written last.
        notes: what is not as it should be.
    """

    folder: Path
    config: Config
    toml: str
    settings: Config
    holder: Holder | None = None
    summary: RunSummary | None = None
    versions: dict[str, str] = field(default_factory=dict)
    generations: list[dict[str, Any]] = field(default_factory=list)
    manifest: Manifest | None = None
    noted: int | None = None
    stopped: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    checked: Checked | None = None
    dumps: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool | None:
        """Whether a run is in the folder; None when it is on a machine out of sight."""
        return self.holder.alive() if self.holder else False

    @property
    def unfinished(self) -> Manifest | None:
        """Restart data that a run can go on from."""
        return self.manifest if self.manifest and self.manifest.phase != "done" else None

    @property
    def searching(self) -> bool:
        """Whether the controls found so far are of a search that has not concluded."""
        concluded = self.summary.optimize if self.summary else None
        if not self.history:
            return False
        values = [entry["objective"] for entry in self.history]
        return not concluded or concluded.objective != values

    @property
    def command(self) -> str:
        """The command that the folder is of."""
        if self.unfinished:
            return self.unfinished.command
        if self.searching:
            return "optimize"
        if self.summary is None:
            return "check" if self.checked else ""
        if self.summary.optimize:
            return "optimize"
        if self.summary.product_norms:
            return "hessian"
        return "gradient" if self.summary.gradient_norm else "forward"


def facts_of(folder: str) -> Facts:
    """Read what an output folder holds.

    Raises:
        ConfigError: it is not that of a run, or its configuration cannot be read.
    """
    path = Path(folder)
    if not path.exists():
        raise ConfigError(
            f"{folder} is not the output folder of a run: there is nothing of this name"
        )
    configuration = path / "config.toml"
    if not configuration.is_file():
        raise ConfigError(f"{folder} is not the output folder of a run: it has no config.toml")
    config = load(str(configuration), (), folder)
    found = Facts(path, config, configuration.read_text(encoding="utf-8"), config)
    restart = folder_of(config)
    found.holder = holder_of(path) or holder_of(restart)
    _read_restart(found, restart)
    _read_results(found)
    _read_search(found)
    checked = read_checks(path)
    if checked and _same_problem(found, checked.config, "check_results.json"):
        found.checked = checked
    found.dumps = sorted(path.glob(STEPS), key=_changed)
    return found


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # removed by a run that has begun meanwhile
        return 0.0


def _same_problem(found: Facts, toml: str, name: str) -> bool:
    """Whether a file is of the problem in config.toml; if not, a note says so."""
    ours, theirs = (
        {name: one for name, one in tomllib.loads(text).items() if name not in MAY_DIFFER}
        for text in (found.toml, toml)
    )
    if ours != theirs:
        differing = next(one for one in {**ours, **theirs} if ours.get(one) != theirs.get(one))
        found.notes.append(
            f"{name} is left out: it is of another problem, with another [{differing}] than "
            "config.toml"
        )
    return ours == theirs


def _read_restart(found: Facts, restart: Path) -> None:
    try:
        listed = contents(str(found.folder), restart, True)["generations"]
    except RestartError as error:
        found.notes.append(str(error))
        return
    for one in listed:
        path = path_of(restart, one["generation"])
        if one["state"] != "whole" and not path.exists():
            continue  # replaced by a newer one while it was read
        found.generations.append(one)
        if one["state"] == "whole" and found.manifest is None:
            try:
                found.manifest = read_manifest(path)
            except RestartError as error:
                found.notes.append(str(error))
    if found.manifest:
        found.noted = steps_done(restart, found.manifest.run)
    try:
        why, when = (restart / STOPPED).read_text(encoding="utf-8").split()
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(when)))
        found.stopped = f"stopped by {why} at {at}, with everything saved"
    except (OSError, ValueError):
        pass


def _read_results(found: Facts) -> None:
    path = found.folder / RESULTS
    held = attributes(path)
    if "summary" not in held:
        if path.exists():
            found.notes.append(f"{RESULTS} is left out: it cannot be read as the results of a run")
        return
    try:
        if _same_problem(found, held["config"], RESULTS):
            found.summary = summary_of(json.loads(held["summary"]))
            found.settings = from_dict(tomllib.loads(held["config"]))
            found.versions = json.loads(held.get("versions", "{}"))
    except (msgspec.ValidationError, ValueError, KeyError, ConfigError):
        found.notes.append(f"{RESULTS} is left out: another version of this program wrote it")
        return
    done = found.manifest if found.manifest and found.manifest.phase == "done" else None
    later = done.facts.get("summary", {}) if done else {}
    if found.summary and later.get("digest") == found.summary.digest:
        found.summary.seconds = later["seconds"]  # with that of writing the results


def _read_search(found: Facts) -> None:
    held = attributes(found.folder / BEST)
    if "history" not in held:
        return
    if controls_are_of(found.config, ALONE):
        found.history = json.loads(held["history"])
    else:
        found.notes.append(f"{BEST} is left out: it is of another problem than config.toml")

"""`watch`: a live page of the run in an output folder, through its kills and resumes."""

import json
import math
import secrets
import signal
import sys
import threading
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from socket import gethostname
from typing import Any

import msgspec

from burgers_adjoint.commands.ending import print_on
from burgers_adjoint.commands.request import Request
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.output import preview, status
from burgers_adjoint.output.lock import NAME, PATIENCE_SECONDS, Holder, pulse_of
from burgers_adjoint.output.page import render, require_packages
from burgers_adjoint.output.page_server import Answer, PageServer, Paths, SocketServer
from burgers_adjoint.output.results import BEST, RESULTS
from burgers_adjoint.output.status import Status
from burgers_adjoint.parallel.agreement import Comm
from burgers_adjoint.restart.contents import contents

CONFIGURATION = "config.toml"
PORT = 8600
# The restart data is looked at this often at most: its manifests are read in full.
GENERATIONS_SECONDS = 2.0


@dataclass
class Watched:
    """What the files of an output folder say of its run, at this moment; nothing is written.

    Args:
        folder: of the output.
    """

    folder: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: dict[str, tuple[object, float, float]] = field(default_factory=dict)
    _generations: tuple[float, list[dict[str, Any]]] = (0.0, [])

    def look(self) -> dict[str, Any]:
        """The state of the run, and all that the page shows, as JSON takes it."""
        with self._lock:
            told = status.read(self.folder)
            pulse = pulse_of(self.folder)
            state, text = self._state(told, pulse)
            age = None
            if told is not None:
                guess = max(0.0, time.time() - told.updated)
                age = self._unchanged("status", told.updated, guess)
            return {
                "state": state,
                "text": text,
                "folder": str(self.folder),
                "holder": None if pulse is None else str(pulse[0] or "a run that has just begun"),
                "age": age,
                "status": None if told is None else msgspec.to_builtins(told),
                "jobs": [] if told is None else [str(job.holder) for job in told.jobs],
                "results": (self.folder / RESULTS).is_file(),
                "generations": self._look_at_generations(),
            }

    def _unchanged(self, name: str, value: object, guess: float = 0.0) -> float:
        """Seconds for which a value has been the same.

        Clocks of machines differ: the guess that they allow counts for what has changed since the
        last look, and no more than the time since then.
        """
        now = time.monotonic()
        before, since, looked = self._seen.get(name, (None, 0.0, -math.inf))
        if before != value:
            since = now - min(guess, now - looked)
        self._seen[name] = value, since, now
        return now - since

    def _state(
        self, told: Status | None, pulse: tuple[Holder | None, float] | None
    ) -> tuple[str, str]:
        """One word on the run, and a sentence."""
        if not self.folder.is_dir():
            return "gone", "the folder is no longer there"
        job = None if told is None else told.jobs[-1]
        if pulse is not None:
            holder, beat = pulse
            if not self._alive(holder, beat):
                return "died", f"the job is dead: {holder}"
            if job is None or holder is None or job.holder.token != holder.token:
                return "starting", "a job has begun; it has not said yet how far it is"
            return job.end or "running", job.message
        if job is not None:
            if not job.end and job.holder.alive():
                return "running", ""
            return job.end or "died", job.message or ("" if job.end else f"it was {job.holder}")
        if any((self.folder / name).is_file() for name in (RESULTS, BEST)):
            return "finished", "the results are there"
        return "waiting", "no job is running here, and none has left results"

    def _alive(self, holder: Holder | None, beat: float) -> bool:
        alive = None if holder is None else holder.alive()
        if alive is None:  # on another machine
            return self._unchanged("beat", (holder, beat)) < PATIENCE_SECONDS
        return alive

    def _look_at_generations(self) -> list[dict[str, Any]]:
        now = time.monotonic()
        if now - self._generations[0] >= GENERATIONS_SECONDS or not self._generations[0]:
            found = contents(str(self.folder), self._restart_folder(), True)["generations"]
            self._generations = now, found
        return self._generations[1]

    def _restart_folder(self) -> Path:
        section: Any = {}
        try:
            text = (self.folder / CONFIGURATION).read_text(encoding="utf-8")
            section = tomllib.loads(text).get("restart", {})
        except (OSError, ValueError):
            pass
        return Path(section.get("directory") or self.folder / "restart")

    def preview(self) -> bytes | None:
        """The newest preview, as `output.preview.write` has written it."""
        try:
            return (self.folder / preview.FILE).read_bytes()
        except OSError:
            return None


def paths_of(watched: Watched) -> Paths:
    """What there is to be read of a run: the page, what it shows, and the newest preview."""
    page = render(
        "watch.html.j2",
        folder=str(watched.folder),
        host=gethostname(),
        nonce=secrets.token_urlsafe(16),
    ).encode()

    def newest() -> Answer | None:
        data = watched.preview()
        return None if data is None else Answer("application/octet-stream", data)

    return {
        "/": lambda: Answer("text/html; charset=utf-8", page),
        "/state": lambda: Answer("application/json", json.dumps(watched.look()).encode()),
        "/preview": newest,
    }


def require_run(folder: Path) -> None:
    """See that a folder is the output folder of a run, which may have just begun.

    Raises:
        ConfigError: it is not.
    """
    if not folder.exists():
        raise ConfigError(
            f"{folder} is not the output folder of a run: there is nothing of this name"
        )
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not the output folder of a run: it is no folder")
    if not any((folder / name).exists() for name in (CONFIGURATION, NAME, status.FILE)):
        raise ConfigError(
            f"{folder} is not the output folder of a run: it has no {CONFIGURATION}, and no run "
            "has begun in it"
        )


def serve(folder: str, port: int | None, path: str | None) -> tuple[PageServer, str]:
    """A server of the page, not yet serving, and where the page is, for people.

    Raises:
        ConfigError: the folder is no run's, Jinja2 is missing, or the port or the socket cannot be
            had.
    """
    if port is not None and path is not None:
        raise ConfigError("--port and --socket: only one of them can be given")
    require_packages("watch", "jinja2")
    require_run(Path(folder).expanduser())
    paths = paths_of(Watched(Path(folder).expanduser()))
    if path is not None:
        made = SocketServer(Path(path).expanduser().absolute(), paths)
        there = f"ssh -L 8600:{made.address} {gethostname()}"
        return made, f"on the socket {made.address} (from elsewhere: {there})"
    server = PageServer(PORT if port is None else port, paths)
    number = server.server_address[1]
    there = f"ssh -L {number}:127.0.0.1:{number} {gethostname()}"
    return server, f"at {server.address} (from elsewhere: {there})"


def watch(request: Request, comm: Comm) -> int:
    """Serve the page of an output folder until Ctrl-C; returns the exit code.

    Raises:
        ConfigError: see `serve`; or a launcher has started several processes.
    """
    if comm.size > 1:
        raise agreed_error(ConfigError("watch is one process, which no launcher need start"))
    server, where = serve(request.config or "", request.port, request.socket)
    if not request.quiet:
        print_on(f"watching {request.config} {where}; Ctrl-C ends it", sys.stdout)
    until_interrupted(server)
    if not request.quiet:
        print_on(f"no longer watching {request.config}", sys.stdout)
    return 0


def until_interrupted(server: PageServer) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    ended = threading.Event()
    kept = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            kept[number] = signal.signal(number, lambda number, frame: ended.set())
    serving = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    serving.start()
    try:
        ended.wait()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        server.shutdown()
        server.server_close()

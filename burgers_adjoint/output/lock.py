"""One run at a time in a folder: a lock file that says who holds it and that outlives no run.

No file system's own locks are used, as NFS and Lustre may lack them: the lock is a file that `link`
makes under its name, at once or not at all. It names host, process and job. On the holder's own
machine the table of processes says whether it is alive; elsewhere its heartbeat does, the time of
the file's last change, which is compared with itself only, so that clocks may differ.

A lock whose holder is dead is taken over under a lock of its own, named after the dead one: of
several runs that find it, one replaces it, and whoever dies meanwhile is taken over likewise.
"""

import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from burgers_adjoint.errors import BurgersAdjointError, ConfigError
from burgers_adjoint.files.whole import reason
from burgers_adjoint.output.folder import make_folder
from burgers_adjoint.parallel.failure import agreed

NAME = "run.lock"
BEAT_SECONDS = 5.0
# Without a heartbeat for so long, a run on another machine counts as dead.
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 1.0
JOBS = {"PBS_JOBID": "PBS", "SLURM_JOB_ID": "Slurm"}


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        token: of this very lock; no two are alike.
        host, process: for people, and where the process can be looked for.
        started: ticks from the boot of the machine to the start of the process.
        machine: boot and process namespace within which `process` means something.
        job: of a batch system, such as "PBS 30.server"; empty outside.
        ranks: of the run.
        since: seconds since 1970.
    """

    token: str
    host: str
    process: int
    started: int
    machine: str
    job: str
    ranks: int
    since: float

    def __str__(self) -> str:
        job = f", {self.job} job" if self.job else ""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        ranks = "1 rank" if self.ranks == 1 else f"{self.ranks} ranks"
        return f"host {self.host}, process {self.process}{job}, {ranks}, since {since}"

    def alive(self) -> bool | None:
        """Whether the process is there; None when it is on a machine that this one cannot see."""
        if self.machine != _machine():
            return None
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # there, and somebody else's
        started = _started(self.process)
        return started is None or started == self.started


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _started(process: int) -> int | None:
    """Ticks from boot to its start; 0 when it has ended and is not collected, None when hidden."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


def this_run(ranks: int, environment: Mapping[str, str] = os.environ) -> Holder:
    """This process as a holder."""
    jobs = (f"{kind} {environment[name]}" for name, kind in JOBS.items() if name in environment)
    started = _started(os.getpid())
    return Holder(
        secrets.token_hex(8), socket.gethostname(), os.getpid(), started or 0, _machine(),
        next(jobs, ""), ranks, time.time(),
    )  # fmt: skip


def holder_of(folder: Path) -> Holder | None:
    """Who holds a folder, dead or alive; None when nobody does."""
    found = _read(folder / NAME)
    return found[0] if found else None


def pulse_of(folder: Path) -> tuple[Holder | None, float] | None:
    """Who holds a folder, and the heartbeat, which means something beside an earlier one only.

    The holder is None as long as the file is not whole; None when nobody holds the folder.
    """
    return _read(folder / NAME)


def _read(path: Path) -> tuple[Holder | None, float] | None:
    """The holder, None when the file is not whole, and its heartbeat; None when there is no lock.

    Opening the file makes NFS ask the server for its time.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text, beat = file.read(), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        return Holder(**json.loads(text)), beat
    except (ValueError, TypeError):
        return None, beat


class _HeldError(Exception):
    """Somebody holds the lock."""

    def __init__(self, holder: Holder | None) -> None:
        self.holder = holder


class FolderLock:
    """The lock of one folder, for one process.

    Args:
        folder: it must be there.
        me: who is to hold it.
        patience: seconds without a heartbeat after which a holder elsewhere counts as dead.
        say: shows a message, when taking over lasts.
    """

    def __init__(
        self,
        folder: Path,
        me: Holder,
        patience: float = PATIENCE_SECONDS,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.folder, self.path, self.me = folder, folder / NAME, me
        self.patience, self.say = patience, say
        self._ended = threading.Event()

    def acquire(self, wait: float = 0.0) -> None:
        """Take the lock, and keep it alive until `release`.

        Args:
            wait: seconds to wait for a run that holds it.

        Raises:
            ConfigError: naming the holder.
            OSError: the folder cannot be written to.
        """
        until, told = time.monotonic() + wait, False
        while True:
            try:
                self._take(self.path)
                break
            except _HeldError as held:
                who = str(held.holder) if held.holder else "a run that has just begun"
                if time.monotonic() >= until:
                    raise ConfigError(f"{self.folder} is in use by another run: {who}") from None
                if not told:
                    self.say(f"{self.folder} is in use by another run: {who}; waiting for its end")
                told = True
                time.sleep(LOOK_SECONDS)
        threading.Thread(target=self._beat, name="lock", daemon=True).start()

    def release(self) -> None:
        """Give the lock back; one that somebody else has taken over stays."""
        self._ended.set()
        self._remove(self.path)

    def _take(self, path: Path) -> None:
        """Make the file `path`, in place of one whose holder is dead.

        Raises:
            _HeldError: its holder is alive.
        """
        while not self._make(path):
            found = _read(path)
            if found is None:
                continue
            holder = found[0]
            if not self._dead(path, *found):
                if _read(path) is None:
                    continue
                raise _HeldError(holder)
            # Whoever has this one alone may replace that dead holder, and nobody a later one.
            guard = path.with_name(f"{NAME}.after-{holder.token if holder else 'nobody'}")
            self._take(guard)
            try:
                now = _read(path)
                if now is None or now[0] != holder:
                    continue
                mine = self._draft()
                os.replace(mine, path)
                return
            finally:
                self._remove(guard)

    def _draft(self) -> Path:
        path = self.path.with_name(f"{NAME}.{self.me.token}")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(asdict(self.me), file)
            file.flush()
            os.fsync(file.fileno())
        return path

    def _make(self, path: Path) -> bool:
        """Make the file, whole, where there is none; False when there is one."""
        mine = self._draft()
        try:
            try:
                os.link(mine, path)
            except FileExistsError:
                # An answer that got lost on its way from an NFS server is asked for twice.
                return mine.stat().st_nlink == 2
            except OSError:
                return self._make_exclusively(path)
            return True
        finally:
            with suppress(OSError):
                mine.unlink()

    def _make_exclusively(self, path: Path) -> bool:
        """`_make` where the file system has no links: others may see it while it is not whole."""
        try:
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(file, json.dumps(asdict(self.me)).encode())
            os.fsync(file)
        finally:
            os.close(file)
        return True

    def _dead(self, path: Path, holder: Holder | None, beat: float) -> bool:
        alive = holder.alive() if holder else None
        if alive is not None:
            return not alive
        who = str(holder) if holder else "a run that has just begun"
        self.say(
            f"{self.folder} is locked by another run: {who}; watching for up to "
            f"{self.patience:.0f} s whether it is alive"
        )
        watched, last = 0.0, time.monotonic()
        while watched < self.patience:
            time.sleep(min(LOOK_SECONDS, self.patience / 4))
            found = _read(path)
            if found is None:
                return False  # gone: try anew
            if found != (holder, beat):
                return False
            # A server that did not answer for a while has kept the heartbeats waiting, too.
            now = time.monotonic()
            watched, last = watched + min(now - last, 2 * LOOK_SECONDS), now
        return True

    def _remove(self, path: Path) -> None:
        with suppress(OSError):
            found = _read(path)
            if found is not None and found[0] == self.me:
                path.unlink()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError):
                found = _read(self.path)
                if found is None or found[0] == self.me:
                    os.utime(self.path)
                elif not self._ended.is_set():
                    self._lost(found[0])

    def _lost(self, holder: Holder | None) -> NoReturn:
        """End at once: two runs would write to the folder. A launcher ends the other ranks."""
        print(
            f"error: {self.folder} was taken over by another run: {holder}; this one had shown no "
            f"sign of life for {self.patience:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


@contextmanager
def locked(
    folders: Sequence[tuple[Path, str]],
    comm: Any,
    say: Callable[[str], None],
    wait: float = 0.0,
) -> Iterator[None]:
    """Hold folders, which are made where they are not there. Collective; rank 0 takes the locks.

    Args:
        folders: each with what it is called in messages and the option that names another one.
        comm: the ranks.
        say: shows a message.
        wait: seconds to wait for a run that holds one of them.

    Raises:
        ConfigError: on all ranks: another run is in a folder; the message says who.
        BurgersAdjointError: on all ranks: a folder cannot be made or written to.
    """
    with ExitStack() as held:
        with agreed(comm):
            if comm.rank == 0:
                me, seen = this_run(comm.size), set[str]()
                for folder, title in folders:
                    if os.path.realpath(folder) in seen:
                        continue
                    _make_folder(folder, title, held)
                    seen.add(os.path.realpath(folder))
                    _hold(folder, me, say, wait, held)
        yield


def _make_folder(folder: Path, title: str, held: ExitStack) -> None:
    """Make a folder; what is empty at the end, as nothing came of the run, is removed."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    make_folder(folder, title)

    def remove() -> None:
        with suppress(OSError):
            for path in missing:
                path.rmdir()

    held.callback(remove)


def _hold(
    folder: Path, me: Holder, say: Callable[[str], None], wait: float, held: ExitStack
) -> None:
    lock = FolderLock(folder, me, PATIENCE_SECONDS, say)
    try:
        lock.acquire(wait)
    except OSError as error:
        raise BurgersAdjointError(f"cannot write {folder / NAME}: {reason(error)}") from error
    held.callback(lock.release)

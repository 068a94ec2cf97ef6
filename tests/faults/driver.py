"""Runs the program with faults in it: python tests/faults/driver.py FAULT... -- ARGUMENT...

Each fault is RANK:POINT:COUNT:ACTION, where RANK is a number or * for all ranks, POINT a name
below, COUNT which time it is passed (from 1), ACTION what happens then:

    create write sync close sync_folder replace remove   an operation of files/disk.py, before it
    write-after ... remove-after                         the same, after it
    write-half                                           half of the data is written before it
    steps                                                COUNT steps are done, of both sweeps
    time                                                 COUNT seconds of the sweeps are over
    save                                                 a save begins
    landed                                               a copy on a device is to go to the host

    kill term usr1 int        that signal, to the rank itself
    enospc eio                the operation fails with that error
    raise                     an error that nobody foresees
    off                       the operation is left out, from then on; for `checksum` too
    early                     for `remove`: everything older goes before the manifest has its name

`device` takes the steps on `tests.stand_in_device`. `pace:SECONDS` makes looks that often, for
short runs. `log:FOLDER` notes all operations of files/disk.py there, one file per rank, and moves
what is removed into it.
"""

import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIGNALS = {
    "kill": signal.SIGKILL,
    "term": signal.SIGTERM,
    "usr1": signal.SIGUSR1,
    "int": signal.SIGINT,
}
ERRORS = {"enospc": errno.ENOSPC, "eio": errno.EIO}
OPERATIONS = ("create", "write", "sync", "close", "sync_folder", "replace", "remove")


def act(action: str) -> None:
    if action in SIGNALS:
        os.kill(os.getpid(), SIGNALS[action])
    elif action in ERRORS:
        raise OSError(ERRORS[action], os.strerror(ERRORS[action]))
    elif action == "raise":
        raise ValueError("an error that nobody foresees")


def main() -> None:
    split = sys.argv.index("--")
    faults, arguments = sys.argv[1:split], sys.argv[split + 1 :]
    from mpi4py import MPI

    from burgers_adjoint.commands import line

    for fault in faults:
        if fault.startswith("pace:"):
            from burgers_adjoint.restart import keeper

            keeper.SECONDS_BETWEEN_LOOKS = float(fault.partition(":")[2])
            continue
        if fault == "device":
            from burgers_adjoint.assembly import backends
            from burgers_adjoint.stepping.accelerator import Accelerator
            from tests.stand_in_device import StandIn

            backends._MADE["cuda"] = Accelerator(StandIn())
            continue
        if fault.startswith("log:"):
            log_operations(Path(fault.partition(":")[2]), MPI.COMM_WORLD.rank)
            continue
        rank, point, count, action = fault.split(":")
        if rank in ("*", str(MPI.COMM_WORLD.rank)):
            inject(point, float(count), action)
    line.main(arguments)


def inject(point: str, count: float, action: str) -> None:
    name, _, moment = point.partition("-")
    if name in ("steps", "time"):
        inject_in_sweeps(name, count, action)
    elif name == "save":
        from burgers_adjoint.restart.keeper import Keeper

        wrap(Keeper, "_save", count, action, "")
    elif name == "landed":
        from burgers_adjoint.devices.asides import Aside

        wrap(Aside, "landed", count, action, "")
    elif name == "checksum":
        from burgers_adjoint.restart import manifest, parts

        parts.checksum = manifest.checksum = lambda data: 0
    elif action == "early":
        remove_early()
    elif name in OPERATIONS:
        from burgers_adjoint.files import disk, whole  # noqa: F401 - keeps the functions as they are

        if action == "off":
            setattr(disk, name, lambda *arguments: None)
        else:
            wrap(disk, name, count, action, moment)
    else:
        raise SystemExit(f"no such point: {point}")


def inject_in_sweeps(name: str, count: float, action: str) -> None:
    from burgers_adjoint.restart.keeper import Keeper

    original = Keeper.done
    due = True

    def done(self: Keeper, steps: int) -> None:
        nonlocal due
        if due and name == "time":
            due = False
            # A thread of its own: the signal comes wherever the sweeps and the writer are.
            timer = threading.Timer(count, act, [action])
            timer.daemon = True
            timer.start()
        elif due and steps >= count:
            due = False
            act(action)
        original(self, steps)

    Keeper.done = done  # type: ignore[method-assign]


def wrap(owner: Any, name: str, count: float, action: str, moment: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)
    left = int(count)

    def wrapped(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left:
            return original(*arguments)
        if moment == "half":
            descriptor, data = arguments
            original(descriptor, memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
        if moment == "after":
            original(*arguments)
        act(action)
        return None if moment else original(*arguments)

    setattr(owner, name, wrapped)


def log_operations(folder: Path, rank: int) -> None:
    from burgers_adjoint.files import disk, whole  # noqa: F401 - keeps the functions as they are

    folder.mkdir(parents=True, exist_ok=True)
    log = open(folder / f"rank-{rank}.jsonl", "a", encoding="utf-8", buffering=1)  # noqa: SIM115
    names: dict[int, str] = {}

    def note(operation: str, *words: str) -> None:
        log.write(json.dumps([time.monotonic_ns(), operation, *words]) + "\n")

    def noted(name: str) -> None:
        original = getattr(disk, name)

        def wrapped(*arguments: Any) -> Any:
            if name == "remove" and arguments[0].exists():
                arguments[0].rename(folder / arguments[0].name)
            result = original(*arguments)
            if name == "create":
                names[result] = arguments[0].name
            # A descriptor stands for the name that it was opened with.
            words = [
                names.get(word, "") if isinstance(word, int) else word.name
                for word in arguments
                if isinstance(word, int | Path)
            ]
            note(name, *words)
            return result

        setattr(disk, name, wrapped)

    for name in OPERATIONS:
        noted(name)


def remove_early() -> None:
    """Remove what is old before the manifest that makes it old has its name."""
    from burgers_adjoint.restart import writer

    original = writer.write_manifest

    def write_manifest(folder: Any, manifest: Any) -> None:
        writer.remove_all_but(folder, [manifest])
        original(folder, manifest)

    writer.write_manifest = write_manifest


if __name__ == "__main__":
    main()

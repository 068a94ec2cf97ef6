"""Runs the program with faults in it: python tests/faults/driver.py FAULT... -- ARGUMENT...

Each fault is RANK:POINT:COUNT:ACTION, where RANK is a number or * for all ranks, POINT a name
below, COUNT which time it is passed (from 1), ACTION what happens then:

    create write sync close sync_folder replace remove   an operation of restart/disk.py, before it
    write-after ... remove-after                         the same, after it
    write-half                                           half of the data is written before it
    steps                                                COUNT steps are done, of both sweeps
    save                                                 a save begins

    kill term usr1 int        that signal, to the rank itself
    enospc eio                the operation fails with that error
    raise                     an error that nobody foresees
    off                       the operation is left out, from then on; for `checksum` too
    early                     for `remove`: everything older goes before the manifest has its name

`pace:SECONDS` makes looks that often, for runs that last a second.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
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

    from burgers_adjoint import cli

    for fault in faults:
        if fault.startswith("pace:"):
            from burgers_adjoint.restart import keeper

            keeper.SECONDS_BETWEEN_LOOKS = float(fault.partition(":")[2])
            continue
        rank, point, count, action = fault.split(":")
        if rank in ("*", str(MPI.COMM_WORLD.rank)):
            inject(point, int(count), action)
    cli.main(arguments)


def inject(point: str, count: int, action: str) -> None:
    name, _, moment = point.partition("-")
    if name == "steps":
        inject_at_steps(count, action)
    elif name == "save":
        from burgers_adjoint.restart.keeper import Keeper

        wrap(Keeper, "_save", count, action, "")
    elif name == "checksum":
        from burgers_adjoint.restart import manifest, parts

        parts.checksum = manifest.checksum = lambda data: 0
    elif action == "early":
        remove_early()
    elif name in OPERATIONS:
        from burgers_adjoint.restart import disk

        if action == "off":
            setattr(disk, name, lambda *arguments: None)
        else:
            wrap(disk, name, count, action, moment)
    else:
        raise SystemExit(f"no such point: {point}")


def inject_at_steps(count: int, action: str) -> None:
    from burgers_adjoint.restart.keeper import Keeper

    original = Keeper.done
    due = True

    def done(self: Keeper, steps: int) -> None:
        nonlocal due
        if due and steps >= count:
            due = False
            act(action)
        original(self, steps)

    Keeper.done = done  # type: ignore[method-assign]


def wrap(owner: Any, name: str, count: int, action: str, moment: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)
    left = count

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


def remove_early() -> None:
    """Remove what is old before the manifest that makes it old has its name."""
    from burgers_adjoint.restart import writer

    original = writer.write_manifest

    def write_manifest(folder: Any, manifest: Any) -> None:
        writer.remove_all_but(folder, [])
        original(folder, manifest)

    writer.write_manifest = write_manifest


if __name__ == "__main__":
    main()

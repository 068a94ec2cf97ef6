"""The system calls of a save that strace makes fail, one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Injection:
    """The k-th call on one file, by one rank; strace counts the calls of each thread by itself.

    A save has two threads after each other: one that writes part files, and one, on rank 0 alone,
    that writes the manifest.

    Attributes:
        call: name of the system call.
        file: name in the folder of the restart data; "" is the folder itself.
        count: which of the calls on that file, from 1.
        rank: that is traced.
    """

    call: str
    file: str
    count: int
    rank: int

    def tracer(self, folder: Path, what: str, log: Path) -> list[str]:
        """Words of a command that runs another one, with this failure in it; tells it to a log."""
        # Where strace 6.1 is not woken by every call, it forgets to send the later signals.
        fast = [] if what.startswith("signal") else ["--seccomp-bpf"]
        return [
            *("strace", "-f", "-qq", *fast, "-o", str(log), "-P", str(folder / self.file)),
            *("-e", f"trace={self.call}"),
            *("-e", f"inject={self.call}:{what}:when={self.count}"),
        ]


def injections() -> Iterator[Injection]:
    """Every write, fsync and rename of the first two generations, whose numbers are 2 and 3."""
    for generation in (2, 3):
        for rank in (0, 1):
            part = f"sweep-{generation:08d}.{rank:06d}"
            # magic, field, index
            for count in (1, 2, 3):
                yield Injection("write", part, count, rank)
            yield Injection("fsync", part, 1, rank)
        manifest = f"generation-{generation:08d}.json.partial"
        for call in ("write", "fsync", "rename"):
            yield Injection(call, manifest, 1, 0)
    # After the parts, and before and after the rename of the manifest.
    yield Injection("fsync", "", 1, 0)
    yield Injection("fsync", "", 1, 1)
    yield Injection("fsync", "", 2, 0)

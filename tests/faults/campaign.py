"""Breaks runs in every way there is and counts what becomes of them.

    python -m tests.faults.campaign [--only PART...] [--share I/N] [--kills K] [--json FILE]

One row of the table per fault and phase: trials; how many resumed to the same bits, were refused
with a message and the right exit code, fell back a generation (or a snapshot) and still had the
same bits, had other bits, hung; the most steps that were lost or taken twice; the longest time to
resume. Rows of `negative control` break the writer itself: there the campaign has to find faults.

All of it takes an hour. It can be had in parts: --share 2/5 is the second fifth of the trials
of each part chosen, and the table is of all runs that have left their rows in the same FILE.
"""

import argparse
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from tests.faults.damage import DAMAGES
from tests.faults.injections import injections
from tests.faults.table import Row, markdown, merged, read, write
from tests.faults.trials import N_STEPS, Campaign

MOMENTS = ("create", "write", "write-half", "write-after", "sync", "sync-after", "close")
MOMENTS += ("sync_folder", "sync_folder-after", "replace", "replace-after", "remove")
MOMENTS += ("remove-after",)
AT_RANK_0 = ("replace", "replace-after", "remove", "remove-after")
BROKEN = {
    "no fsync of files": "*:sync:1:off",
    "no fsync of folders": "*:sync_folder:1:off",
    "older removed first": "0:remove:1:early",
}
FAILURES = ("signal=SIGKILL", "error=ENOSPC", "error=EIO")
Trials = list[Callable[[], object]]


def parts_of(campaign: Campaign, kills: int) -> dict[str, Trials]:
    """All trials of the long campaign by part."""
    here = campaign
    power = [partial(here.power, "power cut", [])]
    controls = [
        partial(here.power, f"negative control: {what}", [fault]) for what, fault in BROKEN.items()
    ]
    return {
        "kills": [partial(here.kills, min(5, kills - n)) for n in range(0, kills, 5)],
        "commits": [
            partial(here.commit, point, count, rank)
            for point in MOMENTS
            for count in (1, 2, 5)
            for rank in ((0,) if point in AT_RANK_0 else (0, 1))
        ],
        "signals": [
            partial(here.signal, name, steps)
            for name in ("term", "usr1", "int")
            for steps in (N_STEPS // 2, N_STEPS, here.steps * 3 // 4)
        ],
        "disk": [
            partial(here.failing_disk, error, point, count)
            for error in ("enospc", "eio")
            for point in ("create", "write", "sync", "close", "sync_folder", "replace", "remove")
            for count in (1, 3)
        ],
        "strace": [
            partial(here.traced, injection, what) for injection in injections() for what in FAILURES
        ],
        "small": [
            partial(here.small_disk, name, option)
            for name, option in (("a disk that fills", "size=300k"), ("a read-only folder", "ro"))
        ],
        "rank": [
            partial(here.one_rank, point)
            for point in ("steps:700", "steps:2500", "save:2", "write:3", "replace:1")
        ],
        "damage": [
            partial(here.damage, name, trial)
            for name, damage in DAMAGES.items()
            for trial in range(damage.trials)
        ],
        "power": power,
        "controls": [*controls, here.unchecked],
    }


def share_of(trials: Trials, share: str) -> Trials:
    """I/N: every N-th of the trials, from the I-th on."""
    number, _, of = share.partition("/")
    return trials[int(number) - 1 :: int(of)]


def show(rows: Iterable[Row]) -> int:
    """Print the table; returns the exit code."""
    rows = merged(rows)
    print("\n".join(markdown(rows)))
    failed = [row for row in rows if row.bad and not row.control]
    blind = [row for row in rows if row.control and not row.bad]
    return 1 if failed or blind else 0


def main() -> None:
    """Run the long campaign, or a part of it, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="at random times")
    parser.add_argument("--only", nargs="*", default=None, metavar="PART", help="none: the table")
    parser.add_argument("--share", default="1/1", metavar="I/N", help="part of the trials")
    parser.add_argument("--json", type=Path, metavar="FILE", help="rows are added to those in it")
    options = parser.parse_args()
    rows = [] if options.json is None else read(options.json)
    if options.only == []:
        sys.exit(show(rows))
    with tempfile.TemporaryDirectory() as scratch:
        campaign = Campaign(Path(scratch), seed=zlib.crc32(options.share.encode()))
        for name, trials in parts_of(campaign, options.kills).items():
            if options.only is None or name in options.only:
                for trial in share_of(trials, options.share):
                    trial()
                print(f"{name}: done", file=sys.stderr, flush=True)
        rows += campaign.rows.values()
    if options.json is not None:
        write(options.json, merged(rows))
    sys.exit(show(rows))


if __name__ == "__main__":
    main()

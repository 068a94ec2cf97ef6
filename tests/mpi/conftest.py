"""Tests that all ranks of one MPI job run together: a failure on one rank is a failure on all."""

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Generator
from typing import NoReturn

import pytest
from mpi4py import MPI

# mpiexec ends the remaining ranks with SIGTERM when one has run into its time limit.
faulthandler.register(signal.SIGTERM, file=sys.__stderr__, all_threads=True, chain=True)

# pytest-timeout leaves when it has printed the stacks, and the launcher then kills the other ranks,
# which are about to print theirs.
SECONDS_FOR_THE_OTHERS = 3.0
_leave = os._exit


def _leave_after_the_others(status: int) -> NoReturn:
    time.sleep(SECONDS_FOR_THE_OTHERS)
    _leave(status)


os._exit = _leave_after_the_others

# A test that fails on one rank leaves messages of its own communicator behind.
COMM = MPI.COMM_WORLD.Dup()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/mpi/" in item.path.as_posix() and item.get_closest_marker("mpi") is None:
            item.add_marker(pytest.mark.mpi)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Agree on the outcome, so that rank 0's report shows every rank's failure."""
    report = yield
    failure = report.longreprtext if report.failed else ""
    if failure:
        # Said at once: when the other ranks wait inside the test, the agreement never comes.
        print(f"\nrank {COMM.rank}: {report.nodeid} failed\n{failure}", file=sys.__stderr__)
    if not item.config.getoption("--with-mpi"):
        return report
    failures = COMM.allgather(failure)
    if any(failures) and not failure:
        report.outcome = "failed"
        report.longrepr = "\n".join(
            f"rank {rank}: {text}" for rank, text in enumerate(failures) if text
        )
    return report

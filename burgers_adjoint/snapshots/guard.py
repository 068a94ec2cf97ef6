"""Files that go away with the process that made them, however it ends."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Guard:
    """Removes a file when this process has ended, by a signal that nobody can catch too.

    Launchers end ranks with SIGTERM and SIGKILL when one of them fails or somebody types Ctrl-C. A
    shell in a session of its own waits for the end of a pipe that the system closes then.
    """

    def __init__(self, path: Path) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r line; rm -f -- "$1"', "sh", str(path.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end(self) -> None:
        """Remove the file now, and be done."""
        self._shell.communicate()

"""A page on this machine's own address, or on a socket: a few paths, to be read and no more.

Nothing is served to other machines: ssh forwards the port, or the socket, to whom it may concern.
A browser that another site has sent here, by a name of its own for this address, is refused.
"""

import os
import socket
import socketserver
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.files.whole import reason

HERE = "127.0.0.1"
NAMES_OF_HERE = (HERE, "localhost", "[::1]")
SECONDS_FOR_A_REQUEST = 10
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Answer:
    """What is at a path: its media type, and the bytes."""

    kind: str
    body: bytes


Paths = Mapping[str, Callable[[], Answer | None]]
"""Path to what is there, or None for nothing at this moment."""


class PageServer(ThreadingHTTPServer):
    """Serves paths on a port of 127.0.0.1; `serve_forever` in a thread, `shutdown` from another.

    Args:
        port: 0 for any that is free.
        paths: all that there is.

    Raises:
        ConfigError: the port is in use, or not allowed.
    """

    # Another server that listens there is not to be joined.
    allow_reuse_port = False
    daemon_threads = True

    def __init__(self, port: int, paths: Paths) -> None:
        self.paths = paths
        try:
            super().__init__((HERE, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"--port {port}: {HERE} has no such port to give: {reason(error)}; --port 0 takes "
                "any that is free"
            ) from error

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HERE}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """Bind, without asking for this machine's name, which can take long."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has gone away."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class SocketServer(PageServer):
    """Serves paths on a Unix socket, which its owner alone may use.

    Args:
        path: of the socket; one that nobody listens at any more is replaced.
        paths: all that there is.

    Raises:
        ConfigError: somebody listens there, something else has this name, or it cannot be made.
    """

    address_family = socket.AF_UNIX

    def __init__(self, path: Path, paths: Paths) -> None:
        self.paths, self.path = paths, path
        _remove_forgotten(path)
        mask = os.umask(0o177)
        try:
            ThreadingHTTPServer.__init__(self, str(path), _Handler)  # type: ignore[arg-type]
        except OSError as error:
            raise ConfigError(f"--socket {path}: cannot be made: {reason(error)}") from error
        finally:
            os.umask(mask)

    @property
    def address(self) -> str:
        """Where the page is."""
        return str(self.path)

    def server_close(self) -> None:
        """Close and remove the socket."""
        super().server_close()
        with suppress(OSError):
            self.path.unlink()


def _remove_forgotten(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"--socket {path}: there is something else of this name")
    with socket.socket(socket.AF_UNIX) as asked:
        try:
            asked.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise ConfigError(f"--socket {path}: cannot be used: {reason(error)}") from error
    raise ConfigError(f"--socket {path}: is in use by another process")


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "burgers-adjoint", ""
    timeout = SECONDS_FOR_A_REQUEST

    def do_GET(self) -> None:
        """Answer, or say why not."""
        host = self.headers.get("Host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name.lower() not in NAMES_OF_HERE:
            self.send_error(403, explain="This page is for localhost alone.")
            return
        found = self.server.paths.get(self.path.partition("?")[0])
        answer = found() if found is not None else None
        if answer is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def end_headers(self) -> None:
        """Add what goes with every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *about: object) -> None:
        """Say nothing of requests."""

"""Chromium without a window, driven over a pipe by its DevTools protocol."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

BINARY = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ABSENT = "no chromium here"
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-extensions", "--remote-debugging-pipe",
)  # fmt: skip
SECONDS = 30


class Chromium:
    """One tab; a context manager.

    Attributes:
        requests: addresses that pages asked for, data: and blob: left out.
        complaints: what pages wrote to the console, exceptions and entries of the browser's log.
    """

    def __init__(self, profile: Path) -> None:
        assert BINARY is not None, ABSENT
        ours, theirs = os.pipe(), os.pipe()
        # The browser reads from 3 and writes to 4. Bash puts them there: this process has threads,
        # so that none of its code may run between fork and exec.
        connected = f'exec "$@" 3<&{theirs[0]} 4>&{ours[1]}'
        options = [*OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", connected, "bash", BINARY, *options],
            pass_fds=(theirs[0], ours[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[1])
        os.close(theirs[0])
        self._in, self._out = ours[0], theirs[1]
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.complaints: list[str] = []
        targets = self._call("Target.getTargets", session=None)["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        attach = {"targetId": page, "flatten": True}
        self.session = self._call("Target.attachToTarget", attach, None)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *failure: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the tab; returns its result."""
        return self._call(method, parameters, self.session)

    def look(self, width: int, height: int, dark: bool) -> None:
        """Be a window of this size, of somebody who likes it dark or light."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> None:
        """Open a page, and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        until = time.monotonic() + SECONDS
        while not any(one["method"] == "Page.loadEventFired" for one in self.events):
            assert time.monotonic() < until, f"{address} did not load"
            self._receive(1.0)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, of a promise what it comes to."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Save what is seen, or all of the page, as PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def _call(
        self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None
    ) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {
            "id": self._number, "method": method, "params": parameters or {}
        }  # fmt: skip
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            answer = self._receive(1.0, self._number)
            if answer is not None:
                assert "error" not in answer, (method, answer)
                found: dict[str, Any] = answer["result"]
                return found
        raise TimeoutError(f"{method}: no answer in {SECONDS} s")

    def _receive(self, seconds: float, number: int | None = None) -> dict[str, Any] | None:
        """Take in one message; returns it when it answers the call of this number."""
        until = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                return None
            data = os.read(self._in, 1 << 20)
            assert data, "chromium has gone away"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self._note(message)
        return message if number is not None and message.get("id") == number else None

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        method, about = event["method"], event["params"]
        if method == "Network.requestWillBeSent":
            address = about["request"]["url"]
            if not address.startswith(("data:", "blob:")):
                self.requests.append(address)
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.complaints.append(str(about["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(about["entry"]["text"])

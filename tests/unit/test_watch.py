"""What `watch` says of a folder, and what its server gives to whom."""

import dataclasses
import http.client
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_ranks import decompositions
from mpi4py import MPI

from burgers_adjoint.commands import watch as module
from burgers_adjoint.commands.line import parse
from burgers_adjoint.commands.request import Request
from burgers_adjoint.commands.watch import Watched, serve
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.output import lock, preview, status
from burgers_adjoint.output.lock import FolderLock, this_run
from burgers_adjoint.output.page_server import PageServer
from burgers_adjoint.output.status import Job, Place, Status
from burgers_adjoint.parallel.decomposition import Decomposition


def told(folder: Path, **job: object) -> Status:
    """Leave the status of a job in a folder."""
    holder = this_run(3)
    made = Status(
        command="gradient", grid=(5, 7),
        jobs=[Job(holder=holder, process_grid=(3, 1), begun=1.0, **job)],
        places=[Place(3, 2, True)],
    )  # fmt: skip
    (folder / "watch").mkdir(exist_ok=True)
    status.write(folder, made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text("")
    return tmp_path


@contextmanager
def held(folder: Path, **changes: object) -> Iterator[FolderLock]:
    """The lock of a folder, of this process or of another one."""
    made = FolderLock(folder, dataclasses.replace(this_run(3), **changes))
    made.acquire()
    try:
        yield made
    finally:
        made.release()


def test_status_is_read_as_it_was_written(folder: Path) -> None:
    made = told(folder, end="stopped", message="by SIGTERM")
    assert status.read(folder) == made
    (folder / status.FILE).write_text("{")
    assert status.read(folder) is None


def test_state_of_a_folder_without_a_job(folder: Path) -> None:
    watched = Watched(folder)
    assert watched.look()["state"] == "waiting"
    (folder / "results.h5").touch()
    assert watched.look()["state"] == "finished"
    for end in ("finished", "stopped", "failed"):
        told(folder, end=end, message="why")
        assert (watched.look()["state"], watched.look()["text"]) == (end, "why")


def test_state_of_a_job_through_its_life(folder: Path) -> None:
    watched = Watched(folder)
    with held(folder) as mine:
        assert watched.look()["state"] == "starting"
        told(folder)  # of an earlier job
        assert watched.look()["state"] == "starting"
        now = told(folder)
        now.jobs[0].holder = mine.me
        status.write(folder, now)
        assert watched.look()["state"] == "running"
        now.jobs[0].end = "finished"
        status.write(folder, now)
        assert watched.look()["state"] == "finished"
    now.jobs[0].end = ""
    now.jobs[0].holder = dataclasses.replace(mine.me, started=1)
    status.write(folder, now)
    assert watched.look()["state"] == "died"


def test_a_job_whose_process_is_gone_is_dead(folder: Path) -> None:
    told(folder)
    with held(folder, started=1):
        found = Watched(folder).look()
    assert found["state"] == "died"
    assert f"process {os.getpid()}" in found["text"]
    assert found["status"]["places"] == [[3, 2, True]]


def test_a_job_elsewhere_is_dead_when_its_heart_has_stopped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(lock, "BEAT_SECONDS", 1000.0)
    watched = Watched(folder)
    with held(folder, machine="another") as theirs:
        now = told(folder)
        now.jobs[0].holder = theirs.me
        status.write(folder, now)
        assert watched.look()["state"] == "running"
        time.sleep(0.4)
        assert watched.look()["state"] == "died"
        os.utime(folder / lock.NAME)
        assert watched.look()["state"] == "running"


def test_age_of_the_status_is_known_between_looks(folder: Path) -> None:
    watched = Watched(folder)
    now = told(folder)
    for clock, age in ((-100.0, 100.0), (1000.0, 0.0), (-50.0, 0.0)):  # that of another machine
        now.updated = time.time() + clock
        status.write(folder, now)
        assert watched.look()["age"] == pytest.approx(age, abs=2.0)


def test_a_folder_that_is_removed_is_gone(tmp_path: Path) -> None:
    assert Watched(tmp_path / "not").look()["state"] == "gone"


@contextmanager
def served(server: PageServer) -> Iterator[None]:
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


Get = Callable[..., tuple[int, bytes, http.client.HTTPMessage]]


@pytest.fixture(scope="module")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served")
    (path / "config.toml").touch()
    return path


@pytest.fixture(scope="module")
def get(served_folder: Path) -> Iterator[Get]:
    """Ask a server of the folder: get(path, host, method)."""
    server, where = serve(str(served_folder), 0, None)
    port = server.server_address[1]
    assert f"http://127.0.0.1:{port}/" in where

    def asked(
        path: str, host: str | None = None, method: str = "GET"
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        found = answer.status, answer.read(), answer.headers
        connection.close()
        return found

    with served(server):
        yield asked


def test_server_gives_a_page_the_state_and_the_preview(get: Get, served_folder: Path) -> None:
    folder = served_folder
    code, body, headers = get("/")
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert str(folder) in body.decode()
    assert headers["Cache-Control"] == "no-store"
    code, body, headers = get("/state?again")
    assert (code, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["state"] == "waiting"
    assert get("/preview")[0] == 404
    (folder / "watch").mkdir()
    (folder / preview.FILE).write_bytes(b"fields")
    assert get("/preview")[:2] == (200, b"fields")


@pytest.mark.parametrize(
    "path", ["/config.toml", "/../config.toml", "//etc/passwd", "/watch/status.json", "/state/"]
)
def test_server_gives_nothing_else(get: Get, path: str) -> None:
    assert get(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_server_can_only_be_read_from(get: Get, method: str) -> None:
    assert get("/state", method=method)[0] == 501


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost", 200),
        ("LOCALHOST:9000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8600", 200),
        ("attacker.example", 403),
        ("localhost.attacker.example:8600", 403),
        ("127.0.0.1.attacker.example", 403),
        ("", 403),
        ("0.0.0.0:8600", 403),
    ],
)
def test_server_refuses_browsers_that_were_sent_by_another_name(
    get: Get, host: str, code: int
) -> None:
    assert get("/state", host)[0] == code


def test_socket_is_its_owners_alone_and_gone_at_the_end(folder: Path) -> None:
    path = folder / "page"
    server, where = serve(str(folder), None, str(path))
    assert f"on the socket {path} (from elsewhere: ssh -L 8600:{path} " in where
    with served(server):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(path))
            asked.sendall(b"GET /state HTTP/1.0\r\nHost: localhost:8600\r\n\r\n")
            answer = b"".join(iter(lambda: asked.recv(2**16), b""))
        assert answer.startswith(b"HTTP/1.0 200 ")
        with pytest.raises(ConfigError, match=f"--socket {path}: is in use by another process"):
            serve(str(folder), None, str(path))
    assert not path.exists()


def test_socket_that_nobody_listens_at_is_replaced(folder: Path) -> None:
    path = folder / "page"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server, _ = serve(str(folder), None, str(path))
    server.server_close()
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.toml", "there is something else of this name"),
        ("no/page", "cannot be made: No such file or directory"),
        ("x" * 120, "cannot be made: AF_UNIX path too long"),
    ],
)
def test_socket_that_cannot_be_made_is_named(folder: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"--socket {folder / name}: {message}"):
        serve(str(folder), None, str(folder / name))


def test_port_in_use_is_named(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = f"--port {port}: 127.0.0.1 has no such port to give: Address already in use"
        with pytest.raises(ConfigError, match=message):
            serve(str(folder), port, None)


def test_only_folders_of_runs_are_watched(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, why in (
        ("nothing", "there is nothing of this name"),
        ("file", "it is no folder"),
        ("empty", "it has no config.toml, and no run has begun in it"),
    ):
        message = f"{tmp_path / name} is not the output folder of a run: {why}"
        with pytest.raises(ConfigError, match=message) as caught:
            serve(str(tmp_path / name), 0, None)
        assert caught.value.exit_code == 2


def test_port_and_socket_exclude_each_other(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--port and --socket: only one of them can be given"):
        serve(str(folder), 0, "page")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'DIR'"),
        (["out", "--port", "70000"], "70000 is not in the range 0<=x<=65535"),
        (["out", "-s", "time.steps=3"], "No such option"),
    ],
)
def test_command_line_of_watch_is_checked(arguments: list[str], message: str) -> None:
    request, text, code = parse(["watch", *arguments])
    assert (request, code) == (None, 2)
    assert message in text


@pytest.mark.parametrize("shape", [(7, 9), (300, 131), (128, 129)])
@pytest.mark.parametrize("process_grid", [(1, 1), (3, 2)])
def test_preview_has_every_kth_point_of_the_whole_grid(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, int],
    process_grid: tuple[int, int],
) -> None:
    step_y, step_x = preview.strides(shape)
    assert -(-shape[0] // step_y) <= preview.MOST
    assert -(-shape[1] // step_x) <= preview.MOST
    whole = np.random.default_rng(0).normal(size=(2, *shape)) * [[[1e-9]], [[3.0]]]
    sent: list[list[np.ndarray]] = []
    monkeypatch.setattr(preview, "at_rank_0", lambda comm, own: sent.append(own))
    all_ranks = decompositions(process_grid[0] * process_grid[1], shape, False, process_grid)

    def gathered(one: Decomposition) -> dict | None:
        tile = whole[:, one.rows, one.columns]
        return preview.gather(one, {"u": tile[0], "v": tile[1]})

    assert [gathered(one) for one in all_ranks] == [None] * len(all_ranks)
    received = list(sent)
    monkeypatch.setattr(preview, "at_rank_0", lambda comm, own: received)
    found = gathered(all_ranks[0])
    assert found is not None
    (tmp_path / "watch").mkdir()
    preview.write(tmp_path, {"step": 4}, found)
    facts, fields = preview.read(tmp_path)
    assert facts["step"] == 4
    for name, field in zip("uv", whole, strict=True):
        expected = field[::step_y, ::step_x]
        np.testing.assert_allclose(fields[name], expected, rtol=0, atol=1e-7 * abs(field).max())


def test_preview_of_fields_that_are_not_finite_or_zero(tmp_path: Path) -> None:
    (tmp_path / "watch").mkdir()
    decomposition = Decomposition(MPI.COMM_SELF, (1, 3), False)
    fields = {"u": np.array([[np.nan, np.inf, -2.0]]), "v": np.zeros((1, 3))}
    found = preview.gather(decomposition, fields)
    assert found is not None
    preview.write(tmp_path, {}, found)
    facts, read = preview.read(tmp_path)
    assert facts["largest"] == [2.0, 0.0]
    np.testing.assert_array_equal(read["u"], [[np.nan, np.inf, -2.0]])
    np.testing.assert_array_equal(read["v"], [[0.0, 0.0, 0.0]])


def test_watch_is_one_process(folder: Path) -> None:
    ranks = SimpleNamespace(size=2)
    with pytest.raises(ConfigError, match="watch is one process, which no launcher need start"):
        module.watch(Request("watch", str(folder)), ranks)  # type: ignore[arg-type]


def test_watch_names_what_it_needs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="watch needs jinja2, not installed here: pip install"):
        serve(str(folder), 0, None)

"""`report`: its page in a browser, of runs that ended, went wrong or are still going on."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from burgers_adjoint.commands import line
from burgers_adjoint.output import report
from burgers_adjoint.output.lock import this_run
from tests import chromium

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytestmark = pytest.mark.timeout(240)  # the first one makes runs for all

ROOT = Path(__file__).parents[2]
PACKAGE = {"PYTHONPATH": str(ROOT)}
GRID = [
    *("-s", "grid.nx=26", "-s", "grid.ny=18", "-s", "grid.x=[-4,4]", "-s", "grid.y=[-3,3]"),
    *("-s", "output.plots=false"),
]
ROW = re.compile(r"<tr><td>([a-z ]+)</td>" + r'<td class="number">(\d+)</td>' * 2)
NEEDS_CHROMIUM = pytest.mark.skipif(chromium.BINARY is None, reason=chromium.ABSENT)
LONG = ["-s", "grid.nx=260", "-s", "grid.ny=180", "-s", "time.steps=1500", "-s", "time.dt=1e-5"]
SAVING = ["-s", "restart.enabled=true", "-s", "restart.overhead=1.0"]


def ended(*arguments):
    """Run the command line in this process; returns the exit code."""
    with pytest.raises(SystemExit) as end:
        line.main([str(argument) for argument in arguments])
    return end.value.code


def reported(folder, *arguments):
    """Write a page; returns what the command tells of it as JSON, and the page's text."""
    told = Path(f"{folder}.json")
    assert ended("report", folder, "--json", told, "--quiet", *arguments) == 0
    found = json.loads(told.read_text())
    return found, Path(found["page"]).read_text(encoding="utf-8")


def interrupted_run(folder):
    """Leave a run that got a signal once it had saved something; returns a page from before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "burgers_adjoint", *GRID, *LONG, *SAVING, "-o", folder, "--quiet"],
        env=os.environ | PACKAGE,
        stderr=subprocess.PIPE,
    )
    try:
        while not (folder / "config.toml").exists():
            assert process.poll() is None
            time.sleep(0.02)
        while not list(folder.glob("restart/generation-*.json")):
            # in slices: on a busy machine nobody may look before it has finished
            process.send_signal(signal.SIGCONT)
            time.sleep(0.02)
            process.send_signal(signal.SIGSTOP)
            assert process.poll() is None
        _, running = reported(folder, "-o", f"{folder}-running.html")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert b"stopped by SIGTERM" in process.communicate(timeout=100)[1]
    finally:
        process.kill()
    return running


@pytest.fixture(scope="module")
def folder_of_runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def gradient(folder_of_runs):
    """A gradient by every kind of control, dumps and restart data, with a <name> to be escaped."""
    folder = folder_of_runs / 'a <b> & "c"'
    controls = '["initial", "viscosity", "viscosity_field", "forcing_in_time"]'
    code = ended(
        "gradient", *GRID, "-o", folder, "--quiet", "-s", "time.steps=30",
        "-s", "time.integrator=rk4", "-s", f"gradient.controls={controls}",
        "-s", "controls.knots=[0.0, 0.01, 0.02, 0.03, 0.04]", "-s", "checkpointing.snapshots=4",
        "-s", "initial.amplitude=[1.0,-0.6]", "-s", "restart.enabled=true", "-s", "output.every=10",
    )  # fmt: skip
    assert code == 0
    return folder, *reported(folder)


@pytest.fixture(scope="module")
def plain(folder_of_runs):
    """A forward sweep."""
    folder = folder_of_runs / "plain"
    assert ended("forward", *GRID, "-o", folder, "--quiet", "-s", "time.steps=5") == 0
    return folder


@pytest.fixture(scope="module")
def interrupted(folder_of_runs):
    folder = folder_of_runs / "interrupted"
    running = interrupted_run(folder)
    return folder, *reported(folder), running


@pytest.fixture(scope="module")
def search(folder_of_runs):
    pytest.importorskip("petsc4py")
    folder = folder_of_runs / "search"
    code = ended(
        "optimize", *GRID, "-o", folder, "--quiet", "-s", "time.steps=20", "-s", "time.dt=0.005",
        "-s", "truth.twin=true", "-s", "truth.amplitude=[0.8,-0.5]", "-s", "truth.viscosity=0.03",
        "-s", "objective.kind=misfit", "-s", "observations.count=4", "-s", "tao.iterations=3",
        "-s", "background.deviation={ initial = 0.5 }",
    )  # fmt: skip
    assert code == 1  # three iterations are too few
    return folder, *reported(folder)


@pytest.fixture(scope="module")
def checked(folder_of_runs):
    folder = folder_of_runs / "checked"
    steps = ("-s", "time.steps=8", "-s", "check.points=1")
    assert ended("check", *GRID, *steps, "-o", folder, "--quiet") == 0
    return folder, *reported(folder)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium.BINARY is None:
        pytest.skip(chromium.ABSENT)
    with chromium.Chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


BRIGHTNESS = """(() => {
    const light = colour => {
        const [r, g, b] = colour.match(/[0-9.]+/g).map(c => c / 255)
            .map(c => c <= 0.04 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const style = getComputedStyle(document.querySelector("section"));
    return [light(style.backgroundColor), light(style.color)];
})()"""
# Of the letters in the title of the first figure, from 0 to 255.
TITLE = """(() => {
    const image = document.images[0], canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = 25;
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    const inked = [...data.keys()].filter(i => i % 4 == 3 && data[i] > 100);
    return inked.reduce((sum, i) => sum + data[i - 1], 0) / inked.length;
})()"""


def look_at(browser, page, figures):
    """Open a page narrow and wide, dark and light, and hold what every page has to be like."""
    address = page.as_uri()
    browser.requests.clear()
    browser.complaints.clear()
    for width in (400, 1400):
        for dark in (False, True):
            browser.look(width, 900, dark)
            browser.open(address)
            assert browser.ask("innerWidth") == width
            room, taken = browser.ask(
                "[document.documentElement.clientWidth, document.documentElement.scrollWidth]"
            )
            assert taken <= room <= width
            sizes = browser.ask("[...document.images].map(i => [i.naturalWidth, i.clientWidth])")
            assert len(sizes) == figures
            # none is missing, and none is so small that its labels cannot be read
            assert all(natural > 0 and shown > 0.7 * natural for natural, shown in sizes)
            background, ink = browser.ask(BRIGHTNESS)
            assert (background < ink) is dark
            lighter, darker = max(background, ink), min(background, ink)
            assert (lighter + 0.05) / (darker + 0.05) > 7  # contrast of WCAG 2, level AAA
            ink = browser.ask(TITLE)
            assert ink > 200 if dark else ink < 80
    assert browser.complaints == []
    assert set(browser.requests) == {address}


@NEEDS_CHROMIUM
@pytest.mark.parametrize("name", ["gradient", "interrupted", "search", "checked"])
def test_pages_are_whole_in_a_browser(browser, request, name):
    told = request.getfixturevalue(name)[1]
    assert told["figures"] > 0
    look_at(browser, Path(told["page"]), told["figures"])


@NEEDS_CHROMIUM
def test_the_browser_sees_what_is_wrong_with_a_page(browser, tmp_path):
    page = tmp_path / "wrong.html"
    page.write_text(
        "<section style='width: 5000px'>wide</section><img src='http://127.0.0.1:9/picture.png'>"
        "<script>console.error('a word'); throw new Error('an error')</script>"
    )
    browser.requests.clear()
    browser.complaints.clear()
    browser.look(400, 900, False)
    browser.open(page.as_uri())
    assert browser.ask("document.documentElement.scrollWidth") >= 5000
    assert browser.ask("document.images[0].naturalWidth") == 0
    assert browser.requests == [page.as_uri(), "http://127.0.0.1:9/picture.png"]
    assert re.search("a word.*an error", str(browser.complaints))


def test_page_of_a_gradient_has_its_fields_plan_and_times(gradient):
    folder, told, page = gradient
    assert (told["command"], told["state"], told["notes"]) == ("gradient", "finished", [])
    # u and v: two states, the gradient by the initial one and by 3 of 5 knots; nu; the schedule
    assert told["figures"] == page.count("<img ") == 4 + 2 + 6 + 1 + 1
    assert "3 of 5 knots are shown" in page
    assert "a &lt;b&gt; &amp; &#34;c&#34;" in page
    assert "<b>" not in page
    with h5py.File(folder / "results.h5") as file:
        summary = json.loads(file.attrs["summary"])
        assert f"{file['gradient/viscosity'][()]:.15g}" in page
    rows = {name: (int(plan), int(done)) for name, plan, done in ROW.findall(page)}
    assert rows["reverse steps"] == (30, 30)
    assert rows["forward steps"] == (
        summary["schedule"]["predicted_forward_steps"],
        summary["schedule"]["forward_steps"],
    )
    for name in ("forward", "adjoint", "snapshots"):
        assert f"{name}{' steps' * (name != 'snapshots')} {summary['seconds'][name]:.3g} s" in page
    for name in ("Saves of restart data", "Dumps", "startup"):
        assert name in page
    for bar in re.findall(r'<div class="bar">(.*?)</div>', page):
        assert sum(map(float, re.findall(r"width:([\d.]+)%", bar))) == pytest.approx(100, abs=0.1)


def test_page_of_a_search_has_its_history_and_errors(search):
    folder, told, page = search
    assert (told["command"], told["state"]) == ("optimize", "not converged")
    # two histories; u and v of first guess, truth, recovered, error; two states; the schedule
    assert told["figures"] == 2 + 2 * 4 + 2 * 2 + 1
    with h5py.File(folder / "results.h5") as file:
        summary = json.loads(file.attrs["summary"])["optimize"]
        errors = {
            name: file[f"controls/{name}"][()] - file[f"truth/{name}"][()]
            for name in ("viscosity", "initial/u")
        }
    table = re.findall(r"<tr><td>viscosity</td>(.*?)</tr>", page)[0]
    assert re.findall(r">([^<]+)</td>", table)[3] == f"{errors['viscosity']:.3g}"
    for objective in summary["objective"]:
        assert f"{objective:.10g}" in page
    assert f"{summary['control_error']['initial']['recovered']:.3g}" in page


def test_search_that_was_killed_shows_the_best_so_far(search, tmp_path):
    folder = tmp_path / "killed"
    shutil.copytree(search[0], folder)
    (folder / "results.h5").unlink()  # as if it had been killed before it wrote them
    told, page = reported(folder)
    assert (told["command"], told["state"]) == ("optimize", "interrupted")
    assert told["figures"] == 2 + 2
    assert "The search has come 3 iterations far" in page
    assert "best so far" in page


def test_page_of_checks_has_each_with_its_limit(checked):
    folder, told, page = checked
    assert (told["command"], told["state"], told["figures"]) == ("check", "checks passed", 1)
    summary = json.loads((folder / "check_results.json").read_text())["summary"]
    for check in summary["checks"]:
        assert f"<td>{check['name']}</td>" in page
    assert "FAILED" not in page


def test_check_that_failed_is_shown_as_such(checked, tmp_path):
    folder = tmp_path / "failed"
    shutil.copytree(checked[0], folder)
    held = json.loads((folder / "check_results.json").read_text())
    held["summary"]["checks"][0]["passed"] = False
    (folder / "check_results.json").write_text(json.dumps(held))
    told, page = reported(folder)
    assert told["state"] == "checks failed"
    assert page.count(">FAILED<") == 1


def test_page_of_an_interrupted_run_says_how_far_it_came(interrupted):
    folder, told, page, running = interrupted
    assert '<span class="badge live">running</span>' in running
    assert "A run is in the folder" in running
    assert (told["command"], told["state"]) == ("gradient", "interrupted")
    assert told["figures"] == 2 + 1  # the saved fields and the schedule
    assert "stopped by SIGTERM" in page
    newest = max(folder.glob("restart/generation-*.json"))
    manifest = json.loads(newest.read_text())["manifest"]
    counts = manifest["counts"]
    assert f"the {manifest['phase']} sweep at step {manifest['position']} of 1500" in page
    assert f"with {counts['forward_steps'] + counts['reverse_steps']} of " in page
    assert f"burgers-adjoint resume {folder}" in page


def test_run_that_died_left_its_lock_and_may_leave_damaged_data(interrupted, tmp_path):
    folder = tmp_path / "died"
    shutil.copytree(interrupted[0], folder)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    holder = dataclasses.asdict(this_run(2)) | {"process": gone.pid}
    (folder / "run.lock").write_text(json.dumps(holder))
    newest = max(folder.glob("restart/generation-*.json"))
    text = newest.read_text()
    newest.with_name("generation-00009999.json").write_text(text[: len(text) // 2])
    told, page = reported(folder)
    assert told["state"] == "interrupted"
    assert f"The run died and left its lock: host {holder['host']}, process {gone.pid}" in page
    assert "is damaged: it is not valid JSON" in page
    assert told["figures"] == 2 + 1  # of the generation before the damaged one


def test_what_is_of_another_problem_is_left_out(plain, checked, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(plain, folder)
    shutil.copy(checked[0] / "check_results.json", folder)
    told, _ = reported(folder)
    assert told["notes"] == [
        "check_results.json is left out: it is of another problem, with another [time] than "
        "config.toml"
    ]
    configuration = folder / "config.toml"
    toml = configuration.read_text()
    configuration.write_text(toml.replace("viscosity = 0.01", "viscosity = 0.02", 1))
    told, page = reported(folder)
    assert (told["state"], told["figures"]) == ("unfinished", 0)
    assert "results.h5 is left out: it is of another problem, with another [physics]" in page


def test_results_that_cannot_be_read_are_named(plain, tmp_path):
    folder = tmp_path / "torn"
    shutil.copytree(plain, folder)
    (folder / "results.h5").write_bytes(b"no results")
    told, _ = reported(folder)
    assert told["notes"] == ["results.h5 is left out: it cannot be read as the results of a run"]
    assert told["state"] == "unfinished"


def test_page_goes_where_it_is_wanted(checked, tmp_path):
    wanted = tmp_path / "page.html"
    wanted.write_text("an older page")
    told, page = reported(checked[0], "-o", wanted)
    assert told["page"] == str(wanted)
    assert told["bytes"] == wanted.stat().st_size
    assert page.startswith("<!doctype html>")
    assert os.listdir(tmp_path) == ["page.html"]


def test_page_of_a_forward_sweep_has_both_states(plain):
    told, _ = reported(plain)
    assert (told["command"], told["state"], told["figures"]) == ("forward", "finished", 4)


@pytest.mark.parametrize(
    ("made", "arguments", "message"),
    [
        ("", ["nothing"], "nothing is not the output folder of a run: there is nothing of this"),
        ("empty/", ["empty"], "empty is not the output folder of a run: it has no config.toml"),
        ("file", ["file"], "file is not the output folder of a run: it has no config.toml"),
        ("run/", ["run", "-o", "/sys/page.html"], "cannot write /sys/page.html: Permission denied"),
        ("run/", ["run", "-o", "no/page.html"], "no/page.html: No such file or directory; -o FILE"),
        ("run/", ["run", "-o", "run"], "run: Is a directory; -o FILE writes the page elsewhere"),
        ("bad/", ["bad"], "bad/config.toml: grid.nx = 2: expected"),
        ("run/", ["run", "-s", "grid.nx=9"], "No such option"),
        ("", [], "Missing argument 'DIR'"),
    ],
)
def test_what_cannot_be_done_has_one_message(
    capsys, tmp_path, monkeypatch, made, arguments, message
):
    monkeypatch.chdir(tmp_path)
    if made.endswith("/"):
        Path(made).mkdir()
    elif made:
        Path(made).touch()
    if made in ("run/", "bad/"):
        Path(made, "config.toml").write_text(f"[grid]\nnx = {9 if made == 'run/' else 2}\n")
    before = sorted(os.listdir(tmp_path))
    assert ended("report", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("absent", [["jinja2"], ["matplotlib"], ["jinja2", "matplotlib"]])
def test_missing_packages_are_named_with_their_group(capsys, checked, monkeypatch, absent):
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    assert ended("report", checked[0]) == 2
    assert capsys.readouterr().err == (
        f"error: report needs {' and '.join(absent)}, not installed here: "
        "pip install 'burgers_adjoint[report]'\n"
    )


def test_what_is_left_of_a_bar_is_the_rest():
    made = report.bar("sweeps", {"forward": 3.0, "adjoint": 5.0, "snapshots": 0.0}, 10.0)
    assert [(part.name, part.percent) for part in made.parts] == [
        ("forward", 30.0), ("adjoint", 50.0), ("the rest", 20.0),
    ]  # fmt: skip
    # what takes the most on another rank each may be more than the whole
    made = report.bar("sweeps", {"forward": 6.0, "adjoint": 6.0}, 10.0)
    assert [(part.name, part.percent) for part in made.parts] == [
        ("forward", 50.0), ("adjoint", 50.0),
    ]  # fmt: skip


def test_all_ranks_end_alike(mpiexec, checked, tmp_path):
    page = tmp_path / "page.html"
    for folder, code in ((checked[0], 0), (tmp_path / "nothing", 2)):
        done = mpiexec(
            2,
            "-m",
            "burgers_adjoint",
            "report",
            folder,
            "-o",
            page,
            cwd=tmp_path,
            env=PACKAGE,
            timeout=150,
        )
        assert done.returncode == code
        assert done.stderr.count("error: ") == (code != 0)
        assert done.stdout.count("figures") == (code == 0)
    assert page.stat().st_size > 1000

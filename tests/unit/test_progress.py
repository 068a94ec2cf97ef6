import io
from types import SimpleNamespace

import pytest

from burgers_adjoint.output import progress as module
from burgers_adjoint.output.progress import Progress


class Clock:
    """Time that passes only when the test says so, and counts how often it is asked for."""

    def __init__(self):
        self.now, self.looks = 100.0, 0

    def monotonic(self):
        self.looks += 1
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def steps(n):
    return SimpleNamespace(forward_steps=n // 2, reverse_steps=n - n // 2)


def test_plain_lines_come_every_few_seconds(clock):
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        progress.begin("gradient", 200)
        for done in range(1, 201):
            clock.now += 0.125
            progress(None, steps(done))
    assert stream.getvalue().splitlines() == [
        "gradient: 40 of 200 steps (20%), 5 s, about 20 s left",
        "gradient: 80 of 200 steps (40%), 10 s, about 15 s left",
        "gradient: 120 of 200 steps (60%), 15 s, about 10 s left",
        "gradient: 160 of 200 steps (80%), 20 s, about 5 s left",
        "gradient: 200 of 200 steps (100%), 25 s, about 0 s left",
    ]


def test_a_short_run_says_nothing(clock):
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        progress.begin("gradient", 200)
        for done in range(1, 201):
            clock.now += 0.01
            progress.update(done)
    assert stream.getvalue() == ""


def test_the_clock_is_looked_at_now_and_then(clock):
    with Progress(stream=io.StringIO()) as progress:
        progress.begin("gradient", 1_000_000)
        for done in range(1, 1_000_001):
            clock.now += 1e-5
            progress.update(done)
    # Ten seconds, ten looks a second, and a few to find the pace.
    assert 90 <= clock.looks <= 130


def test_a_run_that_slows_down_is_still_reported(clock):
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        progress.begin("gradient", 100_010)
        for done in range(1, 100_001):
            clock.now += 1e-5
            progress.update(done)
        for done in range(100_000, 110_001):
            clock.now += 0.01
            progress.update(done)
    assert len(stream.getvalue().splitlines()) >= 4


@pytest.mark.parametrize("terminal", [True, False])
def test_silence(clock, terminal):
    stream = io.StringIO()
    with Progress(shown=False, stream=stream, terminal=terminal) as progress:
        progress.begin("gradient", 10)
        looks = clock.looks
        for done in range(1, 11):
            clock.now += 10
            progress(None, steps(done))
        assert clock.looks == looks
    assert stream.getvalue() == ""


def test_a_bar_on_a_terminal_is_gone_at_the_end(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    with Progress(stream=stream, terminal=True) as progress:
        progress.begin("gradient", 10)
        progress.update(5)
        progress.begin("again", 10)
    drawn = stream.getvalue()
    assert "gradient" in drawn
    assert "0/10" in drawn
    assert drawn.endswith("\x1b[2K"), "the last line is erased"


def test_the_terminal_is_clean_after_an_error(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()

    def interrupted():
        with Progress(stream=stream, terminal=True) as progress:
            progress.begin("gradient", 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "\x1b[?25h" in stream.getvalue(), "the cursor is shown again"

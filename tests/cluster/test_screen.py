"""What is shown: in a log, on a terminal, and to nobody."""

from __future__ import annotations

import io

import pytest

from trainer.cluster import screen as screen_module
from trainer.cluster.screen import Screen, Standing

NAMES = ["chief", "worker 0"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_has_a_line_for_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(screen_module.time, "monotonic", lambda: now)
    stream = io.StringIO()
    screen = Screen(NAMES, stream=stream, environ={})
    screen.say("worker 0", ["hello", "there"])
    for step in range(25):
        screen.show([Standing("chief", "training", step, 10 * step)])
        now += 1.0
    screen.show([Standing("chief", "starting", None, 240, 1)])
    screen.show([Standing("chief", "starting", None, 240, 1)])
    screen.clear()
    assert stream.getvalue().splitlines() == [
        " worker 0 | hello",
        " worker 0 | there",
        "rehearsal | chief: training, step 0, 0 examples",
        "rehearsal | chief: training, step 10, 100 examples",
        "rehearsal | chief: training, step 20, 200 examples",
        "rehearsal | chief: starting, 240 examples, started again once",
    ]


def test_a_terminal_shows_the_standings_below_the_log() -> None:
    stream = Terminal()
    screen = Screen(NAMES, stream=stream, environ={})
    rows = [Standing("chief", "training", 1234, 5), Standing("worker 0", "starting", restarts=2)]
    screen.show(rows)
    first = stream.getvalue()
    assert first.splitlines() == [
        "          state      step  examples  restarts",
        "chief     training  1,234         5",
        "worker 0  starting                          2",
    ]
    screen.show(rows)
    assert stream.getvalue() == first  # nothing has changed
    screen.say("worker 0", ["hello"])
    added = stream.getvalue()[len(first) :]
    assert added == "\x1b[3A\r\x1b[J" + "\x1b[32m worker 0 | \x1b[0mhello\n" + first
    screen.clear()
    assert stream.getvalue().endswith("\x1b[3A\r\x1b[J")


def test_no_color_is_heard() -> None:
    stream = Terminal()
    Screen(NAMES, stream=stream, environ={"NO_COLOR": "1"}).say("chief", ["x"])
    assert stream.getvalue() == "    chief | x\n"


def test_quiet_shows_only_what_went_wrong() -> None:
    for stream in (io.StringIO(), Terminal()):
        screen = Screen(NAMES, quiet=True, stream=stream, environ={"NO_COLOR": "1"})
        screen.say("chief", ["hello"])
        screen.show([Standing("chief", "training", 1)])
        screen.own("a note")
        screen.clear()
        assert stream.getvalue() == ""
        screen.say("chief", ["its last words"], is_error=True)
        assert stream.getvalue() == "    chief | its last words\n"

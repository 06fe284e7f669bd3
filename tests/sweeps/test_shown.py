"""What a sweep shows: a table that is drawn anew, lines in a log, and a page that needs nothing else."""

from __future__ import annotations

import io
import logging
import pathlib
import re

import pytest

from tests.sweeps.lab import X, content, plan_of
from trainer.sweeps.ledger import Record
from trainer.sweeps.measurements import Measurement
from trainer.sweeps.page import _history, to_optuna, write_page
from trainer.sweeps.plan import SweepPlan
from trainer.sweeps.table import Table, best_of, rows

KIND = {"parameterId": "kind", "categoricalValueSpec": {"values": ["a", "</script><b>é"]}}
MEASURED = (Measurement(10, 0.25, 1.0), Measurement(20, 0.5, 2.0))
RECORDS = [
    Record(1, {"x": 0.125, "kind": "a"}, "completed", MEASURED, 2.25, 0.5),
    Record(2, {"x": 0.5, "kind": "</script><b>é"}, "completed", MEASURED[:1], 1.0, 0.75),
    Record(3, {"x": 0.7, "kind": "a"}, "stopped", MEASURED[:1], 1.0, None, "below the median at step 10"),
    Record(4, {"x": 0.9, "kind": "a"}, "failed", (), 0.5, None, "exit code 3: no"),
    Record(5, {"x": 0.3, "kind": "a"}, "completed", MEASURED, 2.0, 0.25),
    Record(6, {"x": 0.1, "kind": "a"}, "completed", MEASURED, 2.0, float("-inf")),
    Record(7, {"x": 0.2, "kind": "a"}, "running", MEASURED[:1], 1.0),
]


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def plan(tmp_path: pathlib.Path) -> SweepPlan:
    """Of a study of x and kind."""
    return plan_of(tmp_path, content(X, KIND))


def test_the_table(plan: SweepPlan) -> None:
    assert rows(plan, RECORDS[:4]) == [
        "trial  state      step  score  secs  parameters",
        "    1  completed    20    0.5     2  x=0.125 kind=a",
        "   *2  completed    10   0.75     1  x=0.5 kind=</script><b>é",
        "    3  stopped      10   0.25     1  x=0.7 kind=a",
        "    4  failed                     0  x=0.9 kind=a",
    ]


def test_the_best_is_completed_and_finite() -> None:
    assert best_of(RECORDS, 1) == RECORDS[1]
    assert best_of(RECORDS, -1) == RECORDS[4]
    assert best_of([RECORDS[5], RECORDS[6]], 1) is None


def test_on_a_terminal_the_table_is_drawn_over_itself(plan: SweepPlan) -> None:
    screen = Terminal()
    table = Table(plan, stream=screen)
    table.show(RECORDS[:2])
    first = screen.getvalue()
    table.show(RECORDS[:2])
    assert screen.getvalue() == first  # nothing has changed
    table.show(RECORDS[:3])
    assert screen.getvalue()[len(first) :].startswith("\x1b[3A\r\x1b[J")
    assert screen.getvalue().endswith("x=0.7 kind=a\n")


def test_a_table_that_stands_on_the_screen_is_not_said_again(plan: SweepPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    drawn, logged = Table(plan, stream=Terminal()), Table(plan, stream=io.StringIO())
    for table in (drawn, logged):
        table.show(RECORDS)
    assert (drawn.is_whole, logged.is_whole) == (True, False)
    monkeypatch.setenv("LINES", "9")
    drawn.show(RECORDS[:-1])
    assert not drawn.is_whole  # the first rows were left out
    monkeypatch.setattr("sys.stdout", io.StringIO())
    whole = Table(plan, stream=Terminal())
    whole.show(RECORDS[:2])
    assert not whole.is_whole  # the end's words go to a file, which has no table yet


def test_many_trials_fit_a_terminal(plan: SweepPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("COLUMNS", "40")
    screen = Terminal()
    Table(plan, stream=screen).show([Record(number, {"x": 0.5, "kind": "a"}) for number in range(1, 31)])
    lines = screen.getvalue().splitlines()
    assert len(lines) <= 9
    assert max(map(len, lines)) <= 45
    assert lines[-1].split()[0] == "30"


def test_in_a_log_each_change_is_a_line(plan: SweepPlan, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("trainer")
    logger.addHandler(caplog.handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        table = Table(plan, stream=io.StringIO())
        begun = Record(1, RECORDS[0].values)
        for record in (begun, begun, Record(1, begun.values, "running", MEASURED[:1], 1.0), RECORDS[0]):
            table.show([record])
        Table(plan, quiet=True, stream=io.StringIO()).show(RECORDS)
    finally:
        logger.removeHandler(caplog.handler)
        logger.setLevel(before)
    assert list(dict.fromkeys(caplog.messages)) == [
        "trial 1: starts: x=0.125 kind=a",
        "trial 1: step 10: score 0.25 after 1 s",
        "trial 1: step 20: score 0.5 after 2 s",
        "trial 1: completed: score 0.5 after 2 s",
    ]


def test_the_page_needs_nothing_else(plan: SweepPlan) -> None:
    page = pathlib.Path(write_page(plan, RECORDS)).read_text(encoding="utf-8")
    assert page.count('class="plotly-graph-div"') == 3
    assert not re.search(r"<(script|link|img|iframe)\b[^>]*\b(src|href)=", page)
    assert "<b>é" not in page  # what a study's text may do to a page
    own = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert [own.count(f"<h2>{title}") for title in ("History", "Parallel", "Importance", "Trials")] == [1] * 4
    assert "Best: trial 2, 0.75." in own
    assert "stopped: below the median at step 10" in own


def test_the_history_has_the_trials_own_numbers(plan: SweepPlan) -> None:
    points = _history(to_optuna(plan.study, RECORDS), "score").data[0]
    assert list(zip(points.x, points.y, strict=True)) == [(1, 0.5), (2, 0.75), (5, 0.25)]


def test_a_page_of_no_completed_trial(plan: SweepPlan) -> None:
    page = pathlib.Path(write_page(plan, RECORDS[3:4])).read_text(encoding="utf-8")
    assert "No trial has a value yet." in page
    assert "Needs 1 completed trials" in page

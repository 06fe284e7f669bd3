"""A pass over files: all rows in their order, and a sign of life where it takes long."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trainer.job.columns import Column
from trainer.job.errors import DataError
from trainer.training import passes, progress
from trainer.training.passes import Batch, column_batches, with_progress
from trainer.training.readers import open_reader


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_all_rows_in_the_order_of_the_files(tmp_path: Path) -> None:
    texts = {"0.csv": range(2500), "1.csv": range(2500, 2501), "2.csv": range(2501, 5000)}
    files = [write(tmp_path / name, "".join(f"{n}\n" for n in ("n", *numbers))) for name, numbers in texts.items()]
    batches = list(column_batches(open_reader(files), {"n": Column("int64")}))
    assert all(set(batch) == {"n"} and batch["n"].dtype == np.int64 for batch in batches)
    assert np.concatenate([batch["n"] for batch in batches]).tolist() == list(range(5000))


def test_only_the_columns_that_are_asked_for_are_parsed(tmp_path: Path) -> None:
    path = write(tmp_path / "0.csv", "a,b\n1,2\n3,x\n")
    reader = open_reader([path])
    assert [batch["a"].tolist() for batch in column_batches(reader, {"a": Column("int64")})] == [[1, 3]]
    with pytest.raises(DataError, match=r"0\.csv, line 3, column b: found 'x' where a whole number is needed"):
        list(column_batches(reader, {"a": Column("int64"), "b": Column("int64")}))


def slow(batches: int, secs: float) -> Iterator[Batch]:
    for _ in range(batches):
        time.sleep(secs)
        yield {"a": np.zeros(10)}


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds that a test can wait for."""
    monkeypatch.setattr(passes, "QUIET_SECS", 0.1)
    monkeypatch.setattr(progress, "LINE_SECS", 0.2)


@pytest.mark.usefixtures("brief")
def test_a_short_pass_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "trainer"):
        assert sum(len(batch["a"]) for batch in with_progress(slow(3, 0), 30, "analysis")) == 30
    assert caplog.messages == []


@pytest.mark.usefixtures("brief")
def test_a_long_pass_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "trainer"):
        assert len(list(with_progress(slow(25, 0.02), 250, "analysis"))) == 25
    *lines, last = caplog.messages
    assert 1 <= len(lines) <= 4, "one after a moment, then one each LINE_SECS"
    assert all(line.startswith("analysis: row ") and " of 250, " in line and line.endswith(" rows/s") for line in lines)
    assert last.startswith("analysis: 250 rows in ")


@pytest.mark.usefixtures("brief")
def test_a_terminal_gets_a_bar_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(passes, "sys", SimpleNamespace(stderr=screen))
    monkeypatch.setattr(progress, "fits_a_bar", lambda stream: stream is screen)
    with caplog.at_level(logging.INFO, "trainer"):
        assert len(list(with_progress(slow(25, 0.02), 250, "analysis"))) == 25
    shown = screen.getvalue()
    assert "analysis: " in shown
    assert "/250 [" in shown
    assert shown.endswith("\r"), "the bar is taken away"
    assert [line.partition(" in ")[0] for line in caplog.messages] == ["analysis: 250 rows"]

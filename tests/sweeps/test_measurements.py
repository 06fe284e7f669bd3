"""Reports are read from a file that is rewritten all the time, and judged."""

from __future__ import annotations

import json
import math
import pathlib
import threading

import hypertune
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.sweeps.measurements import Measurement, Report, final_value, judged, merged, read_reports


def line(step: int, value: str, metric: str = "score", at: float = 100.0) -> str:
    return json.dumps({"trial": "1", metric: value, "global_step": str(step), "timestamp": at, "checkpoint_path": ""})


def test_lines_are_reports(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "metrics"
    file.write_text(line(10, "0.5") + "\n" + line(10, "0.7", "loss", 101.5) + "\n")
    assert read_reports(str(file)) == [Report("score", 10, 0.5, 100.0), Report("loss", 10, 0.7, 101.5)]


@given(cut=st.integers(0, 400))
def test_a_half_written_line_is_none(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = line(1, "0.125") + "\n" + line(2, "0.25") + "\n" + line(3, "0.5") + "\n"
    file = tmp_path_factory.mktemp("cut") / "metrics"
    file.write_text(whole[:cut])
    complete = whole[:cut].count("\n")
    assert [each.step for each in read_reports(str(file))] == [1, 2, 3][:complete]
    assert [each.value for each in read_reports(str(file))] == [0.125, 0.25, 0.5][:complete]


def test_no_file_and_no_report_are_nothing(tmp_path: pathlib.Path) -> None:
    assert read_reports(str(tmp_path / "metrics")) == []
    (tmp_path / "metrics").write_text(
        '\n[]\n{"score": "high", "global_step": "1", "timestamp": 1}\n{"score": "1"}\nx\n'
    )
    assert read_reports(str(tmp_path / "metrics")) == []


def test_reading_while_the_library_writes_never_invents(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metrics"
    monkeypatch.setenv("CLOUD_ML_HP_METRIC_FILE", str(file))
    reporter, seen = hypertune.HyperTune(), set[tuple[int, float]]()

    def write() -> None:
        for step in range(1, 400):
            reporter.report_hyperparameter_tuning_metric("score", step / 1024, global_step=step)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        seen |= {(each.step, each.value) for each in read_reports(str(file))}
    writer.join()
    seen |= {(each.step, each.value) for each in read_reports(str(file))}
    assert len(seen) >= 100
    assert all(value == step / 1024 for step, value in seen)


def test_what_the_file_forgets_is_kept() -> None:
    known = [Measurement(10, 0.1, 5.0), Measurement(20, 0.2, 9.0)]
    reports = [Report("score", 20, 0.25, 1001.0), Report("score", 30, 0.3, 1004.0), Report("score", 25, 0.26, 990.0)]
    assert merged(known, reports, started_at=1000.0, earlier_secs=12.0, sign=1) == (
        Measurement(10, 0.1, 5.0),
        Measurement(20, 0.25, 9.0),
        Measurement(25, 0.26, 12.0),
        Measurement(30, 0.3, 16.0),
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3.4028234663852886e38, -1.7976931348623157e308])
def test_what_is_no_number_is_the_worst(value: float) -> None:
    assert judged(value, 1) == -math.inf
    assert judged(value, -1) == math.inf
    assert judged(0.5, 1) == 0.5


def test_one_value_stands_for_a_trial() -> None:
    rising = [Measurement(1, 0.2, 0), Measurement(2, 0.9, 0), Measurement(3, 0.5, 0)]
    assert final_value(rising, "last", 1) == 0.5
    assert final_value(rising, "best", 1) == 0.9
    assert final_value(rising, "best", -1) == 0.2
    assert final_value([Measurement(1, -math.inf, 0), rising[0]], "best", 1) == 0.2

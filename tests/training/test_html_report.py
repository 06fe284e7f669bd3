"""The page from numbers made by hand: every kind and number of classes, what is missing, and what charts say."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.paths import JobPaths
from trainer.job.serving import Output
from trainer.training import charts, report_stats
from trainer.training.charts import Series
from trainer.training.event_files import Point, read_scalars
from trainer.training.html_report import render
from trainer.training.report_data import Export, ReportData
from trainer.training.report_figures import MATRIX_LIMIT
from trainer.training.report_inputs import MOST_COLUMNS, shown_inputs
from trainer.training.report_predictions import Classified, Mistake, Predictions, Regressed, class_numbers
from trainer.training.svg import Scale, scale_over, short, tick_texts

ROWS = 900
SCRIPT = "<script>alert(1)</script>"
MANIFEST: dict[str, Any] = {
    "settings": {
        "model": {"value": "a/model.py:build", "source": "flag"},
        "batch_size": {"value": 64, "source": "default"},
    },
    "hyperparameters": {"units": {"value": 8, "source": "flag"}, "rate": {"value": 0.1, "source": "default"}},
    "code": {"file": "a/model.py", "function": "build", "git": {"commit": "abc", "changed": True}},
    "versions": {"python": "3.11"},
    "data": {
        "train": [{"path": "train.csv", "bytes": 1234567, "sha256": "0123456789abcdef"}],
        "eval": [{"path": "eval.csv", "bytes": 10, "sha256": "fedcba"}],
        "train_examples": 6400,
        "eval_examples": ROWS,
        "columns": {"x": [f"x_{i}" for i in range(64)]},
    },
}


def classified(classes: int, inputs: Mapping[str, Any] | None = None, name: str = "kind") -> Classified:
    """Predictions that are right three times in four."""
    source = np.random.default_rng(classes)
    true = source.integers(0, classes, ROWS)
    predicted = np.where(source.random(ROWS) < 0.75, true, source.integers(0, classes, ROWS))
    probability = source.uniform(1 / classes, 1, ROWS).astype(np.float32)
    mistakes = (Mistake("eval.csv, line 3", inputs or {"x": 1.5}, "class 0", "class 1", 4.2, 0.9, 0.015),)
    output = Output(name, name, "classification", tuple(f"class {i}" for i in range(classes)), True)
    return Classified(output, true, predicted, probability, 1 - probability, mistakes)


def regressed(rows: int = ROWS) -> Regressed:
    source = np.random.default_rng(rows)
    true = source.normal(10, 3, rows)
    mistakes = (Mistake("eval.csv, line 3", {"x": 1.5}, "12", "3", 9.0),)
    return Regressed(Output("size", "size", "regression"), true, true + source.normal(0, 1, rows), mistakes)


def data_of(*outputs: Classified | Regressed, **changes: Any) -> ReportData:
    export = Export("best", "job/export/best/1", {"passed": True, "rows": 64})
    points = [Point(step, 1e9 + step, 3 / (step + 1)) for step in range(100)]
    data = ReportData(
        paths=JobPaths("job"),
        manifest=MANIFEST,
        result={"status": "finished", "wall_secs": 61.0, "examples_per_sec": 1234.5},
        evaluations={50: {"loss": 0.6, "accuracy": 0.7}, 100: {"loss": 0.5, "accuracy": 0.75}},
        training={"loss": points, "examples_per_sec": points},
        exports=(export,),
        best={"metric": "loss", "direction": "min", "value": 0.5, "global_step": 100},
        predicted_by=export,
        predictions=Predictions(outputs, ROWS, {"x": Column("float32")}),
        held_out=True,
        missing=(),
    )
    return dataclasses.replace(data, **changes)


def charts_of(page: str) -> list[ElementTree.Element]:
    """Every chart; a page whose SVG is not well-formed fails here."""
    found = re.findall(r'<svg viewBox="[^"]*" class="chart.*?</svg>', page, re.DOTALL)
    return [ElementTree.fromstring(each) for each in found]


def texts(chart: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in chart.iter("text")]


@pytest.mark.parametrize("classes", [2, 3, 12, 20, 60, 400])
def test_any_number_of_classes(classes: int) -> None:
    page = render(data_of(classified(classes)))
    found = {chart.get("aria-label"): chart for chart in charts_of(page)}
    matrix = found["Which class is taken for which"]
    labels = {text for text in texts(matrix) if text.startswith("class ")}
    assert len(labels) == min(classes, MATRIX_LIMIT - (classes > MATRIX_LIMIT))
    assert ("all others" in texts(matrix)) == (classes > MATRIX_LIMIT)
    assert {"true class", "predicted class"} <= set(texts(matrix))
    assert "Can its probabilities be believed?" in found
    assert ("How far apart class 0 and class 1 are" in found) == (classes == 2)
    assert ("Mixed up most often" in page) == (classes > 2)
    assert len(page) < 1_500_000


def test_the_cells_of_a_confusion_matrix_hold_its_rows() -> None:
    page = render(data_of(classified(3)))
    matrix = next(chart for chart in charts_of(page) if "matrix" in chart.get("class", ""))
    numbers = [int(each.text.replace(",", "")) for each in matrix.iter("text") if "number" in each.get("class", "")]
    assert len(numbers) == 9
    assert sum(numbers) == ROWS


@pytest.mark.parametrize("rows", [1, 2, 50, 5000])
def test_any_number_of_rows_of_a_regression(rows: int) -> None:
    page = render(data_of(regressed(rows)))
    labels = [chart.get("aria-label") for chart in charts_of(page)]
    assert {"Predicted and actual size", "How far size is off"} <= set(labels)
    assert ("R²" in page) == (rows > 1), "one value has no spread"
    assert "nan" not in " ".join(" ".join(each.attrib.values()) for chart in charts_of(page) for each in chart.iter())
    assert len(page) < 1_000_000


def test_each_output_has_its_section() -> None:
    page = render(data_of(classified(3), regressed(), classified(2, name="sort")))
    assert re.findall(r"<h2>(Predictions.*?)</h2>", page) == [
        "Predictions of kind",
        "Predictions of size",
        "Predictions of sort",
    ]


def test_nothing_that_a_job_holds_becomes_markup() -> None:
    hostile = classified(3, {SCRIPT: SCRIPT})
    output = dataclasses.replace(hostile.output, name=SCRIPT, column=SCRIPT, classes=(SCRIPT, "a&b", '"><img src=x>'))
    mistake = dataclasses.replace(hostile.mistakes[0], true=SCRIPT, predicted=SCRIPT, where=SCRIPT)
    hostile = dataclasses.replace(hostile, output=output, mistakes=(mistake,))
    number = dataclasses.replace(regressed(), output=Output(SCRIPT, SCRIPT, "regression"))
    manifest = {**MANIFEST, "settings": {**MANIFEST["settings"], SCRIPT: {"value": SCRIPT, "source": SCRIPT}}}
    evaluations = {1: {"loss": 1.0, SCRIPT: 2.0}}
    page = render(
        data_of(hostile, number, manifest=manifest, evaluations=evaluations, missing=(SCRIPT,), paths=JobPaths(SCRIPT))
    )
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "<img" not in page
    assert charts_of(page)


def test_the_same_numbers_make_the_same_bytes() -> None:
    one, other = (render(data_of(classified(20), regressed())) for _ in range(2))
    assert one == other


def test_every_chart_can_be_understood_alone() -> None:
    for chart in charts_of(render(data_of(classified(2), regressed()))):
        assert chart.get("aria-label")
        assert chart.get("role") == "img"
        labels = [each.text for each in chart.iter("text") if "label" in each.get("class", "")]
        assert len([label for label in labels if label and not label[0].isdigit()]) == 2, "an axis has no label"


def test_a_job_without_anything_but_a_manifest() -> None:
    page = render(
        data_of(
            result=None,
            evaluations={},
            training={},
            exports=(),
            best=None,
            predicted_by=None,
            predictions=None,
            missing=("No predictions: there is no export yet.",),
        )
    )
    assert "not finished" in page
    assert "No predictions: there is no export yet." in page
    assert "the job has not trained yet" in page
    assert not charts_of(page)


def test_who_set_what_stands_first_and_files_have_short_hashes() -> None:
    page = render(data_of())
    assert page.index("<td>units</td>") < page.index("<td>rate</td>")
    assert "0123456789ab<" in page
    assert "1,234,567" in page
    assert "x_0 … x_63" in page
    assert "abc (changed since)" in page


def test_a_right_model_has_no_worst_mistakes() -> None:
    perfect = classified(3)
    perfect = dataclasses.replace(perfect, predicted=perfect.true, mistakes=())
    page = render(data_of(perfect))
    assert "0 of 900 rows are wrong (0.0%)." in page
    assert "Mixed up most often" not in page


def test_labels_of_no_class_are_counted_and_said() -> None:
    page = render(data_of(dataclasses.replace(classified(3), unknown=7)))
    assert "7 rows are left out: their label is none of the model&#39;s classes." in page


@pytest.mark.parametrize(
    "values",
    [[1.0], [2.0, 2.0], [math.nan, 1.0, math.inf], [0.0, -1e-12], [1e-9, 1e9], [math.nan]],
    ids=["one", "constant", "not finite", "tiny", "log", "nothing"],
)
def test_a_curve_of_anything_can_be_drawn(values: list[float]) -> None:
    series = Series("loss", list(enumerate(values)), "eval", marks=True)
    chart = ElementTree.fromstring(charts.curve_chart("Loss", [series], "step", "loss"))
    drawn = " ".join(value for each in chart.iter() for value in each.attrib.values())
    assert not re.search(r"\b(nan|inf)\b", drawn)
    assert len(list(chart.iter("circle"))) == sum(map(math.isfinite, values))


def test_a_long_noisy_curve_gets_its_mean() -> None:
    noise = np.random.default_rng(0).normal(1, 0.2, 200)
    chart = ElementTree.fromstring(
        charts.curve_chart("Loss", [Series("loss", list(enumerate(noise.tolist())), "train")], "step", "loss")
    )
    kinds = [each.get("class") for each in chart.iter("path") if "line" in each.get("class", "")]
    assert kinds == ["line train faint", "line train"]
    mean = report_stats.smoothed(noise.tolist(), 11)
    assert len(mean) == 200
    assert np.std(mean) < np.std(noise) / 2
    assert mean[100] == pytest.approx(noise[95:106].mean())
    assert mean[0] == pytest.approx(noise[:6].mean())


def test_confusion_counts_pairs_and_gathers_rare_classes() -> None:
    true, predicted = np.array([0, 0, 1, 2, 2, 2, 3]), np.array([0, 1, 1, 2, 0, 2, 3])
    whole = report_stats.confusion(true, predicted, "abcd", limit=4)
    assert whole.counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 1]]
    assert whole.complete
    fewer = report_stats.confusion(true, predicted, "abcd", limit=3)
    assert fewer.labels == ("a", "c", "all others")
    assert fewer.counts.tolist() == [[1, 0, 1], [1, 2, 0], [0, 0, 2]]
    assert not fewer.complete


def test_class_figures_and_pairs() -> None:
    true, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 1])
    worst, best = report_stats.class_figures(true, predicted, ["a", "b", "never"])
    assert (worst.name, worst.rows, worst.recall, worst.precision, worst.f1) == ("a", 3, 1 / 3, 1.0, 0.5)
    assert (best.name, best.recall, best.precision) == ("b", 1.0, 0.5)
    [pair] = report_stats.confused_pairs(true, predicted, ["a", "b", "never"], 5)
    assert (pair.true, pair.predicted, pair.rows, pair.share) == ("a", "b", 2, 2 / 3)


def test_calibration_of_a_model_that_is_too_sure() -> None:
    found = report_stats.calibration(np.array([0.9, 0.9, 0.95, 1.0, 0.1]), np.array([True, False, True, False, False]))
    assert found.rows.tolist() == [1, 4]
    assert found.share.tolist() == [0.0, 0.5]
    assert found.probability.tolist() == pytest.approx([0.1, 0.9375])
    assert found.error == pytest.approx((0.1 * 1 + 0.4375 * 4) / 5)


def test_residuals() -> None:
    found = report_stats.residuals(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 5.0]))
    assert (found.mean, found.mae) == (1.0, 1.0)
    assert found.rmse == pytest.approx(math.sqrt(5 / 3))
    assert found.r2 == pytest.approx(1 - 5 / 2)
    assert math.isnan(report_stats.residuals(np.ones(3), np.ones(3)).r2)


@pytest.mark.parametrize(
    ("values", "classes", "numbers"),
    [
        ([b"b", b"a", b"?"], ("a", "b"), [1, 0, -1]),
        (["é".encode(), b"\xff"], ("é", "x"), [0, -1]),
        ([1, 0, 7], ("0", "1"), [1, 0, -1]),
        ([1.0, 0.0, 0.5], ("0", "1"), [1, 0, -1]),
        ([[0.0, 1.0], [1.0, 0.0]], ("a", "b"), [1, 0]),
        ([[1], [0]], ("0", "1"), [1, 0]),
    ],
    ids=["text", "utf-8", "whole", "float", "one-hot", "column"],
)
def test_labels_become_numbers_of_classes(values: list[Any], classes: tuple[str, ...], numbers: list[int]) -> None:
    kind = object if isinstance(values[0], bytes) else None
    assert class_numbers(np.array(values, kind), classes).tolist() == numbers


def test_inputs_in_a_table() -> None:
    rows = [{"id": 7, "y": "no", "text": "x" * 999, "raw": b"\xff", "list": [1.23456, 2.0], "long": list(range(50))}]
    heads, [cells] = shown_inputs(rows, {"y"}, {})
    assert heads == ["id", "text", "raw", "list", "long"]
    assert [str(cell) for cell in cells] == [
        "7",
        "x" * 159 + "…",
        "\N{REPLACEMENT CHARACTER}",
        "1.235, 2",
        "0, 1, 2, 3, 4, 5, 6, 7, … (50 values)",
    ]


def test_a_small_picture_is_a_picture() -> None:
    pixels = {f"pixel_{i}": float(i % 16) for i in range(64)}
    heads, [[cell]] = shown_inputs([pixels], set(), {})
    assert heads == ["pixel_0 … pixel_63"]
    assert len(list(ElementTree.fromstring(cell).iter("rect"))) == 1 + 60, "the ground, and every value that is not 0"
    listed = {"image": list(range(6 * 8)), "other": list(range(6 * 8))}
    _, [[image, other]] = shown_inputs([listed], set(), {"image": Column("float32", (6, 8, 1))})
    assert ElementTree.fromstring(image).get("viewBox") == "0 0 24 18"
    assert str(other).startswith("0, 1, 2")


def test_very_many_columns_are_cut_and_said() -> None:
    heads, [cells] = shown_inputs([{chr(65 + i) * 3: i for i in range(60)}], set(), {})
    assert len(heads) == len(cells) == MOST_COLUMNS
    assert heads[-1].endswith(f"(and {60 - MOST_COLUMNS} more columns)")


def test_scales() -> None:
    scale = Scale(0.0, 10.0, 100.0, 200.0)
    assert [scale(value) for value in (0, 5, 10, 99)] == [100, 150, 200, 200]
    assert scale.ticks() == [0, 2, 4, 6, 8, 10]
    log = Scale(0.01, 100.0, 0.0, 40.0, log=True)
    assert log(1.0) == pytest.approx(20.0)
    assert log.ticks() == pytest.approx([0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100])
    assert scale_over([5.0, 5.0], 0, 1).low < 5.0 < scale_over([5.0, 5.0], 0, 1).high
    assert scale_over([1.0, 4.0], 0, 1, zero=True).low == 0.0


def test_numbers_on_an_axis() -> None:
    assert [short(value) for value in (0, 0.25, 12.5, 1496, 25_000, 1.5e6, -2e9, 0.00001)] == [
        *("0", "0.25", "12.5", "1,496", "25k", "1.5M", "-2G", "1e-05")
    ]
    assert [words for _, words in tick_texts([0, 5000, 10000])] == ["0", "5k", "10k"], "one unit for an axis"
    assert [words for _, words in tick_texts([0, 0.5], percent=True)] == ["0%", "50%"]


def write_events(path: pathlib.Path, values: Mapping[int, float]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for step, value in values.items():
            summary = tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(tag="loss", simple_value=value)])
            event = tf.compat.v1.Event(wall_time=1000 + step, step=step, summary=summary)
            writer.write(event.SerializeToString())


def test_a_resumed_run_replaces_what_a_killed_one_wrote_ahead(tmp_path: pathlib.Path) -> None:
    write_events(tmp_path / "events.out.tfevents.1000.host", {1: 9.0, 5: 8.0, 9: 7.0})
    write_events(tmp_path / "events.out.tfevents.2000.host", {5: 3.0, 6: 2.0})
    (tmp_path / "model.ckpt").write_bytes(b"no events")
    found = read_scalars(str(tmp_path))
    assert [(point.step, point.value) for point in found["loss"]] == [(1, 9.0), (5, 3.0), (6, 2.0)]
    assert found["loss"][0].at_secs == 1001


def test_a_record_cut_in_half_ends_a_curve(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events.out.tfevents.1000.host"
    write_events(path, {1: 9.0, 2: 8.0, 3: 7.0})
    path.write_bytes(path.read_bytes()[:-5])
    assert [point.step for point in read_scalars(str(tmp_path))["loss"]] == [1, 2]
    assert read_scalars(str(tmp_path / "nowhere")) == {}

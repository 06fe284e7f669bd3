"""From training to predictions, by the two doors."""

from __future__ import annotations

import csv
import pathlib

import pytest

from tests import prediction_lab, runner


def test_predictions_are_what_the_evaluation_says(tmp_path: pathlib.Path) -> None:
    """The error of the predictions is the one that the job has measured on the same rows."""
    folder = runner.write_project(tmp_path / "project")
    runner.run(folder, runner.flags("--exporters=final", steps=40)).ok()
    flags = ["--export=job", "--files=eval.csv", "--output=out", "--output-format=csv"]
    prediction_lab.run(folder, flags).ok()
    with (folder / "out" / "eval.csv.predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "eval.csv").open(newline="") as file:
        labels = [float(row["y"]) for row in csv.DictReader(file)]
    assert [row["key"] for row in rows] == [f"eval.csv:{row + 1}" for row in range(len(labels))]
    errors = [abs(float(row["y"]) - label) for row, label in zip(rows, labels, strict=True)]
    result = runner.read_json(folder / "job" / "result.json")
    assert sum(errors) / len(errors) == pytest.approx(result["metrics"]["mae"], rel=1e-4)

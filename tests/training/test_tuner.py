"""What a tuner reads of a job: written by the real cloudml-hypertune, read as a tuner does."""

from __future__ import annotations

import json
import math
import pathlib
import types
from typing import Any

import hypertune
import pytest

from trainer.job.config import Evaluation
from trainer.job.environment import Environment
from trainer.job.errors import StorageFailed, TrainingFailed
from trainer.job.paths import JobPaths
from trainer.training.records import put_evaluation
from trainer.training.tuner import KEPT, WORST, Tuner, open_tuner

Line = tuple[str, str, str, str]


@pytest.fixture(autouse=True)
def of_trial_7(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library looks into the environment by itself; a default of its own would be outside of the test's folder."""
    monkeypatch.setenv("CLOUD_ML_TRIAL_ID", "7")
    monkeypatch.setenv("CLOUD_ML_HP_METRIC_FILE", "")
    monkeypatch.setattr(hypertune.hypertune, "_DEFAULT_METRIC_PATH", str(tmp_path / "default" / "output.metrics"))


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "deep" / "er" / "output.metrics"


def opened(path: pathlib.Path, **evaluation: Any) -> Tuner:
    return open_tuner(Environment(trial_id="7", hp_metric_file=str(path)), Evaluation(**evaluation))


def lines(path: pathlib.Path) -> list[Line]:
    """Metric, value, step and trial of each line."""
    found = []
    for line in map(json.loads, path.read_text().splitlines()):
        step, trial = line.pop("global_step"), line.pop("trial")
        assert isinstance(line.pop("timestamp"), float)
        assert line.pop("checkpoint_path") == ""
        [(name, value)] = line.items()
        found.append((name, value, step, trial))
    return found


def plan(folder: pathlib.Path, start_step: int, metrics: list[str] | None = None) -> Any:
    """As much of a Plan as is looked at."""
    start = types.SimpleNamespace(step=start_step)
    return types.SimpleNamespace(manifest={"model": {"metrics": metrics}}, paths=JobPaths(str(folder)), start=start)


def test_every_metric_goes_under_its_own_name(path: pathlib.Path) -> None:
    tuner = opened(path)
    assert path.read_text() == "", "an unwritable file would be found only after the first evaluation"
    tuner.report(20, {"loss": 0.5, "mae": 0.25})
    tuner.report(40, {"loss": 0.125, "mae": 1e-7})
    assert lines(path) == [
        ("loss", "0.5", "20", "7"),
        ("mae", "0.25", "20", "7"),
        ("loss", "0.125", "40", "7"),
        ("mae", "1e-07", "40", "7"),
    ]


def test_steps_rise(path: pathlib.Path) -> None:
    tuner = opened(path)
    for step in (20, 10, 20, 30):
        tuner.report(step, {"loss": float(step)})
    assert lines(path) == [("loss", "20.0", "20", "7"), ("loss", "30.0", "30", "7")]


@pytest.mark.parametrize(
    ("name", "value", "evaluation", "told"),
    [
        ("loss", math.nan, {}, WORST),
        ("loss", math.inf, {}, WORST),
        ("loss", -math.inf, {}, WORST),
        ("accuracy", math.nan, {}, -WORST),
        ("accuracy", math.inf, {}, -WORST),
        ("score", math.nan, {"best_metric": "score", "best_mode": "max"}, -WORST),
        ("score", math.nan, {"best_metric": "score", "best_mode": "min"}, WORST),
        ("accuracy", math.nan, {"best_metric": "accuracy", "best_mode": "min"}, WORST),
        ("accuracy", math.nan, {"best_metric": "score", "best_mode": "min"}, -WORST),
        ("loss", 1e300, {}, WORST),
        ("accuracy", -WORST, {}, -WORST),
        ("loss", 0.0, {}, 0.0),
    ],
)
def test_what_is_not_finite_is_told_as_the_worst(
    name: str, value: float, evaluation: dict[str, str], told: float, path: pathlib.Path
) -> None:
    opened(path, **evaluation).report(20, {name: value})
    [(_, text, _, _)] = lines(path)
    assert float(text) == told


def test_a_study_can_calculate_with_the_worst() -> None:
    assert all(math.isfinite(each) for each in (WORST + WORST, (WORST - -WORST) ** 2, 1e6 * WORST**2))


def test_the_worst_of_an_unknown_metric_is_not_told(path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    tuner = opened(path)
    for step in (20, 40):
        tuner.report(step, {"score": math.nan, "loss": 0.5})
    tuner.report(60, {"score": 0.75, "loss": 0.5})
    assert [line[0] for line in lines(path)] == ["loss", "loss", "loss", "score"]
    assert caplog.messages == [
        "the metric score is nan at step 20 and its name does not tell whether less or more of it is better, so the "
        "tuner is not told: say --best-metric=score --best-mode=min or max."
    ]


def test_a_reserved_name_is_told_to_the_user_once(
    path: pathlib.Path, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    tuner = opened(path)
    tuner.repeat(plan(tmp_path, 0, ["mae", "trial"]))
    said = ["the tuner cannot be told of a metric called trial: give it another name in the model."]
    assert caplog.messages == said, "the user learns of it before the first step"
    for step in (20, 40):
        tuner.report(step, {"loss": 0.5, "trial": 3.0})
    assert lines(path) == [("loss", "0.5", "20", "7"), ("loss", "0.5", "40", "7")]
    assert caplog.messages == said


def test_a_restart_tells_again_up_to_where_it_goes_on(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for step in (10, 20, 30):
        put_evaluation(f"{tmp_path}/evaluations.jsonl", step, {"loss": step / 10})
    tuner = opened(path)
    tuner.repeat(plan(tmp_path, 20))
    assert lines(path) == [("loss", "1.0", "10", "7"), ("loss", "2.0", "20", "7")], "step 30 is trained again"
    tuner.report(20, {"loss": 2.5})
    tuner.report(30, {"loss": 3.5})
    assert lines(path)[2:] == [("loss", "3.5", "30", "7")]
    tuner.check_told()


def test_of_a_long_run_it_tells_what_the_library_keeps(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    text = "".join(json.dumps({"global_step": step, "loss": 0.5}) + "\n" for step in range(1, 151))
    (tmp_path / "evaluations.jsonl").write_text(text)
    opened(path).repeat(plan(tmp_path, 150))
    assert [int(step) for _, _, step, _ in lines(path)] == list(range(51, 151))
    assert hypertune.hypertune._MAX_NUM_METRIC_ENTRIES_TO_PRESERVE == KEPT


def test_without_a_tuner_nothing_is_written(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    put_evaluation(f"{tmp_path}/evaluations.jsonl", 10, {"loss": 1.0})
    tuner = open_tuner(Environment(), Evaluation())
    tuner.repeat(plan(tmp_path, 10, ["trial"]))
    tuner.report(20, {"loss": math.nan, "trial": 1.0})
    tuner.check_told()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["evaluations.jsonl"]
    assert not caplog.messages


def test_without_a_file_the_librarys_own_is_written(tmp_path: pathlib.Path) -> None:
    """An empty variable is none: the library itself fails on it."""
    open_tuner(Environment.from_environ({"CLOUD_ML_TRIAL_ID": "7"}), Evaluation()).report(20, {"loss": 0.5})
    assert lines(tmp_path / "default" / "output.metrics") == [("loss", "0.5", "20", "7")]


def test_a_bare_file_name_is_taken(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library itself fails on it."""
    monkeypatch.chdir(tmp_path)
    environment = Environment.from_environ({"CLOUD_ML_HP_METRIC_FILE": "output.metrics"})
    open_tuner(environment, Evaluation()).report(20, {"loss": 0.5})
    assert lines(tmp_path / "output.metrics") == [("loss", "0.5", "20", "7")]


@pytest.mark.parametrize("name", ["file/output.metrics", "folder"])
def test_a_file_that_cannot_be_written_is_found_at_once(name: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageFailed) as caught:
        opened(tmp_path / name)
    assert str(caught.value).startswith(f"CLOUD_ML_HP_METRIC_FILE={tmp_path / name}: the tuner's file")
    assert str(caught.value).endswith("name another one.")


def test_a_tuner_that_was_told_nothing_is_an_error(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tuner = opened(path)
    tuner.repeat(plan(tmp_path, 60))
    with pytest.raises(TrainingFailed) as caught:
        tuner.check_told()
    assert str(caught.value) == (
        f"a tuner started this job and reads its metrics in {path}, but there was no evaluation to tell it of: start "
        "anew with --fresh."
    )
    tuner.report(60, {"loss": 0.5})
    tuner.check_told()

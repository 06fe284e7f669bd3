"""A job as the trial of a study: what its tuner reads, and that its flags reach what they name."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from signal import SIGTERM
from typing import Any

import pytest

from tests.runner import Done, Running, flags, read_evaluations, read_json, run, weights, write_project

pytestmark = pytest.mark.xdist_group("task_tuner")
STEPS = 40
TRIALS = {
    "1": ["--units=6", "--learning-rate=0.01", "--batch-size=20"],
    "2": ["--units=9", "--learning-rate=0.03", "--batch-size=20"],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, dict[str, Done]]:
    """A project, and two trials of a study in its folder `job`."""
    folder = write_project(tmp_path_factory.mktemp("study"))
    return folder, {trial: run(folder, argv(*more), tuner(trial)).ok() for trial, more in TRIALS.items()}


def argv(*more: str, steps: int = STEPS) -> list[str]:
    return flags("--exporters=none", "--eval-every-steps=20", *more, steps=steps)


def tuner(trial: str, file: str | None = None) -> dict[str, str]:
    return {"CLOUD_ML_TRIAL_ID": trial, "CLOUD_ML_HP_METRIC_FILE": file or f"{trial}.metrics"}


def told(path: pathlib.Path, trial: str) -> list[tuple[int, str, float]]:
    """Step, metric and value of each line."""
    known = {"trial", "timestamp", "checkpoint_path", "global_step"}
    parsed = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["trial"] for line in parsed} == {trial}
    return [(int(line["global_step"]), name, float(line[name])) for line in parsed for name in sorted({*line} - known)]


def evaluated(job_dir: pathlib.Path) -> list[tuple[int, str, float]]:
    """The same from the job's own record."""
    evaluations = read_evaluations(job_dir)
    return [(step, name, metrics[name]) for step, metrics in evaluations.items() for name in ("loss", "mae")]


def test_the_tuner_is_told_of_every_evaluation(study: tuple[pathlib.Path, dict[str, Done]]) -> None:
    folder, _ = study
    for trial in TRIALS:
        found = told(folder / f"{trial}.metrics", trial)
        assert [step for step, _, _ in found] == [20, 20, 40, 40]
        assert found == evaluated(folder / "job" / trial)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value of a JSON, with the way to it."""
    if isinstance(value, (dict, list)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, f"{path}/{key}")
    else:
        yield path, value


def test_every_flag_of_a_trial_reaches_what_it_names(study: tuple[pathlib.Path, dict[str, Done]]) -> None:
    folder, _ = study
    one, other = (dict(leaves(read_json(folder / "job" / trial / "manifest.json")["effective"])) for trial in TRIALS)
    differing = {path: (one[path], other[path]) for path in one if one[path] != other[path]}
    assert one.keys() == other.keys()
    assert differing == {"/optimizer/learning_rate": (0.01, 0.03), "/layers/1/units": (6, 9)}
    expected = {"/optimizer/class": "Adam", "/layers/1/name": "x", "/layers/1/class": "Dense", "/batch_size": 20}
    assert {path: one[path] for path in expected} == expected
    for trial, units, rate in (("1", 6, 0.01), ("2", 9, 0.03)):
        trained = weights(folder / "job" / trial, STEPS)
        assert trained["x/kernel"].shape == (4, units), "the manifest tells of another model than was trained"
        [used] = [value for name, value in trained.items() if name.endswith("learning_rate")]
        assert used == pytest.approx(rate)


def test_a_finished_trial_tells_again(study: tuple[pathlib.Path, dict[str, Done]]) -> None:
    folder, _ = study
    done = run(folder, argv(*TRIALS["1"]), tuner("1", "again.metrics")).ok()
    assert "already finished" in done.out
    assert told(folder / "again.metrics", "1") == evaluated(folder / "job" / "1")


def test_a_job_that_tells_nothing_fails(study: tuple[pathlib.Path, dict[str, Done]]) -> None:
    folder, _ = study
    record = folder / "job" / "2" / "evaluations.jsonl"
    kept = record.read_bytes()
    record.unlink()
    done = run(folder, argv(*TRIALS["2"]), tuner("2", "nothing.metrics"))
    record.write_bytes(kept)
    assert done.exit_code == 3
    assert done.sentences[-1] == (
        f"trainer.task: a tuner started this job and reads its metrics in {folder / 'nothing.metrics'}, but there was "
        "no evaluation to tell it of: start anew with --fresh."
    )


def test_stopped_and_resumed_it_tells_all_steps_in_order(tmp_path: pathlib.Path) -> None:
    """As a tuner stops a trial that is worse than the others, and as a machine is taken away."""
    write_project(tmp_path)
    steps, metrics = 6000, tmp_path / "7.metrics"
    command = flags("--exporters=none", "--eval-every-steps=1000", steps=steps)
    job = Running(tmp_path, command, tuner("7"))
    job.wait_until(lambda: metrics.exists() and metrics.read_text().count("\n") >= 2, "the first evaluation")
    job.send(SIGTERM)
    assert job.finish().exit_code == 143
    before = told(metrics, "7")
    assert before == evaluated(tmp_path / "job" / "7")
    assert max(before)[0] < steps

    run(tmp_path, command, tuner("7")).ok()
    after = told(metrics, "7")
    assert after[: len(before)] == before
    assert [step for step, _, _ in after] == [step for step in range(1000, steps + 1, 1000) for _ in range(2)]
    assert after == evaluated(tmp_path / "job" / "7")


def test_a_bucket_for_the_metrics_is_refused_before_anything_starts(tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    before = sorted(each.name for each in tmp_path.iterdir())
    done = run(tmp_path, argv(), tuner("7", "gs://bucket/output.metrics"))
    assert done.exit_code == 2
    assert done.sentences == [
        "trainer.task: CLOUD_ML_HP_METRIC_FILE=gs://bucket/output.metrics: metrics are handed to the tuner in a local "
        "file: name one, or unset it."
    ]
    assert [each for each in sorted(each.name for each in tmp_path.iterdir()) if not each.startswith("job-")] == before

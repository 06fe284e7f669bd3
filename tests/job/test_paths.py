"""File names of a job directory, local and remote."""

from __future__ import annotations

import pytest

from trainer.job.config import Job
from trainer.job.paths import JobPaths


def test_names_below_a_bucket() -> None:
    paths = JobPaths("gs://bucket/run 1")
    assert paths.manifest == "gs://bucket/run 1/manifest.json"
    assert paths.checkpoints == "gs://bucket/run 1/checkpoints"
    assert paths.export("best") == "gs://bucket/run 1/export/best"
    assert paths.best.startswith(paths.exports + "/")


def test_every_name_is_another() -> None:
    paths = JobPaths("x")
    names = [*paths.run_files, paths.lock, paths.previous, paths.best, paths.export("latest")]
    assert len(set(names)) == len(names)
    assert not any(name.startswith(paths.previous) for name in paths.run_files), "a second --fresh would move the first"


def test_folders_of_a_service() -> None:
    paths = JobPaths.of(Job.of({"job_dir": "a", "checkpoint_dir": "gs://b/c", "log_dir": "gs://b/l"}))
    assert (paths.checkpoints, paths.logs, paths.assets) == ("gs://b/c", "gs://b/l", "a/assets")


def test_event_files_stand_beside_the_checkpoints() -> None:
    assert JobPaths("a", checkpoint_dir="c").logs == "c"


def test_each_trial_has_its_folder() -> None:
    assert JobPaths.of(Job.of({"job_dir": "a"}), trial_id="7").manifest == "a/7/manifest.json"


@pytest.mark.parametrize(
    ("model", "job_dir"),
    [
        ("trainer.samples.place_names", "runs/place_names"),
        ("some/where/price model.py", "runs/price model"),
        ("a:b/mine.py:build_cnn", "runs/mine-build_cnn"),
        ("mine.py:build_model", "runs/mine"),
        ("package:other", "runs/package-other"),
    ],
)
def test_default_job_dir(model: str, job_dir: str) -> None:
    assert JobPaths.of(Job.of({"model": model})).job_dir == job_dir

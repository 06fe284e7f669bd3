"""Data files that are in buckets, are copied from there, or are replaced while a job reads them."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests.chaos import first_step
from tests.gcs_rig import Gcs
from tests.runner import (
    Running,
    assert_equal_weights,
    assert_finished,
    checkpoint_steps,
    flags,
    read_evaluations,
    read_json,
    run,
    write_csv,
    write_project,
)

pytestmark = [pytest.mark.xdist_group("task_data_storage"), pytest.mark.timeout(900)]
FILES = ("train-0.csv", "train-1.csv", "eval.csv")
STEPS = 40
SELDOM = ("--eval-every-steps=1000000",)


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    with Gcs(tmp_path_factory.mktemp("gcs"), tls=True) as rig:
        rig.make_bucket("data")
        yield rig


@pytest.fixture
def project(gcs: Gcs, tmp_path: pathlib.Path) -> pathlib.Path:
    """A model and two training files, which are in the bucket too."""
    write_project(tmp_path)
    write_csv(tmp_path / "train-0.csv", 200, seed=1)
    write_csv(tmp_path / "train-1.csv", 200, seed=2)
    gcs.state.reset()
    gcs.put("data", {name: (tmp_path / name).read_bytes() for name in FILES})
    gcs.state.reset()
    return tmp_path


def argv(place: str, *more: str, steps: int = STEPS, job_dir: str = "job") -> list[str]:
    """The flags of a job that reads its files from there, in each epoch unless told otherwise."""
    said = [each for each in flags(steps=steps, job_dir=job_dir) if not each.startswith(("--train-f", "--eval-f"))]
    said += [f"--train-files={place}train-*.csv", f"--eval-files={place}eval.csv", "--deterministic"]
    return [*said, *(["--cache=never"] if not any(each.startswith("--cache=") for each in more) else []), *more]


def reads_of_data(gcs: Gcs) -> int:
    """Requests for the contents of training files, whoever made them."""
    asked = [each.path.partition("?") for each in gcs.log]
    return sum("train-" in path and (path.startswith("/data/") or "alt=media" in query) for path, _, query in asked)


@pytest.mark.slow
def test_copies_are_read_instead_of_the_bucket(gcs: Gcs, project: pathlib.Path) -> None:
    """The same weights to the last bit; the next run copies nothing, and one without copies goes on all the same."""
    run(project, argv("", job_dir="on-disk")).ok()
    cache = "--cache-data=a cache; 'of data'"
    first = run(project, argv("gs://data/", cache, steps=20), gcs.tensorflow_environ()).ok()
    assert "copying 3 files" in first.err
    assert reads_of_data(gcs) == 2
    copied = [path for path in (project / "a cache; 'of data'").rglob("*.csv") if path.is_file()]
    copies = {path.name: path.read_bytes() for path in copied}
    assert copies == {name: (project / name).read_bytes() for name in FILES}
    gcs.state.reset()
    second = run(project, argv("gs://data/", cache, steps=30), gcs.tensorflow_environ()).ok()
    assert "copying" not in second.err
    assert reads_of_data(gcs) == 0
    run(project, argv("gs://data/"), gcs.tensorflow_environ()).ok()
    assert_equal_weights(project / "on-disk", project / "job", STEPS)
    assert_finished(project / "job", STEPS)
    described = read_json(project / "job/manifest.json")["data"]
    assert [each["path"] for each in described["train"]] == ["gs://data/train-0.csv", "gs://data/train-1.csv"]
    assert read_evaluations(project / "job")[STEPS] == read_evaluations(project / "on-disk")[STEPS]


@pytest.mark.parametrize("folder", ["gs://data/cache", "gs:/data", "hdfs://cache", ""])
def test_copies_need_a_local_folder(project: pathlib.Path, folder: str) -> None:
    done = run(project, argv("", f"--cache-data={folder}"))
    assert done.exit_code == 2
    [sentence] = done.sentences
    assert f"--cache-data={folder}" in sentence
    assert "a local folder" in sentence
    assert not (project / "job").exists()


def in_bucket(gcs: Gcs, project: pathlib.Path, name: str, content: bytes) -> None:
    gcs.put("data", {name: content})


def on_disk(gcs: Gcs, project: pathlib.Path, name: str, content: bytes) -> None:
    (project / "new").write_bytes(content)
    os.replace(project / "new", project / name)


@pytest.mark.parametrize(
    ("place", "put", "rows"),
    [("gs://data/", in_bucket, 210), ("gs://data/", in_bucket, 40), ("", on_disk, 210)],
    ids=["bucket", "bucket, a shorter one", "disk"],
)
def test_a_file_replaced_while_it_is_read_ends_the_job(
    place: str, put: Callable[[Gcs, pathlib.Path, str, bytes], None], rows: int, gcs: Gcs, project: pathlib.Path
) -> None:
    """Nothing learnt from it is kept: with the file put back, the job becomes what it would have been.

    TensorFlow notices by itself that an object has become shorter, as long as it remembers its size.
    """
    name, env = "train-1.csv", gcs.tensorflow_environ()
    before = (project / name).read_bytes()
    every = ("--save-checkpoints-steps=10", *SELDOM)
    job = Running(project, argv(place, *every, steps=1_000_000), env)
    job.wait_until(lambda: len(checkpoint_steps(project / "job")) > 1, "two checkpoints")
    put(gcs, project, name, write_csv(project / "other", rows, seed=9).read_bytes())
    done = job.finish()
    assert done.exit_code == 2, done.err
    [sentence] = [each for each in done.sentences if each.startswith("trainer.task: ")]
    assert f"{place}{name} was replaced or changed while the job read it" in sentence
    assert "--fresh" in sentence
    assert "Traceback" not in done.err
    reached = checkpoint_steps(project / "job")[-1]
    refused = run(project, argv(place, *every, steps=reached + 20), env)
    assert refused.exit_code == 2
    assert "the train files differ" in refused.err
    put(gcs, project, name, before)
    resumed = run(project, argv(place, *every, steps=reached + 20), env).ok()
    assert first_step(resumed.err) == reached + 1
    run(project, argv("", *every, steps=reached + 20, job_dir="undisturbed")).ok()
    assert_equal_weights(project / "undisturbed", project / "job", reached + 20)


def test_a_file_to_evaluate_on_is_looked_at_too(gcs: Gcs, project: pathlib.Path) -> None:
    job = Running(project, argv("", "--eval-every-steps=20", steps=1_000_000))
    evaluations = project / "job/evaluations.jsonl"
    job.wait_until(lambda: evaluations.exists() and read_evaluations(project / "job"), "an evaluation")
    write_csv(project / "eval.csv", 60, seed=9)
    done = job.finish()
    assert done.exit_code == 2, done.err
    assert "eval.csv was replaced or changed while the job read it" in done.err
    assert "Traceback" not in done.err


def test_a_file_that_is_in_memory_may_go(gcs: Gcs, project: pathlib.Path) -> None:
    """It was whole when it was read, and is not read again."""
    job = Running(project, argv("", "--cache=always", *SELDOM, "--save-checkpoints-steps=100", steps=3000))
    job.wait_until(lambda: len(checkpoint_steps(project / "job")) > 1, "two checkpoints")
    os.remove(project / "train-0.csv")
    job.finish().ok()
    assert_finished(project / "job", 3000)

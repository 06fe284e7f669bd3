"""In buckets the sample becomes the same model as on a disk, to the last bit, whatever the weather."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping

import pytest

from tests.gcs_rig import Gcs
from tests.runner import assert_equal_weights, assert_finished, read_evaluations, run
from trainer.samples import place_names

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("storage_equality"), pytest.mark.timeout(900)]
STEPS = (12, 30)  # in the first epoch and in the second
ROWS = {"train-0.csv": 3000, "train-1.csv": 3000, "eval-0.csv": 500}
SHARE, LATENCY_SECS = 0.1, 0.03
DEADLINE_SECS = 600.0


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Some of the sample's data."""
    folder = tmp_path_factory.mktemp("shards")
    source = pathlib.Path(place_names.prepare_data()["train_files"]).parent
    for name, rows in ROWS.items():
        lines = (source / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(lines[: rows + 1]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory, shards: pathlib.Path) -> Iterator[Gcs]:
    with Gcs(tmp_path_factory.mktemp("gcs"), tls=True) as rig:
        rig.make_bucket("data")
        rig.put("data", {f"shards/{path.name}": path.read_bytes() for path in shards.iterdir()})
        yield rig


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory, shards: pathlib.Path) -> pathlib.Path:
    """The job directory of a job that knows no bucket."""
    folder = tmp_path_factory.mktemp("on-disk")
    train_twice(folder, str(shards), "job", {})
    return folder / "job"


def train_twice(folder: pathlib.Path, data: str, job_dir: str, env: Mapping[str, str]) -> None:
    """To a first step, then on to a last one; then nothing is left to be done."""
    said = ["--model=trainer.samples.place_names", f"--train-files={data}/train-*", f"--eval-files={data}/eval-*"]
    said += [f"--job-dir={job_dir}", "--deterministic", "--cache=never", "--eval-every-steps=12"]
    for steps in STEPS:
        run(folder, [*said, f"--train-steps={steps}"], env, DEADLINE_SECS).ok()
    again = run(folder, [*said, f"--train-steps={STEPS[-1]}"], env, DEADLINE_SECS).ok()
    assert "already finished" in again.out


@pytest.mark.parametrize("weather", [(0.0, 0.0), (SHARE, LATENCY_SECS)], ids=["calm", "faults"])
def test_the_sample_is_the_same_to_the_last_bit(
    weather: tuple[float, float], gcs: Gcs, on_disk: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    bucket = "calm" if not weather[0] else "faults"
    gcs.state.reset()
    gcs.make_bucket(bucket)
    gcs.weather(*weather)
    train_twice(tmp_path, "gs://data/shards", f"gs://{bucket}/a job", gcs.tensorflow_environ())
    met = [each for each in gcs.log if each.fault is not None]
    gcs.state.reset()
    job_dir = gcs.mirror(bucket, tmp_path / "mirror") / "a job"
    assert bool(met) == bool(weather[0])
    assert_finished(job_dir, STEPS[-1])
    assert_equal_weights(on_disk, job_dir, STEPS[-1])
    assert read_evaluations(job_dir) == read_evaluations(on_disk)

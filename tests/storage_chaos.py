"""kill -9 at any moment of a job in a bucket that fails and is slow: `python -m tests.storage_chaos --kills=20`.

Each job is killed up to a few times, each time when it has made some random number of requests; after each kill, what
counts as whole in the bucket has to be whole. Then it may end, and its weights have to be those of a job on a disk, to
the last bit. `tests/test_storage_kill.py` is the short version.
"""

from __future__ import annotations

import json
import pathlib
import random
import sys
import time

from tests.chaos import Say, command, first_step
from tests.gcs_rig import Gcs
from tests.runner import (
    Done,
    Running,
    assert_equal_weights,
    assert_finished,
    checkpoint_steps,
    flags,
    read_evaluations,
    run,
    weights,
    write_project,
)

STEPS, SAVE_STEPS, EVAL_STEPS = 60, 10, 20
SHARE, LATENCY_SECS = 0.1, 0.03
MOST_KILLS_A_JOB = 4
DEADLINE_SECS = 900.0
GRAPH_FILE = "saved_model.pb"


def run_chaos(folder: pathlib.Path, kills: int, seed: int, say: Say) -> None:
    """Kill jobs that many times. Raises AssertionError at the first broken promise."""
    source = random.Random(seed)
    write_project(folder)
    run(folder, argv("on-disk", "")).ok()
    with Gcs(folder, tls=True) as gcs:
        gcs.make_bucket("bucket")
        gcs.put("bucket", {name: (folder / name).read_bytes() for name in ("train.csv", "eval.csv")})
        requests = calm_run(gcs, folder)
        done, number = 0, 0
        while done < kills:
            number += 1
            one = OneJob(gcs, folder, f"job-{number}", source, say)
            done += one.be_killed(min(kills - done, MOST_KILLS_A_JOB), requests)
            one.assert_like_on_disk()


def argv(job_dir: str, place: str) -> list[str]:
    """The flags of a job whose places begin so."""
    said = [each for each in flags(steps=STEPS) if not each.startswith(("--train-f", "--eval-f", "--job-dir"))]
    files = [f"--train-files={place}train.csv", f"--eval-files={place}eval.csv", f"--job-dir={place}{job_dir}"]
    every = [f"--eval-every-steps={EVAL_STEPS}", f"--save-checkpoints-steps={SAVE_STEPS}"]
    return [*said, *files, *every, "--deterministic"]


def calm_run(gcs: Gcs, folder: pathlib.Path) -> int:
    """How many requests a job makes that nobody disturbs."""
    gcs.state.reset()
    run(folder, argv("calm", "gs://bucket/"), gcs.tensorflow_environ()).ok()
    return len(gcs.log)


class OneJob:
    """A job in the bucket, as a rough life treats it."""

    def __init__(self, gcs: Gcs, folder: pathlib.Path, name: str, source: random.Random, say: Say) -> None:
        self._gcs, self._folder, self._name, self._source, self._say = gcs, folder, name, source, say
        self._kills = 0

    def be_killed(self, most: int, requests: int) -> int:
        """Be started again and again, killed, and at last left to end; how often it was killed."""
        on_disk = 0
        for _ in range(most):
            moment = self._source.randint(1, requests)
            job = self._start()
            if self._ends_before(job, moment):
                assert job.finish().exit_code == 0, job.err
                return self._kills
            job.kill()
            self._kills += 1
            self._say(f"{self._name}: kill {self._kills} after {moment} requests")
            on_disk = self._assert_whole(on_disk, job.err)
        self._assert_resumed(self._start().finish(DEADLINE_SECS).ok(), on_disk)
        return self._kills

    def assert_like_on_disk(self) -> None:
        """Compare its end with that of the job that knows no bucket."""
        job_dir = self._mirror("end")
        assert_finished(job_dir, STEPS)
        assert_equal_weights(self._folder / "on-disk", job_dir, STEPS)
        assert read_evaluations(job_dir) == read_evaluations(self._folder / "on-disk")
        self._say(f"{self._name} is whole: the weights and evaluations of the job on a disk, exports verified")

    def _start(self) -> Running:
        self._gcs.state.reset()
        self._gcs.state.chance = random.Random(self._source.random())
        self._gcs.weather(SHARE, LATENCY_SECS)
        return Running(self._folder, argv(self._name, "gs://bucket/"), self._gcs.tensorflow_environ())

    def _ends_before(self, job: Running, moment: int) -> bool:
        end = time.monotonic() + DEADLINE_SECS
        while job.process.poll() is None and time.monotonic() < end:
            if len(self._gcs.state.log) >= moment:
                return False
            time.sleep(0.002)
        return True

    def _mirror(self, moment: str) -> pathlib.Path:
        self._gcs.state.reset()
        return self._gcs.mirror("bucket", self._folder / f"{self._name}-{moment}") / self._name

    def _assert_whole(self, before: int, err: str) -> int:
        """Insist that all that counts as whole is; the newest checkpoint's step."""
        assert "Traceback" not in err, err
        job_dir = self._mirror(str(self._kills))
        steps = checkpoint_steps(job_dir)
        newest = max(steps, default=0)
        assert newest >= before, f"went back from step {before} to {newest}"
        assert all(weights(job_dir, step)["global_step"] == step for step in steps)
        for path in (*job_dir.glob("*.json"), *job_dir.glob("export/*.json")):
            json.loads(path.read_text())
        whole = exported(next((self._folder / "on-disk/export/final").iterdir()))
        for graph in job_dir.glob(f"export/*/*/{GRAPH_FILE}"):
            assert exported(graph.parent) >= whole, graph
        return newest

    def _assert_resumed(self, done: Done, on_disk: int) -> None:
        if on_disk < STEPS:
            assert first_step(done.err) == on_disk + 1, done.err


def exported(folder: pathlib.Path) -> set[str]:
    """The files of an export, by names, without what verification adds."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found - {"verification.json"}


if __name__ == "__main__":
    sys.exit(command("tests.storage_chaos", __doc__, run_chaos))

"""kill -9 at random moments of a short job, again and again: `python -m tests.chaos --kills=20 [--seed=0]`.

A job is killed up to a few times, wherever it is: importing, training, saving, evaluating, exporting, verifying. Then
it may end, and has to stand where the job that nobody killed stands. Prints a line a kill and exits 1 at the first
broken promise. `tests/test_task_kill.py` is the short version.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import random
import sys
import tempfile
import time
from collections.abc import Callable

from tests.runner import (
    PROGRESS,
    Done,
    Running,
    assert_finished,
    assert_same_weights,
    checkpoint_steps,
    flags,
    read_evaluations,
    run,
    write_project,
)

STEPS = 6000
SAVE_STEPS = 500
EVAL_STEPS = 2000
MOST_KILLS_A_JOB = 5

Say = Callable[[str], None]


def run_chaos(folder: pathlib.Path, kills: int, seed: int, say: Say) -> None:
    """Kill jobs in `folder` that many times. Raises AssertionError at the first broken promise."""
    source = random.Random(seed)
    write_project(folder)
    run(folder, argv("undisturbed")).ok()
    assert_finished(folder / "undisturbed", STEPS)
    done, number = 0, 0
    while done < kills:
        number += 1
        name = f"job-{number}"
        done += kill_one_job(folder, name, min(kills - done, MOST_KILLS_A_JOB), source, say)
        assert_like_undisturbed(folder, name)
        say(f"{name} is whole: step {STEPS}, weights and evaluations of the undisturbed run, exports verified")


def argv(job_dir: str) -> list[str]:
    """The flags of a job here."""
    return flags(
        f"--eval-every-steps={EVAL_STEPS}", f"--save-checkpoints-steps={SAVE_STEPS}", steps=STEPS, job_dir=job_dir
    )


def kill_one_job(folder: pathlib.Path, name: str, most: int, source: random.Random, say: Say) -> int:
    """Start a job again and again, kill it at random moments, and let it end; how often it was killed."""
    killed, on_disk = 0, 0
    job = Running(folder, argv(name))
    while killed < most:
        moment = random_moment(source, folder / name, on_disk)
        if ends_before(job, moment):
            break
        job.kill()
        killed += 1
        on_disk = assert_little_lost(job.err, folder / name, on_disk)
        say(f"{name}: kill {killed}, {moment}; the newest checkpoint is of step {on_disk}")
        job = Running(folder, argv(name))
    assert_resumed(job.finish().ok(), on_disk)
    return killed


@dataclasses.dataclass(frozen=True)
class Moment:
    """Some seconds after something has happened: on a slow machine as on a fast one."""

    name: str
    has_come: Callable[[Running], object]
    delay_secs: float

    def __str__(self) -> str:
        return f"{self.delay_secs:.2f} s after {self.name}"


def random_moment(source: random.Random, job_dir: pathlib.Path, on_disk: int) -> Moment:
    """Each stage of a job gets its share of the kills, though some take hardly any time."""
    step = source.randint(on_disk, STEPS)
    moments = [
        Moment("the start", lambda job: True, source.uniform(0, 3)),
        Moment("an export began", lambda job: list(job_dir.glob("export/*/temp-*")), source.uniform(0, 0.3)),
        Moment("the verification began", Running.is_verifying, source.uniform(0, 2)),
    ]
    if on_disk < STEPS:
        reached = Moment(
            f"step {step} was saved",
            lambda job: max(checkpoint_steps(job_dir), default=0) >= step,
            source.uniform(0, 0.5),
        )
        moments += [reached, reached]
    return source.choice(moments)


def ends_before(job: Running, moment: Moment) -> bool:
    """Wait for a moment, or for the end of the job if that comes first."""
    came_at = None
    while job.process.poll() is None:
        if came_at is None and moment.has_come(job):
            came_at = time.monotonic()
        if came_at is not None and time.monotonic() - came_at >= moment.delay_secs:
            return False
        time.sleep(0.005)
    return True


def assert_little_lost(err: str, job_dir: pathlib.Path, before: int) -> int:
    """Insist that what was shown is on disk, but for the steps since the last save; the newest checkpoint's step."""
    assert "Traceback" not in err, err
    newest = max(checkpoint_steps(job_dir), default=0)
    assert newest >= before, f"went back from step {before} to {newest}"
    shown = max((int(step) for step in PROGRESS.findall(err)), default=0)
    assert shown - newest <= SAVE_STEPS, f"step {shown} was shown, but only {newest} is on disk"
    if newest and shown:
        assert first_step(err) == before + 1, f"went on from {first_step(err)} where {before} is on disk"
    return newest


def assert_resumed(done: Done, on_disk: int) -> None:
    """Insist that the last run went on from the newest checkpoint."""
    if on_disk < STEPS and "already finished" not in done.out:
        assert first_step(done.err) == on_disk + 1, done.err


def first_step(err: str) -> int:
    """The first step that a run showed."""
    found = PROGRESS.search(err)
    assert found, err
    return int(found[1])


def assert_like_undisturbed(folder: pathlib.Path, name: str) -> None:
    """Compare the end of a killed job with the one that nobody killed."""
    assert_finished(folder / name, STEPS)
    assert_same_weights(folder / "undisturbed", folder / name, STEPS)
    assert read_evaluations(folder / name) == read_evaluations(folder / "undisturbed")


def command(name: str, about: str | None, run: Callable[[pathlib.Path, int, int, Say], None]) -> int:
    """`python -m NAME --kills=20 --seed=0`: a line a kill, and exit code 1 at the first broken promise."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(pathlib.Path(folder), asked.kills, asked.seed, lambda line: print(line, flush=True))
        except AssertionError as error:
            print(f"broken promise: {error}", file=sys.stderr)
            return 1
    print(f"{asked.kills} kills, every promise kept")
    return 0


if __name__ == "__main__":
    sys.exit(command("tests.chaos", __doc__, run_chaos))

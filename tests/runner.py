"""Run jobs as a user does, in a process of their own, and read what they leave on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil

from tests import warm

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMMAND = (sys.executable, "-m", "trainer.task")
SPOKEN_BY_THE_CLOUD = ("AIP_", "CLOUD_ML_", "TF_CONFIG", "TRAINER_")
DEADLINE_SECS = 150.0  # a job here takes some ten seconds; machines that run tests are slow and shared
PROGRESS = re.compile(r"^step (\d+)/\d+ ", re.MULTILINE)
COLUMNS = ("x_0", "x_1", "x_2", "x_3")

DENSE = """
    import keras


    def build_model(units: int = 8, learning_rate: float = 0.01):
        model = keras.Sequential(
            [
                keras.layers.Dense(units, activation="relu", input_shape=(4,), name="x"),
                keras.layers.Dense(1, name="y"),
            ]
        )
        model.compile(keras.optimizers.Adam(learning_rate), "mse", metrics=["mae"])
        return model
"""


@dataclasses.dataclass(frozen=True)
class Done:
    """A job that has ended. A signal that killed it makes a negative exit code."""

    exit_code: int
    out: str
    err: str

    @property
    def sentences(self) -> list[str]:
        """The lines on stderr that say something."""
        return [line for line in self.err.splitlines() if line.strip()]

    def ok(self) -> Done:
        """Insist on success."""
        assert self.exit_code == 0, f"exit code {self.exit_code}\n{self.out}\n{self.err}"
        return self


class Running:
    """A job at work. Its output goes to files, so that it never waits for a reader."""

    def __init__(
        self, folder: pathlib.Path, argv: Sequence[str], env: Mapping[str, str] | None = None, cold: bool = False
    ) -> None:
        self._out, self._err = (folder / f"job-{time.monotonic_ns()}.{kind}" for kind in ("out", "err"))
        with open(os.devnull, "rb") as none, open(self._out, "wb") as out, open(self._err, "wb") as err:
            files = (none, out, err)
            self.process = warm.start([*COMMAND[1:], *argv], folder, environ(**(env or {})), files, cold)

    @property
    def err(self) -> str:
        """What stands on stderr by now."""
        return self._err.read_text(errors="replace")

    def wait_for(self, pattern: str) -> None:
        """Wait for a line on stderr; fail if the job ends before."""
        self.wait_until(lambda: re.search(pattern, self.err, re.MULTILINE), pattern)

    def wait_until(self, happened: Callable[[], object], what: str, deadline_secs: float = DEADLINE_SECS) -> None:
        """Wait for something that the job does; fail if it ends before."""
        end = time.monotonic() + deadline_secs
        while not happened():
            assert self.process.poll() is None, f"the job ended before: {what}\n{self.err}"
            assert time.monotonic() < end, f"not within {deadline_secs} s: {what}\n{self.err}"
            time.sleep(0.02)

    def send(self, *signals: signal.Signals) -> None:
        """Send signals at once, without a pause between them."""
        for each in signals:
            self.process.send_signal(each)

    def finish(self, deadline_secs: float = DEADLINE_SECS) -> Done:
        """Wait for the end; a job that misses the deadline is killed and fails the test."""
        try:
            exit_code = self.process.wait(deadline_secs)
        except psutil.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end after {deadline_secs} s:\n{self.err}") from None
        return Done(exit_code, self._out.read_text(errors="replace"), self.err)

    def children(self) -> list[psutil.Process]:
        """The processes that it has started; none once it has ended."""
        try:
            return self.process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def is_verifying(self) -> bool:
        """Whether the process that verifies the exports is at work."""
        for each in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "trainer.training.verification" in each.cmdline():
                    return True
        return False

    def kill(self) -> None:
        """kill -9, and the same for a verification that it left behind."""
        for each in (*self.children(), self.process):
            if each.is_running():
                each.kill()
        self.process.wait(DEADLINE_SECS)


def run(
    folder: pathlib.Path,
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    deadline_secs: float = DEADLINE_SECS,
    cold: bool = False,
) -> Done:
    """Run a job in a folder to its end; `cold`: in a Python that has nothing imported yet, as users have it."""
    return Running(folder, argv, env, cold).finish(deadline_secs)


def ask(
    door: str,
    folder: pathlib.Path,
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    deadline_secs: float = DEADLINE_SECS,
) -> Done:
    """Run `python -m DOOR ARGUMENT ...` in a folder to its end, without leaving its output there."""
    command = [warm.python(), "-m", door, *argv]
    child = environ() if env is None else env
    done = subprocess.run(
        command, cwd=folder, env=child, capture_output=True, text=True, timeout=deadline_secs, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def environ(**more: str) -> dict[str, str]:
    """This process's environment without what steers a job, for a child that runs this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SPOKEN_BY_THE_CLOUD)}
    own = [*filter(None, [more.pop("PYTHONPATH", None)]), str(ROOT)]
    return {**kept, "PYTHONPATH": os.pathsep.join(own), **more}


def write_model(path: pathlib.Path, source: str = DENSE) -> pathlib.Path:
    """Write a model module."""
    path.write_text(textwrap.dedent(source).lstrip())
    return path


def write_csv(
    path: pathlib.Path, rows: int = 200, seed: int = 0, columns: Sequence[str] = COLUMNS, label: str = "y"
) -> pathlib.Path:
    """Write numbers and, in the last column, about their sum."""
    source = random.Random(seed)
    lines = [",".join([*columns, label])]
    for _ in range(rows):
        values = [source.gauss(0, 1) for _ in columns]
        lines.append(",".join(f"{each:.5f}" for each in [*values, sum(values) + source.gauss(0, 0.1)]))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_project(folder: pathlib.Path, source: str = DENSE) -> pathlib.Path:
    """Write a model module and its data into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "model.py", source)
    write_csv(folder / "train.csv", 200, seed=1)
    write_csv(folder / "eval.csv", 60, seed=2)
    return folder


def flags(*more: str, steps: int = 60, job_dir: str = "job") -> list[str]:
    """The flags of a job over what `write_project` wrote: 10 steps an epoch."""
    return [
        "--model=model.py",
        "--train-files=train.csv",
        "--eval-files=eval.csv",
        "--batch-size=20",
        f"--train-steps={steps}",
        f"--job-dir={job_dir}",
        *more,
    ]


def read_json(path: pathlib.Path) -> Any:
    """Read one JSON file."""
    return json.loads(path.read_text())


def read_evaluations(job_dir: pathlib.Path) -> dict[int, dict[str, float]]:
    """Global step -> metrics."""
    lines = [json.loads(line) for line in (job_dir / "evaluations.jsonl").read_text().splitlines()]
    return {line["global_step"]: line for line in lines}


def exports(job_dir: pathlib.Path, kind: str) -> list[pathlib.Path]:
    """The exports of a kind, oldest first, unfinished ones included."""
    return sorted((job_dir / "export" / kind).iterdir())


def checkpoint_steps(job_dir: pathlib.Path) -> list[int]:
    """The steps of which there is a checkpoint."""
    return sorted(int(path.name[11:-6]) for path in (job_dir / "checkpoints").glob("model.ckpt-*.index"))


def snapshot(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Relative path -> size and time of change, of all files."""
    stats = {str(path.relative_to(folder)): path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def leftovers(job_dir: pathlib.Path) -> list[str]:
    """What a kill may leave half written and a later run has to clear away."""
    half = re.compile(r"_temp$|\.unfinished$|^temp-|\.tempstate|\.tmp")
    return sorted(str(path.relative_to(job_dir)) for path in job_dir.rglob("*") if half.search(path.name))


def weights(job_dir: pathlib.Path, step: int) -> dict[str, Any]:
    """Variable name -> value, of the checkpoint of a step."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(job_dir / "checkpoints" / f"model.ckpt-{step}"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_same_weights(one: pathlib.Path, other: pathlib.Path, step: int, atol: float = 1e-6) -> None:
    """Compare two jobs at a step: variables, optimizer slots and all."""
    import numpy as np

    left, right = weights(one, step), weights(other, step)
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_allclose(value, right[name], rtol=0, atol=atol, err_msg=name)


def assert_equal_weights(one: pathlib.Path, other: pathlib.Path, step: int) -> None:
    """Compare two jobs at a step to the last bit: variables, optimizer slots and all."""
    left, right = weights(one, step), weights(other, step)
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.tobytes() == right[name].tobytes(), name


def assert_finished(job_dir: pathlib.Path, step: int) -> dict[str, Any]:
    """Insist that a job is whole: its last step, an evaluation of it, verified exports, no leftovers; its result."""
    result = read_json(job_dir / "result.json")
    evaluations = read_evaluations(job_dir)
    assert (result["status"], result["global_step"]) == ("finished", step)
    assert max(evaluations) == step
    assert checkpoint_steps(job_dir)[-1] == step
    for kind in ("latest", "best", "final"):
        written = exports(job_dir, kind)
        assert result["exports"][kind].endswith(f"{kind}/{written[-1].name}")
        for path in written:
            assert read_json(path / "verification.json")["passed"] is True, path
    best = result["best"]
    values = {at: metrics[best["metric"]] for at, metrics in evaluations.items()}
    assert best["value"] == min(values.values()), "the best export is not of the best evaluation"
    assert values[best["global_step"]] == best["value"]
    assert leftovers(job_dir) == []
    return result

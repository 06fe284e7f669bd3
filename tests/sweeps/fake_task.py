"""A trial without TensorFlow: reports with the real library, resumes, and stops as the trainer does.

Its metric after step s is 1 - (x - 0.3)^2 - 1 / s. Flags: --x=NUMBER --job-dir=FOLDER [--steps=N --secs=PER_STEP
--fail-above=X --nan-above=X --silent=1 --kind=NAME --depth=N ...]
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import time

import hypertune

given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["job-dir"]) / os.environ["CLOUD_ML_TRIAL_ID"]
x, steps, secs = float(given.get("x", 0.5)), int(given.get("steps", 5)), float(given.get("secs", 0.01))
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
folder.mkdir(parents=True, exist_ok=True)
with (folder / "starts").open("a") as starts:
    starts.write(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']} {sorted(given.items())}\n")
saved = folder / "step"
first = int(saved.read_text()) if saved.exists() else 0
reporter = hypertune.HyperTune()


def report(step: int) -> None:
    value = 1 - (x - 0.3) ** 2 - 1 / step
    if x > float(given.get("nan-above", "inf")):
        value = float("nan")
    reporter.report_hyperparameter_tuning_metric("loss", 1 - value, global_step=step)
    if "silent" not in given:
        reporter.report_hyperparameter_tuning_metric("score", value, global_step=step)


for step in range(1, first + 1):
    report(step)
for step in range(first + 1, steps + 1):
    time.sleep(secs)
    if x > float(given.get("fail-above", "inf")):
        print(f"step {step}\rthe loss became NaN at x={x}.", file=sys.stderr)
        sys.exit(3)
    report(step)
    saved.write_text(str(step))
    if stopped:
        sys.exit(143)

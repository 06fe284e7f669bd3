"""What does a job cost that lives in Cloud Storage: requests, bytes sent, and time beside the same job on a disk?

    .venv/bin/python benchmarks/storage.py            about 15 minutes; the last line is one JSON object

The sample is trained for 1000 steps with its own defaults (an evaluation an epoch, all exports), its data files and its
job directory in a Cloud Storage on loopback: the rig of tests/, which logs every request. Then jobs of three kinds run
by turns; a ratio is taken in every round, and the median of the rounds is what is reported.

    local     data and job directory on a disk
    gs-0ms    in the bucket
    gs-30ms   in the bucket, each request answered 30 ms later, as by a service in the same region

Times are of whole commands. The rig itself takes some of the processors meanwhile: on Google's machines it would not.
`--rounds=0` only counts. LIMITS is what tests/test_storage_economy.py holds the counts against.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
STEPS = 1000
LATENCY_SECS = {"local": 0.0, "gs-0ms": 0.0, "gs-30ms": 0.03}
LIMITS = {"requests_per_1000_steps": 800, "uploaded_mb_per_1000_steps": 8.0}


def main(argv: Sequence[str]) -> int:
    """Count, compare, print a table, and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    from tests.gcs_rig import Gcs

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with Gcs(folder, tls=True) as gcs:
            for bucket in ("data", "jobs"):
                gcs.make_bucket(bucket)
            gcs.put("data", {path.name: path.read_bytes() for path in sample_files()})
            result: dict[str, Any] = count(gcs, folder)
            if args.rounds:
                result |= compare(gcs, folder, args.rounds)
    print(json.dumps(result))
    return 0


def sample_files() -> list[pathlib.Path]:
    """The sample's own data."""
    from trainer.samples import place_names

    return sorted(pathlib.Path(place_names.prepare_data()["train_files"]).parent.glob("*.csv"))


def count(gcs: Any, folder: pathlib.Path) -> dict[str, float]:
    """One job in the bucket: its requests and what it sends, for each 1000 steps."""
    gcs.state.reset()
    train(folder, "gs://data", "gs://jobs/counted", gcs.tensorflow_environ())
    log = gcs.log
    for kind, number in kinds(log).items():
        print(f"{number:6} {kind}")
    return {
        "requests_per_1000_steps": round(len(log) * 1000 / STEPS),
        "uploaded_mb_per_1000_steps": round(sum(each.sent for each in log) / 1e6 * 1000 / STEPS, 1),
    }


def kinds(log: Sequence[Any]) -> dict[str, int]:
    """How many requests of each kind, the most frequent first."""
    found = collections.Counter[str]()
    for each in log:
        uploads, of_data = "/upload/" in each.path, "/data/" in each.path.partition("?")[0]
        what = "uploads" if uploads else "lists" if "prefix=" in each.path else "of data" if of_data else "of the job"
        found[f"{each.method} {what}"] += 1
    return dict(found.most_common())


def compare(gcs: Any, folder: pathlib.Path, rounds: int) -> dict[str, float]:
    """The time of whole jobs in the bucket as a ratio to those on a disk."""
    secs: dict[str, list[float]] = {kind: [] for kind in LATENCY_SECS}
    for number in range(rounds):
        for kind, latency_secs in LATENCY_SECS.items():
            gcs.state.reset()
            gcs.state.latency_secs = latency_secs
            is_local = kind == "local"
            data = str(sample_files()[0].parent) if is_local else "gs://data"
            job_dir = str(folder / f"job-{number}") if is_local else f"gs://jobs/{kind}-{number}"
            began = time.perf_counter()
            train(folder, data, job_dir, gcs.tensorflow_environ())
            secs[kind].append(time.perf_counter() - began)
    for kind, taken in secs.items():
        print(f"{kind:8} {statistics.median(taken):6.1f} s (median of {rounds})")
    ratio = lambda kind: statistics.median(a / b for a, b in zip(secs[kind], secs["local"], strict=True))  # noqa: E731
    return {"gs_over_local_0ms": round(ratio("gs-0ms"), 2), "gs_over_local_30ms": round(ratio("gs-30ms"), 2)}


def train(folder: pathlib.Path, data: str, job_dir: str, env: Mapping[str, str]) -> None:
    """The sample, as its users train it."""
    flags = [f"--train-files={data}/train-*.csv", f"--eval-files={data}/eval-*.csv", f"--job-dir={job_dir}"]
    subprocess.run(
        [sys.executable, "-m", "trainer.task", *flags, f"--train-steps={STEPS}", "--verbosity=quiet"],
        cwd=folder,
        env={**os.environ, **env, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

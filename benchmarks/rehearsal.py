"""Do clusters of each kind learn what one process learns? The place names, alone and rehearsed.

    .venv/bin/python benchmarks/rehearsal.py          about 6 minutes; the last line is one JSON object

Each cluster has a chief, two workers and an evaluator, and the asynchronous one a parameter server, all on this
machine. Their verdicts have to be green, and the held-out accuracy within 0.02 of that of one process.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
BATCH = "--batch-size=258"  # divides by three
CLUSTERS = {
    "multi_worker_mirrored": ("--workers=2", "--evaluator"),
    "parameter_server": ("--workers=2", "--ps=1", "--evaluator"),
}
TOLERANCE = 0.02


def run(door: str, folder: pathlib.Path, argv: Sequence[str] = ()) -> tuple[float, float]:
    """Accuracy and seconds of a job, all its output on stderr."""
    began = time.perf_counter()
    command = [sys.executable, "-m", f"trainer.{door}", f"--job-dir={folder}", BATCH, "--no-report", *argv]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    secs = time.perf_counter() - began
    return json.loads((folder / "result.json").read_text())["metrics"]["accuracy"], secs


def main() -> int:
    """Run, print a table, and one JSON object as the last line; 1 where a cluster learns something else."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        alone, secs = run("task", folder / "alone")
        found = {"alone": {"accuracy": round(alone, 4), "secs": round(secs)}}
        for strategy, argv in CLUSTERS.items():
            accuracy, secs = run("rehearse", folder / strategy, argv)
            verdict = json.loads((folder / strategy / "cluster" / "verdict.json").read_text())["verdict"]
            found[strategy] = {"accuracy": round(accuracy, 4), "secs": round(secs), "verdict": verdict}
    for name, each in found.items():
        print(f"{name:22} accuracy {each['accuracy']:.3f}  {each['secs']:4} s  {each.get('verdict', '')}")
    print(json.dumps(found))
    clusters = [found[strategy] for strategy in CLUSTERS]
    return int(any(abs(each["accuracy"] - alone) > TOLERANCE or each["verdict"] != "all green" for each in clusters))


if __name__ == "__main__":
    sys.exit(main())

"""What one command on a sample gives: `.venv/bin/python benchmarks/sample.py [--model=trainer.samples.flights]`.

Trains the sample with its defaults in an empty folder and prints the row of the README's table. About a minute.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEFAULT = "trainer.samples.place_names"


def main() -> int:
    """Run the job, print the row, and its result.json as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT, help="module of a sample")
    model = parser.parse_args().model
    said = ["-m", "trainer.task", *([] if model == DEFAULT else [f"--model={model}"])]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *said, f"--job-dir={folder}/job", "--verbosity=quiet"]
        subprocess.run(command, cwd=ROOT, check=True)
        result = json.loads(pathlib.Path(folder, "job", "result.json").read_text())
    metric = next(name for name in result["metrics"] if name != "loss")
    print(
        f"| `{' '.join(['python', *said])}` | {metric} {result['metrics'][metric]:.3f} held out, step "
        f"{result['global_step']} | {result['wall_secs']:.0f} s, {result['examples_per_sec']:,.0f} examples/s | "
        f"{datetime.date.today()}, {machine()} |"
    )
    print(json.dumps({key: result[key] for key in ("global_step", "metrics", "examples_per_sec", "wall_secs")}))
    return 0


def machine() -> str:
    """Processors, architecture and Python of this machine."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())

"""What one command on the embedded sample gives: `.venv/bin/python benchmarks/sample.py`, about a minute.

Trains the sample with its defaults in an empty folder and prints the row of the README's table.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the job, print the row, and its result.json as the last line."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trainer.task", f"--job-dir={folder}/job", "--verbosity=quiet"]
        subprocess.run(command, cwd=ROOT, check=True)
        result = json.loads(pathlib.Path(folder, "job", "result.json").read_text())
    print(
        f"| `python -m trainer.task` | accuracy {result['metrics']['accuracy']:.3f} held out, step "
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

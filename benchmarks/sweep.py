"""What a sweep finds: `python benchmarks/sweep.py [--kill-after-secs=60]`.

Runs the shipped study on the place names in an empty folder, kills it once with kill -9, and starts it again. The last
line is a JSON object: `best` (held-out accuracy of the best of the trials), `trials`, `secs` (all of it, the kill
included).
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main() -> int:
    """Sweep, kill, sweep, and print the JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kill-after-secs", type=float, default=60.0, help="0 for no kill")
    kill_after_secs = parser.parse_args().kill_after_secs
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trainer.sweep", f"--study={ROOT / 'hptuning_config.yaml'}"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        began = time.perf_counter()
        if kill_after_secs:
            with subprocess.Popen([*command, "--sweep-dir=sweep"], cwd=folder, env=environ) as killed:
                try:
                    killed.wait(kill_after_secs)
                except subprocess.TimeoutExpired:
                    killed.send_signal(signal.SIGKILL)
        subprocess.run([*command, "--sweep-dir=sweep"], cwd=folder, env=environ, check=True)
        secs = time.perf_counter() - began
        results = pathlib.Path(folder, "sweep", "trials").glob("*/result.json")
        found = [json.loads(path.read_text())["metrics"]["accuracy"] for path in results]
    print(json.dumps({"best": round(max(found), 4), "trials": len(found), "secs": round(secs)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

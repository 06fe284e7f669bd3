"""kill -9 at random moments of a batch prediction: `python -m tests.predict_chaos --kills=20 [--seed=0]`.

A prediction is killed a few times, wherever it is, then may end, and has to leave what the one that nobody killed left,
byte by byte. What was whole at a kill may not be touched again. Prints a line a kill and exits 1 at the first broken
promise. `tests/test_predict_kill.py` is the short version.
"""

from __future__ import annotations

import pathlib
import random
import subprocess
import sys
import time

from tests.chaos import Say, command
from tests.prediction_lab import COMMAND, lab, predictions, rows_of, run, write_csv
from tests.runner import environ

FILES, ROWS = 8, 2000
MOST_KILLS_A_RUN = 4
DEADLINE_SECS = 120.0


def run_chaos(folder: pathlib.Path, kills: int, seed: int, say: Say) -> None:
    """Kill predictions in `folder` that many times. Raises AssertionError at the first broken promise."""
    source = random.Random(seed)
    lab(folder, "export", "export")
    for shard in range(FILES):
        rows = rows_of(shard, ROWS)
        rows[700]["a"] = "bad"
        write_csv(folder / "data" / f"part-{shard}.csv", rows)
    run(folder, argv("undisturbed")).ok()
    whole = predictions(folder / "undisturbed")
    assert len(whole) == 2 * FILES + 1
    done, number = 0, 0
    while done < kills:
        number += 1
        done += kill_one_run(folder, f"run-{number}", min(kills - done, MOST_KILLS_A_RUN), source, say)
        assert predictions(folder / f"run-{number}") == whole, f"run-{number} has other bytes"
        say(f"run-{number} is whole: {FILES} files, the bytes of the undisturbed run")


def argv(output: str) -> list[str]:
    """The flags of a prediction here; small batches make it last."""
    flags = ["--export=export", "--files=data/*.csv", "--key-column=id", "--max-bad-rows=1", "--batch-size=8"]
    return [*flags, f"--output={output}"]


def kill_one_run(folder: pathlib.Path, name: str, most: int, source: random.Random, say: Say) -> int:
    """Start a prediction again and again, kill it at random moments, and let it end; how often it was killed."""
    killed = 0
    out = folder / name
    kept: dict[str, tuple[int, int]] = {}
    while killed < most:
        count, delay_secs = random_moment(source, len(finished(out)))
        if not kill_at(folder, name, count, delay_secs):
            break
        killed += 1
        now = finished(out)
        assert {path: now.get(path) for path in kept} == kept, "what was whole was written again"
        kept = now
        say(f"{name}: kill {killed}, {delay_secs:.2f} s after {count} files were whole; now {len(kept)} are")
    done = run(folder, argv(name)).ok()
    assert "Traceback" not in done.err
    now = finished(out)
    assert {path: now.get(path) for path in kept} == kept, "what was whole was written again"
    return killed


def random_moment(source: random.Random, there: int) -> tuple[int, float]:
    """How many files have to be whole, and the seconds from then; now and then in the start."""
    if source.random() < 0.2:
        return there, source.uniform(0, 5)
    return min(there + source.randint(1, 3), FILES - 1), source.uniform(0, 0.4)


def kill_at(folder: pathlib.Path, name: str, count: int, delay_secs: float) -> bool:
    """Start, wait until so many files are whole and the delay is over, kill -9; False if it ended before."""
    with (folder / f"{name}.err").open("ab") as err:
        process = subprocess.Popen(
            [*COMMAND, *argv(name)], cwd=folder, env=environ(), stdout=subprocess.DEVNULL, stderr=err
        )
    try:
        end = time.monotonic() + DEADLINE_SECS
        while len(finished(folder / name)) < count and process.poll() is None:
            assert time.monotonic() < end, f"not within {DEADLINE_SECS} s: {count} whole files"
            time.sleep(0.002)
        time.sleep(delay_secs)
        return process.poll() is None
    finally:
        process.kill()
        process.wait(DEADLINE_SECS)


def finished(out: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Name -> size and time of change of the predictions that are whole."""
    return {path.name: snapshot_of(path) for path in out.glob("*.predictions.jsonl")}


def snapshot_of(path: pathlib.Path) -> tuple[int, int]:
    """Size and time of change."""
    return path.stat().st_size, path.stat().st_mtime_ns


if __name__ == "__main__":
    sys.exit(command("tests.predict_chaos", __doc__, run_chaos))

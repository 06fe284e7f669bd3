"""Rehearse small jobs and kill a random process of each at a random moment: `python -m tests.cluster_chaos --runs=30`.

Both strategies by turns. Each job has to end finished, at the right step and with verified exports, or non-zero in
time; none may hang, and no process may be left. Prints a line each and `N passed, N failed` at the end, and exits 1 if
one failed; the folder of that one is kept. `tests/test_rehearse.py` has the short version.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from tests.cluster.lab import others
from tests.runner import environ, exports, flags, leftovers, read_evaluations, read_json, write_project

STEPS, EVAL_STEPS, SAVE_STEPS = 1200, 400, 100
STALL_SECS = 90  # a start takes that long where others want the machine too
DEADLINE_SECS = 1200.0  # several starts, each with a stall, on a machine that is busy with other things
CLUSTERS = {
    "multi_worker_mirrored": ("--workers=2", "--evaluator"),
    "parameter_server": ("--workers=2", "--ps=1", "--evaluator"),
}
FAULT = re.compile(r"on purpose: (kill .*)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Ended:
    """A rehearsal that has ended."""

    exit_code: int
    secs: float
    out: str
    err: str

    @property
    def fault(self) -> str:
        """What was done to it."""
        found = FAULT.search(self.err)
        return found[1] if found else "nothing was killed in time"


def rehearse(folder: pathlib.Path, *argv: str, deadline_secs: float = DEADLINE_SECS) -> Ended:
    """Rehearse in a folder. Raises AssertionError where it hangs or leaves a process behind."""
    started = time.monotonic()
    paths = [folder / f"rehearsal.{kind}" for kind in ("out", "err")]
    with open(paths[0], "wb") as out, open(paths[1], "wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer.rehearse", *argv],
            cwd=folder,
            env=environ(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    try:
        exit_code = process.wait(deadline_secs)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
        raise AssertionError(f"it hangs: no end within {deadline_secs:.0f} s") from None
    assert of_rehearsal(folder) == [], f"left behind: {of_rehearsal(folder)}"
    return Ended(exit_code, time.monotonic() - started, *(path.read_text(errors="replace") for path in paths))


def of_rehearsal(folder: pathlib.Path) -> list[str]:
    """The processes that work in a folder."""
    return others(lambda words, works_in: works_in == str(folder.resolve()))


def job_flags(*more: str) -> list[str]:
    """The flags of the job here: its batch divides by three."""
    usual = [flag for flag in flags(steps=STEPS) if not flag.startswith("--batch-size")]
    often = [f"--eval-every-steps={EVAL_STEPS}", f"--save-checkpoints-steps={SAVE_STEPS}"]
    return [*usual, "--batch-size=30", *often, f"--stall-secs={STALL_SECS}", "--no-report", *more]


def assert_whole(job_dir: pathlib.Path) -> None:
    """Insist on what a job that is finished has."""
    verdict, result = read_json(job_dir / "cluster" / "verdict.json"), read_json(job_dir / "result.json")
    assert verdict["verdict"] == "all green", verdict["verdict"]
    step = result["global_step"]
    behind = len(verdict["members"]) if verdict["strategy"] == "parameter_server" else 0  # steps that others had begun
    assert (result["status"], verdict["step"]) == ("finished", step)
    assert STEPS <= step <= STEPS + behind, f"ended at step {step} of {STEPS}"
    evaluations = read_evaluations(job_dir)
    assert max(evaluations) == step, f"the last evaluation is of step {max(evaluations)}, the last step is {step}"
    for kind in ("latest", "best", "final"):
        for path in exports(job_dir, kind):
            assert path.name.isdigit(), f"half an export: {path}"
            assert read_json(path / "verification.json")["passed"] is True, f"not verified: {path}"
    values = [metrics["loss"] for metrics in evaluations.values()]
    assert result["best"]["value"] == min(values), "the best export is not of the best evaluation"
    left = [path for path in leftovers(job_dir) if not path.startswith("cluster")]
    assert left == [], f"half written: {left}"


def run_one(folder: pathlib.Path, strategy: str, seed: int) -> str:
    """Rehearse one job; how it ended, in words. Raises AssertionError."""
    write_project(folder)
    ended = rehearse(folder, *CLUSTERS[strategy], *job_flags(), f"--chaos={seed}")
    if ended.exit_code:
        words = ended.err.strip().splitlines()[-1]
        assert ended.exit_code == 3, f"{ended.fault}: exit code {ended.exit_code}: {words}"
        return f"{ended.fault}: exit code {ended.exit_code} after {ended.secs:.0f} s: {words}"
    assert_whole(folder / "job")
    restarts = read_json(folder / "job" / "cluster" / "verdict.json")["lines"][-1]["words"]
    return f"{ended.fault}: finished after {ended.secs:.0f} s, restarts: {restarts}"


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster_chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the next one has the next")
    asked = parser.parse_args(argv)
    root = pathlib.Path(tempfile.mkdtemp(prefix="cluster-chaos-"))
    failed = 0
    for number in range(asked.runs):
        seed, strategy = asked.seed + number, list(CLUSTERS)[number % len(CLUSTERS)]
        folder = root / f"run-{seed}"
        try:
            said = f"ok      {run_one(folder, strategy, seed)}"
            shutil.rmtree(folder)
        except AssertionError as error:
            failed += 1
            said = f"FAILED  {error}; see {folder}"
        print(f"--chaos={seed:<4} {strategy:21} {said}", flush=True)
    if not failed:
        shutil.rmtree(root)
    print(f"{asked.runs - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

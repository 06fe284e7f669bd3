"""How much more do two workers train than one process, each on a core of its own?

    .venv/bin/python benchmarks/scaling.py            about 9 minutes; the last line is one JSON object

Three jobs train the place names with the same flags through `python -m trainer.task`:

    one      a single process on the first core
    sync     chief and worker in step (multi_worker_mirrored), each on its core; the batch of one, half of it each
    async    chief and worker beside a parameter server, each with batches of its own

All are started, and then run by turns for some seconds each, stopped and continued with signals, so that they meet the
same noise of a shared machine. Each process counts its steps, and a ratio is taken in every round. All of that is
repeated with new processes: one is up to a third faster than its twin as long as it lives. What is reported is the
median of the rounds of each launch, and of these the median again. The server computes next to nothing and may run on
both cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from training import Counter, count_hook, read_steps

from trainer.cluster.plan import Member, told_by_the_cloud
from trainer.cluster.ports import Ports

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODES = {"one": ("chief",), "sync": ("chief", "worker"), "async": ("chief", "worker", "ps")}
BATCH_SIZE = 4096
MANY = 10_000_000  # steps nobody gets to
WARM_UP_STEPS, WARM_UP_SECS = 20, 300.0
SETTLE_SECS, SLICE_SECS, LOOK_SECS = 1.0, 3.0, 0.001
HOUR = 3600  # a job that is stopped makes no step


class Group:
    """The processes of one job."""

    def __init__(self, mode: str, folder: pathlib.Path, batch_size: int) -> None:
        self.mode, self._batch_size = mode, batch_size
        self._folder, self._processes = folder, dict[str, subprocess.Popen[bytes]]()

    def start(self) -> None:
        """Start all, wait until each has trained for a while, and stop them."""
        roles = MODES[self.mode]
        command = [sys.executable, __file__, f"--mode={self.mode}", f"--folder={self._folder}"]
        command += [f"--batch-size={self._batch_size}"]
        members = [Member(role) for role in roles]
        ports = Ports(members)
        ports.release()
        for role, member in zip(roles, members, strict=True):
            self._counter(role).write_bytes(bytes(8))
            told = told_by_the_cloud(member, members, ports.of)
            with self._log(role).open("wb") as log:
                self._processes[role] = subprocess.Popen(
                    [*command, f"--role={role}"],
                    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), **told},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        self._await_warmth()
        self.send(signal.SIGSTOP)

    def _await_warmth(self) -> None:
        until = time.monotonic() + WARM_UP_SECS
        while min(read_steps(self._counter(role)) for role in self._trainers) < WARM_UP_STEPS:
            for role, process in self._processes.items():
                if process.poll() is not None or time.monotonic() > until:
                    sys.exit(f"{self.mode}: {role} is not warm:\n{self._log(role).read_text()[-3000:]}")
            time.sleep(0.1)

    def send(self, signum: signal.Signals) -> None:
        """To all of them."""
        for process in self._processes.values():
            process.send_signal(signum)

    def rate(self) -> float:
        """Examples/s of a slice of time in which this job runs; from the end of a step to the end of a step."""
        self.send(signal.SIGCONT)
        time.sleep(SETTLE_SECS)
        began = {role: self._next_step(role) for role in self._counted}
        time.sleep(SLICE_SECS)
        ended = {role: self._next_step(role) for role in self._counted}
        self.send(signal.SIGSTOP)
        return sum(
            self._batch_size * (ended[role][0] - began[role][0]) / (ended[role][1] - began[role][1])
            for role in self._counted
        )

    def _next_step(self, role: str) -> tuple[int, float]:
        """The number of the next step, and when it was done: a slice has too few steps to count parts of them."""
        before = now = read_steps(self._counter(role))
        until = time.monotonic() + WARM_UP_SECS
        while now == before:
            if time.monotonic() > until:
                sys.exit(f"{self.mode}: {role} makes no step any more:\n{self._log(role).read_text()[-3000:]}")
            time.sleep(LOOK_SECS)
            now = read_steps(self._counter(role))
        return now, time.perf_counter()

    def close(self) -> None:
        """End all."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    @property
    def _trainers(self) -> list[str]:
        return [role for role in MODES[self.mode] if role != "ps"]

    @property
    def _counted(self) -> list[str]:
        """In step, the batch is that of both; else each has its own."""
        return self._trainers if self.mode == "async" else ["chief"]

    def _counter(self, role: str) -> pathlib.Path:
        return self._folder / f"{self.mode}-{role}.steps"

    def _log(self, role: str) -> pathlib.Path:
        return self._folder / f"{self.mode}-{role}.log"


def run_role(mode: str, role: str, folder: pathlib.Path, batch_size: int) -> int:
    """A process of a job: the door itself; the only thing added is the hook that counts, and the core."""
    cores = sorted(os.sched_getaffinity(0))
    if role != "ps":
        os.sched_setaffinity(0, {cores[("chief", "worker").index(role)]})
    import tensorflow as tf

    counter, train = Counter(folder / f"{mode}-{role}.steps"), tf.estimator.Estimator.train

    def counted(estimator: Any, input_fn: Any, hooks: Sequence[Any] | None = None, *more: Any, **named: Any) -> Any:
        return train(estimator, input_fn, [*(hooks or ()), count_hook(counter)], *more, **named)

    tf.estimator.Estimator.train = counted
    from trainer.task import main as train_job

    argv = [f"--job-dir={folder / mode}", f"--batch-size={batch_size}", f"--train-steps={MANY}"]
    argv += [f"--eval-every-steps={MANY}", "--save-checkpoints-secs=100000", f"--stall-secs={HOUR}"]
    return train_job(argv)


@contextlib.contextmanager
def started(modes: Sequence[str], folder: pathlib.Path, batch_size: int) -> Iterator[list[Group]]:
    """All jobs, warm and stopped; ended afterwards."""
    groups = [Group(mode, folder, batch_size) for mode in modes]
    try:
        for group in groups:
            group.start()
        yield groups
    finally:
        for group in groups:
            group.close()


def main() -> int:
    """Compare, print a table, and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--launches", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="of each launch")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--mode", choices=tuple(MODES), help=argparse.SUPPRESS)
    parser.add_argument("--role", choices=("chief", "worker", "ps"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role:
        return run_role(args.mode, args.role, args.folder, args.batch_size)
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two cores are needed, and this process may use one.")
    ratios: dict[str, list[float]] = {"sync": [], "async": []}
    for _ in range(args.launches):
        rates = launch(args.batch_size, args.rounds)
        print("   ".join(f"{mode} {statistics.median(found):7,.0f}" for mode, found in rates.items()), "examples/s")
        for mode, found in ratios.items():
            found.append(statistics.median(a / b for a, b in zip(rates[mode], rates["one"], strict=True)))
    medians = {f"{mode}_2_over_1": round(statistics.median(found), 3) for mode, found in ratios.items()}
    print(json.dumps({**medians, "batch_size": args.batch_size, "launches": args.launches, "rounds": args.rounds}))
    return 0


def launch(batch_size: int, rounds: int) -> dict[str, list[float]]:
    """Mode -> examples/s in each round of one set of processes."""
    rates: dict[str, list[float]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory() as name, started(list(MODES), pathlib.Path(name), batch_size) as groups:
        for _ in range(rounds):
            for group in groups:
                rates[group.mode].append(group.rate())
    return rates


if __name__ == "__main__":
    sys.exit(main())

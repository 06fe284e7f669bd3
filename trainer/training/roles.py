"""What a process does for a job: the chief or the only one all of it, the others their part.

A follower begins when the chief has settled everything, and ends as the chief's run does: it changes nothing in the job
directory but its own file in cluster/, and the evaluator its evaluations and exports.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer.job.cluster import Cluster
from trainer.job.environment import Environment
from trainer.job.errors import Interrupted, TrainingFailed, UsageError
from trainer.job.flags import Parsed
from trainer.job.paths import JobPaths
from trainer.training.board import Board, Run
from trainer.training.crew import evaluated_by, examples_seen
from trainer.training.devices import find_devices, policy_kept, require_accelerator, set_up_devices
from trainer.training.estimators import build_engine
from trainer.training.evaluator import evaluate_continuously
from trainer.training.explanations import storage_explained, training_explained
from trainer.training.loop import train_and_evaluate
from trainer.training.member import EXIT_CODES, UNSTUCK_SECS, Member, end_stalled, end_with
from trainer.training.prepare import prepare_to_follow
from trainer.training.records import read_json
from trainer.training.stopping import StopRequest
from trainer.training.strategies import choose
from trainer.training.tuner import Tuner

LOG = logging.getLogger("trainer")
NEWS_SECS = 15.0  # how long to wait for word of the chief after an error that its end may have caused


def take_part(parsed: Parsed, environment: Environment, stop: StopRequest) -> int:
    """Do this process's part of the job; its exit code. Raises one of the errors of `trainer.job.errors`."""
    cluster = environment.cluster
    for line in [*cluster.table(), *(f"TF_CONFIG: {note}" for note in cluster.notes)] if cluster else ():
        LOG.info("%s", line)
    role = cluster.role if cluster else "chief"
    set_up_devices(parsed.job.distribution)
    if role in ("chief", "worker"):
        require_accelerator(parsed.job.distribution, find_devices())
    with policy_kept():
        return ROLES[role](parsed, environment, stop)


def work(parsed: Parsed, environment: Environment, stop: StopRequest) -> int:
    """Train as one of the workers until the chief's run is over."""
    cluster, paths, board = _facts(parsed, environment)
    spread = choose(parsed.job.distribution, cluster)
    name = f"worker-{cluster.index}"
    run = await_run(board, parsed, paths, name, fresh=not spread.is_async)
    if run.is_over:
        return closed(run, name)
    with storage_explained(paths):
        plan = prepare_to_follow(parsed, paths, spread, run.start_step)
        engine = build_engine(plan, Tuner(None, parsed.job.evaluation), cluster)
        facts = lambda step, steps: examples_seen(plan, steps)  # noqa: E731
        member = Member(board, name, run, parsed.job.distribution.stall_secs, stop, facts)
        member.on_news(lambda news: _heed(news, run, member, board, stop, spread.is_async))
        engine = dataclasses.replace(engine, member=member, evaluates=False)
        with member.at_work(), training_explained(plan.inputs, paths), stop.saving():
            try:
                engine.follow(stop if spread.is_async else None)
            except tf.errors.OpError as error:
                _explain(error, board, run, name)
    if stop.requested:
        raise Interrupted(f"{name} stopped at step {member.step}: the chief has what was learnt.", stop.signum or 0)
    return closed(dataclasses.replace(run, state="trained", step=member.step), name)


def serve(parsed: Parsed, environment: Environment, stop: StopRequest) -> int:
    """Hold weights as a parameter server until the chief's run is over: TensorFlow's own server never ends."""
    cluster, _, board = _facts(parsed, environment)
    name, before = f"ps-{cluster.index}", board.read_run()
    config = cluster.tf_config()
    server = tf.distribute.Server(tf.train.ClusterSpec(config["cluster"]), job_name="ps", task_index=cluster.index)
    LOG.info("%s serves at %s", name, server.target)
    watch = Watch(board, parsed.job.distribution.stall_secs)
    while True:
        run = watch.look()
        if run and run.is_over and (before is None or run.attempt != before.attempt or not before.is_over):
            return closed(run, name)
        if watch.silent_secs > parsed.job.distribution.stall_secs:
            end_stalled(f"{name}: no sign of life of the chief for {watch.silent_secs:.0f} s (--stall-secs)")
        if stop.requested:
            raise Interrupted(f"{name} stopped.", stop.signum or 0)
        time.sleep(board.look_secs)


def evaluate(parsed: Parsed, environment: Environment, stop: StopRequest) -> int:
    """Evaluate and export the chief's checkpoints until its run is over."""
    cluster, paths, board = _facts(parsed, environment)
    if evaluated_by(parsed.job, cluster) == "chief":
        raise UsageError(
            "--evaluated-by=chief, and this process is the evaluator: leave it out, or start no evaluator."
        )
    run = await_run(board, parsed, paths, "evaluator", fresh=False)
    if run.state in ("finished", "stopped", "failed"):
        return closed(run, "evaluator")
    if run.evaluated_by == "chief":
        raise UsageError(
            "the chief evaluates by itself, as its TF_CONFIG does not tell of an evaluator: say "
            "--evaluated-by=evaluator to all processes of the job, or start no evaluator."
        )
    with storage_explained(paths):
        return closed(evaluate_continuously(parsed, environment, board, run, stop), "evaluator")


ROLES: dict[str, Callable[[Parsed, Environment, StopRequest], int]] = {
    "chief": train_and_evaluate,
    "worker": work,
    "ps": serve,
    "evaluator": evaluate,
}


class Watch:
    """Whether the chief lives, as seen from here."""

    def __init__(self, board: Board, stall_secs: float) -> None:
        self._board, self._beat = board, board.read_beat("chief")
        self._changed_at = time.monotonic()
        self.lives = False

    def look(self) -> Run | None:
        """The run as it is now."""
        beat = self._board.read_beat("chief")
        if beat != self._beat:
            self._beat, self._changed_at, self.lives = beat, time.monotonic(), True
        return self._board.read_run()

    @property
    def step(self) -> int:
        """The chief's."""
        return int(self._beat.get("step", 0))

    @property
    def silent_secs(self) -> float:
        """How long the chief has given no sign of life."""
        return time.monotonic() - self._changed_at


def await_run(board: Board, parsed: Parsed, paths: JobPaths, name: str, fresh: bool) -> Run:
    """Wait for a run whose chief lives, or that was over before this process began.

    `fresh`: not for one whose steps have begun, which cannot be joined in step.
    """
    stall_secs, first = parsed.job.distribution.stall_secs, board.read_run()
    watch = Watch(board, stall_secs)
    if first and first.state == "finished" and _is_wanted(first, parsed, paths):
        return first
    LOG.info("%s waits for the chief", name)
    while True:
        run = watch.look()
        if run and run != first and run.is_over:
            return run
        if run and watch.lives and (run.state == "trained" or _can_be_joined(run, watch, fresh)):
            return run
        if watch.silent_secs > stall_secs:
            end_stalled(f"{name}: no chief has begun a run for {watch.silent_secs:.0f} s (--stall-secs)")
        time.sleep(board.look_secs)


def _can_be_joined(run: Run, watch: Watch, fresh: bool) -> bool:
    return not run.is_over and not (fresh and watch.step > run.start_step)


def closed(run: Run, name: str) -> int:
    """The exit code with which a follower ends as the run does. Raises Interrupted, TrainingFailed."""
    if run.state == "stopped":
        raise Interrupted(f"{name}: the chief was stopped at step {run.step}.", EXIT_CODES["stopped"] - 128)
    if run.state == "failed":
        raise TrainingFailed(f"{name}: the chief's run has failed ({run.why}).")
    LOG.info("%s: the run is over at step %d", name, run.step)
    return 0


def _facts(parsed: Parsed, environment: Environment) -> tuple[Cluster, JobPaths, Board]:
    assert environment.cluster is not None
    paths = JobPaths.of(parsed.job, environment.trial_id)
    return environment.cluster, paths, Board(paths)


def _is_wanted(run: Run, parsed: Parsed, paths: JobPaths) -> bool:
    """Whether a finished run has done as many steps as this job is to do."""
    settings = (read_json(paths.manifest) or {}).get("settings", {})
    training = parsed.job.training
    said = [settings.get(name, {}).get("value") for name in ("train_steps", "epochs")]
    return run.step >= run.total_steps and said == [training.train_steps, training.epochs]


def _heed(news: Run, run: Run, member: Member, board: Board, stop: StopRequest, is_async: bool) -> None:
    """What a worker makes of the chief's word, from the member's thread."""
    if stop.requested and not is_async:
        board.ask_to_stop(stop.signum or 15)
    idle = member.idle_secs > UNSTUCK_SECS
    if news.attempt != run.attempt:
        if not is_async and idle:
            end_stalled(f"{member.name}: the chief has begun another run")
    elif news.is_over:
        member.told_to_end = True
        if idle:
            end_with(news, member.name)


def _explain(error: tf.errors.OpError, board: Board, run: Run, name: str) -> Any:
    """An error of the network is often the chief's end: its word tells. Raises the error where it is not."""
    until = time.monotonic() + NEWS_SECS
    while time.monotonic() < until:
        news = board.read_run()
        if news and news.attempt == run.attempt and news.is_over:
            end_with(news, name)
        time.sleep(board.look_secs)
    if isinstance(error, (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)):
        end_stalled(f"{name}: {' '.join(str(error).split())[:300]}")
    raise error

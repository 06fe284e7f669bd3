"""What to do when a process of a cluster has ended or falls silent. Pure: a situation in, the next action out.

What was measured on TensorFlow 2.15 and decides here:
    without parameter servers   the others hang when a chief or worker dies, and hang on when only that one is started
                                again: start all of them again
    with parameter servers      a worker that dies rejoins, a chief or server recovers, each started again alone
    an evaluator                dies when its checkpoint is deleted under it: start it again
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainer.job.cluster import Role

FINAL_CODES = (2, 3, 4, 5)  # the same would happen again
STALLED = 134
OVER = ("trained", "finished")  # states of a run of which nothing is left to do for workers and servers
ENDING = ("stopped", "failed")  # and of a run whose chief is about to end
CALM_SECS = 1.0  # after a death: others that die of the same cause do so soon, and theirs may be the code that tells
SILENCE_SECS = 20.0  # beyond --stall-secs: a process that can still do so ends itself, with the stacks of its threads
START_SECS = 300.0  # for the first sign of life: importing TensorFlow in many processes at a time takes long
LEAVE_SECS = 20.0  # that workers and servers have to end after the chief
EVALUATOR_LEAVE_SECS = 120.0  # for an evaluator that has done its part


@dataclass(frozen=True)
class Situation:
    """One process.

    Attributes:
      exit_code: how its last run ended; None while it runs.
      ended_secs: how long ago that was.
      is_done: its entry on the board says that it has done its part.
      is_leaving: it was asked to end, as there is nothing left to do for it.
      restarts: how often it was started again because it died, or because another one did that it depends on.
      silent_secs: how long its entry has not changed, or how long ago it was started.
      has_beaten: whether there is an entry of this run of it.
      has_clashed: whether it died because its port was taken.
    """

    name: str
    role: Role
    exit_code: int | None = None
    ended_secs: float = 0.0
    is_done: bool = False
    is_leaving: bool = False
    restarts: int = 0
    silent_secs: float = 0.0
    has_beaten: bool = True
    has_clashed: bool = False

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.exit_code is None

    @property
    def is_fulfilled(self) -> bool:
        """Whether it has ended and nothing is missing of it."""
        return not self.is_running and (self.exit_code == 0 or self.is_done)


@dataclass(frozen=True)
class View:
    """All processes, the chief first, and what the chief says of the job.

    Attributes:
      run_state: by this run of the chief; empty while it has said nothing.
      may_move: whether other ports may be tried.
    """

    members: tuple[Situation, ...]
    run_state: str = "running"
    evaluated_by: str = "evaluator"
    stall_secs: float = 600.0
    max_restarts: int = 3
    may_move: bool = True

    @property
    def chief(self) -> Situation:
        """There is always one."""
        return self.members[0]

    @property
    def is_finished(self) -> bool:
        """Whether the chief has ended well, after which nothing can be started again but an evaluator."""
        return self.chief.exit_code == 0

    @property
    def is_synchronous(self) -> bool:
        """Whether those that train only start together."""
        return not any(each.role == "ps" for each in self.members)

    @property
    def is_ending(self) -> bool:
        """Whether the chief has given up and will say by its exit code why: others may know of that already."""
        return self.chief.is_running and self.run_state in ENDING

    def is_missing(self, each: Situation) -> bool:
        """Whether a process has died with something left to do for it, a while ago."""
        if each.is_running or each.is_fulfilled or each.is_leaving or each.ended_secs < CALM_SECS:
            return False
        return each.role in ("chief", "evaluator") or self.run_state not in OVER


@dataclass(frozen=True)
class Start:
    """Start these again, ending those of them that still run; each counts as a restart unless it is `free`."""

    names: tuple[str, ...]
    why: str
    is_free: bool = False


@dataclass(frozen=True)
class Move:
    """Start all again, on other ports."""

    why: str


@dataclass(frozen=True)
class Kill:
    """End a process that is as good as dead; what follows is what follows on its death."""

    name: str
    why: str


@dataclass(frozen=True)
class Dismiss:
    """Ask these to end, as nothing is left to do for them."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Fail:
    """End all; the rehearsal has this exit code. `name` is whose last words explain it."""

    exit_code: int
    name: str
    why: str


@dataclass(frozen=True)
class Finish:
    """All have ended, the chief well."""


Action = Start | Move | Kill | Dismiss | Fail | Finish
Rule = Callable[[View], "Action | None"]


def decide(view: View) -> Action | None:
    """The next action; None while all goes its way."""
    actions = (rule(view) for rule in RULES)
    return next((action for action in actions if action is not None), None)


def fail_for_good(view: View) -> Action | None:
    """An exit code that would come again ends the job."""
    for each in view.members:
        if each.is_running or each.is_done or each.exit_code not in FINAL_CODES:
            continue
        if each.role == "evaluator" and each.exit_code == 5:
            continue  # no readable checkpoint: it was deleted under it
        if each.role != "chief" and each.exit_code == 3 and view.run_state == "failed":
            continue  # it ends as the chief does, whose own code tells
        if each.role == "evaluator" or not view.is_finished:
            return Fail(each.exit_code, each.name, f"{each.name} ended with exit code {each.exit_code}")
    return None


def move(view: View) -> Action | None:
    """Somebody else took a port between the search for a free one and its use."""
    clashed = [each.name for each in view.members if each.has_clashed and not each.is_running]
    return Move(f"the port of {clashed[0]} was taken") if clashed and view.may_move and not view.is_finished else None


def kill_silent(view: View) -> Action | None:
    """A process without a sign of life. Parameter servers give none, and who has done its part needs none."""
    for each in view.members:
        limit = view.stall_secs + (SILENCE_SECS if each.has_beaten else START_SECS)
        if each.is_running and each.role != "ps" and not each.is_done and each.silent_secs > limit:
            return Kill(each.name, f"no sign of life of {each.name} for {each.silent_secs:.0f} s")
    return None


def restart_together(view: View) -> Action | None:
    """Those that train, where the death of one leaves the others hanging."""
    if view.is_finished or view.is_ending or not view.is_synchronous:
        return None
    group = [each for each in view.members if each.role in ("chief", "worker")]
    dead = [each for each in group if view.is_missing(each)]
    if not dead:
        return None
    return _again(view, tuple(each.name for each in group), max(group, key=lambda each: each.restarts), dead)


def restart_alone(view: View) -> Action | None:
    """Chief, workers and servers where servers keep the weights."""
    if view.is_finished or view.is_ending or view.is_synchronous:
        return None
    for each in view.members:
        if each.role != "evaluator" and view.is_missing(each):
            return _again(view, (each.name,), each, [each])
        if each.role == "ps":
            too_early = _ended_too_early(view, each)
            if too_early:
                return too_early
    return None


def restart_evaluator(view: View) -> Action | None:
    """Whatever it died of, also after the chief."""
    for each in view.members:
        if each.role != "evaluator" or view.is_ending:
            continue
        if view.is_missing(each):
            return _again(view, (each.name,), each, [each])
        if not view.is_finished and not each.is_done and view.evaluated_by != "chief":
            return _ended_too_early(view, each)
    return None


def _ended_too_early(view: View, each: Situation) -> Action | None:
    """One that took an earlier run for this one, or a chief that is started again needs it once more."""
    if each.exit_code != 0 or each.is_leaving or each.ended_secs < CALM_SECS or view.run_state == "finished":
        return None
    if each.role == "ps" and view.run_state in OVER:
        return None
    return Start((each.name,), f"{each.name} ended before the job did", is_free=True)


def close(view: View) -> Action | None:
    """The chief has ended well: let the others end, ask those that do not, and finish when none is left."""
    if not view.is_finished:
        return None
    running = [each for each in view.members if each.is_running]
    awaited = [each for each in view.members if each.role == "evaluator" and not each.is_fulfilled]
    if not running and all(each.is_leaving for each in awaited):
        return Finish()
    late = [each.name for each in running if not each.is_leaving and view.chief.ended_secs > _patience_secs(each)]
    return Dismiss(tuple(late)) if late else None


def _patience_secs(each: Situation) -> float:
    if each.role != "evaluator":
        return LEAVE_SECS
    return EVALUATOR_LEAVE_SECS if each.is_done else float("inf")


def _again(view: View, names: tuple[str, ...], judged: Situation, dead: list[Situation]) -> Action:
    first = max(dead, key=lambda each: each.ended_secs)
    died = f"{first.name} {died_of(first.exit_code)}"
    if judged.restarts >= view.max_restarts:
        return Fail(3, first.name, f"{died} after {judged.restarts} restarts, and --max-restarts allows no more")
    return Start(names, died)


def died_of(exit_code: int | None) -> str:
    """How a process ended, in words that go with its name."""
    if exit_code == STALLED:
        return f"stalled (exit code {STALLED})"
    if exit_code is not None and exit_code < 0:
        return f"was killed by signal {-exit_code}"
    return f"ended with exit code {exit_code}"


RULES: tuple[Rule, ...] = (
    fail_for_good,
    move,
    kill_silent,
    restart_together,
    restart_alone,
    restart_evaluator,
    close,
)

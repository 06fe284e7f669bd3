"""What is known of one member of a cluster over all its runs: the present process, the board, restarts, time lost."""

from __future__ import annotations

import posixpath
import signal
from collections.abc import Sequence

from trainer.cluster.board import Entry, Page
from trainer.cluster.plan import Member, Plan
from trainer.cluster.process import MemberProcess
from trainer.cluster.rules import STALLED, Situation
from trainer.cluster.screen import Standing

WORDS = {"chief": "training", "worker": "training", "ps": "serving", "evaluator": "evaluating"}


class Seat:
    """One member. All times are those of a clock that only rises."""

    def __init__(self, plan: Plan, member: Member) -> None:
        self.member = member
        self.page = Page(posixpath.join(plan.board, f"{member.entry}.json"))
        self.process: MemberProcess | None = None
        self.restarts = 0
        self.entry: Entry | None = None  # of the present process
        self.share: tuple[int, int] | None = None  # as it told it last, in whatever run
        self.lost: list[tuple[float, float]] = []
        self._earlier_examples = 0
        self._beat_at = 0.0
        self._losing: tuple[float, int] | None = None  # since when, and the step to reach again

    @property
    def examples(self) -> int | None:
        """Those that all its runs trained on, steps done twice included."""
        now = self.entry.examples if self.entry else None
        return None if now is None and not self._earlier_examples else (now or 0) + self._earlier_examples

    @property
    def exit_code(self) -> int | None:
        """Of its last process; None while it runs."""
        return self.process.exit_code if self.process else None

    def vacate(self, now: float) -> None:
        """Its next process is about to be started: what the board says by now does not count any more."""
        self._earlier_examples = self.examples or 0
        self.entry, self._beat_at = None, now
        self.page.turn()

    def look(self, now: float, lead: int) -> None:
        """See what has changed; `lead` is the newest step of the job."""
        if self.process:
            self.process.poll()
        if self.page.look():
            self.entry, self._beat_at = self.page.entry or self.entry, now
            self.share = (self.entry.share if self.entry else None) or self.share
        if self._losing and self._has_caught_up(self._losing[1], lead):
            self.end_loss(now)

    def begin_loss(self, since: float, lead: int) -> None:
        """It is about to be started again, after a death at that time."""
        step = self.entry.step if self.entry and self.entry.step is not None else 0
        if self._losing is None:
            self._losing = since, lead + 1 if self.member.role == "ps" else step

    def end_loss(self, now: float) -> None:
        """It is where it was, or will not get there."""
        if self._losing:
            self.lost.append((self._losing[0], now))
            self._losing = None

    def situation(self, now: float, attempt: str) -> Situation:
        """What the rules have to know; `attempt` is the chief's present run, empty while it has told none."""
        process = self.process
        assert process is not None, "all are started at the beginning"
        return Situation(
            name=self.member.name,
            role=self.member.role,
            exit_code=process.exit_code,
            ended_secs=0.0 if process.is_running else now - process.ended_at,
            is_done=bool(self.entry and self.entry.is_done and attempt in ("", self.entry.attempt)),
            is_leaving=process.asked_secs >= 0,
            restarts=self.restarts,
            silent_secs=now - self._beat_at,
            has_beaten=self.entry is not None,
            has_clashed=process.has_clashed,
        )

    def standing(self) -> Standing:
        """What to show."""
        step = self.entry.step if self.entry else None
        return Standing(self.member.name, self.state, step, self.examples, self.restarts)

    @property
    def state(self) -> str:
        """What it does, or how it ended, in a word or two."""
        process = self.process
        if process is None:
            return "waiting"
        if not process.is_running:
            return ended(process.exit_code, process.asked_secs >= 0)
        if process.is_paused:
            return "paused"
        if self.entry is None:
            return "starting" if self.member.role != "ps" else WORDS["ps"]
        return "done" if self.entry.is_done else self.entry.doing or WORDS[self.member.role]

    def _has_caught_up(self, step: int, lead: int) -> bool:
        if self.member.role == "ps":
            return lead >= step
        return self.entry is not None and (self.entry.is_done or (self.entry.step or 0) >= step)


def ended(exit_code: int | None, was_asked: bool) -> str:
    """How a process has ended."""
    if exit_code == 0:
        return "ended"
    if was_asked:
        return "dismissed"
    if exit_code == STALLED:
        return "stalled"
    if exit_code is not None and exit_code < 0:
        return f"killed ({signal_name(-exit_code)})"
    return f"failed ({exit_code})"


def signal_name(number: int) -> str:
    """SIGKILL and the like."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def total_secs(intervals: Sequence[tuple[float, float]]) -> float:
    """How long intervals are together, where they overlap counted once."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total

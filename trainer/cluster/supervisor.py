"""Looks after the processes of a cluster: sees what happens, does what the rules decide, and leaves nothing behind."""

from __future__ import annotations

import os
import posixpath
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from trainer.cluster.board import Page, Run
from trainer.cluster.faults import Fault, Timetable
from trainer.cluster.keeper import SAVING_SECS
from trainer.cluster.plan import Plan
from trainer.cluster.ports import Ports
from trainer.cluster.process import Keeper, MemberProcess
from trainer.cluster.rules import Dismiss, Fail, Finish, Kill, Move, Start, View, decide
from trainer.cluster.screen import Screen
from trainer.cluster.seat import Seat
from trainer.training.stopping import StopRequest

POLL_SECS = 0.1
GRACE_SECS = 5.0  # for those that are asked to end when nothing of theirs is needed any more


@dataclass(frozen=True)
class Outcome:
    """How it went.

    Attributes:
      fail: what ended it; None where the chief ended well, or a signal came (`is_stopped`).
      run: what the chief said last.
      step: the newest step that anybody told.
    """

    seats: Sequence[Seat]
    run: Run | None
    step: int
    fail: Fail | None = None
    is_stopped: bool = False
    done: Sequence[Fault] = ()
    missed: Sequence[Fault] = ()
    secs: float = 0.0


@dataclass
class _Job:
    """What is known of the job over all runs of its chief."""

    run: Run | None = None
    step: int = 0
    total_steps: int | None = None
    has_told_step: bool = False
    done: list[Fault] = field(default_factory=list)


class Supervisor:
    """The processes at work. Nobody else starts or ends any."""

    def __init__(self, plan: Plan, screen: Screen, lock: IO[bytes]) -> None:
        """Nothing is started yet. The lock is held until the last process has ended, even if this one is killed."""
        self._plan, self._screen = plan, screen
        self._seats = {member.name: Seat(plan, member) for member in plan.members}
        self._page = Page(posixpath.join(plan.board, "run.json"))
        self._job = _Job()
        self._timetable = Timetable(plan.faults)
        self._resume_at: list[tuple[float, MemberProcess]] = []
        self._may_move = True
        self._keeper = Keeper(uuid.uuid4().hex, lock)
        self._started_at = time.monotonic()
        self._do: dict[type, Callable[[Any], None]] = {
            Start: self._start_again,
            Move: self._move,
            Kill: self._kill_silent,
            Dismiss: self._dismiss,
        }

    def run(self, stop: StopRequest) -> Outcome:
        """Until the job has ended, or a signal asks to stop. Raises KeyboardInterrupt at a second signal."""
        try:
            self._ports = Ports(self._plan.members)
            self._ports.release()
            self._start(list(self._seats))
            return self._watch(stop)
        finally:
            for process in [seat.process for seat in self._seats.values() if seat.process]:
                process.kill()
                process.lines()  # which closes its log
            self._keeper.close()
            self._screen.clear()

    def _watch(self, stop: StopRequest) -> Outcome:
        while True:
            now = time.monotonic()
            self._look(now)
            if stop.requested:
                self._wind_down(SAVING_SECS)
                return self._outcome(is_stopped=True)
            action = decide(self._view(now))
            if isinstance(action, (Finish, Fail)):
                self._wind_down(GRACE_SECS)
                return self._outcome(action if isinstance(action, Fail) else None)
            if action is not None:
                self._do[type(action)](action)
            self._do_faults(now)
            self._end_late()
            time.sleep(POLL_SECS)

    def _look(self, now: float) -> None:
        """See who has ended, then read what the chief says, which may be why they have; show what was said."""
        for seat in self._seats.values():
            seat.look(now, self._job.step)
            if seat.member.role != "evaluator" and seat.entry:
                self._note_step(seat.entry.step)
            if seat.process:
                self._screen.say(seat.member.name, seat.process.lines())
        if self._page.look() and self._page.run:
            self._job.run = self._page.run
            self._job.total_steps = self._job.run.total_steps or self._job.total_steps
            self._note_step(self._job.run.step)
        self._screen.show([seat.standing() for seat in self._seats.values()])

    def _note_step(self, step: int | None) -> None:
        if step is not None:
            self._job.step, self._job.has_told_step = max(self._job.step, step), True

    def _view(self, now: float) -> View:
        run = self._page.run
        return View(
            tuple(seat.situation(now, run.attempt if run else "") for seat in self._seats.values()),
            run.state if run else "",
            self._job.run.evaluated_by if self._job.run else "",
            self._plan.job.distribution.stall_secs,
            self._plan.max_restarts,
            self._may_move,
        )

    def _start(self, names: Sequence[str]) -> None:
        os.makedirs(posixpath.join(self._plan.board, "logs"), exist_ok=True)  # --fresh may have moved it aside
        now, again = time.monotonic(), self._job.run is not None
        for name in names:
            seat = self._seats[name]
            seat.vacate(now)
            if seat.member.role == "chief":
                self._page.turn()
        for name in names:
            seat = self._seats[name]
            seat.process = MemberProcess(self._plan, seat.member, self._ports.of, self._keeper, again)

    def _start_again(self, action: Start) -> None:
        self._screen.own(f"{action.why}: starting {' and '.join(action.names)} again")
        processes = [self._process(name) for name in action.names]
        died_at = min((each.ended_at for each in processes if not each.is_running), default=time.monotonic())
        for name in action.names:
            seat = self._end(name)
            if not action.is_free:
                seat.begin_loss(died_at, self._job.step)
                seat.restarts += 1
        self._start(action.names)

    def _move(self, action: Move) -> None:
        self._screen.own(f"{action.why}: starting all on other ports")
        self._may_move = False
        for name in self._seats:
            self._end(name)
        self._ports = Ports(self._plan.members)
        self._ports.release()
        self._start(list(self._seats))

    def _kill_silent(self, action: Kill) -> None:
        self._screen.own(f"{action.why}: killing it")
        self._process(action.name).kill()

    def _dismiss(self, action: Dismiss) -> None:
        self._screen.own(f"the job is done: asking {' and '.join(action.names)} to end")
        for name in action.names:
            self._process(name).ask()

    def _end_late(self) -> None:
        """Kill those that were asked to end and do not."""
        for seat in self._seats.values():
            if seat.process and seat.process.asked_secs > GRACE_SECS:
                seat.process.kill()

    def _do_faults(self, now: float) -> None:
        for at, process in [each for each in self._resume_at if each[0] <= now]:
            process.resume()
            self._resume_at.remove((at, process))
        step = self._job.step if self._job.has_told_step else None
        for fault in self._timetable.due(now, step, self._job.total_steps):
            process = self._process(fault.name)
            if not process.is_running:
                continue  # it will be again
            self._screen.own(f"step {self._job.step}, on purpose: {fault}")
            self._timetable.done(fault)
            self._job.done.append(fault)
            if fault.pause_secs is None:
                process.kill()
            else:
                process.pause()
                self._resume_at.append((now + fault.pause_secs, process))

    def _wind_down(self, saving_secs: float) -> None:
        """Ask all to save and end, the parameter servers last, as the others need them to save; then kill."""
        until = time.monotonic() + saving_secs
        servers = [seat for seat in self._seats.values() if seat.member.role == "ps"]
        for seats in ([seat for seat in self._seats.values() if seat not in servers], servers):
            for seat in seats:
                if seat.process:
                    seat.process.ask()
            while any(seat.process and seat.process.is_running for seat in seats) and self._has_time(until):
                time.sleep(POLL_SECS)
                self._look(time.monotonic())
        for name in self._seats:
            self._end(name)
        self._look(time.monotonic())

    def _has_time(self, until: float) -> bool:
        """Whether to wait on; what only the others have is not worth much when the chief, who saves, has ended."""
        chief, now = self._process("chief"), time.monotonic()
        return now < until and (chief.is_running or now - chief.ended_at < GRACE_SECS)

    def _outcome(self, fail: Fail | None = None, is_stopped: bool = False) -> Outcome:
        now = time.monotonic()
        for seat in self._seats.values():
            seat.end_loss(now)
        return Outcome(
            list(self._seats.values()),
            self._job.run,
            self._job.step,
            fail,
            is_stopped,
            self._job.done,
            self._timetable.missed,
            now - self._started_at,
        )

    def _end(self, name: str) -> Seat:
        """Kill a process, if it still runs, and show what it has said meanwhile."""
        process = self._process(name)
        process.kill()
        self._screen.say(name, process.lines())
        return self._seats[name]

    def _process(self, name: str) -> MemberProcess:
        process = self._seats[name].process
        assert process is not None, "all are started at the beginning"
        return process

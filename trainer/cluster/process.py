"""One run of a member: a process with its log, and a sure end for it and all that it has started."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import IO

from trainer.cluster.logs import Tail, last_lines
from trainer.cluster.marked import signal_group, signal_marked
from trainer.cluster.plan import Member, Plan

KEEPER = "trainer.cluster.keeper"
CLASHES = re.compile(r"address already in use|could not start grpc server", re.IGNORECASE)


class Keeper:
    """The process that ends the others when this one is gone; see `keeper`."""

    def __init__(self, mark: str, lock: IO[bytes]) -> None:
        """Start it. It holds the lock until it ends, so that nobody begins before the last of our processes is gone."""
        self.mark = mark
        self._process = subprocess.Popen(
            [sys.executable, "-m", KEEPER, mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # whoever reads what this process says need not wait for that one
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )

    def enter(self, order: int) -> None:
        """Put the calling process down: to be called between fork and exec, so that no kill can come before it."""
        os.write(self._pipe.fileno(), f"+{os.getpid()} {order}\n".encode())

    def forget(self, pid: int) -> None:
        """Take a process off that has ended."""
        with contextlib.suppress(BrokenPipeError):  # somebody has killed it
            os.write(self._pipe.fileno(), f"-{pid}\n".encode())

    def close(self) -> None:
        """Let it end."""
        self._pipe.close()
        self._process.wait()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None, "it is asked for above"
        return self._process.stdin


class MemberProcess:
    """A member at work, in a session of its own: nobody else's Ctrl-C reaches it."""

    def __init__(self, plan: Plan, member: Member, ports: Mapping[Member, int], keeper: Keeper, again: bool) -> None:
        """Start it. Raises OSError where its log cannot be written."""
        self.member, self.started_at = member, time.monotonic()
        self.ended_at = 0.0
        self.exit_code: int | None = None
        self.is_paused = False
        self.has_clashed = False  # ended because somebody else listens on its port
        self._keeper, self._mark = keeper, plan.mark_of(member, keeper.mark)
        self._asked_at: float | None = None
        self.log = plan.log(member)
        command = [*plan.entry, *plan.argv(again)]
        with open(self.log, "ab") as log:
            log.write(f"\n--- {member.name}: python {shlex.join(command)}\n".encode())
            log.flush()
            self._tail = Tail(self.log)
            order = int(member.role == "ps")  # the others need it to save
            self._process = subprocess.Popen(
                [sys.executable, *command],
                env=plan.environ_of(member, ports, keeper.mark),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: keeper.enter(order),
            )

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, as far as `poll` has seen."""
        return self.exit_code is None

    @property
    def asked_secs(self) -> float:
        """How long ago it was asked to end; negative if it was not."""
        return -1.0 if self._asked_at is None else time.monotonic() - self._asked_at

    def lines(self) -> list[str]:
        """What it has printed since the last time; its last line too, once it has ended."""
        return self._tail.lines(whole=self.is_running)

    def last_lines(self, count: int = 1) -> list[str]:
        """The last lines of this run that say something."""
        return last_lines(self.log, count, self._tail.start) or ["it said nothing"]

    def poll(self) -> None:
        """Look whether it has ended; then nothing of it is left."""
        code = self._process.poll()
        if code is not None and self.exit_code is None:
            self.exit_code, self.ended_at = code, time.monotonic()
            self.has_clashed = code > 0 and bool(CLASHES.search("\n".join(self.last_lines(50))))
            self._sweep()
            self._keeper.forget(self._process.pid)

    def ask(self) -> None:
        """Ask it to save and end."""
        if self._asked_at is None and self.is_running:
            self._asked_at = time.monotonic()
            self._process.terminate()
            self.resume()

    def pause(self) -> None:
        """Stop it, to be resumed."""
        self.is_paused = True
        signal_group(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self.is_paused:
            self.is_paused = False
            signal_group(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it and all it has started, at once."""
        if self.is_running:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self.poll()

    def _sweep(self) -> None:
        """What it may have started, such as a verification, which has a session of its own."""
        signal_group(self._process.pid, signal.SIGKILL)
        signal_marked(self._mark, signal.SIGKILL)

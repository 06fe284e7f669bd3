"""A job directory in a bucket is worked in by one process: the one that its lease names and that keeps it alive.

A bucket has no locks. The lease is an object that is written only in place of the generation that was read, so that of
two writers one loses; its owner writes it anew every BEAT_SECS. Whoever finds a lease watches it: one that changes has
an owner who is alive, and one that stays the same for LEASE_SECS has none any more and may be taken over. No two clocks
are compared. An owner that is told by a write that another has taken over ends at once, before it writes more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from trainer.cloud.storage import put_version, read_version, remove_version
from trainer.job.errors import JobDirError, TrainerError

LOG = logging.getLogger("trainer")
BEAT_SECS, LEASE_SECS, LOOK_SECS = 10.0, 45.0, 2.0


@contextlib.contextmanager
def held(url: str, place: str) -> Iterator[None]:
    """Hold a lease within this context; `place` is what it stands for, in messages.

    Where there is one, it takes up to LEASE_SECS to see whether its owner is alive.

    Raises:
      JobDirError: it is another process's, which is alive.
      UsageError, StorageFailed: the bucket cannot be used.
    """
    lease = _Lease(url, place)
    lease.take()
    try:
        with lease.kept():
            yield
    finally:
        with contextlib.suppress(TrainerError):  # it ends by itself, only later
            lease.give_back()


def refuse_held(url: str, place: str) -> None:
    """See whether somebody alive holds a lease, and leave it as it is. Raises as `held`."""
    _Lease(url, place).await_free()


class _Lease:
    """What one process knows of a lease."""

    def __init__(self, url: str, place: str) -> None:
        self._url, self._place = url, place
        self._owner = {**_process(os.getpid()), "token": uuid.uuid4().hex}
        self._beats, self._generation = 0, 0
        self._over = threading.Event()

    def take(self) -> None:
        """Make it this process's."""
        while True:
            generation = self.await_free()
            if self._put(generation):
                return

    def await_free(self) -> int:
        """The generation that nobody holds, 0 where there is no lease."""
        first, since = read_version(self._url), time.monotonic()
        if first is None:
            return 0
        owner = _owner_of(first[0])
        if _is_gone(owner):
            return first[1]
        LOG.info("%s is held by %s: looking whether that is alive, up to %.0f s", self._place, _who(owner), LEASE_SECS)
        while time.monotonic() - since < LEASE_SECS:
            time.sleep(LOOK_SECS)
            now = read_version(self._url)
            if now is None:
                return 0
            if now[1] != first[1]:
                raise JobDirError(
                    f"another process is at work in {self._place} ({_who(_owner_of(now[0]))}): wait for it, stop it, "
                    "or name another --job-dir."
                )
        return first[1]

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Within this context the lease is kept alive."""
        thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def give_back(self) -> None:
        """Let others have it at once."""
        remove_version(self._url, self._generation)

    def _keep(self) -> None:
        while not self._over.wait(BEAT_SECS):
            try:
                is_mine = self._put(self._generation)
            except TrainerError as error:  # the storage is away for a moment: the next beat will tell
                LOG.debug("the lease was not renewed: %s", error)
                continue
            if not is_mine:
                end_lost(f"{self._place} was taken over by another process, as this one was silent for too long")

    def _put(self, generation: int) -> bool:
        self._beats += 1
        put = put_version(self._url, json.dumps({**self._owner, "beat": self._beats}).encode(), generation)
        put = put or self._own_generation()
        self._generation = put or self._generation
        return put is not None

    def _own_generation(self) -> int | None:
        """That of a beat of our own whose answer was lost: it stands there and was not told."""
        found = read_version(self._url)
        return found[1] if found and _owner_of(found[0]).get("token") == self._owner["token"] else None


def end_lost(sentence: str) -> None:
    """End this process before it writes into what is another's by now: the main thread may be in a long call."""
    print(f"trainer.task: {sentence}: ended without saving.", file=sys.stderr, flush=True)
    os._exit(JobDirError.exit_code)


def _owner_of(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _who(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid', 'unknown')} on {owner.get('host', 'a machine unknown')}"


def _process(pid: int) -> dict[str, Any]:
    """What tells a process from all others, as far as this machine says; `started` is empty for one that is not there.

    Numbers of processes mean something only within one namespace of one running machine, and are used again.
    """
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "namespace": _said(lambda: os.readlink("/proc/self/ns/pid") + _text("/proc/sys/kernel/random/boot_id")),
        "started": _said(lambda: _text(f"/proc/{pid}/stat").rpartition(")")[2].split()[19]),
    }


def _is_gone(owner: dict[str, Any]) -> bool:
    """Whether a process of this machine has ended; False where that is not known."""
    here = _process(int(owner["pid"])) if isinstance(owner.get("pid"), int) else {}
    is_ours = bool(here.get("namespace")) and all(owner.get(name) == here[name] for name in ("host", "namespace"))
    return is_ours and owner.get("started") != here["started"]


def _said(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (OSError, IndexError):  # no Linux, or no such process
        return ""


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()

"""All processes of a rehearsal, those included that its own processes have started in sessions of their own.

Linux shows the environment that a process was started with, and children inherit it; elsewhere only the group of each
process is known.
"""

from __future__ import annotations

import contextlib
import os
import signal

from trainer.cluster.plan import MARK

PROC = "/proc"


def marked(prefix: str) -> list[int]:
    """The processes whose mark begins so, this one apart; zombies have no environment any more."""
    wanted, found = f"{MARK}={prefix}".encode(), []
    for name in os.listdir(PROC) if os.path.isdir(PROC) else []:
        if name.isdigit() and int(name) != os.getpid() and _has(f"{PROC}/{name}/environ", wanted):
            found.append(int(name))
    return found


def signal_marked(prefix: str, signum: signal.Signals) -> None:
    """Send all of them a signal."""
    for pid in marked(prefix):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def signal_group(pid: int, signum: signal.Signals) -> None:
    """Send a process group a signal, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the second of a group that is gone
        os.killpg(pid, signum)


def is_alive(pid: int) -> bool:
    """Whether a process is there. One that has ended, and that nobody asks for its exit code, is not."""
    try:
        os.kill(pid, 0)
        with open(f"{PROC}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, PermissionError):
        return False
    except OSError:
        return not os.path.isdir(PROC)


def _has(path: str, wanted: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return any(each.startswith(wanted) for each in file.read().split(b"\0"))
    except OSError:  # gone meanwhile, or another user's
        return False

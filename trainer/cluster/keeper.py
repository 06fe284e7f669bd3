"""Ends the processes of a rehearsal when the one that looks after them is gone, be it by kill -9.

    python -m trainer.cluster.keeper MARK < PIPE

The pipe says which process groups there are, "+PID ORDER" a line, and which are not any more, "-PID". Its end is the
end of the supervisor. Those of the lowest order are asked first to save and end, those of the next one then: parameter
servers hold what others have to save. What is left after a while is killed.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Sequence

from trainer.cluster.marked import is_alive, marked, signal_group, signal_marked

SAVING_SECS = 30.0
SETTLE_SECS = 0.5  # a process that was forked at the last moment has no mark of its own yet
ORDERS = (0, 1)


def main(argv: Sequence[str]) -> None:
    """Wait for the end of the pipe, then end what is left."""
    groups = read_groups(sys.stdin)
    if groups or marked(argv[0]):
        end(groups, argv[0])


def read_groups(lines: Iterable[str]) -> dict[int, int]:
    """Process group -> order, of those that are left when the lines end."""
    groups: dict[int, int] = {}
    for line in lines:
        if line.startswith("-"):
            groups.pop(int(line[1:]), None)
        else:
            pid, order = line[1:].split()
            groups[int(pid)] = int(order)
    return groups


def end(groups: dict[int, int], mark: str, saving_secs: float = SAVING_SECS) -> None:
    """Ask, wait, kill."""
    until = time.monotonic() + saving_secs
    for order in ORDERS:
        asked = [pid for pid, its in groups.items() if its == order]
        for pid in asked:
            signal_group(pid, signal.SIGTERM)
            signal_group(pid, signal.SIGCONT)  # one that was stopped hears nothing before
        while time.monotonic() < until and any(map(is_alive, asked)):
            time.sleep(0.05)
    for pid in groups:
        signal_group(pid, signal.SIGKILL)
    settled = time.monotonic() + SETTLE_SECS
    while time.monotonic() < settled:
        signal_marked(mark, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Free ports of this machine, held until the processes that listen there are started."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Sequence

from trainer.cluster.plan import Member

HOST = "127.0.0.1"
LOWEST = 20_000
EPHEMERAL = "/proc/sys/net/ipv4/ip_local_port_range"
TRIES = 2_000


class Ports:
    """A port for each member. Nobody else gets them while they are held."""

    def __init__(self, members: Sequence[Member]) -> None:
        """Find and hold them. Raises OSError where this machine has no free port left."""
        self._held: list[socket.socket] = []
        try:
            self.of = {member: self._hold() for member in members}
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let the processes have them."""
        for each in self._held:
            each.close()
        self._held.clear()

    def _hold(self) -> int:
        """A port below those that the kernel gives to whoever calls out: a process that dies finds its own again."""
        source = random.SystemRandom()
        highest = first_ephemeral() - 1
        for _ in range(TRIES if highest > LOWEST + 1_000 else 0):
            with contextlib.suppress(OSError):
                return self._bind(source.randint(LOWEST, highest))
        return self._bind(0)

    def _bind(self, port: int) -> int:
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            held.bind((HOST, port))
        except OSError:
            held.close()
            raise
        self._held.append(held)
        return int(held.getsockname()[1])


def first_ephemeral() -> int:
    """The lowest port that the kernel gives to whoever asks for any; 0 where it does not say."""
    try:
        with open(EPHEMERAL, encoding="ascii") as file:
            return int(file.read().split()[0])
    except (OSError, ValueError):
        return 0

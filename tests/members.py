"""Jobs of several processes on this machine, each told of the others by TF_CONFIG as a cloud would."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from tests.runner import Running
from trainer.cluster.plan import Member
from trainer.cluster.ports import HOST, Ports

Members = dict[str, Running]


def free_addresses(count: int) -> list[str]:
    """Addresses on loopback that nobody listens at."""
    ports = Ports([Member("worker", index) for index in range(count)])
    ports.release()
    return [f"{HOST}:{port}" for port in ports.of.values()]


def cluster(**counts: int) -> dict[str, list[str]]:
    """Role -> addresses, for so many processes of each."""
    addresses = iter(free_addresses(sum(counts.values())))
    return {role: [next(addresses) for _ in range(count)] for role, count in counts.items() if count}


@contextlib.contextmanager
def at_work(
    folder: pathlib.Path, roles: Mapping[str, Sequence[str]], argv: Sequence[str], env: Mapping[str, str] | None = None
) -> Iterator[Members]:
    """One process for each address, called worker-0 and so on; none is left at the end."""
    found: Members = {}
    try:
        for role, addresses in roles.items():
            for index in range(len(addresses)):
                config = json.dumps({"cluster": roles, "task": {"type": role, "index": index}})
                mine = {"TF_CONFIG": config, "OMP_NUM_THREADS": "1", **(env or {})}
                found[f"{role}-{index}"] = Running(folder, argv, mine)
        yield found
    finally:
        for each in found.values():
            each.kill()

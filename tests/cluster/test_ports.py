"""Ports are free, different, and out of the way of those who call out."""

from __future__ import annotations

import socket

import pytest

from trainer.cluster import ports as ports_module
from trainer.cluster.plan import Member
from trainer.cluster.ports import HOST, LOWEST, Ports, first_ephemeral

MEMBERS = [Member("chief"), Member("worker"), Member("worker", 1)]


def test_ports_are_held_until_they_are_released() -> None:
    ports = Ports(MEMBERS)
    assert sorted(ports.of, key=str) == sorted(MEMBERS, key=str)
    assert len(set(ports.of.values())) == 3
    for port in ports.of.values():
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((HOST, port))
    ports.release()
    for port in ports.of.values():
        with socket.socket() as server, socket.socket() as client:
            server.bind((HOST, port))
            server.listen()
            client.connect((HOST, port))


def test_nobody_who_calls_out_gets_them() -> None:
    ports = Ports(MEMBERS)
    ports.release()
    if first_ephemeral() > LOWEST + 1_000:
        assert all(LOWEST <= port < first_ephemeral() for port in ports.of.values())


def test_a_machine_without_room_below_gives_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports_module, "first_ephemeral", lambda: 1024)
    ports = Ports(MEMBERS)
    assert len(set(ports.of.values())) == 3
    ports.release()

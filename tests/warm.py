"""Processes that have TensorFlow already: importing it is half of what a small job costs, and there are hundreds here.

A server, one for each process that runs tests, imports what jobs import of others and forks; what it forks is a
process of its own in all else: it imports this project anew, has the environment, the folder, the files and the
session that were asked for, and it may be watched, signalled and killed by its pid. Where the environment steers what
happens at an import, or where the system has no such thing, processes are started as ever (`warm_server.is_possible`);
`cold` asks for that.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import pathlib
import select
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

import psutil

from tests.gcs_rig import QUICK

HERE = pathlib.Path(__file__).resolve().parent
LONGEST_ANSWER_BYTES = 100  # a line, and there is never more than one on the way
START_SECS = 120.0
STARTING = threading.Lock()


def _can_watch_processes() -> bool:
    """Whether this system tells of the end of a process by a descriptor; containers may forbid it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


IS_POSSIBLE = _can_watch_processes()


class Server:
    """The process that forks, and the executable that stands for Python in what it has forked."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="warm-")  # short: the name of a socket has 108 characters at most
        atexit.register(self.stop)
        self._path = f"{folder}/socket"
        self.python = self._write_executable()
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "warm_server.py"), self._path],
            # threads of numpy's would not be there after a fork; what a path adds is each process's own
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", **QUICK},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + START_SECS
        while not os.path.exists(self._path):
            assert self._process.poll() is None, "the server of warm processes did not start"
            assert time.monotonic() < end, f"the server of warm processes did not start within {START_SECS:.0f} s"
            time.sleep(0.05)

    def _write_executable(self) -> str:
        path = pathlib.Path(self._path).with_name("python")
        client = [sys.executable, "-I", "-S", str(HERE / "warm_client.py"), self._path, str(path), sys.executable]
        path.write_text(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n')
        path.chmod(0o700)
        return str(path)

    def fork(
        self, argv: Sequence[str], cwd: pathlib.Path, env: Mapping[str, str], files: Sequence[IO[bytes]]
    ) -> Forked | None:
        """A process that runs `python ARGUMENT ...` and leads a session; None where it has to be started as ever."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        request = {"argv": list(argv), "cwd": str(cwd), "environ": dict(env), "executable": self.python}
        descriptors = [each.fileno() for each in files]
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], descriptors)
        pid = json.loads(connection.recv(LONGEST_ANSWER_BYTES))["pid"]
        if pid is None:
            connection.close()
            return None
        return Forked(pid, connection)

    def stop(self) -> None:
        """End, and with it all that it has forked; the server removes the folder, as it does when nobody calls this."""
        atexit.unregister(self.stop)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Forked(psutil.Process):
    """A process that the server has forked, with what `psutil.Popen` has to offer."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self._connection: int | None = connection.detach()
        self._exit_code: int | None = None
        super().__init__(pid)

    def __del__(self) -> None:
        """Whoever forgets it ends it: the server kills what nobody waits for."""
        if self._connection is not None:
            os.close(self._connection)

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        try:
            return self.wait(0)
        except psutil.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; negative where a signal ended it. Raises psutil.TimeoutExpired."""
        if self._exit_code is None:
            assert self._connection is not None, "it is there as long as there is no exit code"
            if not select.select([self._connection], [], [], timeout)[0]:
                raise psutil.TimeoutExpired(timeout, self.pid)
            answer = os.read(self._connection, LONGEST_ANSWER_BYTES)
            assert answer, "the server of warm processes is gone"
            self._exit_code = int(json.loads(answer)["exit_code"])
            os.close(self._connection)
            self._connection = None
        return self._exit_code

    @property
    def returncode(self) -> int | None:
        """The exit code if its end has been waited for."""
        return self._exit_code


@functools.cache
def _server() -> Server:
    return Server()


def server() -> Server:
    """The server of this process."""
    with STARTING:
        return _server()


def python() -> str:
    """An executable that stands for Python where a command is run to its end: what it runs is forked if it can be."""
    return server().python if IS_POSSIBLE else sys.executable


def start(
    argv: Sequence[str], cwd: pathlib.Path, env: Mapping[str, str], files: Sequence[IO[bytes]], cold: bool = False
) -> psutil.Popen | Forked:
    """Start `python ARGUMENT ...`, leading a session, with files for stdin, stdout and stderr."""
    forked = server().fork(argv, cwd, env, files) if IS_POSSIBLE and not cold else None
    if forked is not None:
        return forked
    stdin, stdout, stderr = files
    return psutil.Popen(
        [sys.executable, *argv], cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
    )

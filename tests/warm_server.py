"""A Python that has TensorFlow imported and becomes, by fork, the processes that `tests.warm` asks for.

    python warm_server.py SOCKET

Whoever connects sends one JSON object, with stdin, stdout and stderr beside it: argv, cwd, environ, executable. It is
told the pid of the process, and its exit code when it has ended; or null for a pid where a fork would not do. Where it
goes before that, or this server's own stdin ends, the process is killed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST_REQUEST_BYTES = 2**22
DOORS = ("trainer.task", "trainer.predict", "trainer.report", "trainer.check", "trainer.submit")
COMMANDS = (*DOORS, "trainer.training.verification", "trainer.training.probe")
STEERING = ("TF_", "XLA_", "GCS_", "LD_", "MALLOC_", "PYTHON")
NOT_STEERING = ("TF_CONFIG", "PYTHONPATH")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
IMPORTED = (  # nothing of Google's: google.auth asks the environment when it is imported
    "hypertune",
    "jinja2",
    "jsonargparse",
    "tensorboard.plugins.hparams.api_pb2",
    "tensorflow_estimator.python.estimator.keras_lib",
    "tqdm",
)


def import_all() -> None:
    """Import what a job imports of others; nothing of this project, which each process imports for itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf

        _ = tf.keras.layers, tf.estimator.RunConfig, tf.io.gfile.exists  # each loads what it stands for
        for name in IMPORTED:
            __import__(name)
    gc.collect()
    gc.freeze()  # for good: going through all of this once more costs a process most of a second at its end


class Server:
    """Who asked for which process."""

    def __init__(self, path: str) -> None:
        self._stdin = sys.stdin.fileno()
        self._listener = socket.socket(socket.AF_UNIX)
        self._path = path
        self._listener.bind(f"{path}.new")
        self._listener.listen(64)
        os.rename(f"{path}.new", path)  # who finds it is answered
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stdin, selectors.EVENT_READ)
        self._asked: dict[int, tuple[int, socket.socket]] = {}  # descriptor of a process -> its pid, and who asked

    def serve(self) -> list[str]:
        """Answer until stdin ends; returns only in a process that was asked for: its arguments."""
        while True:
            for key, _ in self._selector.select()[:1]:  # one at a time: it may close what the next one is about
                if key.fd == self._stdin:
                    self._kill_all()
                elif key.fd in self._asked:
                    self._reap(key.fd)
                elif key.fileobj is not self._listener:  # whoever asked says nothing more: it has gone
                    self._selector.unregister(key.fileobj)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(key.data, signal.SIGKILL)
                elif argv := self._accept():
                    return argv

    def _accept(self) -> list[str] | None:
        connection, _ = self._listener.accept()
        request, descriptors = receive(connection)
        pid = os.fork() if request and is_possible(request) else None
        if pid == 0:
            connection.close()
            self._forget()
            assert request is not None
            become(request, descriptors)
            return list(request["argv"])
        for each in descriptors:
            os.close(each)
        tell(connection, {"pid": pid})
        if pid is None:
            connection.close()
            return None
        process = os.pidfd_open(pid)
        self._asked[process] = (pid, connection)
        self._selector.register(process, selectors.EVENT_READ)
        self._selector.register(connection, selectors.EVENT_READ, pid)
        return None

    def _reap(self, process: int) -> None:
        pid, connection = self._asked.pop(process)
        self._selector.unregister(process)
        os.close(process)
        if connection in self._selector.get_map():
            self._selector.unregister(connection)
        _, status = os.waitpid(pid, 0)
        tell(connection, {"exit_code": os.waitstatus_to_exitcode(status)})
        connection.close()

    def _forget(self) -> None:
        """Close, in a process that was forked off, what is the server's."""
        self._selector.close()
        self._listener.close()
        for process, (_, connection) in self._asked.items():
            os.close(process)
            connection.close()

    def _kill_all(self) -> None:
        for pid, _ in self._asked.values():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(os.path.dirname(self._path))
        os._exit(0)


def receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The request and its three descriptors; None from somebody who went away before it was whole."""
    data, descriptors, _, _ = socket.recv_fds(connection, LONGEST_REQUEST_BYTES, 3)
    while data and not data.endswith(b"\n"):
        more = connection.recv(LONGEST_REQUEST_BYTES)
        if not more:
            break
        data += more
    if not data.endswith(b"\n"):
        for each in descriptors:
            os.close(each)
        return None, []
    return json.loads(data), list(descriptors)


def is_possible(request: dict[str, Any]) -> bool:
    """Whether a forked process would do the same as one that is started: what acts at imports is as it was here."""
    argv, environ = request["argv"], request["environ"]
    known = argv[:1] == ["-m"] and (argv[1] in COMMANDS or argv[1].startswith("tests."))
    if not known or "--verbosity=debug" in argv:
        return False
    if not {ROOT, ""}.issuperset(environ.get("PYTHONPATH", "").split(os.pathsep)):
        return False  # it may stand before what is imported here
    told = {LOG_LEVEL: "3", **{name: value for name, value in os.environ.items() if name.startswith("GCS_")}}
    return steering({**told, **environ}) == steering(os.environ)  # of these a job need not say anything


def steering(environ: Mapping[str, str]) -> dict[str, str]:
    """What of an environment acts at imports."""
    return {name: value for name, value in environ.items() if name.startswith(STEERING) and name not in NOT_STEERING}


def tell(connection: socket.socket, answer: dict[str, int | None]) -> None:
    """Answer, if somebody still listens."""
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(answer).encode() + b"\n")


def become(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Take on all that tells a new process from this one."""
    os.setsid()
    for number, each in enumerate(descriptors):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["cwd"])
    own = request["environ"].get("PYTHONPATH", "")
    first = [request["cwd"], *filter(None, own.split(os.pathsep))]
    sys.path[:] = [*first, *(each for each in sys.path if each not in first)]
    sys.argv[:] = request["argv"][1:]  # the first becomes the path of the module
    sys.executable = request["executable"]
    import numpy as np

    np.random.seed(None)  # a new process has a state of its own


if __name__ == "__main__":
    os.environ[LOG_LEVEL] = "3"
    sys.path[:] = [each for each in sys.path if each != os.path.dirname(os.path.abspath(__file__))]
    import_all()
    module = Server(sys.argv[1]).serve()[1]
    runpy._run_module_as_main(module)  # what `python -m` calls: exit codes and tracebacks are Python's own

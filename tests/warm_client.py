"""What stands for Python in processes that `tests.warm` starts: it has `python -m MODULE` forked off where that may be.

    python -I -S warm_client.py SOCKET EXECUTABLE REAL_PYTHON ARGUMENT ...

It lives as long as the process that does the work: it hands on the signals that it gets and ends as that one ends.
"""

import json
import os
import resource
import signal
import socket
import sys

HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main(path: str, executable: str, python: str, *argv: str) -> int:
    """Have the work done; its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        request = {"argv": argv, "cwd": os.getcwd(), "environ": dict(os.environ), "executable": executable}
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)  # until there is somebody to hand them on to
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        answers = connection.makefile("rb")
        pid = json.loads(answers.readline())["pid"]
        if pid is None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
            os.execv(python, [python, *argv])
        for each in HANDED_ON:
            signal.signal(each, lambda signum, frame: os.kill(pid, signum))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
        exit_code = json.loads(answers.readline())["exit_code"]
    if exit_code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -exit_code != signal.SIGKILL:
            signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    return exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

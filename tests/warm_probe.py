"""What a process finds itself to be: `python -m tests.warm_probe [WORD ...]` prints it as JSON.

The word `fail` raises, `exit N` ends with that code, `wait` waits for a signal and says which one came.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any


def found() -> dict[str, Any]:
    """All that tells one process from another, but for its pid."""
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1)
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return {
        "argv": sys.argv,
        "module": [__name__, __file__, getattr(__spec__, "name", None), __package__],
        "folder": os.getcwd(),
        "environ": dict(os.environ),
        "path": sys.path,
        "leads": [os.getpid() == os.getsid(0), os.getpid() == os.getpgid(0)],
        "signals": [str(signal.getsignal(each)) for each in handled],
        "blocked": sorted(map(str, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        "streams": [[each.fileno(), each.encoding, each.errors, each.line_buffering] for each in streams],
        "files": sorted(int(name) for name in os.listdir("/proc/self/fd") if is_open(int(name))),
        "ours": sorted(name for name in sys.modules if name.partition(".")[0] in ("trainer", "tests")),
    }


def is_open(number: int) -> bool:
    """Whether a descriptor is one of this process; the listing itself needs one that is closed by now."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def main(*words: str) -> None:
    """The commands above."""
    if words[:1] == ("fail",):
        raise ValueError("as asked for")
    if words[:1] == ("exit",):
        sys.exit(int(words[1]))
    if words[:1] == ("wait",):
        came = []
        signal.signal(signal.SIGTERM, lambda signum, frame: came.append(signum))
        print("waiting", flush=True)
        while not came:
            time.sleep(0.01)
        print("came", *map(int, came), flush=True)
    print(json.dumps(found()))


if __name__ == "__main__":
    main(*sys.argv[1:])

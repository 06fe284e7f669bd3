"""Become another Python program that ends with the process that started this one, even where that is killed.

    python -m trainer.sweeps.leash PARENT_PID ARGUMENTS_OF_PYTHON...

On Linux the kernel sends it SIGTERM then, upon which a trial saves and ends; elsewhere it runs on to its own end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>; it stays over exec, but not for children


def main(argv: Sequence[str]) -> None:
    """Does not return."""
    parent, *arguments = argv
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit(128 + signal.SIGTERM)  # it was gone before the kernel knew
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])

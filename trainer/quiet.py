"""What gets onto the terminal: this package's own words, and TensorFlow's only where somebody debugs."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings

LEVELS = {"quiet": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


def set_up(verbosity: str) -> None:
    """Set up logging; to be called before TensorFlow is imported, as it reads its log level only then."""
    log = logging.getLogger("trainer")
    log.setLevel(LEVELS[verbosity])
    log.propagate = False
    if not log.handlers:
        log.addHandler(BarLog())
    if verbosity != "debug":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        logging.getLogger("absl").setLevel(logging.ERROR)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        threading.excepthook = _unless_raised_again


def _unless_raised_again(failed: threading.ExceptHookArgs) -> None:
    """Show what ended a thread, but for the one that writes event files: who flushes it next raises that error."""
    if type(failed.thread).__name__ != "_EventLoggerThread":
        threading.__excepthook__(failed)


class BarLog(logging.Handler):
    """Prints records to stderr, above a progress bar where one is being drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        import tqdm

        tqdm.tqdm.write(self.format(record), file=sys.stderr)

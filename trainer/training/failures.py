"""Which line of the user's own code an error comes from, and the error in one line of words."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType

from trainer.cloud.storage import failure_in
from trainer.job.errors import ModelError, TrainerError

LONGEST = 300  # characters: Keras puts whole call stacks and argument lists into some of its messages


def own_line(error: BaseException, owns: Callable[[str], bool]) -> tuple[str, int] | None:
    """Path and line of the deepest frame (or the syntax error) in a file that `owns` accepts, if there is one."""
    if isinstance(error, SyntaxError) and error.filename and owns(error.filename):
        return error.filename, error.lineno or 1
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    return next(((path, line) for path, line in reversed(frames) if owns(path)), None)


def shown_path(path: str) -> str:
    """The path as a user would type it here: relative where it lies below the current folder."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def in_words(error: BaseException) -> str:
    """Kind and message on one line, without the full stop that the sentence around it has."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    words = " ".join(message.split()).rstrip(".")
    if len(words) > LONGEST:
        words = words[: LONGEST - 4].rsplit(" ", 1)[0] + " ..."
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


@contextlib.contextmanager
def storage_refusals() -> Iterator[None]:
    """What TensorFlow says of Cloud Storage, in a sentence. Raises UsageError, StorageFailed."""
    try:
        yield
    except Exception as error:
        refused = failure_in(str(error))
        if refused is None:
            raise
        raise refused from error


@contextlib.contextmanager
def user_code(module: ModuleType, function: str) -> Iterator[None]:
    """Around a call of one of the user's functions: what it raises is his to mend. Raises ModelError with the line."""
    try:
        yield
    except TrainerError:
        raise
    except Exception as error:
        path = os.path.abspath(module.__file__ or "")
        place = own_line(error, lambda name: os.path.abspath(name) == path) or (path, 1)
        raise ModelError(f"{shown_path(place[0])}:{place[1]}: {function} raised {in_words(error)}.") from error

"""What a person sees: a bar on a terminal, some lines in a log, nothing of TensorFlow's."""

from __future__ import annotations

import fcntl
import os
import pathlib
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import time

import pytest

from tests.runner import COMMAND, DEADLINE_SECS, assert_finished, environ, flags, run, write_project

pytestmark = pytest.mark.xdist_group("task_output")
LINE = re.compile(
    r"step \d+/\d+  loss \d+\.\d{4}  (measuring|[\d,]+ examples/s)  (time left unknown yet|[\d:]+( s)? left)"
)
EVALUATION = re.compile(r"evaluation at step \d+: mae \d+\.\d{4}  loss \d+\.\d{4}")
KERAS = "model.py: keras means tf.keras of TensorFlow 2.15.1 here."
TABLE = ("CPU ", "GPU, TPU ", "strategy ", "precision ", "XLA ", "threads ")  # what the job runs on, once
HOSTILE = "a 0; \"b'c"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return write_project(tmp_path / "project")


def test_a_log_gets_a_line_every_few_seconds_and_no_chatter(folder: pathlib.Path) -> None:
    began = time.monotonic()
    done = run(folder, flags("--eval-every-steps=4000", "--exporters=none", steps=8000), cold=True).ok()
    took_secs = time.monotonic() - began
    first, *rest = [line for line in done.sentences if not line.startswith(TABLE)]
    assert first == KERAS
    evaluations = [line for line in rest if EVALUATION.fullmatch(line)]
    progress = [line for line in rest if LINE.fullmatch(line)]
    assert [line for line in rest if line not in evaluations and line not in progress] == []
    assert [line.split(":")[0] for line in evaluations] == ["evaluation at step 4000", "evaluation at step 8000"]
    assert progress[0].startswith("step 1/8000")
    assert 2 <= len(progress) <= 3 + took_secs / 4, "progress is not shown every few seconds"
    assert "\r" not in done.err
    assert [line.split(" ")[0] for line in done.sentences if line.startswith(TABLE)] == [
        name.split(" ")[0] for name in TABLE
    ]


def test_quiet_says_nothing(folder: pathlib.Path) -> None:
    done = run(folder, flags("--verbosity=quiet", steps=20), cold=True).ok()
    assert (done.out, done.sentences) == ("", [])
    mistaken = run(folder, flags("--verbosity=quiet", "--label-column=price"))
    assert mistaken.exit_code == 2
    assert len(mistaken.sentences) == 1


def test_debug_shows_where_an_error_comes_from(folder: pathlib.Path) -> None:
    done = run(folder, flags("--verbosity=debug", "--label-column=price"))
    assert done.exit_code == 2
    assert "Traceback" in done.err
    assert done.sentences[-1].startswith("trainer.task: --label-column=price")


def test_a_terminal_gets_a_bar(folder: pathlib.Path) -> None:
    text = run_in_terminal(folder, flags("--eval-every-steps=2000", "--exporters=none", steps=4000), columns=100)
    drawn = re.findall(r"\d+% \|[^|]*\| step (\d+)/4000, loss \d+\.\d{4}, [\w/, ]+", text)
    assert len(drawn) >= 3
    assert drawn == sorted(drawn, key=int)
    assert "evaluation at step 2000: mae " in text
    assert "finished" in text
    assert "step 1/4000  loss" not in text, "a terminal gets the bar, not the lines of a log"
    assert not re.search(r"WARNING|tensorflow/|oneDNN", text)


def test_a_terminal_without_a_width_gets_lines(folder: pathlib.Path) -> None:
    """As containers have them: a bar of no width would be nothing at all."""
    text = run_in_terminal(folder, flags("--exporters=none", steps=20), columns=0)
    assert "step 1/20  loss" in text
    assert "finished" in text


def test_hostile_paths(tmp_path: pathlib.Path) -> None:
    folder = write_project(tmp_path / HOSTILE)
    (folder / HOSTILE).mkdir()
    for name in ("train.csv", "eval.csv"):
        (folder / name).rename(folder / HOSTILE / name)
    argv = ["--model=model.py", f"--train-files={HOSTILE}/train.csv", f"--eval-files={HOSTILE}/eval.csv"]
    argv += ["--train-steps=20", "--batch-size=20", f"--job-dir={HOSTILE}/job"]
    done = run(folder, argv).ok()
    assert_finished(folder / HOSTILE / "job", 20)
    command = next(line for line in done.out.splitlines() if "--train-steps=40" in line)
    words = shlex.split(command.partition("  # ")[0])
    assert words[:3] == ["python", "-m", "trainer.task"]
    again = subprocess.run(
        ["/bin/sh", "-c", command.replace("python -m", f"{shlex.quote(sys.executable)} -m", 1)],
        cwd=folder,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECS,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert_finished(folder / HOSTILE / "job", 40)


def run_in_terminal(folder: pathlib.Path, argv: list[str], columns: int) -> str:
    """Run a job in a pseudo-terminal; all that it drew."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen([*COMMAND, *argv], cwd=folder, env=environ(), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    drawn, end = b"", time.monotonic() + DEADLINE_SECS
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                drawn += os.read(ours, 65536)
            except OSError:  # the job has ended, and its terminal with it
                break
    os.close(ours)
    assert process.wait(10) == 0, drawn.decode(errors="replace")
    return drawn.decode(errors="replace")

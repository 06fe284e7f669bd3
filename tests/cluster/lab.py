"""Rehearsals whose processes are `fake_task.py`."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from tests.runner import SPOKEN_BY_THE_CLOUD
from trainer.cluster.plan import Plan, make_plan
from trainer.job.rehearsing import parse_rehearsal

FAKE = pathlib.Path(__file__).with_name("fake_task.py")
STEPS = 40
MODEL = "def build_model():\n    raise NotImplementedError\n"
BOTH = [("--workers=2", "--evaluator"), ("--workers=2", "--ps=1", "--evaluator")]


def plan_of(folder: pathlib.Path, *argv: str, **fake: str) -> Plan:
    """What `make_plan` decides, with the fake; `fake` are its variables, such as exit="worker-0@20:3"."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(MODEL)
    own = {f"FAKE_{name.upper()}": value for name, value in fake.items()}
    outside = {name: value for name, value in os.environ.items() if not name.startswith(SPOKEN_BY_THE_CLOUD)}
    flags = (f"--model={folder}/model.py", f"--train-steps={STEPS}", "--batch-size=30", f"--job-dir={folder}/job")
    settings, words = parse_rehearsal([*flags, *argv])
    plan = make_plan(settings, words, None, {**outside, **own}, cpus=2)
    return dataclasses.replace(plan, entry=(str(FAKE),))


def starts(plan: Plan, entry: str) -> list[dict[str, Any]]:
    """Each start of a member: pid, argv, env."""
    path = pathlib.Path(plan.job_dir, f"{entry}.starts")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def counted(plan: Plan) -> dict[str, int]:
    """How often each member was started."""
    return {member.entry: len(starts(plan, member.entry)) for member in plan.members}


def left_behind(plan: Plan) -> list[str]:
    """Processes of a rehearsal that are still there."""
    return others(lambda words, folder: any(plan.job_dir in word for word in words))


def others(is_meant: Callable[[Sequence[str], str | None], bool]) -> list[str]:
    """Processes other than this one, by their words and the folder that they work in."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        words, is_there = process.info["cmdline"] or [], process.info["status"] != psutil.STATUS_ZOMBIE
        if is_there and process.pid != os.getpid() and is_meant(words, process.info["cwd"]):
            found.append(" ".join(words))
    return found


def verdict_of(plan: Plan) -> dict[str, Any]:
    """What is written at the end."""
    found: dict[str, Any] = json.loads(pathlib.Path(plan.board, "verdict.json").read_text())
    return found


RUN = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from tests.cluster.lab import plan_of
from trainer.door import answer
from trainer.rehearse import rehearse
fake = dict(word.split("=", 1) for word in sys.argv[3].split(",") if word)
plan = plan_of(pathlib.Path(sys.argv[2]), *sys.argv[4:], **fake)
sys.exit(answer("trainer.rehearse", lambda argv, stop: rehearse(plan, stop), [], "killed."))
"""
ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(folder: pathlib.Path, argv: Sequence[str], **fake: str) -> list[str]:
    """A rehearsal in a process of its own."""
    return [sys.executable, "-c", RUN, str(ROOT), str(folder), ",".join(f"{k}={v}" for k, v in fake.items()), *argv]

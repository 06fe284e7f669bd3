"""Start the labs for the cases and probes of a module, a few processes at a time, and hand out what each one gave."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests import warm

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROCESSES = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2  # pytest's workers are two already
AT_ONCE = 12  # cases a process: importing TensorFlow takes as long as two of them
TIMEOUT_SECS = 240
_pool = ThreadPoolExecutor(PROCESSES)


def names_in(module: str, mark: str = "case") -> list[str]:
    """Names of a module's marked functions, read from the source: TensorFlow stays out of pytest's process."""
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(each) == mark for each in node.decorator_list)
    ]


def result_of(module: str, name: str) -> Any:
    """What conversion_lab.py prints about a case. The first call starts the processes for all of the module's."""
    found = _started("conversion_lab", module, "case")[name].result()[name]
    assert "crash" not in found, found["crash"]
    return found


def outcome_of(module: str, name: str) -> str | None:
    """A probe's traceback, or None."""
    outcome: str | None = _started("probe_lab", module, "probe")[name].result()[name]
    return outcome


@functools.cache
def _started(lab: str, module: str, mark: str) -> Mapping[str, Future[dict[str, Any]]]:
    names = names_in(module, mark)
    chunks = [names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)]
    futures = [(chunk, _pool.submit(_run, lab, module, chunk)) for chunk in chunks]
    return {name: future for chunk, future in futures for name in chunk}


def _run(lab: str, module: str, names: list[str]) -> dict[str, Any]:
    command = [warm.python(), "-m", f"tests.training.{lab}", module, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECS, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: found for line in done.stdout.splitlines() for name, found in json.loads(line).items()}

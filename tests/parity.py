"""What each strategy learns, against `model.fit` on the global batch: `python -m tests.parity`.

Prints a table of strategies, optimizers and models: the largest difference of any weight after ten steps, from the same
weights, on the same examples. Exits 1 where one reaches LIMIT, or fails. `tests/training/test_strategies.py` asserts a
part of it. The models are in tests/training/strategy_cases.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests import warm

ROOT = pathlib.Path(__file__).resolve().parents[1]
LAB = "tests.training.strategy_lab"
LIMIT = 1e-5
STRATEGIES = ("none", "one_device", "mirrored", "central_storage", "multi_worker_mirrored")
OPTIMIZERS = {
    "sgd": "SGD",
    "momentum": "SGD(momentum=0.9)",
    "adam": "Adam",
    "clipnorm": "Adam(clipnorm=0.1)",
    "global_clip": "SGD(1.0, global_clipnorm=0.1)",
    "rmsprop": "RMSprop",
    "adamw": "AdamW(weight_decay=0.1)",
    "decaying": "the same with a schedule",
}
KINDS = {
    "dense": "two Dense layers, a last batch of 3 of 8 examples",
    "batch_norm": "Dense, BatchNorm, Dense; a last batch of 3",
    "convolutions": "Conv2D, BatchNorm, which is fused in fit, Dense; a last batch of 4",
    "lstm": "Embedding, LSTM, Dense; a last batch of 1: one replica has no example",
    "regularized": "weights and activities regularized, a constraint; no short batch",
    "weighted": "as dense, with sample weights",
    "summed": "as dense, with a loss that is a sum",
    "nested_norm": "a derived BatchNorm inside of a layer of the user's own, values far from 0; a last batch of 3",
    "norm_rest": "as batch_norm, a last batch of 1",
    "masked": "LSTM over sequences of different length, BatchNorm, a loss at each step in time; a last batch of 3",
    "two_heads": "two outputs with losses of their own, sample weights; a last batch of 3",
}
MATTER_OF_MODELS = ("weighted", "summed", "nested_norm", "norm_rest", "masked", "two_heads")  # and not of optimizers
SECS_A_CELL, SECS_A_START = 60.0, 240.0  # machines that run tests are slow and shared

Found = Mapping[str, Any]  # cell -> the largest difference, or a traceback


def all_cells() -> list[str]:
    """Of the whole table."""
    pairs = [(optimizer, kind) for kind in KINDS for optimizer in OPTIMIZERS]
    return [f"{one}-{kind}" for one, kind in pairs if kind not in MATTER_OF_MODELS or one in ("sgd", "adam")]


def measure(folder: pathlib.Path, strategy: str, cells: Sequence[str]) -> Found:
    """Train these cells in a process, or a pair of them; `fit` has to be measured before. Raises AssertionError."""
    names = [strategy]
    if strategy == "multi_worker_mirrored":
        names = [f"{strategy}:chief", f"{strategy}:worker"]
    files = [folder / f"{name.replace(':', '-')}.{time.monotonic_ns()}.out" for name in names]
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(running(folder, name, cells, out)) for name, out in zip(names, files, strict=True)
        ]
        until = time.monotonic() + SECS_A_START + SECS_A_CELL * len(cells)
        for process in started:
            try:
                process.wait(max(1.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{strategy} hangs:\n{_errors(files)}") from None
    outputs = [[json.loads(line) for line in out.read_text().splitlines() if line.startswith("{")] for out in files]
    found = {each["cell"]: each.get("worst", each.get("error")) for each in outputs[0]}
    for each in outputs[-1]:  # of the other process, its trouble
        found[each["cell"]] = each.get("error") or found.get(each["cell"])
    assert set(found) == set(cells), _errors(files)
    return found


def _errors(files: Sequence[pathlib.Path]) -> str:
    return "\n".join(f"{out.stem}: {out.with_suffix('.err').read_text(errors='replace')[-3000:]}" for out in files)


@contextlib.contextmanager
def running(
    folder: pathlib.Path, strategy: str, cells: Sequence[str], out: pathlib.Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the lab, killed where it is not done."""
    environ = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    with open(out, "wb") as file, open(out.with_suffix(".err"), "wb") as errors:
        process = subprocess.Popen(
            [warm.python(), "-m", LAB, str(folder), strategy, *cells],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=errors,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def is_equal(value: Any) -> bool:
    """Whether a cell is as it should be."""
    return isinstance(value, float) and value < LIMIT


def table(found: Mapping[str, Found]) -> Iterator[str]:
    """Lines: strategies below each other for each model, optimizers beside each other."""
    for kind, words in KINDS.items():
        if not any(cell.endswith(f"-{kind}") for row in found.values() for cell in row):
            continue
        yield f"{kind}: {words}"
        yield f"  {'':22}" + "".join(f"{optimizer:>12}" for optimizer in OPTIMIZERS)
        for strategy, row in found.items():
            yield f"  {strategy:22}" + "".join(f"{_shown(row.get(f'{one}-{kind}')):>12}" for one in OPTIMIZERS)
    yield "; ".join(f"{name}: {words}" for name, words in OPTIMIZERS.items())


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.1e}" if isinstance(value, float) else "failed"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=STRATEGIES, metavar="STRATEGY")
    parser.add_argument("--cells", nargs="+", choices=all_cells(), default=all_cells(), metavar="OPTIMIZER-MODEL")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fitted = measure(folder, "fit", asked.cells)
        found = {strategy: measure(folder, strategy, asked.cells) for strategy in asked.strategies}
    print("\n".join(table(found)))
    wrong = [(each, cell, value) for each, row in found.items() for cell, value in row.items() if not is_equal(value)]
    for strategy, cell, value in [*(("fit", *item) for item in fitted.items() if not is_equal(item[1])), *wrong]:
        print(f"\n{strategy}, {cell}: {value}", file=sys.stderr)
    print(f"{sum(map(len, found.values()))} cells, {len(wrong)} of them not below {LIMIT:g}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""The thread that writes: in order, no further than a failure, and no file without all its rows."""

from __future__ import annotations

import os
import pathlib
import threading
import types
from typing import Any

import numpy as np
import pytest

from trainer.job.errors import DataError, UsageError
from trainer.training.prediction_input import Batch
from trainer.training.prediction_plan import Shard
from trainer.training.prediction_rows import JsonLines
from trainer.training.prediction_writer import WAITING, Background, ShardWriter, checked

COUNTS = (3, 2)


def writer_in(folder: pathlib.Path, check: Any = lambda shard: None) -> ShardWriter:
    shards = [Shard(f"in/{name}", name, f"{folder}/{name}.predictions.jsonl") for name in ("a", "b")]
    source: Any = types.SimpleNamespace(key=None)
    return ShardWriter(shards, COUNTS, source, lambda: JsonLines(("y",), {}), check)


def batch(file: int, first: int, rows: int) -> tuple[Batch, dict[str, np.ndarray]]:
    return Batch(file, first, rows, None, {}), {"y": np.arange(first, first + rows)}


def test_a_file_appears_with_its_last_row(tmp_path: pathlib.Path) -> None:
    writer = writer_in(tmp_path)
    writer.write(*batch(0, 0, 2))
    assert os.listdir(tmp_path) == ["a.predictions.jsonl.unfinished"]
    writer.write(*batch(0, 2, 1))
    assert os.listdir(tmp_path) == ["a.predictions.jsonl"]
    writer.write(*batch(1, 0, 2))
    writer.check_complete()
    assert (writer.finished, writer.rows) == (2, 5)
    assert (tmp_path / "a.predictions.jsonl").read_text().splitlines() == [
        f'{{"key":"a:{row + 1}","y":{row}}}' for row in range(3)
    ]


@pytest.mark.parametrize("batches", [[batch(0, 0, 2), batch(1, 0, 2)], [batch(0, 0, 3), batch(0, 3, 1)]])
def test_a_file_that_changes_under_the_reader(batches: list[Any], tmp_path: pathlib.Path) -> None:
    """Shorter or longer than it was when its rows were counted."""
    writer = writer_in(tmp_path)
    writer.write(*batches[0])
    with pytest.raises(DataError, match="in/a was changed while it was read"):
        writer.write(*batches[1])
    writer.discard()


def test_a_last_file_that_becomes_shorter(tmp_path: pathlib.Path) -> None:
    writer = writer_in(tmp_path)
    writer.write(*batch(0, 0, 3))
    writer.write(*batch(1, 0, 1))
    with pytest.raises(DataError, match="in/b was changed"):
        writer.check_complete()
    writer.discard()
    assert os.listdir(tmp_path) == ["a.predictions.jsonl"]


def test_a_folder_that_another_run_has_taken(tmp_path: pathlib.Path) -> None:
    def check(shard: Shard) -> None:
        raise UsageError("taken")

    writer = writer_in(tmp_path, check)
    with pytest.raises(UsageError, match="taken"):
        writer.write(*batch(0, 0, 3))
    writer.discard()
    assert os.listdir(tmp_path) == []


def add_all(
    background: Background, calls: int, then: BaseException | None = None, begun: threading.Event | None = None
) -> None:
    with background:
        for number in range(calls):
            background.add(number)
        if begun is not None:
            assert begun.wait(10)
        if then is not None:
            raise then


def test_calls_are_made_in_order_and_all() -> None:
    made: list[int] = []
    add_all(Background(made.append), 100)
    assert made == list(range(100))


def test_no_call_after_one_that_failed() -> None:
    made: list[int] = []

    def call(number: int) -> None:
        if number == 1:
            raise ValueError("full")
        made.append(number)

    with pytest.raises(ValueError, match="full"):
        add_all(Background(call), 3)
    assert made == [0]


def test_an_error_lets_what_came_before_be_done() -> None:
    made: list[int] = []
    with pytest.raises(DataError, match="a bad row"):
        add_all(Background(made.append), 3, DataError("a bad row"))
    assert made == [0, 1, 2]


def test_an_interrupt_drops_what_has_not_begun() -> None:
    made: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def call(number: int) -> None:
        begun.set()
        assert go.wait(10)
        made.append(number)

    threading.Timer(0.5, go.set).start()
    with pytest.raises(KeyboardInterrupt):
        add_all(Background(call), WAITING, KeyboardInterrupt(), begun)
    assert made == [0]


def test_an_output_without_a_value_for_each_row_is_refused() -> None:
    outputs = {"y": np.zeros((4, 2)), "loss": np.zeros(()), "one": np.zeros((1,))}
    assert list(checked(outputs, ["y"], 4)) == ["y"]
    for name in ("loss", "one"):
        with pytest.raises(UsageError, match=rf"output {name} of the export has the shape .* name the others"):
            checked(outputs, [name], 4)

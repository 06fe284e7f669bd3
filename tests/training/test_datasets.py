"""The order of batches: a function of seed and epoch, so that a job goes on exactly where it was."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from trainer.training import datasets
from trainer.training.csv_reader import CsvReader
from trainer.training.datasets import cached_batches, ordered_batches, streamed_batches

Make = Callable[[CsvReader, Any, int, int, int], tf.data.Dataset]
BOTH = pytest.mark.parametrize("make", [cached_batches, streamed_batches])
ROWS = 23
BATCH_SIZES = pytest.mark.parametrize("batch_size", [1, 5, 23, 40])  # 1 and 23 divide the rows evenly


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> CsvReader:
    """Three files of 23 rows, whose values are 0 to 22."""
    return write(tmp_path_factory.mktemp("data"), [10, 1, 12])


def write(folder: Path, sizes: list[int]) -> CsvReader:
    """Files of so many rows each, numbered from 0 on."""
    numbers = itertools.count()
    paths = [folder / f"{number}.csv" for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        path.write_text("a,b\n" + "".join(f"{next(numbers)},x\n" for _ in range(size)), encoding="utf-8")
    return CsvReader.open([str(path) for path in paths])


def parse(reader: CsvReader) -> Any:
    """Features of two columns, and a label that says which row it is."""

    def features_and_label(lines: tf.Tensor) -> Any:
        raw = reader.parse(lines, {"a": "int64", "b": "string"})
        return {"a": raw["a"], "pair": tf.stack([raw["a"], -raw["a"]], -1), "b": raw["b"]}, raw["a"]

    return features_and_label


def batches(dataset: tf.data.Dataset, count: int) -> list[list[int]]:
    """The rows of so many batches; features and label must be of the same row."""
    found = []
    for features, label in itertools.islice(dataset.as_numpy_iterator(), count):
        assert features["a"].tolist() == label.tolist()
        assert features["pair"].tolist() == [[value, -value] for value in label.tolist()]
        assert features["b"].tolist() == [b"x"] * len(label)
        found.append(label.tolist())
    return found


def epochs(make: Make, reader: CsvReader, batch_size: int, seed: int, count: int) -> Iterator[list[list[int]]]:
    """The batches of each epoch."""
    steps = -(-reader.rows // batch_size)
    found = batches(make(reader, parse(reader), batch_size, seed, 0), steps * count)
    for start in range(0, len(found), steps):
        yield found[start : start + steps]


def flat(lists: list[list[int]]) -> list[int]:
    return [each for part in lists for each in part]


@BOTH
@BATCH_SIZES
def test_each_epoch_has_every_row_once_in_an_order_of_its_own(reader: CsvReader, make: Make, batch_size: int) -> None:
    found = list(epochs(make, reader, batch_size, 3, 4))
    for epoch in found:
        assert sorted(flat(epoch)) == list(range(ROWS))
        assert [len(batch) for batch in epoch[:-1]] == [batch_size] * (len(epoch) - 1)
        assert len(epoch[-1]) == ROWS - batch_size * (len(epoch) - 1)
    orders = [flat(epoch) for epoch in found]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
    assert list(range(ROWS)) not in orders


@BOTH
def test_the_seed_decides_the_order(reader: CsvReader, make: Make) -> None:
    def order(seed: int) -> list[list[list[int]]]:
        return list(epochs(make, reader, 5, seed, 2))

    assert order(0) == order(0)
    assert order(2**31 - 1) == order(2**31 - 1)
    assert order(0) != order(1)
    assert order(0)[0] != order(2**31 - 1)[0]


@BOTH
@BATCH_SIZES
def test_from_any_step_on_it_is_the_undisturbed_order(reader: CsvReader, make: Make, batch_size: int) -> None:
    steps = -(-ROWS // batch_size)
    count = 2 * steps + 2
    undisturbed = batches(make(reader, parse(reader), batch_size, 7, 0), count)
    for start in {0, 1, steps - 1, steps, steps + 1, 2 * steps - 1, 2 * steps}:
        resumed = batches(make(reader, parse(reader), batch_size, 7, start), count - start)
        assert resumed == undisturbed[start:], f"from step {start} on"


@BOTH
@pytest.mark.parametrize("start", [0, 3, 7])
def test_an_estimators_graph_gets_what_eager_code_gets(reader: CsvReader, make: Make, start: int) -> None:
    """There, `==` on tensors compares identities."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        batch = tf.compat.v1.data.make_one_shot_iterator(make(reader, parse(reader), 5, 7, start)).get_next()
        found = [session.run(batch)[1].tolist() for _ in range(6)]
    assert found == batches(make(reader, parse(reader), 5, 7, start), 6)


@BOTH
def test_the_same_graph_seed_gives_the_same_order_from_any_step_on(reader: CsvReader, make: Make) -> None:
    def in_graph(start: int, count: int) -> list[list[int]]:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.compat.v1.set_random_seed(9)
            batch = tf.compat.v1.data.make_one_shot_iterator(make(reader, parse(reader), 5, 7, start)).get_next()
            return [session.run(batch)[1].tolist() for _ in range(count)]

    undisturbed = in_graph(0, 12)
    assert all(in_graph(start, 12 - start) == undisturbed[start:] for start in (0, 4, 5, 8))


@BOTH
def test_more_rows_than_the_block_and_the_buffer_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    monkeypatch.setattr(datasets, "BLOCK_ROWS", 7)
    monkeypatch.setattr(datasets, "SHUFFLE_ROWS", 50)
    reader = write(tmp_path, [100, 100, 100])
    first, second = epochs(make, reader, 32, 1, 2)
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(300))
    assert first != second
    assert batches(make(reader, parse(reader), 32, 1, 13), 7) == second[3:]


@BOTH
def test_a_single_row(tmp_path: Path, make: Make) -> None:
    reader = write(tmp_path, [1])
    assert batches(make(reader, parse(reader), 4, 0, 5), 3) == [[0], [0], [0]]


@pytest.mark.parametrize(("batch_size", "lengths"), [(5, [5, 5, 5, 5, 3]), (23, [23]), (40, [23]), (1, [1] * 23)])
def test_ordered_batches_are_the_files_from_first_to_last(
    reader: CsvReader, batch_size: int, lengths: list[int]
) -> None:
    found = batches(ordered_batches(reader, parse(reader), batch_size), 100)
    assert [len(batch) for batch in found] == lengths
    assert flat(found) == list(range(ROWS))


@pytest.mark.parametrize(("rows", "found"), [(3, 3), (23, 23), (64, 23)])
def test_ordered_batches_of_the_first_rows(reader: CsvReader, rows: int, found: int) -> None:
    assert flat(batches(ordered_batches(reader, parse(reader), 4, rows), 100)) == list(range(found))

"""The order of batches: a function of seed and epoch, so that a job goes on exactly where it was."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.training.reader_cases import opened
from trainer.job.columns import Column
from trainer.job.errors import DataError
from trainer.training import datasets, reader
from trainer.training.datasets import Share, cached_batches, ordered_batches, rows_of, streamed_batches, window_rows
from trainer.training.reader import Reader

Make = Callable[..., tf.data.Dataset]
BOTH = pytest.mark.parametrize("make", [cached_batches, streamed_batches])
ROWS = 23
BATCH_SIZES = pytest.mark.parametrize("batch_size", [1, 5, 23, 40])  # 1 and 23 divide the rows evenly
COLUMNS = {"a": Column("int64"), "b": Column("string")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Three files of 23 rows, whose values are 0 to 22."""
    return write(tmp_path_factory.mktemp("data"), [10, 1, 12])


def write(folder: Path, sizes: Sequence[int], text: str = "x") -> Reader:
    """Files of so many rows each, numbered from 0 on."""
    numbers = itertools.count()
    return opened(folder, *("a,b\n" + "".join(f"{next(numbers)},{text}\n" for _ in range(size)) for size in sizes))


def read(data: Reader) -> datasets.Read:
    """Lines -> raw columns."""
    return lambda lines: data.parse(lines, COLUMNS)


def finish(raw: dict[str, tf.Tensor]) -> Any:
    """Features of two columns, and a label that says which row it is."""
    return {"a": raw["a"], "pair": tf.stack([raw["a"], -raw["a"]], -1), "b": raw["b"]}, raw["a"]


def batches(dataset: tf.data.Dataset, count: int) -> list[list[int]]:
    """The rows of so many batches; features and label must be of the same row."""
    found = []
    for features, label in itertools.islice(dataset.as_numpy_iterator(), count):
        assert features["a"].tolist() == label.tolist()
        assert features["pair"].tolist() == [[value, -value] for value in label.tolist()]
        assert len(set(features["b"].tolist())) == 1
        found.append(label.tolist())
    return found


def epochs(make: Make, data: Reader, batch_size: int, seed: int, count: int) -> Iterator[list[list[int]]]:
    """The batches of each epoch."""
    steps = -(-data.rows // batch_size)
    found = batches(make(data, read(data), finish, batch_size, seed, 0), steps * count)
    for start in range(0, len(found), steps):
        yield found[start : start + steps]


def flat(lists: list[list[int]]) -> list[int]:
    return [each for part in lists for each in part]


@BOTH
@BATCH_SIZES
def test_each_epoch_has_every_row_once_in_an_order_of_its_own(data: Reader, make: Make, batch_size: int) -> None:
    found = list(epochs(make, data, batch_size, 3, 4))
    for epoch in found:
        assert sorted(flat(epoch)) == list(range(ROWS))
        assert [len(batch) for batch in epoch[:-1]] == [batch_size] * (len(epoch) - 1)
        assert len(epoch[-1]) == ROWS - batch_size * (len(epoch) - 1)
    orders = [flat(epoch) for epoch in found]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
    assert list(range(ROWS)) not in orders


@BOTH
def test_the_seed_decides_the_order(data: Reader, make: Make) -> None:
    def order(seed: int) -> list[list[list[int]]]:
        return list(epochs(make, data, 5, seed, 2))

    assert order(0) == order(0)
    assert order(2**31 - 1) == order(2**31 - 1)
    assert order(0) != order(1)
    assert order(0)[0] != order(2**31 - 1)[0]


@BOTH
@BATCH_SIZES
def test_from_any_step_on_it_is_the_undisturbed_order(data: Reader, make: Make, batch_size: int) -> None:
    steps = -(-ROWS // batch_size)
    count = 2 * steps + 2
    undisturbed = batches(make(data, read(data), finish, batch_size, 7, 0), count)
    for start in {0, 1, steps - 1, steps, steps + 1, 2 * steps - 1, 2 * steps}:
        resumed = batches(make(data, read(data), finish, batch_size, 7, start), count - start)
        assert resumed == undisturbed[start:], f"from step {start} on"


@BOTH
@pytest.mark.parametrize("start", [0, 3, 7])
def test_an_estimators_graph_gets_what_eager_code_gets(data: Reader, make: Make, start: int) -> None:
    """There, `==` on tensors compares identities."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        dataset = make(data, read(data), finish, 5, 7, start)
        batch = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
        found = [session.run(batch)[1].tolist() for _ in range(6)]
    assert found == batches(make(data, read(data), finish, 5, 7, start), 6)


@BOTH
def test_the_same_graph_seed_gives_the_same_order_from_any_step_on(data: Reader, make: Make) -> None:
    def in_graph(start: int, count: int) -> list[list[int]]:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.compat.v1.set_random_seed(9)
            dataset = make(data, read(data), finish, 5, 7, start)
            batch = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
            return [session.run(batch)[1].tolist() for _ in range(count)]

    undisturbed = in_graph(0, 12)
    assert all(in_graph(start, 12 - start) == undisturbed[start:] for start in (0, 4, 5, 8))


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, windows and parsed parts that hold only a part of 300 rows."""
    monkeypatch.setattr(reader, "BLOCK_ROWS", 7)
    monkeypatch.setattr(datasets, "PARSED_ROWS", 16)
    monkeypatch.setattr(datasets, "WINDOW_ROWS", 50)


@BOTH
@pytest.mark.usefixtures("small_buffers")
def test_more_rows_than_the_blocks_and_the_windows_hold(tmp_path: Path, make: Make) -> None:
    data = write(tmp_path, [100, 100, 100])
    first, second = epochs(make, data, 32, 1, 2)
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(300))
    assert first != second
    assert batches(make(data, read(data), finish, 32, 1, 13), 7) == second[3:]


@pytest.mark.usefixtures("small_buffers")
def test_the_rows_of_several_files_come_mixed(tmp_path: Path) -> None:
    """Also where they are read anew in each epoch: a file is often one day, or one class."""
    data = write(tmp_path, [100, 100, 100])
    first = flat(next(epochs(streamed_batches, data, 32, 1, 1)))
    for window in (first[:50], first[50:100], first[100:150]):
        assert len({row // 100 for row in window}) == 3
        assert window != sorted(window)


@BOTH
def test_a_single_row(tmp_path: Path, make: Make) -> None:
    data = write(tmp_path, [1])
    assert batches(make(data, read(data), finish, 4, 0, 5), 3) == [[0], [0], [0]]


@pytest.mark.parametrize(("batch_size", "lengths"), [(5, [5, 5, 5, 5, 3]), (23, [23]), (40, [23]), (1, [1] * 23)])
def test_ordered_batches_are_the_files_from_first_to_last(data: Reader, batch_size: int, lengths: list[int]) -> None:
    found = batches(ordered_batches(data, read(data), finish, batch_size), 100)
    assert [len(batch) for batch in found] == lengths
    assert flat(found) == list(range(ROWS))


@pytest.mark.parametrize(("rows", "found"), [(3, 3), (23, 23), (64, 23)])
def test_ordered_batches_of_the_first_rows(data: Reader, rows: int, found: int) -> None:
    assert flat(batches(ordered_batches(data, read(data), finish, 4, rows), 100)) == list(range(found))


SIZES = [[29], [9, 20], [5, 1, 9], [1, 1, 1, 1], [3, 8, 1, 6, 2], [4, 1, 7, 2, 9, 3], [2, 30, 1, 5, 8, 1, 11]]


def of_workers(make: Make, data: Reader, workers: int, seed: int, start: int = 0, more: int = 0) -> list[list[int]]:
    """The rows of each worker's epoch, or of so many batches more or less, from a step on."""
    found = []
    for index in range(workers):
        share = Share(index, workers)
        steps = -(-_rows(make, data, seed, share) // 4)
        dataset = make(data, read(data), finish, 4, seed, start, share)
        found.append(flat(batches(dataset, steps + more)))
    return found


def _rows(make: Make, data: Reader, seed: int, share: Share) -> int:
    return len(range(share.index, data.rows, share.count)) if make is cached_batches else rows_of(data, seed, share)


@BOTH
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{len(sizes)} files")
@pytest.mark.usefixtures("small_buffers")
def test_all_workers_together_read_every_row_once_per_epoch(tmp_path: Path, make: Make, sizes: list[int]) -> None:
    """By files where there are enough, else by records."""
    data = write(tmp_path, sizes)
    for workers in range(1, min(5, data.rows) + 1):
        found = of_workers(make, data, workers, 3)
        assert sorted(flat(found)) == list(range(data.rows)), f"{workers} workers"
        by_files = make is streamed_batches and len(sizes) >= workers
        if not by_files:
            lengths = [len(rows) for rows in found]
            assert max(lengths) - min(lengths) <= 1


@BOTH
@pytest.mark.parametrize("sizes", [[29], [3, 8, 1, 6, 2]], ids=["by records", "by files"])
def test_a_worker_goes_on_exactly_where_it_was(tmp_path: Path, make: Make, sizes: list[int]) -> None:
    data = write(tmp_path, sizes)
    for index, workers in [(0, 2), (1, 2), (2, 3)]:
        share = Share(index, workers)
        undisturbed = batches(make(data, read(data), finish, 2, 5, 0, share), 30)
        for start in (1, 4, 7, 11):
            assert batches(make(data, read(data), finish, 2, 5, start, share), 30 - start) == undisturbed[start:]
        steps = -(-_rows(make, data, 5, share) // 2)
        orders = [flat(undisturbed[first : first + steps]) for first in (0, steps)]
        assert len(orders[0]) < 3 or orders[0] != orders[1]


@BOTH
def test_skipped_rows_are_nobodys(tmp_path: Path, make: Make) -> None:
    for sizes in ([20, 7], [5, 5, 5, 5, 7]):
        data = write(tmp_path, sizes)
        data.skipped.update({data.files[0]: (0, 2, 4), data.files[1]: (1, 2, 3)})
        left = sorted(set(range(27)) - {0, 2, 4, sizes[0] + 1, sizes[0] + 2, sizes[0] + 3})
        for workers in (1, 2, 3):
            assert sorted(flat(of_workers(make, data, workers, 1))) == left


@BOTH
def test_a_worker_without_rows_is_told(tmp_path: Path, make: Make) -> None:
    data = write(tmp_path, [2])
    with pytest.raises(DataError, match="worker 2 of 3 has no example to train on: use fewer workers"):
        make(data, read(data), finish, 4, 0, 0, Share(2, 3))


def test_a_worker_whose_file_is_skipped_whole_is_told(tmp_path: Path) -> None:
    data = write(tmp_path, [2, 3])
    data.skipped[data.files[0]] = (0, 1)
    shares = [Share(index, 2) for index in range(2)]
    (empty,) = (share for share in shares if not rows_of(data, 0, share))
    with pytest.raises(DataError, match=rf"worker {empty.index} of 2 has no example"):
        streamed_batches(data, read(data), finish, 4, 0, 0, empty)


@BOTH
@pytest.mark.usefixtures("small_buffers")
def test_blocks_that_are_skipped_whole(tmp_path: Path, make: Make) -> None:
    data = write(tmp_path, [60])
    data.skipped[data.files[0]] = tuple(range(7, 40))
    first, second = epochs(make, data, 6, 1, 2)
    assert sorted(flat(first)) == sorted(flat(second)) == [*range(7), *range(40, 60)]
    assert flat(batches(ordered_batches(data, read(data), finish, 6), 99)) == [*range(7), *range(40, 60)]


@BOTH
def test_blank_lines_are_no_rows(tmp_path: Path, make: Make) -> None:
    data = opened(tmp_path, "a,b\n" + "".join(f"{row},x\n\n\r\n" for row in range(9)), "a,b\n\n\n9,x\n\n")
    first, second = epochs(make, data, 4, 1, 2)
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(10))


def test_no_iterator_waits_at_its_end(data: Reader) -> None:
    """As those do that TensorFlow measures while they run: see `without_autotune`."""
    made = [make(data, read(data), finish, 4, 0, 0) for make in (cached_batches, streamed_batches)]
    for dataset in (*made, ordered_batches(data, read(data), finish, 4)):
        assert dataset.options().autotune.enabled is False


def test_windows_are_as_large_as_memory_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert window_rows(write(tmp_path, [50])) == 50
    monkeypatch.setattr(datasets, "WINDOW_BYTES", 10_000)
    data = write(tmp_path, [50], "x" * 1000)
    assert window_rows(data) == 9
    assert sorted(flat(next(epochs(streamed_batches, data, 8, 1, 1)))) == list(range(50))
    monkeypatch.setattr(datasets, "WINDOW_BYTES", 100)
    assert window_rows(data) == 1


@BOTH
def test_what_is_finished_keeps_its_structure(data: Reader, make: Make) -> None:
    for shape in (lambda raw: raw["a"], lambda raw: {"a": raw["a"]}, lambda raw: (raw["a"], raw["b"])):
        ordered = ordered_batches(data, read(data), shape, 5).element_spec
        tf.nest.assert_same_structure(make(data, read(data), shape, 5, 0, 0).element_spec, ordered)

"""The global batch cut for replicas: together they have its examples, once each, and learn its mean or its sum."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.training.reader_cases import opened
from trainer.job.columns import Column
from trainer.job.errors import DataError, ModelError
from trainer.training.datasets import Share, cached_batches, streamed_batches
from trainer.training.fit_semantics import split_weights, with_weights
from trainer.training.reader import Reader
from trainer.training.replicas import Parts, cut, fitted, is_summed
from trainer.training.strategies import ALONE, Spread
from trainer.training.synced_batch_norm import NOTHING

SEED, MOST = 7, 60
Weigh = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Part:
    """What one replica gets in one step: the rows that count, how much, and how many examples it has."""

    rows: list[int]
    weights: np.ndarray
    size: int


@dataclasses.dataclass(frozen=True)
class Dealing:
    """A data set of so many rows, in global batches of `each * workers * replicas`, from a step on."""

    rows: int
    each: int
    workers: int
    replicas: int
    start: int
    sums: bool

    @property
    def batch_size(self) -> int:
        return self.each * self.workers * self.replicas

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.batch_size)

    @property
    def steps(self) -> int:
        """Two epochs, after what is left of the first one."""
        return 2 * self.steps_per_epoch + (-self.start) % self.steps_per_epoch

    def parts(self, position: int) -> Parts:
        spread = Spread("any", "", self.replicas, self.workers, position, self.workers, self.sums)
        return Parts(self.rows, self.batch_size, spread)


@st.composite
def dealings(draw: st.DrawFn) -> Dealing:
    rows = draw(st.integers(1, MOST))
    workers, replicas = draw(st.integers(1, min(3, rows))), draw(st.integers(1, 3))
    each = draw(st.integers(1, max(1, 20 // (workers * replicas))))
    return Dealing(rows, each, workers, replicas, draw(st.integers(0, 9)), draw(st.booleans()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def reader_of(folder: Path, rows: int) -> Reader:
    """Two files of the numbers from 0 on, or one of the only row."""
    numbers = [f"{number}\n" for number in range(rows)]
    contents = [part for part in (numbers[: rows // 3], numbers[rows // 3 :]) if part]
    names = [f"{rows}-{index}.csv" for index in range(len(contents))]
    return opened(folder, *("n\n" + "".join(part) for part in contents), names=names)


def batches(make: Any, data: Reader, size: int, start: int, share: Share, weigh: Weigh = lambda n: None) -> Any:
    """Features are numbers, labels say which row it is."""

    def finish(columns: dict[str, tf.Tensor]) -> Any:
        number = columns["n"]
        return with_weights({"x": tf.cast(number, tf.float32) + 0.5}, weigh(number)), number

    read = lambda lines: data.parse(lines, {"n": Column("int64")})  # noqa: E731
    return make(data, read, finish, size, SEED, start, share)


def dealt(dealing: Dealing, make: Any, data: Reader, weigh: Weigh = lambda n: None) -> list[list[list[Part]]]:
    """Worker, step, replica -> its part."""
    found = []
    for position in range(dealing.workers):
        parts = dealing.parts(position)
        own = batches(make, data, parts.worker_batch, dealing.start, parts.share, weigh)
        taken = cut(own, parts, dealing.start).take(dealing.steps * dealing.replicas).as_numpy_iterator()
        made = [part_of(features, labels) for features, labels in taken]
        found.append([made[first : first + dealing.replicas] for first in range(0, len(made), dealing.replicas)])
    return found


def part_of(features: Any, labels: np.ndarray) -> Part:
    plain, weights = split_weights(features)
    assert plain["x"].tolist() == (labels + 0.5).tolist()
    weights = np.ones(len(labels), np.float32) if weights is None else weights
    flat = tf.nest.flatten(weights)
    assert all(len(each) == len(labels) for each in flat)
    stands_in = all(weight == 0 and np.signbit(weight) for weight in flat[0])
    return Part([] if stands_in else labels.tolist(), flat[0], len(labels))


def steps_of(found: list[list[list[Part]]]) -> list[list[Part]]:
    """Step -> the parts of all workers and replicas."""
    return [[part for parts in step for part in parts] for step in zip(*found, strict=True)]


def whole(dealing: Dealing, data: Reader) -> list[list[int]]:
    """The global batches as a single process has them."""
    made = batches(cached_batches, data, dealing.batch_size, dealing.start, Share())
    return [labels.tolist() for _, labels in itertools.islice(made.as_numpy_iterator(), dealing.steps)]


def learnt(parts: list[Part], dealing: Dealing, values: dict[int, float]) -> float:
    """What all replicas come to: the mean of their means, or the sum of their sums."""
    sums = [
        sum(values.get(row, 0.0) * weight for row, weight in zip(part.rows, part.weights, strict=False))
        for part in parts
    ]
    if dealing.sums:
        return float(sum(sums))
    return float(np.mean([total / part.size for total, part in zip(sums, parts, strict=True)]))


@settings(max_examples=10, deadline=None)
@given(dealing=dealings())
@example(dealing=Dealing(25, 1, 3, 3, 2, sums=False))  # a rest of 7: a worker has 3, the others 2 each
@example(dealing=Dealing(19, 1, 3, 3, 5, sums=True))  # a rest of 1: two workers have none
@example(dealing=Dealing(3, 4, 3, 2, 0, sums=False))  # less than a batch
def test_the_parts_of_a_step_are_the_global_batch_of_one_process(folder: Path, dealing: Dealing) -> None:
    data = reader_of(folder, dealing.rows)
    found = dealt(dealing, cached_batches, data)
    wanted, steps = whole(dealing, data), steps_of(found)
    assert [sorted(row for part in step for row in part.rows) for step in steps] == [sorted(each) for each in wanted]
    values = {row: row + 0.5 for row in range(dealing.rows)}
    for step, rows in zip(steps, wanted, strict=True):
        assert len(step) == dealing.workers * dealing.replicas
        assert all(part.size == max(1, len(part.rows)) for part in step)
        total = sum(values[row] for row in rows)
        assert learnt(step, dealing, values) == pytest.approx(total if dealing.sums else total / len(rows), rel=1e-6)
    assert_counted(dealing, found)


def assert_counted(dealing: Dealing, found: list[list[list[Part]]]) -> None:
    """What a worker says it has seen is what it has seen, from any step to any other."""
    for position, steps in enumerate(found):
        sizes = [sum(len(part.rows) for part in step) for step in steps]
        parts = dealing.parts(position)
        assert parts.steps_per_epoch == dealing.steps_per_epoch
        for first, count in itertools.product(range(3), range(len(sizes) - 2)):
            assert parts.examples(dealing.start + first, count) == sum(sizes[first : first + count])


@settings(max_examples=6, deadline=None)
@given(dealing=dealings())
def test_a_streamed_epoch_is_dealt_out_whole(folder: Path, dealing: Dealing) -> None:
    """Who shuffles in windows of his own has no global batch, but steps of the same size."""
    found = dealt(dealing, streamed_batches, reader_of(folder, dealing.rows))
    sizes = [len(batch) for batch in whole(dealing, reader_of(folder, dealing.rows))]
    steps = [[row for part in step for row in part.rows] for step in steps_of(found)]
    assert [len(step) for step in steps] == sizes
    for last in (len(steps), len(steps) - dealing.steps_per_epoch):
        epoch = steps[last - dealing.steps_per_epoch : last]
        assert sorted(row for step in epoch for row in step) == list(range(dealing.rows))
    assert_counted(dealing, found)


@settings(max_examples=6, deadline=None)
@given(dealing=dealings(), named=st.booleans())
def test_weights_of_the_users_own_count_besides(folder: Path, dealing: Dealing, named: bool) -> None:
    data = reader_of(folder, dealing.rows)
    weight_of = lambda number: tf.cast(number % 3, tf.float32) / 2  # noqa: E731
    weigh = (lambda number: {"a": weight_of(number), "b": weight_of(number)}) if named else weight_of
    steps = steps_of(dealt(dealing, cached_batches, data, weigh))
    for step, rows in zip(steps, whole(dealing, data), strict=True):
        assert sorted(row for part in step for row in part.rows) == sorted(rows), "an example that weighs 0 is one"
        total = sum((row % 3) / 2 for row in rows)
        wanted = total if dealing.sums else total / len(rows)
        assert learnt(step, dealing, dict.fromkeys(rows, 1.0)) == pytest.approx(wanted, rel=1e-6)


def test_an_uneven_rest_by_hand(folder: Path) -> None:
    """7 rows in batches of 4 over two workers of two replicas: the rest of 3 is 2 and 1, cut into 1, 1 and 1, none."""
    found = dealt(Dealing(7, 1, 2, 2, 1, sums=False), cached_batches, reader_of(folder, 7))
    (first, second), (third, nobody) = found[0][0], found[1][0]
    assert [len(part.rows) for part in (first, second, third, nobody)] == [1, 1, 1, 0]
    assert np.concatenate([part.weights for part in (first, second, third)]).tolist() == pytest.approx([4 / 3] * 3)
    assert nobody.weights.tolist() == [NOTHING]
    assert np.signbit(nobody.weights[0])


@pytest.mark.parametrize("rows", [24, 28])  # without a rest, with one that is even
def test_nothing_is_weighed_where_parts_are_even(folder: Path, rows: int) -> None:
    parts = Dealing(rows, 4, 1, 2, 0, sums=False).parts(0)
    made = cut(batches(cached_batches, reader_of(folder, rows), 8, 0, parts.share), parts, 0)
    assert [len(labels) for _, labels in made.take(8).as_numpy_iterator()][:6] == [4] * 6
    assert set(made.element_spec[0]) == {"x"}


@pytest.mark.parametrize("spread", [ALONE, Spread("one_device", "")])
def test_one_replica_gets_the_batches_themselves(folder: Path, spread: Spread) -> None:
    parts = Parts(7, 4, spread)
    assert parts.share == Share()
    made = batches(cached_batches, reader_of(folder, 7), 4, 0, parts.share)
    assert cut(made, parts, 0) is made


@settings(max_examples=6, deadline=None)
@given(rows=st.integers(3, MOST), batch_size=st.integers(1, 20), trainers=st.integers(1, 3), start=st.integers(0, 5))
@example(rows=28, batch_size=3, trainers=3, start=4)  # a worker has a step more in an epoch than the others
def test_asynchronous_workers_have_batches_of_their_own(
    folder: Path, rows: int, batch_size: int, trainers: int, start: int
) -> None:
    seen = []
    dealt = [Parts(rows, batch_size, Spread("parameter_server", "", 1, 1, each, trainers)) for each in range(trainers)]
    epoch = 1 + max(start // parts.steps_per_epoch for parts in dealt)  # all are in it from its first step on
    for position, parts in enumerate(dealt):
        assert parts.share == Share(position, trainers)
        made = batches(cached_batches, reader_of(folder, rows), batch_size, start, parts.share)
        assert cut(made, parts, start) is made
        steps = (epoch + 2) * parts.steps_per_epoch - start
        taken = [labels.tolist() for _, labels in itertools.islice(made.as_numpy_iterator(), steps)]
        assert all(len(each) <= batch_size for each in taken)
        assert [parts.examples(start, count) for count in range(steps + 1)] == [
            sum(map(len, taken[:count])) for count in range(steps + 1)
        ]
        seen += [row for each in taken[-2 * parts.steps_per_epoch :] for row in each]
    assert sorted(seen) == sorted([*range(rows), *range(rows)])


@pytest.mark.parametrize("make", [cached_batches, streamed_batches])
def test_in_step_all_workers_have_as_many_batches(folder: Path, make: Any) -> None:
    """5 rows in batches of 2 for two workers: a second batch of 1 for the first, of a stand-in for the other."""
    data, made = reader_of(folder, 5), []
    for index in range(2):
        dataset = batches(make, data, 2, 0, Share(index, 2, in_step=True))
        made.append([labels.tolist() for _, labels in dataset.take(4).as_numpy_iterator()])
    assert [[len(each) for each in own] for own in made] == [[2, 1, 2, 1], [2, 1, 2, 1]]
    for first, last in ((0, 1), (2, 3)):
        assert sorted([*made[0][first], *made[0][last], *made[1][first]]) == list(range(5))
        assert made[1][last][0] in made[1][first], "the stand-in is one of its own"


@pytest.mark.parametrize("make", [cached_batches, streamed_batches])
def test_in_step_a_worker_needs_an_example(folder: Path, make: Any) -> None:
    with pytest.raises(DataError, match="worker 2 of 3 has no example to train on"):
        batches(make, reader_of(folder, 2), 1, 0, Share(2, 3, in_step=True))


LOSS = tf.keras.losses.MeanSquaredError


@pytest.mark.parametrize(
    ("loss", "sums"),
    [
        ("mse", False),
        (LOSS(), False),
        (LOSS(reduction="sum"), True),
        ([LOSS(reduction="sum"), LOSS(reduction="sum")], True),
        ({"a": "mse", "b": LOSS()}, False),
    ],
)
def test_whether_a_models_losses_are_sums(loss: Any, sums: bool) -> None:
    assert is_summed(model_with(loss)) is sums


@pytest.mark.parametrize("other", [LOSS(), "mse"])
def test_losses_of_both_kinds_are_refused(other: Any) -> None:
    with pytest.raises(ModelError, match="some of the model's losses are sums over examples and some are means"):
        is_summed(model_with([LOSS(reduction="sum"), other]))


class _OfTheUsers(tf.keras.optimizers.SGD):
    """May do anything with its gradients."""


OPTIMIZERS = tf.keras.optimizers


@pytest.mark.parametrize(
    ("optimizer", "adds"),
    [
        (OPTIMIZERS.Adam(), True),
        (OPTIMIZERS.legacy.SGD(momentum=0.9), True),
        (tf.keras.mixed_precision.LossScaleOptimizer(OPTIMIZERS.Adam()), True),
        (OPTIMIZERS.Adam(clipnorm=1.0), False),
        (OPTIMIZERS.SGD(global_clipnorm=1.0), False),
        (OPTIMIZERS.legacy.SGD(clipvalue=1.0), False),
        (tf.keras.mixed_precision.LossScaleOptimizer(OPTIMIZERS.Adam(clipnorm=1.0)), False),
        (_OfTheUsers(), False),
    ],
)
def test_rows_are_added_early_where_the_optimizer_cannot_tell(optimizer: Any, adds: bool) -> None:
    model = model_with("mse", optimizer)
    assert fitted(Spread("multi_worker_mirrored", "", 1, 2), model).adds_rows is adds
    assert fitted(ALONE, model) is ALONE


def model_with(loss: Any, optimizer: Any = "sgd") -> tf.keras.Model:
    inputs = tf.keras.Input((2,))
    heads = [tf.keras.layers.Dense(1, name=name)(inputs) for name in "ab"]
    model = tf.keras.Model(inputs, heads if isinstance(loss, (list, dict)) else heads[0])
    model.compile(optimizer, loss)
    return model

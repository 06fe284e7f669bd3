"""Batches as a TPU takes them: all of one shape, and no text.

The examples of an epoch that do not fill a batch are the first ones of the next epoch's first batch, so none is left
out but fewer than a batch at the very end of the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from trainer.job.errors import ModelError
from trainer.training.datasets import AHEAD
from trainer.training.inputs import Inputs
from trainer.training.strategies import ALONE


def full_batches(inputs: Inputs, start_step: int, batch_size: int) -> tf.data.Dataset:
    """Endless batches of exactly `batch_size` examples, the same from a step on wherever a job resumes.

    A module's own `input_fn` starts anew, as it does elsewhere; its batches are cut to size too.
    """
    parts = inputs.parts(ALONE)
    if parts is None:
        return _cut(inputs.train_dataset(start_step), batch_size)
    epoch, row = divmod(start_step * batch_size, parts.rows)
    dataset = inputs.train_dataset(epoch * parts.steps_per_epoch + row // batch_size)
    return _cut(_without_first(dataset, row % batch_size), batch_size)


def unfit_parts(element_spec: Any) -> Iterator[tuple[str, tf.TensorSpec]]:
    """Name and spec of each part of (features, labels) that no TPU takes: text, or a shape that is open."""
    for name, spec in _parts(element_spec):
        if not isinstance(spec, tf.TensorSpec) or spec.dtype == tf.string or not spec.shape.is_fully_defined():
            yield name, spec


def unfit_sentence(name: str, spec: Any) -> tuple[str, str]:
    """What is wrong with a part that is unfit, and what to do."""
    if not isinstance(spec, tf.TensorSpec):
        return f"{name} comes as {type(spec).__name__}", "make a dense tensor of a fixed shape of it in preprocess"
    if spec.dtype == tf.string:
        return f"{name} is text", "make numbers of it in preprocess(features), which runs before the TPU"
    shape = "[" + ", ".join("?" if size is None else str(size) for size in spec.shape) + "]"
    return (
        f"{name} has batches of the open shape {shape}",
        "give it one width in preprocess, such as ragged.to_tensor(shape=[None, 24]), and in the model's Input",
    )


def insist_on_fixed(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset. Raises ModelError if a TPU cannot take its batches."""
    for name, spec in unfit_parts(dataset.element_spec):
        problem, remedy = unfit_sentence(name, spec)
        raise ModelError(f"a TPU takes numbers in batches of one shape, but {problem}: {remedy}.")
    return dataset


def _parts(element_spec: Any) -> Iterator[tuple[str, Any]]:
    features, labels = element_spec
    for whole, general in ((features, "the input"), (labels, "the label")):
        for path, spec in _named(whole, ()):
            yield (f"{general} {'/'.join(path)}" if path else general), spec


def _named(whole: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Leaves of dicts and tuples; `features` and `sample_weights` of weighted examples are no names of inputs."""
    if isinstance(whole, dict):
        for name, part in whole.items():
            yield from _named(part, path if name == "features" and len(whole) == 2 else (*path, str(name)))
    elif isinstance(whole, (list, tuple)):
        for number, part in enumerate(whole):
            yield from _named(part, (*path, str(number)))
    else:
        yield path, whole


def _without_first(dataset: tf.data.Dataset, examples: int) -> tf.data.Dataset:
    """Without so many examples of the first batch, which has more."""
    if not examples:
        return dataset

    def later(number: tf.Tensor, batch: Any) -> Any:
        first = tf.where(tf.equal(number, 0), examples, 0)
        return tf.nest.map_structure(lambda part: part[first:], batch)

    return dataset.enumerate().map(later)


def _cut(dataset: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    return dataset.rebatch(batch_size, drop_remainder=True).prefetch(AHEAD)

"""Would a job run on a TPU? What stands against it, found without one: `trainer.check --strategy=tpu`.

Looked at are the settings, the batches, the operations of a training step, XLA's answer to that step, and the program
that TPUEstimator would send to a TPU of eight cores. Nothing is asked of the evaluation's batches: evaluations run on
the CPU, short batches and all (see `tpu`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import tensorflow as tf

from trainer.cloud.storage import is_remote
from trainer.job.config import Job
from trainer.job.errors import ModelError
from trainer.job.findings import Finding, Level, errors_of
from trainer.training.failures import in_words
from trainer.training.inputs import Inputs
from trainer.training.native_optimizer import unwrapped
from trainer.training.strategies import ALONE
from trainer.training.tpu import LOCAL, REHEARSE, build_program
from trainer.training.tpu_batches import full_batches, unfit_parts, unfit_sentence
from trainer.training.tpu_gradients import average_gradients
from trainer.training.tpu_step import PYTHON, Step, layer_of, trace_step
from trainer.training.weights import shortened

CORES = 8  # of a v2-8 or v3-8
REBUILD = "let layers make their weights with add_weight and an initializer, and need nothing from outside of the step"
PREPROCESS = "do it in preprocess(features), which runs on the CPU before the step"
# what is odd about an operation -> level, problem, remedy
ODDITIES: dict[str, tuple[Level, str, str]] = {
    "text": ("error", "handles text ({kinds}), which a TPU has no type for", PREPROCESS),
    "table": ("error", "looks something up in a table ({kinds}), which a TPU cannot hold", PREPROCESS),
    "python": (
        "error",
        "calls Python ({kinds}), which no TPU runs",
        f"write it with TensorFlow's ops, or {PREPROCESS}",
    ),
    "open": (
        "error",
        "makes a tensor whose shape depends on the data ({kinds}), where a TPU wants every shape fixed",
        "multiply by a mask, or use the form of tf.where with three arguments",
    ),
    "float64": ("warning", "computes in float64 ({kinds}), which a TPU does slowly", "use float32"),
}
_LAZY = ("RMSprop", "Adadelta", "Adamax", "Ftrl", "Nadam")  # legacy optimizers that leave untouched rows as they are


def find_obstacles(host: tf.estimator.Estimator, model: tf.keras.Model, inputs: Inputs, job: Job) -> list[Finding]:
    """All that stands against training this model on a TPU; empty where it is ready.

    Args:
      host: what `convert` has made of the model.
      model: that model; its optimizer is prepared for several cores.
    """
    with tf.Graph().as_default():
        element_spec = full_batches(inputs, 0, job.data.batch_size).element_spec
    layers = [layer.name for layer in model._flatten_layers(include_self=False)]
    found = [*_in_settings(job, inputs), *_in_model(model), *_in_batches(element_spec)]
    if all(isinstance(each, tf.TensorSpec) for each in tf.nest.flatten(element_spec)):
        found += _in_step(host, layers, element_spec, max(1, job.data.batch_size // CORES))
    return found if errors_of(found) else found + _in_program(host, layers, inputs, job)


def _in_settings(job: Job, inputs: Inputs) -> Iterator[Finding]:
    batch_size, parts = job.data.batch_size, inputs.parts(ALONE)
    said = f"--batch-size={batch_size}"
    if batch_size % CORES:
        lower = batch_size // CORES * CORES
        near = f"{lower} or {lower + CORES}" if lower else str(CORES)
        yield Finding("error", said, f"cannot be divided among {CORES} cores", f"say --batch-size={near}")
    if parts is not None and parts.rows < batch_size:
        problem = f"there are {parts.rows} examples to train on, so that a full batch has some of them twice"
        yield Finding("warning", said, problem, "choose a smaller batch")
    if job.distribution.tpu not in (None, LOCAL, REHEARSE):
        yield from _far_away(job, inputs)


def _far_away(job: Job, inputs: Inputs) -> Iterator[Finding]:
    """What a TPU that is reached by its name reads and writes is not on this machine."""
    reader = getattr(inputs, "train", None)
    places = {"--train-files": reader.files[:1] if reader else (), "--job-dir": (job.output.job_dir or "runs",)}
    for flag, paths in places.items():
        for path in paths:
            if not is_remote(path):
                problem = f"{path} is on this machine, and --tpu={job.distribution.tpu} on another"
                yield Finding("error", flag, problem, f"use gs://, or --tpu={LOCAL} on the TPU's own machine")
    with tf.Graph().as_default() as graph:
        inputs.train_dataset(0)
    functions = graph.as_graph_def().library.function
    if any(node.op in PYTHON for function in functions for node in function.node_def):
        problem = f"reading the data calls Python, which the host of --tpu={job.distribution.tpu} cannot"
        yield Finding("error", "--train-files", problem, f"use CSV files, or --tpu={LOCAL} on the TPU's own machine")


def _in_model(model: tf.keras.Model) -> Iterator[Finding]:
    try:
        average_gradients(model)
    except ModelError as error:
        yield Finding.of_error("model", error)
    layers = model._flatten_layers(include_self=False)
    for layer in layers:
        if any(weight.dtype == tf.float64 for weight in layer._trainable_weights):
            problem = "its weights are float64, whose gradients the cores of a TPU cannot add up"
            yield Finding("error", f"layer {layer.name}", problem, 'make it with dtype="float32"')
    optimizer = unwrapped(model.optimizer)
    if optimizer is not model.optimizer:
        problem = "it computes in float16, with a loss scale, where a TPU is made for bfloat16"
        yield Finding("warning", "model", problem, "use mixed_bfloat16, which needs no loss scale")
    kind = type(optimizer).__name__
    lazy = kind in _LAZY or (kind == "SGD" and optimizer._momentum)
    tables = [layer.name for layer in model._flatten_layers() if isinstance(layer, tf.keras.layers.Embedding)]
    if lazy and tables:
        problem = f"legacy.{kind} updates all rows at each step, and in fit only those that a batch has touched"
        yield Finding("warning", f"layer {tables[0]}", problem, f"use tf.keras.optimizers.{kind}, the same in both")


def _in_batches(element_spec: Any) -> Iterator[Finding]:
    for name, spec in unfit_parts(element_spec):
        problem, remedy = unfit_sentence(name, spec)
        yield Finding("error", name.removeprefix("the "), problem.removeprefix(f"{name} "), remedy)


def _in_step(host: tf.estimator.Estimator, layers: Sequence[str], element_spec: Any, batch_size: int) -> list[Finding]:
    try:
        step = trace_step(host, layers, element_spec, batch_size)
    except Exception as error:  # of the model's own code
        return [_raised("the training step", error, layers)]
    found = [_odd(layer, oddity, kinds) for (layer, oddity), kinds in _grouped(step).items()]
    if not errors_of(found) and (failed := step.compile()):
        found.append(Finding("error", failed[0], failed[1], PREPROCESS))
    return found


def _grouped(step: Step) -> dict[tuple[str, str], list[str]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for layer, oddity, kind in step.odd_operations():
        groups.setdefault((layer, oddity), []).append(kind)
    return groups


def _odd(layer: str, oddity: str, kinds: list[str]) -> Finding:
    level, problem, remedy = ODDITIES[oddity]
    return Finding(level, layer, problem.format(kinds=", ".join(shortened(kinds, 3))), remedy)


def _in_program(host: tf.estimator.Estimator, layers: Sequence[str], inputs: Inputs, job: Job) -> list[Finding]:
    try:
        build_program(host, job, lambda: full_batches(inputs, 0, job.data.batch_size), CORES)
    except Exception as error:  # of the model's own code
        return [_raised(f"the program for {CORES} cores", error, layers)]
    return []


def _raised(what: str, error: Exception, layers: Collection[str]) -> Finding:
    """Keras says which layer raised something; TensorFlow at least which tensor it is about."""
    calling = re.search(r"calling layer ['\"]?([\w.-]+)", str(error))
    about = re.search(r"Tensor\(\"([^\":]+)", str(error))
    where = f"layer {calling[1]}" if calling else layer_of(about[1], layers) if about else "the model"
    return Finding("error", where, f"{what} cannot be built ({in_words(error)})", REBUILD)

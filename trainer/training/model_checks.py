"""Checks of a model as a whole: its class, its optimizer, what `compile` was given."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import tensorflow as tf

from trainer.training.evaluation_metrics import evaluation_metric_names, user_metrics
from trainer.training.findings import Subject, is_keras_own
from trainer.training.native_optimizer import is_new_style, legacy_is_exact, unwrapped

TRAINING_METHODS = ("train_step", "make_train_function", "compute_loss")
EVALUATION_METHODS = ("test_step", "predict_step", "make_test_function", "make_predict_function", "compute_metrics")


def training_methods(subject: Subject) -> Iterator[str]:
    """Methods of the user's own that `fit` calls to train."""
    for name in _overridden(subject.model, TRAINING_METHODS):
        yield (
            f"{type(subject.model).__name__}.{name} is never called, the model trains on the loss given to compile: "
            "put what it does into the loss or into layers (add_loss)"
        )


def evaluation_methods(subject: Subject) -> Iterator[str]:
    """Methods of the user's own that `evaluate` and `predict` call."""
    for name in _overridden(subject.model, EVALUATION_METHODS):
        yield f"{type(subject.model).__name__}.{name} is never called: put what it does into metrics or layers"


def _overridden(model: tf.keras.Model, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if not is_keras_own(getattr(type(model), name, None))]


def compile_switches(subject: Subject) -> Iterator[str]:
    """Arguments of `compile` that change how fast `fit` is, not what it computes."""
    model = subject.model
    if model._run_eagerly:
        yield "run_eagerly=True has no effect, the job always runs as a graph"
    if model._jit_compile:
        yield "jit_compile=True has no effect"
    if int(model._steps_per_execution.numpy()) > 1:
        yield "steps_per_execution has no effect"


def nadam(subject: Subject) -> Iterator[str]:
    """The new Nadam computes with a counter that only `fit` keeps."""
    if type(unwrapped(subject.model.optimizer)) is tf.keras.optimizers.Nadam:
        yield "Nadam's steps come out otherwise than in fit: use tf.keras.optimizers.legacy.Nadam, which is exact"


def averaged_weights(subject: Subject) -> Iterator[str]:
    """`fit` replaces the weights by their average when it ends; nothing does so here."""
    optimizer = unwrapped(subject.model.optimizer)
    if is_new_style(optimizer) and optimizer.use_ema:
        yield (
            f"{type(optimizer).__name__}(use_ema=True) keeps no average of the weights, where fit ends with it in "
            "place: train without it"
        )


def ignored_rate(subject: Subject) -> Iterator[str]:
    """`Adam(lr=0.01)` trains with 0.001; Keras says so in the log only."""
    for note in subject.build_notes:
        if "`lr` is deprecated" in note:
            kind = (re.search(r"legacy\.(\w+)", note) or ["", "the optimizer"])[1]
            yield f"{kind}(lr=...) is ignored, in fit too: write {kind}(learning_rate=...)"


def scaled_optimizer(subject: Subject) -> Iterator[str]:
    """A loss scale takes the legacy optimizer inside it, right or wrong."""
    optimizer = subject.model.optimizer
    inner = unwrapped(optimizer)
    if inner is not optimizer and is_new_style(inner) and not legacy_is_exact(inner, subject.model):
        yield (
            f"{type(inner).__name__} inside a LossScaleOptimizer (mixed_float16 puts it there) computes something else "
            "than in fit or fails: use Adam or SGD, or mixed_bfloat16"
        )


def trained_optimizer(subject: Subject) -> Iterator[str]:
    """Moments and step count of a model that was trained before."""
    iterations = int(tf.keras.backend.get_value(subject.model.optimizer.iterations))
    if iterations:
        yield (
            f"the optimizer has made {iterations} steps already: its step count and moments start anew, and so does a "
            "learning-rate schedule"
        )


def subclassed_weights(subject: Subject) -> Iterator[str]:
    """The converter rebuilds a subclassed model with new initial weights."""
    model = subject.model
    if not model._is_graph_network and model.weights:
        yield (
            f"{type(model).__name__} is a subclassed model and its weights are lost: wrap it, "
            "`inputs = keras.Input(shape=...)`, `keras.Model(inputs, model(inputs))`, and compile that"
        )


def outside_losses(subject: Subject) -> Iterator[str]:
    """`model.add_loss(lambda: ...)` is not part of what is cloned."""
    for graph in subject.graphs:
        if graph._callable_losses:
            yield (
                f"add_loss(lambda: ...) of the model {graph.name} is lost: use kernel_regularizer=, or add_loss inside "
                "a layer's call"
            )


def sequential_additions(subject: Subject) -> Iterator[str]:
    """Keras' cloning of a Sequential trips over losses and metrics made from its tensors."""
    for graph in subject.graphs:
        kinds = {type(layer).__name__ for layer in graph._flatten_layers(include_self=False, recursive=False)}
        if isinstance(graph, tf.keras.Sequential) and kinds & {"AddLoss", "AddMetric"}:
            yield (
                f"add_loss or add_metric with a tensor of the Sequential model {graph.name} cannot be converted: make "
                "it functional, `keras.Model(model.inputs, model.outputs)`, and add it there"
            )


def shared_statistics(subject: Subject) -> Iterator[str]:
    """Two updates of one moving average race in a graph without automatic control dependencies."""
    for graph in subject.graphs:
        calls = Counter(node.layer for nodes in graph._nodes_by_depth.values() for node in nodes)
        for layer, times in calls.items():
            inner = list(layer._flatten_layers())
            if times > 1 and any(isinstance(each, tf.keras.layers.BatchNormalization) for each in inner):
                yield (
                    f"{layer.name} is called {times} times and its moving averages come out otherwise than in fit: use "
                    "a BatchNormalization layer of its own for each call"
                )


def numbered_heads(subject: Subject) -> Iterator[str]:
    """Under a strategy the converter takes `_1` off the end of each output's name."""
    if subject.strategy == "none":
        return
    short = Counter(re.sub(r"_\d$", "", name) for name in subject.outputs)
    clashing = [name for name in subject.outputs if short[re.sub(r"_\d$", "", name)] > 1]
    if clashing:
        yield (
            f"the outputs {', '.join(clashing)} would all be called {re.sub(r'_.$', '', clashing[0])} under "
            f"--strategy={subject.strategy}: rename the layers, or use --strategy=none"
        )


def renamed_heads(subject: Subject) -> Iterator[str]:
    """The same without a clash: only the name changes."""
    if subject.strategy == "none" or any(numbered_heads(subject)):
        return
    for name in subject.outputs:
        if re.search(r"_\d$", name):
            yield f"predictions of the output {name} are called {name[:-2]} under --strategy={subject.strategy}"


def structured_outputs(subject: Subject) -> Iterator[str]:
    """Outputs go by layer names, whatever keys the model's dict has."""
    keys = _output_keys(subject.model)
    if keys and not _named_by_key(subject.model):
        names = ", ".join(subject.outputs)
        yield f"labels and predictions go by the layers' names ({names}), not by the keys {', '.join(keys)}"


def keyed_losses(subject: Subject) -> Iterator[str]:
    """Losses and metrics under keys that no output layer is called by."""
    if not _output_keys(subject.model):
        return
    unknown = sorted(_named_by_key(subject.model) - set(subject.outputs))
    if unknown:
        yield (
            f"compile names the outputs {', '.join(unknown)} but their layers are called "
            f"{', '.join(subject.outputs)}: give the layers those names"
        )


def _output_keys(model: tf.keras.Model) -> list[str]:
    outputs = getattr(model, "_nested_outputs", None)
    return sorted(outputs) if isinstance(outputs, dict) and set(outputs) != set(model.output_names) else []


def _named_by_key(model: tf.keras.Model) -> set[str]:
    named = (model.loss, user_metrics(model), user_metrics(model, weighted=True))
    return {key for each in named if isinstance(each, dict) for key in each}


def unreduced_loss(subject: Subject) -> Iterator[str]:
    """The graph needs one number a batch."""
    for loss in tf.nest.flatten(subject.model.loss):
        if getattr(loss, "reduction", None) == tf.keras.losses.Reduction.NONE:
            yield f"the loss {type(loss).__name__} has reduction='none', which cannot train here: leave reduction out"


def unusable_metrics(subject: Subject) -> Iterator[str]:
    """Keras builds metrics with the first batch: what it refuses then is refused before."""
    try:
        evaluation_metric_names(subject.model)
    except Exception as error:  # metrics of the user's own may raise anything; what they said goes into the sentence
        words = " ".join(str(error).split()).rstrip(".")
        yield (
            f"the metrics given to compile cannot be built ({type(error).__name__}: {words[:200]}): name each once, "
            "and let get_config return all arguments of __init__"
        )


def added_metrics(subject: Subject) -> Iterator[str]:
    """Metrics from `add_metric`."""
    owners = (subject.model, *subject.layers)
    names = sorted({metric.name for each in owners for metric in getattr(each, "_metrics", ())})
    if names:
        yield f"the metrics from add_metric ({', '.join(names)}) are not reported"


def output_losses(subject: Subject) -> Iterator[str]:
    """Losses of single outputs."""
    if len(subject.outputs) > 1:
        yield "the losses of the single outputs are not reported, their weighted sum is"

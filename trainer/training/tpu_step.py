"""One training step as a TPU would get it: its operations, which layer each belongs to, and what XLA says to it.

Measured on TensorFlow 2.15.1: XLA on the CPU refuses text, tables, Python and whatever it has no kernel for, and names
the operation; shapes that depend on the data and float64 pass. So the operations are looked at as well.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.training.failures import in_words

OPTIMIZER = "the optimizer"
_OPEN_WIDTH = 8  # in the place of a size that is not known
_TABLES = ("LookupTableFind", "LookupTableInsert", "LookupTableRemove")
PYTHON = ("PyFunc", "EagerPyFunc", "PyFuncStateless")
# XLA leaves out messages and what shows them; a table counts where it is looked into.
_NO_TEXT = ("Const", "Assert", "PrintV2", "NoOp", "LookupTableImportV2")
_NO_WORK = ("Cast", "Const", "Identity", "IdentityN", "ReadVariableOp", "VarHandleOp")
# Shapes of their results depend on the data; in a loop or a branch nobody knows more of them than the name.
_OPEN = ("Where", "Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2", "DynamicPartition", "ListDiff")


@dataclasses.dataclass(frozen=True)
class Step:
    """A step, traced for one core and marked to be compiled.

    Attributes:
      operations: those of the step, without what feeds it.
      layers: names of the model's layers.
    """

    graph: tf.Graph
    operations: list[tf.Operation]
    loss: tf.Tensor
    layers: tuple[str, ...]

    def odd_operations(self) -> Iterator[tuple[str, str, str]]:
        """(layer, what is odd about it, type of operation), each once: `text`, `table`, `python`, `open`, `float64`."""
        seen = set()
        library = {each.signature.name: each for each in self.graph.as_graph_def().library.function}
        for operation in self.operations:
            layer = layer_of(operation.name, self.layers)
            for oddity, kind in [*_oddities(operation), *_nested_oddities(operation, library)]:
                if (layer, oddity, kind) not in seen:
                    seen.add((layer, oddity, kind))
                    yield layer, oddity, kind

    def compile(self) -> tuple[str, str] | None:
        """Compile the step and run it once on zeros; the layer at which that fails, and why; None where it works."""
        with tf.compat.v1.Session(graph=self.graph) as session, self.graph.as_default():
            session.run([tf.compat.v1.global_variables_initializer(), tf.compat.v1.tables_initializer()])
            try:
                session.run(self.loss)
            except tf.errors.OpError as error:
                return self._place(error), _reason(error)
        return None

    def _place(self, error: tf.errors.OpError) -> str:
        named = re.search(r"\{\{node ([^}]+)\}\}|Detected at node '([^']+)'", error.message)
        return layer_of(next(filter(None, named.groups())), self.layers) if named else "the model"


def trace_step(host: tf.estimator.Estimator, layers: Sequence[str], element_spec: Any, batch_size: int) -> Step:
    """Trace a step on zeros. Raises whatever the model's own code does.

    Args:
      host: what the model was converted to.
      layers: names of its layers.
      element_spec: of the batches (features, labels); sizes that are open get some size.
      batch_size: of one core.
    """
    operations, config = list[tf.Operation](), host.config
    with tf.Graph().as_default() as graph:
        tf.compat.v1.train.create_global_step()
        zeros = tf.nest.map_structure(lambda spec: _zeros(spec, batch_size), element_spec)

        def step(*parts: tf.Tensor) -> tf.Tensor:
            features, labels = tf.nest.pack_sequence_as(zeros, parts)
            before = len(graph.get_operations())
            made = host.model_fn(features, labels, tf.estimator.ModeKeys.TRAIN, config)
            operations.extend(graph.get_operations()[before:])
            with tf.control_dependencies([made.train_op]):
                return tf.identity(made.loss)

        loss = tf.xla.experimental.compile(step, tf.nest.flatten(zeros))
    return Step(graph, operations, loss, tuple(layers))


def layer_of(name: str, layers: Collection[str]) -> str:
    """The layer of an operation, by the scopes in its name; inner layers with the ones around them."""
    if re.match(r"training(_\d+)?/(?!.*gradients/)", name):
        return OPTIMIZER
    scopes = [_layer_name(scope, layers) for scope in name.split("/")]
    first = next((number for number, scope in enumerate(scopes) if scope), None)
    if first is None:
        return "the loss" if name.startswith("loss/") else "the model"
    last = next((number for number in range(first, len(scopes)) if not scopes[number]), len(scopes))
    return "layer " + "/".join(dict.fromkeys(str(each) for each in scopes[first:last]))


def _layer_name(scope: str, layers: Collection[str]) -> str | None:
    """A layer that is called again gets a number behind its name."""
    plain = re.sub(r"_\d+$", "", scope)
    return scope if scope in layers else plain if plain in layers else None


def _zeros(spec: tf.TensorSpec, batch_size: int) -> tf.Tensor:
    sizes = [_OPEN_WIDTH if size is None else size for size in spec.shape[1:]]
    return tf.zeros([batch_size, *sizes], spec.dtype)


def _oddities(operation: tf.Operation) -> Iterator[tuple[str, str]]:
    kind = operation.type
    if found := _by_kind(kind):
        yield found, kind
        return
    tensors = [*operation.inputs, *operation.outputs]
    if kind not in _NO_TEXT and any(each.dtype.base_dtype == tf.string for each in tensors):
        yield "text", kind
    if _begins_open_shape(operation):
        yield "open", kind
    if kind not in _NO_WORK and any(each.dtype.base_dtype == tf.float64 for each in operation.outputs):
        yield "float64", kind


def _begins_open_shape(operation: tf.Operation) -> bool:
    """Whether shapes are known before an operation and not after it.

    Gradients mirror what the layers do. The last output of FusedBatchNorm is scratch space of unknown size everywhere.
    """
    if operation.type.startswith("FusedBatchNorm") or "/gradients/" in operation.name:
        return False
    before, after = (
        all(each.shape.is_fully_defined() for each in tensors) for tensors in (operation.inputs, operation.outputs)
    )
    return before and not after


def _nested_oddities(operation: tf.Operation, library: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of the functions that an operation calls: bodies of loops, branches, `tf.function`s."""
    pending = [operation.node_def]
    called = set[str]()
    while pending:
        for value in pending.pop().attr.values():
            for name in (value.func.name, *(each.name for each in value.list.func)):
                if name in library and name not in called:
                    called.add(name)
                    pending += library[name].node_def
    for kind in sorted({node.op for name in called for node in library[name].node_def}):
        if found := _by_kind(kind):
            yield found, kind


def _by_kind(kind: str) -> str | None:
    if kind.startswith(_TABLES):
        return "table"
    return "python" if kind in PYTHON else "open" if kind in _OPEN else None


def _reason(error: tf.errors.OpError) -> str:
    """XLA's reason without the stacks and the advice around it."""
    unsupported = re.search(r"No registered '(\w+)' OpKernel", error.message)
    if unsupported:
        return f"XLA cannot compile {unsupported[1]}"
    lines = [line.strip() for line in error.message.splitlines()]
    told = [line for line in lines if line and not re.match(r'File "|Detected at|Node:|Graph execution', line)]
    return f"XLA cannot compile it ({' '.join(told[:1])[:300].rstrip('.')})" if told else in_words(error)

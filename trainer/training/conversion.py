"""What converting a Keras model to an Estimator does to it, and the answer to each fact: one table.

Every row was measured on TensorFlow 2.15.1. A detour keeps what the user wrote. A refusal says before training what
would be lost; --allow-lossy-conversion goes ahead. A warning stands where only reporting or speed differ. What cannot
work at all is refused whatever the flags.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

import tensorflow as tf

from trainer.job.errors import ModelError
from trainer.training import layer_checks as layer
from trainer.training import model_checks as model_
from trainer.training.evaluation_metrics import evaluation_metric_names
from trainer.training.findings import Finding, Row, Subject
from trainer.training.fit_semantics import find_custom_objects

__all__ = ["TABLE", "Finding", "Row", "check_conversion", "evaluation_metric_names", "find_losses", "watch_build"]

_CONVERTER = "trainer.training.converter"
_NATIVE = "trainer.training.native_optimizer"
_SEMANTICS = "trainer.training.fit_semantics"
_METRICS = "trainer.training.weighted_metrics"

TABLE: tuple[Row, ...] = (
    # Silently wrong with the plain recipe
    Row("non_trainable_weights", "the first checkpoint restores trainable weights only, BatchNorm's statistics and an "
        "adapted Normalization are lost", "detour", where=_CONVERTER),
    Row("checkpoint_limit", "object checkpoints: keep_checkpoint_max is ignored", "detour", where=_CONVERTER),
    Row("extra_step", "object checkpoints: a finished job trains one more step each time", "detour", where=_CONVERTER),
    Row("other_width", "object checkpoints: another width takes the old shape", "detour", where=_CONVERTER),
    Row("batch_norm_strategy", "object checkpoints: BatchNorm fails under a strategy", "detour", where=_CONVERTER),
    Row("object_format_refusals", "object checkpoints: stateful RNNs and subclassed models are refused", "detour",
        where=_CONVERTER),
    Row("stable_names", "name-based checkpoints: a layer named by Keras has another name in a second build", "detour",
        where=_CONVERTER + ".fresh_session"),
    Row("stale_first_weights", "MODEL_DIR/keras of another model is used again", "detour",
        where=_CONVERTER + ", trainer.training.fingerprint"),
    Row("weight_decay", "weight_decay of the optimizer is dropped", "detour", where=_NATIVE),
    Row("epsilon_and_sparse", "RMSprop; SGD with momentum, RMSprop, Ftrl, Adadelta, Adamax on embeddings: the legacy "
        "optimizer computes something else", "detour", where=_NATIVE),
    Row("averaged_weights", "use_ema: the average does not replace the weights", "refusal", model_.averaged_weights),
    Row("nadam", "Nadam's numbers differ", "refusal", model_.nadam),
    Row("ignored_rate", "Adam(lr=...) is ignored", "warning", model_.ignored_rate),
    Row("trained_optimizer", "slots and iterations of a trained model are not carried", "warning",
        model_.trained_optimizer),
    Row("train_step", "a train_step of the user's own is never called", "refusal", model_.training_methods),
    Row("test_step", "a test_step of the user's own is never called", "refusal", model_.evaluation_methods),
    Row("compile_switches", "run_eagerly, jit_compile, steps_per_execution are ignored", "warning",
        model_.compile_switches),
    Row("fit_arguments", "callbacks and validation_split have no path", "warning",
        where="trainer.training.prototype: calls of fit in the module do not run"),
    Row("added_metrics", "metrics from add_metric are missing", "warning", model_.added_metrics),
    Row("output_losses", "losses of single outputs are missing", "warning", model_.output_losses),
    Row("weighted_metrics", "weighted_metrics ignore sample weights", "detour", where=_METRICS),
    Row("renamed_metrics", "metric objects of a model with several outputs get another name each time",
        "detour", where=_METRICS),
    Row("subclassed_weights", "weights of a subclassed model are lost", "refusal", model_.subclassed_weights),
    Row("numbered_heads", "outputs out_1, out_2 lose their number under a strategy", "refusal", model_.numbered_heads),
    Row("renamed_heads", "an output dense_1 is called dense under a strategy", "warning", model_.renamed_heads),
    Row("empty_data", "no data is no error", "detour", where="trainer.training.prepare"),
    Row("equality", "== on tensors compares identities in losses, metrics and layers", "detour", where=_SEMANTICS),
    Row("training_argument", "layers of the user's own get training=None", "detour", where=_SEMANTICS),
    Row("label_rank", "labels (batch,) against predictions (batch, 1) in a Loss of the user's own", "detour",
        where=_SEMANTICS),
    Row("assignments", "assignments in a layer's call never happen", "refusal", layer.assigning_layers),
    Row("outside_losses", "model.add_loss(lambda: ...) is dropped", "refusal", model_.outside_losses),
    Row("shared_statistics", "a BatchNorm called twice updates in another order", "refusal", model_.shared_statistics),
    Row("changed_layers", "an argument that get_config forgets falls back to its default", "refusal",
        layer.changed_layers),
    Row("changed_metrics", "the same with a metric", "warning", layer.changed_metrics),
    Row("adapted_discretization", "an adapted Discretization loses its boundaries", "refusal",
        layer.adapted_discretization),
    Row("stateful", "the state of a stateful RNN stands still in evaluation", "refusal", layer.stateful_layers),
    Row("accuracy_word", '"accuracy" is resolved by the loss instead of the shapes', "detour", where=_METRICS),
    Row("structured_outputs", "outputs go by layer names, not by the keys of a dict", "warning",
        model_.structured_outputs),
    # Fails
    Row("new_optimizers", "AdamW, Lion, Adafactor and optimizers of the user's own have no legacy twin", "detour",
        where=_NATIVE),
    Row("scaled_optimizer", "the same inside a LossScaleOptimizer", "impossible", model_.scaled_optimizer),
    Row("unused_weights", "a weight without a gradient, such as a head without a loss", "detour", where=_NATIVE),
    Row("text_vectorization", "the table of a TextVectorization cannot be captured", "impossible",
        layer.text_vectorization),
    Row("adapted_lookups", "the table of an adapted lookup is never initialised", "impossible", layer.adapted_lookups),
    Row("unpadded_lookups", "lookups without a fixed width", "impossible", layer.unpadded_lookups),
    Row("custom_schedule", "a schedule of the user's own is not found by name", "detour", where=_SEMANTICS),
    Row("custom_names", "nor are layers in nested models and wrappers, activations, regularizers", "detour",
        where=_SEMANTICS),
    Row("unusable_metrics", "metrics that Keras refuses with the first batch", "impossible", model_.unusable_metrics),
    Row("unreduced_loss", 'a loss with reduction="none"', "impossible", model_.unreduced_loss),
    Row("sequential_additions", "add_loss and add_metric with tensors of a Sequential", "impossible",
        model_.sequential_additions),
    Row("unbuildable_layers", "layers without a get_config that can be read back", "impossible",
        layer.unbuildable_layers),
    Row("dynamic_layers", "layers that only run eagerly", "impossible", layer.dynamic_layers),
    Row("keyed_losses", "losses under keys that are no layers' names", "impossible", model_.keyed_losses),
    Row("invalid_models", "models built before a conversion are in an invalid state", "detour",
        where="trainer.training.fingerprint, taken before"),
    Row("no_load_model", "load_model cannot read an Estimator's export", "detour",
        where="trainer.training.verification"),
)  # fmt: skip


def find_losses(model: tf.keras.Model, *, strategy: str = "none", build_notes: Sequence[str] = ()) -> list[Finding]:
    """What of the table applies to this model, in the table's order. The model is left as it is."""
    subject = Subject(model, strategy, tuple(build_notes))
    with tf.keras.utils.custom_object_scope(find_custom_objects(model)):
        return [
            Finding(row.id, row.answer, clause)
            for row in TABLE
            if row.check is not None
            for clause in row.check(subject)
        ]


def check_conversion(
    model: tf.keras.Model, *, allow_lossy: bool, strategy: str, build_notes: Sequence[str] = ()
) -> list[str]:
    """The sentences to warn about and to keep with the job.

    Raises:
        ModelError: the model cannot be converted, or something would be lost and `allow_lossy` is False.
    """
    findings = find_losses(model, strategy=strategy, build_notes=build_notes)
    impossible = [finding.sentence for finding in findings if finding.kind == "impossible"]
    if impossible:
        raise ModelError(f"this model cannot be trained as an Estimator: {'; '.join(impossible)}.")
    lost = [finding.sentence for finding in findings if finding.kind == "refusal"]
    if lost and not allow_lossy:
        raise ModelError(
            f"trained as an Estimator, this model would not be what fit makes of it: {'; '.join(lost)}; or pass "
            "--allow-lossy-conversion."
        )
    return [finding.sentence for finding in findings]


@contextlib.contextmanager
def watch_build() -> Iterator[list[str]]:
    """Collect what Keras logs while a model is built; the list is complete when the context ends.

    Keras tells of an ignored argument in absl's log only, which a quiet job does not show. Records that would have
    been shown are shown afterwards.
    """
    log, records = logging.getLogger("absl"), _Records()
    notes: list[str] = []
    before = log.level, log.handlers, log.propagate
    log.setLevel(logging.WARNING)
    log.handlers, log.propagate = [records], False
    try:
        yield notes
    finally:
        level, log.handlers, log.propagate = before
        log.setLevel(level)
        notes += [record.getMessage() for record in records.found]
        for record in records.found:
            if log.isEnabledFor(record.levelno):
                log.handle(record)


class _Records(logging.Handler):
    """Keeps log records."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        self.found.append(record)

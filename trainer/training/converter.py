"""The conversion itself: a compiled Keras model becomes an Estimator that trains it as `fit` would."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Callable

import tensorflow as tf

from trainer.cloud.storage import is_remote
from trainer.job.environment import scratch_folder
from trainer.job.errors import ModelError
from trainer.training.fit_semantics import ModelFn, Original, as_in_fit, fit_scope
from trainer.training.native_optimizer import NativeOptimizer, clips, needs_native
from trainer.training.records import remove_path
from trainer.training.strategies import ALONE, Spread
from trainer.training.weighted_metrics import as_in_evaluate

FIRST_WEIGHTS = "keras_model.ckpt"  # the converter's own name, in MODEL_DIR/keras


def fresh_session(seed: int, *, deterministic: bool = False) -> None:
    """Make what is built next the same in every process: names, initial weights, random order.

    Checkpoints go by variable names, and Keras numbers the layers it names (`dense_3`) by what the process has built
    before; cleared, the count starts over. `deterministic` makes ops refuse to run in an order that varies.
    """
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def convert(
    model: tf.keras.Model,
    model_dir: str,
    run_config: tf.estimator.RunConfig,
    wrap: Callable[[ModelFn], ModelFn] = lambda model_fn: model_fn,
    spread: Spread = ALONE,
) -> tf.estimator.Estimator:
    """Make the Estimator; its first checkpoint starts from all of the model's weights as they are now.

    `wrap` is put around the model function: what exports need besides. `spread` says over how many replicas it will
    train (`with_config`).

    Models built before are in an invalid state afterwards: take from them what is needed first.

    Raises:
        ModelError: the model cannot be rebuilt in the Estimator's graph.
    """
    first = _first_weights_folder(model_dir, run_config)
    first_config = run_config.replace(model_dir=first)
    _list_tuples(model)
    original = Original.of(model)
    if needs_native(model) or (spread.name == "central_storage" and clips(model)):
        model.optimizer = NativeOptimizer.of(model.optimizer, model)
    try:
        with fit_scope(original):
            # The saver format: with the other one keep_checkpoint_max is ignored, a finished job trains one more step
            # whenever it is run again, and a model of another width silently takes the old shape.
            converted = tf.keras.estimator.model_to_estimator(
                keras_model=model,
                model_dir=first,
                config=first_config,
                checkpoint_format="saver",
            )
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise ModelError(_failed_sentence(model, error)) from error
    return tf.estimator.Estimator(
        model_fn=wrap(as_in_fit(as_in_evaluate(converted.model_fn, original), original)),
        config=converted.config.replace(model_dir=model_dir),
        warm_start_from=_start_from(model, first, run_config),
    )


class _FirstWeightsSaved(Exception):
    """The session that was made for the first checkpoint has done its work."""


class _SaveFirstWeightsHook(tf.compat.v1.train.SessionRunHook):
    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def after_create_session(self, session: tf.compat.v1.Session, coord: object) -> None:
        """Save, and go no further. Raises _FirstWeightsSaved."""
        saver = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.SAVERS)[0]
        saver.save(session, self._prefix, global_step=0, write_meta_graph=False)
        raise _FirstWeightsSaved


def save_first_weights(estimator: tf.estimator.Estimator, prefix: str, input_fn: Callable[[], tf.data.Dataset]) -> None:
    """Write the checkpoint of step 0, from which an Estimator with a strategy starts; a plain one is to be given.

    A warm start itself fails under a strategy: it takes an optimizer's variables on several devices for parts of one
    ("'NoneType' object has no attribute 'full_name'", TensorFlow 2.15.1), and each machine would draw its own weights.
    """
    with contextlib.suppress(_FirstWeightsSaved):
        estimator.train(input_fn, hooks=[_SaveFirstWeightsHook(prefix)], steps=1)


def with_config(estimator: tf.estimator.Estimator, config: tf.estimator.RunConfig) -> tf.estimator.Estimator:
    """The same model with another configuration, such as a strategy."""
    return tf.estimator.Estimator(model_fn=estimator._model_fn, config=config)


def _list_tuples(model: tf.keras.Model) -> None:
    """Keras 1 takes lists only where Keras 2's `compile` takes tuples too."""
    for container, names in (
        (model.compiled_metrics, ("_user_metrics", "_user_weighted_metrics")),
        (model.compiled_loss, ("_user_losses", "_user_loss_weights")),
    ):
        for name in names:
            setattr(container, name, _listed(getattr(container, name)))


def _listed(given: object) -> object:
    if isinstance(given, (list, tuple)):
        return [_listed(each) for each in given]
    return {key: _listed(each) for key, each in given.items()} if isinstance(given, dict) else given


def _start_from(
    model: tf.keras.Model, model_dir: str, run_config: tf.estimator.RunConfig
) -> tf.estimator.WarmStartSettings | None:
    """All variables, where the converter itself names the trainable ones only and loses BatchNorm's statistics.

    A pattern in a list means all variables, a pattern alone the trainable ones. Unused once there is a checkpoint.
    """
    if not (run_config.is_chief and model._is_graph_network):
        return None
    return tf.estimator.WarmStartSettings(posixpath.join(model_dir, "keras", FIRST_WEIGHTS), vars_to_warm_start=[".*"])


def _first_weights_folder(model_dir: str, run_config: tf.estimator.RunConfig) -> str:
    """Where the converter leaves the first weights: beside the checkpoints, but on this machine where those are not.

    A warm start opens them anew for each variable, which would be some ten requests each.
    """
    if is_remote(model_dir):
        return scratch_folder("first-weights")
    if run_config.is_chief:
        _discard_first_weights(model_dir)
    return model_dir


def _discard_first_weights(model_dir: str) -> None:
    """Have the first weights written again as long as training has saved nothing.

    The converter takes what it finds in MODEL_DIR/keras for this model's: be it another's, or half written when the
    first run was killed. Once there is a checkpoint nobody reads them any more.
    """
    folder = posixpath.join(model_dir, "keras")
    if tf.train.latest_checkpoint(model_dir) or not os.path.isdir(folder):
        return
    for name in os.listdir(folder):
        if name.startswith(("checkpoint", FIRST_WEIGHTS)):
            remove_path(posixpath.join(folder, name))


def _failed_sentence(model: tf.keras.Model, error: Exception) -> str:
    words = " ".join(str(error).split())
    return (
        f"the model {model.name} cannot be rebuilt in the Estimator's graph ({type(error).__name__}: {words[:300]}): "
        "see that each layer's get_config returns all its arguments and that nothing in it needs eager execution."
    )

"""What an export gives: the model's own outputs, the key, and for classifications names of classes beside the scores.

A classification is told by its loss: a crossentropy, or a loss of the user's own over text labels and an output that
ends in softmax or sigmoid. All else, several labels at once included, is served as the model returns it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.job.errors import ModelError
from trainer.job.serving import KEY, Output, ServingSpec
from trainer.training.analysis import read_lines
from trainer.training.fit_semantics import ModelFn
from trainer.training.inputs import Inputs
from trainer.training.labels import Label, loss_word, losses_of
from trainer.training.signatures import KEY_FEATURE

SERVING_DEFAULT = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
# a loss's name without underscores, in small letters -> what makes probabilities of logits
CROSSENTROPIES = {
    "sparsecategoricalcrossentropy": "softmax",
    "categoricalcrossentropy": "softmax",
    "categoricalfocalcrossentropy": "softmax",
    "binarycrossentropy": "sigmoid",
    "binaryfocalcrossentropy": "sigmoid",
    "bce": "sigmoid",
}
PROBABILITIES = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}


@dataclasses.dataclass(frozen=True)
class Serving:
    """A spec, and the outputs that are logits: name -> `softmax` or `sigmoid`, which their scores take."""

    spec: ServingSpec
    logits: Mapping[str, str] = dataclasses.field(default_factory=dict)


def plan_serving(model: tf.keras.Model, inputs: Inputs) -> Serving:
    """Settle what exports take and give; to be asked before the model is converted.

    Raises:
      ModelError: a column or an output is called `key`, which is the name of what passes through.
    """
    served = inputs.served
    labels = {label.output: label for label in served.labels}
    _check_names(model, served.columns)
    losses = losses_of(model)
    taken = {*model.output_names, KEY}
    several = len(model.output_names) > 1
    outputs, logits = [], {}
    for name, tensor in zip(model.output_names, model.outputs or [], strict=False):
        output, function = _plan_output(name, tensor, losses[name], labels.get(name))
        outputs.append(_named(output, taken, several))
        if function:
            logits[name] = function
    spec = ServingSpec(served.columns, tuple(outputs), served.key_column, served.weight_column, served.stored)
    return Serving(spec, logits)


def with_serving_outputs(serving: Serving) -> Callable[[ModelFn], ModelFn]:
    """Make of a model function one whose exports give the outputs of a spec; `estimator.predict` gives the scores too.

    The key comes among the features, under `KEY_FEATURE`; where there is none, exports give none.
    """

    def wrap(model_fn: ModelFn) -> ModelFn:
        def run_model_fn(
            features: Any, labels: Any, mode: str, config: tf.estimator.RunConfig
        ) -> tf.estimator.EstimatorSpec:
            key = features.get(KEY_FEATURE) if isinstance(features, Mapping) else None
            if key is not None:
                features = {name: value for name, value in features.items() if name != KEY_FEATURE}
            made = model_fn(features, labels, mode, config)
            return made if mode != tf.estimator.ModeKeys.PREDICT else _with_outputs(made, serving, key)

        return run_model_fn

    return wrap


def classes_of(output: Output, scores: tf.Tensor) -> dict[str, tf.Tensor]:
    """The signature's outputs about the classes, of scores (float32, [batch, classes])."""
    names = tf.constant(output.classes)
    all_names = tf.tile(names[tf.newaxis, :], [tf.shape(scores)[0], 1])
    found = {
        output.class_output: tf.gather(names, tf.argmax(scores, -1)),
        output.classes_output: all_names,
        output.scores_output: scores,
    }
    return {name: tensor for name, tensor in found.items() if name}


def scores_of(raw: tf.Tensor, function: str | None) -> tf.Tensor:
    """Probabilities (float32, [batch, classes]) of an output as the model returns it; one number makes two."""
    scores = tf.cast(raw, tf.float32)
    if function:
        scores = PROBABILITIES[function](scores)
    return tf.concat([1.0 - scores, scores], -1) if scores.shape[-1] == 1 and function != "softmax" else scores


def _with_outputs(
    made: tf.estimator.EstimatorSpec, serving: Serving, key: tf.Tensor | None
) -> tf.estimator.EstimatorSpec:
    raw = dict(made.predictions)
    scores = {
        output.scores_output: scores_of(raw[output.name], serving.logits.get(output.name))
        for output in serving.spec.outputs
        if output.scores_output
    }
    about = [classes_of(each, scores[each.scores_output]) for each in serving.spec.outputs if each.scores_output]
    served = {**raw, **{name: tensor for found in about for name, tensor in found.items()}}
    if key is not None:
        served[KEY] = key
    exported = {SERVING_DEFAULT: tf.estimator.export.PredictOutput(served)}
    return made._replace(predictions={**raw, **scores}, export_outputs=exported)


def _check_names(model: tf.keras.Model, columns: Mapping[str, object]) -> None:
    if KEY in columns:
        raise ModelError(
            f"a feature is called {KEY}, which is what exports call the name of an example that passes through them: "
            f"say --key-column={KEY} if it is one, leave it out of FEATURES if the model does not need it, or rename "
            "the column."
        )
    if KEY in model.output_names:
        raise ModelError(
            f"an output of the model is called {KEY}, which is what exports call the name of an example that passes "
            "through them: give that layer another name."
        )


def _plan_output(name: str, tensor: Any, loss: object, label: Label | None) -> tuple[Output, str | None]:
    """An output, without names yet, and the function that its logits take."""
    width = tensor.shape[-1] if tensor.shape.rank == 2 else None
    known = read_lines(label.classes) if label and label.classes else []
    function, ends_in = _probabilities(loss), _activation(tensor)
    if function is None and known and ends_in in PROBABILITIES:
        function = ends_in  # a loss of the user's own
    column = label.column if label else None
    alone = width == 1 and function == "sigmoid"
    if function is None or width is None or (width == 1) != alone or (function == "sigmoid" and not (alone or known)):
        return Output(name, column, "regression"), None
    logits = function if _takes_logits(loss) and ends_in not in PROBABILITIES else None
    sparse = "sparse" in loss_word(loss)
    return Output(name, column, "classification", _class_names(known, 2 if alone else width), sparse), logits


def _class_names(known: Sequence[str], count: int) -> tuple[str, ...]:
    """Names of all classes that the output has room for; those that the data do not have are called by their number."""
    if not known:
        return tuple(str(number) for number in range(count))
    return (*known, *(f"#{number}" for number in range(len(known), count)))


def _named(output: Output, taken: set[str], several: bool) -> Output:
    """Name a classification's outputs, so that each name is used once."""
    if not output.classes:
        return output
    names = []
    for name in ("class", "classes", "scores"):
        while (several and not name.startswith(f"{output.name}_")) or name in taken:
            name = f"{output.name}_{name}"
        names.append(name)
        taken.add(name)
    return dataclasses.replace(output, class_output=names[0], classes_output=names[1], scores_output=names[2])


def _probabilities(loss: object) -> str | None:
    """`softmax` or `sigmoid` for a crossentropy, those that the user has derived included; None for another loss."""
    derived = type(loss).__mro__ if isinstance(loss, tf.keras.losses.Loss) else ()
    kinds = [kind.__name__ for kind in derived] or [loss_word(loss)]
    found = (CROSSENTROPIES.get(kind.lower().replace("_", "")) for kind in kinds)
    return next(filter(None, found), None)


def _takes_logits(loss: object) -> bool:
    given = loss.keywords if isinstance(loss, functools.partial) else getattr(loss, "_fn_kwargs", {})
    return bool(given.get("from_logits", getattr(loss, "from_logits", False)))


def _activation(tensor: Any) -> str | None:
    """The activation that an output ends in. Keras' crossentropies go back behind softmax and sigmoid by themselves."""
    layer = getattr(getattr(tensor, "_keras_history", None), "layer", None)
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", None)

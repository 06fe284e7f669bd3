"""Models that an Estimator must train as `fit` does: each function returns one, with its data."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.training.conversion_data import (
    CLASSES,
    IMAGES,
    MASKED,
    ROWS,
    SEQUENCES,
    TARGETS,
    TOKENS,
    WEIGHTS,
    WORDS,
    YES_NO,
    Case,
    Counted,
    Inner,
    Largest,
    Normalized,
    Scaled,
    Squared,
    collector,
    dense,
    functional,
    sequential,
)

keras, layers = tf.keras, tf.keras.layers
CASES, case = collector()


# ---------------------------------------------------------------- kinds of models


@case
def sequential_lstm_classifier() -> Case:
    parts = layers.Embedding(20, 4, input_length=7), layers.LSTM(3), layers.Dropout(0.0), layers.Dense(3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Case(sequential(*parts, optimizer="adam", loss=loss, metrics=["accuracy"]), TOKENS, CLASSES)


@case
def functional_two_inputs() -> Case:
    one, two = keras.Input((6,), name="one"), keras.Input((6,), name="two")
    outputs = layers.Dense(1)(layers.concatenate([layers.Dense(3)(one), two]))
    return Case(functional([one, two], outputs), {"one": ROWS, "two": ROWS[::-1]}, TARGETS)


@case
def two_outputs_with_loss_weights() -> Case:
    row = keras.Input((6,), name="row")
    heads = [layers.Dense(1, name="a")(row), layers.Dense(1, name="b")(row)]
    model = functional(row, heads, loss=("mse", "mae"), loss_weights=(0.3, 0.7), metrics=["mae"])
    return Case(model, {"row": ROWS}, {"a": TARGETS, "b": TARGETS[::-1]})


@case
def nested_models_with_equal_names() -> Case:
    row = keras.Input((6,))
    inner = [keras.Sequential([layers.Dense(2, name="d", input_shape=(6,))]) for _ in range(2)]
    return Case(functional(row, layers.Dense(1)(layers.concatenate([model(row) for model in inner]))), ROWS, TARGETS)


@case
def shared_layer() -> Case:
    one, two, shared = keras.Input((6,), name="one"), keras.Input((6,), name="two"), layers.Dense(3)
    outputs = layers.Dense(1)(layers.subtract([shared(one), shared(two)]))
    return Case(functional([one, two], outputs), {"one": ROWS, "two": ROWS[::-1]}, TARGETS)


@case
def gru_and_masked_embedding() -> Case:
    parts = layers.Embedding(20, 4, mask_zero=True, input_length=7), layers.GRU(3), layers.Dense(1)
    return Case(sequential(*parts), TOKENS, TARGETS)


@case
def bidirectional_over_stacked_lstm() -> Case:
    first = layers.LSTM(3, return_sequences=True, input_shape=(7, 4))
    return Case(sequential(first, layers.Bidirectional(layers.LSTM(2)), layers.Dense(1)), SEQUENCES, TARGETS)


@case
def masked_sequence_to_sequence() -> Case:
    parts = layers.Masking(input_shape=(7, 4)), layers.LSTM(3, return_sequences=True), layers.Dense(1)
    return Case(sequential(*parts, metrics=["mae"]), MASKED, SEQUENCES[:, :, :1])


@case
def attention_and_layer_norm() -> Case:
    inputs = keras.Input((7, 4))
    attended = layers.LayerNormalization()(layers.MultiHeadAttention(2, 3)(inputs, inputs))
    return Case(functional(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(attended))), SEQUENCES, TARGETS)


@case
def convolutions() -> Case:
    parts = layers.Conv2D(4, 3, input_shape=(8, 8, 3)), layers.MaxPool2D(), layers.DepthwiseConv2D(2), layers.Flatten()
    return Case(sequential(*parts, layers.Dense(1)), IMAGES, TARGETS)


@case
def batch_norm() -> Case:
    parts = layers.Dense(4, input_shape=(6,)), layers.BatchNormalization(), layers.Dense(1)
    return Case(sequential(*parts), ROWS, TARGETS, plain=True)  # its statistics are lost by the plain recipe


@case
def batch_norm_in_a_nested_model() -> Case:
    inner, row = keras.Sequential([layers.Dense(3, input_shape=(6,)), layers.BatchNormalization()]), keras.Input((6,))
    return Case(functional(row, layers.Dense(1)(inner(row))), ROWS, TARGETS)


@case
def frozen_model_inside() -> Case:
    inner = keras.Sequential([layers.Dense(3, input_shape=(6,)), layers.BatchNormalization()])
    inner.trainable = False
    return Case(sequential(inner, layers.Dense(1)), ROWS, TARGETS)


@case
def regularizers_and_constraints() -> Case:
    first = layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l1", input_shape=(6,))
    return Case(sequential(first, layers.Dense(1, kernel_constraint="max_norm")), ROWS, TARGETS)


@case
def add_loss_with_a_tensor() -> Case:
    row = keras.Input((6,))
    hidden = layers.Dense(3)(row)
    model = keras.Model(row, layers.Dense(1)(hidden))
    model.add_loss(tf.reduce_mean(hidden**2))
    model.compile("sgd", "mse")
    return Case(model, ROWS, TARGETS)


@case
def add_loss_alone() -> Case:
    row = keras.Input((6,))
    model = keras.Model(row, layers.Dense(1)(row))
    model.add_loss(tf.reduce_mean(model.output**2))
    model.compile("sgd")
    return Case(model, ROWS, TARGETS)


@case
def lambda_and_tensor_ops() -> Case:
    row = keras.Input((6,))
    moved = layers.Lambda(lambda x: x * 2)(tf.nn.relu(row) - tf.reduce_mean(row, 1, keepdims=True))
    return Case(functional(row, layers.Dense(1)(moved)), ROWS, TARGETS)


@case
def dict_of_inputs() -> Case:
    inputs = {"p": keras.Input((6,), name="p"), "q": keras.Input((6,), name="q")}
    outputs = layers.Dense(1)(layers.concatenate([inputs["p"], inputs["q"]]))
    return Case(functional(inputs, outputs), {"p": ROWS, "q": ROWS[::-1]}, TARGETS)


# ---------------------------------------------------------------- the user's own classes


@case
def custom_layer_that_asks_for_training() -> Case:
    return Case(sequential(Scaled(input_shape=(6,)), layers.Dense(1)), ROWS, TARGETS)


@case
def custom_layer_of_layers() -> Case:
    return Case(sequential(Normalized(input_shape=(6,)), layers.Dense(1)), ROWS, TARGETS)


@case
def custom_layer_with_an_update() -> Case:
    return Case(sequential(Counted(input_shape=(6,)), layers.Dense(1)), ROWS, TARGETS)


@case
def subclassed_model_inside() -> Case:
    row = keras.Input((6,))
    return Case(functional(row, layers.Dense(1)(Inner()(row))), ROWS, TARGETS)


@case
def custom_loss_and_metric() -> Case:
    return Case(dense(loss=Squared(), metrics=[Largest(), "mae"]), ROWS, TARGETS[:, 0])


# ---------------------------------------------------------------- preprocessing layers


def on_words(*parts: Any) -> Case:
    model = sequential(keras.Input((1,), dtype="string", name="word"), *parts, layers.Flatten(), layers.Dense(1))
    return Case(model, WORDS, TARGETS, shaken=False)


@case
def string_lookup() -> Case:
    return on_words(layers.StringLookup(vocabulary=["a", "b", "c"]), layers.Embedding(5, 2))


@case
def string_lookup_multi_hot() -> Case:
    arguments = {"output_mode": "multi_hot", "max_tokens": 6, "pad_to_max_tokens": True}
    return on_words(layers.StringLookup(vocabulary=["a", "b", "c"], **arguments))


@case
def hashing_and_category_encoding() -> Case:
    return on_words(layers.Hashing(5), layers.CategoryEncoding(5))


@case
def adapted_normalization() -> Case:
    norm = layers.Normalization()
    norm.adapt(ROWS * 3 + 1)
    return Case(sequential(keras.Input((6,)), norm, layers.Dense(1)), ROWS, TARGETS, shaken=False, plain=True)


@case
def normalization_and_discretization() -> Case:
    parts = layers.Normalization(mean=0.5, variance=2.0), layers.Discretization(bin_boundaries=[-0.5, 0.0, 0.5])
    model = sequential(keras.Input((6,)), *parts, layers.Embedding(4, 2), layers.Flatten(), layers.Dense(1))
    return Case(model, ROWS, TARGETS, shaken=False)


# ---------------------------------------------------------------- losses, weights, precision


@case
def binary_classifier() -> Case:
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return Case(dense(loss=loss, metrics=["accuracy"]), ROWS, YES_NO[:, 0].astype(int))


@case
def one_hot_classifier() -> Case:
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    return Case(dense(3, loss=loss, metrics=["acc"]), ROWS, np.eye(3, dtype="float32")[CLASSES[:, 0]])


@case
def summed_loss() -> Case:
    return Case(dense(optimizer=keras.optimizers.SGD(0.001), loss=keras.losses.MeanSquaredError("sum")), ROWS, TARGETS)


@case
def sample_weights() -> Case:
    return Case(dense(), ROWS, TARGETS, WEIGHTS)


@case
def class_weights_as_sample_weights() -> Case:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = np.array([0.5, 1.0, 4.0], "float32")[CLASSES[:, 0]]
    return Case(dense(3, loss=loss), ROWS, CLASSES, weights)


def mixed(policy: str) -> Case:
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        last = layers.Dense(1, dtype="float32")
        return Case(sequential(layers.Dense(4, input_shape=(6,)), last, optimizer="adam"), ROWS, TARGETS)
    finally:
        keras.mixed_precision.set_global_policy(before)


@case
def mixed_bfloat16() -> Case:
    return mixed("mixed_bfloat16")


@case
def mixed_float16() -> Case:
    return mixed("mixed_float16")

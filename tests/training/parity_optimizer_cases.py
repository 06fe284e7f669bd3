"""Optimizers that an Estimator must run as `fit` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tests.training.conversion_data import ROWS, TARGETS, TOKENS, Case, collector, dense, embedding

keras, layers = tf.keras, tf.keras.layers
optimizers, schedules = keras.optimizers, keras.optimizers.schedules
CASES, case = collector()


def optimized(optimizer: Any, model: Callable[..., tf.keras.Model] = dense, features: Any = ROWS) -> Case:
    return Case(model(optimizer=optimizer), features, TARGETS, evaluated=False)


def optimized_embedding(optimizer: Any) -> Case:
    return optimized(optimizer, embedding, TOKENS)


@case
def adam() -> Case:
    return optimized(optimizers.Adam(0.01))


@case
def adam_on_an_embedding() -> Case:
    return optimized_embedding(optimizers.Adam(0.01, amsgrad=True))


@case
def sgd_nesterov() -> Case:
    return optimized(optimizers.SGD(0.01, momentum=0.9, nesterov=True))


@case
def sgd_momentum_on_an_embedding() -> Case:
    return optimized_embedding(optimizers.SGD(0.05, momentum=0.9))


@case
def rmsprop() -> Case:
    return optimized(optimizers.RMSprop(0.01))


@case
def rmsprop_with_momentum() -> Case:
    return optimized(optimizers.RMSprop(0.01, momentum=0.5, centered=True))


@case
def adagrad_on_an_embedding() -> Case:
    return optimized_embedding(optimizers.Adagrad(0.05))


@case
def ftrl() -> Case:
    strengths = {"l1_regularization_strength": 0.01, "l2_shrinkage_regularization_strength": 0.01, "beta": 0.1}
    return optimized(optimizers.Ftrl(0.01, **strengths))


@case
def ftrl_on_an_embedding() -> Case:
    return optimized_embedding(optimizers.Ftrl(0.05))


@case
def adadelta() -> Case:
    return optimized(optimizers.Adadelta(0.01))


@case
def adamax() -> Case:
    return optimized(optimizers.Adamax(0.01))


@case
def adamax_on_an_embedding() -> Case:
    return optimized_embedding(optimizers.Adamax(0.05))


@case
def adamw_without_decay_of_biases() -> Case:
    optimizer = optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimized(optimizer)


@case
def lion() -> Case:
    return optimized(optimizers.Lion(0.01))


@case
def adafactor_on_an_embedding() -> Case:
    return optimized_embedding(optimizers.Adafactor(0.05))


@case
def legacy_nadam() -> Case:
    return optimized(optimizers.legacy.Nadam(0.01))


@case
def legacy_adam_with_decay() -> Case:
    return optimized(optimizers.legacy.Adam(0.01, decay=0.1))


@case
def exponential_decay() -> Case:
    return optimized(optimizers.SGD(schedules.ExponentialDecay(0.1, 2, 0.5)))


@case
def piecewise_schedule_of_adamw() -> Case:
    return optimized(optimizers.AdamW(schedules.PiecewiseConstantDecay([2, 5], [0.1, 0.01, 0.001]), weight_decay=0.1))


@case
def clipnorm() -> Case:
    return optimized(optimizers.Adam(0.01, clipnorm=0.01))


@case
def clipvalue() -> Case:
    return optimized(optimizers.SGD(0.01, clipvalue=0.01))


@case
def global_clipnorm() -> Case:
    return optimized(optimizers.SGD(0.01, global_clipnorm=0.01))


@case
def custom_optimizer() -> Case:
    class Doubled(optimizers.SGD):
        def update_step(self, gradient: Any, variable: Any) -> None:
            super().update_step(2 * gradient, variable)

    return optimized(Doubled(0.01))

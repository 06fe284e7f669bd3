"""How the work is spread over devices: one line a strategy."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def _one_device() -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


STRATEGIES: dict[str, Callable[[], tf.distribute.Strategy | None]] = {
    "none": lambda: None,
    "one_device": _one_device,
}

"""What an editor's automatic import used to write: TensorFlow's private copy, in every form of the statement."""

import tensorflow as tf
import tensorflow.python.keras
import tensorflow.python.keras.layers as private_layers
from tensorflow.python import keras
from tensorflow.python.framework import ops  # noqa: F401
from tensorflow.python.keras import backend as K
from tensorflow.python.keras.layers import *  # noqa: F403
from tensorflow.python.keras.layers.core import Dense
from tensorflow.python.keras.optimizer_v2.adam import Adam

assert tensorflow.python.keras.layers.Dense is private_layers.Dense is keras.layers.Dense is tf.keras.layers.Dense
assert Dense is tf.keras.layers.Dense


def build_model():
    flat = Flatten(input_shape=(2, 3), name="pixels")  # noqa: F405
    model = keras.models.Sequential([flat, Dense(2), private_layers.Lambda(lambda x: K.square(x))])
    model.compile(Adam(0.01), "mse")
    return model

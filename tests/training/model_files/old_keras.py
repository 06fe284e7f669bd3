"""Imports of the years 2016 to 2021, all in one file; each binds what it says."""

import keras
import keras.backend as K
from keras import layers, regularizers
from keras.backend.tensorflow_backend import set_session  # noqa: F401
from keras.callbacks.callbacks import EarlyStopping  # noqa: F401
from keras.engine.topology import InputSpec, Layer
from keras.layers.advanced_activations import LeakyReLU
from keras.layers.convolutional import Conv1D, MaxPooling1D
from keras.layers.core import Activation, Dense
from keras.layers.embeddings import Embedding
from keras.layers.merge import concatenate
from keras.layers.normalization import BatchNormalization
from keras.layers.recurrent import LSTM
from keras.layers.wrappers import Bidirectional
from keras.models import Model
from keras.optimizers import adam_v2
from keras.preprocessing import sequence, text  # noqa: F401
from keras.utils import np_utils, to_categorical
from keras.utils.conv_utils import conv_output_length  # noqa: F401
from keras.utils.vis_utils import plot_model  # noqa: F401

assert np_utils.to_categorical is to_categorical is keras.utils.np_utils.to_categorical


class Centre(Layer):
    def build(self, input_shape):
        self.input_spec = InputSpec(ndim=2)
        super().build(input_shape)

    def call(self, inputs):
        import keras.backend as inner

        return inputs - inner.mean(K.cast(inputs, "float32"), axis=-1, keepdims=True)


def build_model(units: int = 4):
    from keras.layers.core import Flatten

    words = layers.Input(shape=(6,), name="words")
    x = Embedding(20, 5)(words)
    x = MaxPooling1D(2)(Conv1D(units, 3, padding="same")(x))
    x = concatenate([Flatten()(x), Bidirectional(LSTM(units))(x)])
    x = Centre()(LeakyReLU()(BatchNormalization()(x)))
    x = keras.layers.core.Dense(units, kernel_regularizer=regularizers.l2(1e-4))(x)
    model = Model(inputs=words, outputs=Activation("sigmoid")(Dense(1)(x)))
    model.compile(optimizer=adam_v2.Adam(0.01), loss="binary_crossentropy")
    return model

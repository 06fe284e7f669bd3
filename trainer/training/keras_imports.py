"""`import keras` as a user's file means it: every spelling of Keras resolves to tf.keras.

Three packages offer nearly the same names: standalone Keras (`keras`), TensorFlow's private old copy
(`tensorflow.python.keras`, whose classes are NOT tf.keras ones) and `tf.keras`. Only the last one's models can be
trained by the job. A user's file gets an own `__import__` (see user_modules.py) which asks `redirect` first, so nothing
is ever put into sys.modules or sys.meta_path for this, and TensorFlow's own imports of these packages stay untouched.

What a file gets is a `KerasView`: a module object that looks a name up in tf.keras, then, for a submodule of an old
layout (`keras.layers.core`, `keras.utils.np_utils`), in the public module where its classes live today, and at last in
the implementation of tf.keras itself (`keras.src`, for helpers such as `keras.utils.conv_utils.conv_output_length`).
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

import tensorflow as tf

ROOTS = ("tensorflow.python.keras", "keras")
PASSED_ON = ("keras.src", "keras.api")  # the installed implementation of tf.keras: the classes are the same objects

# Submodules of old layouts, below the public module that has their names today; what is deeper goes there as well.
OLD_SUBMODULES = {
    "layers": """activation advanced_activations attention convolutional convolutional_recurrent core
        cudnn_recurrent dense_attention embeddings kernelized local locally_connected merge merging noise normalization
        normalization_v2 pooling preprocessing recurrent recurrent_v2 regularization reshaping rnn wrappers""",
    "optimizers": """adadelta adadelta_v2 adafactor adagrad adagrad_v2 adam adam_v2 adamax adamax_v2 adamw ftrl
        ftrl_v2 gradient_descent gradient_descent_v2 lion nadam nadam_v2 optimizer optimizer_v1 optimizer_v2 rmsprop
        rmsprop_v2 sgd""",
    "utils": """conv_utils data_utils generic_utils io_utils layer_utils np_utils tf_utils training_utils vis_utils
        visualize_util""",
    "backend": "common tensorflow_backend",
    "callbacks": "callbacks tensorboard_v1 tensorboard_v2",
    "initializers": "initializers initializers_v1 initializers_v2",
    "losses": "losses",
    "metrics": "metrics base_metric",
    "models": "cloning functional model models sequential",
}
NEW_HOMES: dict[str, tuple[str, ...]] = {
    f"{public}.{old}": (public,) for public, olds in OLD_SUBMODULES.items() for old in olds.split()
}
NEW_HOMES |= {
    "engine": ("layers", "models", "utils", "callbacks"),  # topology, training, base_layer, sequential, input_layer...
    "layers.experimental.preprocessing": ("layers",),
    "optimizer_v1": ("optimizers",),
    "optimizer_v2": ("optimizers", "optimizers.schedules"),
    "optimizers.learning_rate_schedule": ("optimizers.schedules",),
    "optimizers.optimizer_experimental": ("optimizers",),
    "optimizers.schedules.learning_rate_schedule": ("optimizers.schedules",),
    "preprocessing.image_dataset": ("preprocessing", "utils"),
}


class KerasView(ModuleType):
    """One module of Keras under the name the user gave it; `homes` are searched first, then `sources`."""

    _homes: Sequence[ModuleType]
    _sources: Sequence[ModuleType]

    def __init__(self, name: str, homes: Sequence[ModuleType], sources: Sequence[ModuleType]) -> None:
        super().__init__(name, f"{name}, as tf.keras has it.")
        self.__dict__.update(_homes=homes, _sources=sources)

    def __getattr__(self, name: str) -> object:
        if name == "__all__":  # what `from keras.layers import *` binds
            return [public for public in dir(self) if not public.startswith("_")]
        for module in (*self._homes, *self._sources):
            if hasattr(module, name) and (not name.startswith("__") or name == "__version__"):
                value = getattr(module, name)
                return (isinstance(value, ModuleType) and view(f"{self.__name__}.{name}")) or value
        if not name.startswith("__") and (submodule := view(f"{self.__name__}.{name}")):
            return submodule
        raise AttributeError(f"{self.__name__!r} has no {name!r} in tf.keras of TensorFlow {tf.__version__}")

    def __dir__(self) -> list[str]:
        return sorted({name for module in self._homes for name in dir(module) if not name.startswith("__")})


class TensorflowView(ModuleType):
    """tensorflow or tensorflow.python with a redirected `keras` inside: what `import tensorflow.python.keras` binds."""

    def __getattr__(self, name: str) -> object:
        path = f"{self.__name__}.{name}"
        if path in ROOTS:
            return view(path)
        return TensorflowView(path) if path == "tensorflow.python" else getattr(sys.modules[self.__name__], name)


def redirect(name: str, fromlist: Sequence[str] | None) -> ModuleType | None:
    """Return what the absolute import of `name` means in a user's file, or None where it is none of Keras.

    Args:
        name: the dotted name of the import statement.
        fromlist: the names behind `from ... import`; empty or None for a plain `import`.

    Raises:
        ModuleNotFoundError: `name` is a module of Keras which tf.keras does not have.
    """
    if name == "tensorflow.python" and "keras" in (fromlist or ()):
        importlib.import_module(name)
        return TensorflowView(name)
    if not is_keras(name):
        return None
    found = view(name)
    if found is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if fromlist:
        return found
    return view("keras") if name.startswith("keras") else TensorflowView("tensorflow")


def is_keras(name: str) -> bool:
    """Whether a dotted name is one of those that are redirected."""
    return _below_root(name) is not None


@functools.cache
def view(name: str) -> KerasView | None:
    """Return the view for a dotted name below one of ROOTS, or None where no version of Keras keeps anything there."""
    path = _below_root(name)
    if path is None:
        return None
    homes = list(_modules_of(path))
    sources = [source for home in (path, *_homes_of(path)) if (source := _source_of(home))]
    return KerasView(name, homes, sources) if homes or sources else None


def _below_root(name: str) -> str | None:
    """'keras.layers.core' -> 'layers.core', 'keras' -> '', anything else -> None."""
    if any(name == other or name.startswith(other + ".") for other in PASSED_ON):
        return None
    for root in ROOTS:
        if name == root or name.startswith(root + "."):
            return name[len(root) + 1 :]
    return None


def _homes_of(path: str) -> tuple[str, ...]:
    """The public modules that took over what an old submodule, or one deeper inside it, had."""
    while path:
        if path in NEW_HOMES:
            return NEW_HOMES[path]
        path = path.rpartition(".")[0]
    return ()


def _modules_of(path: str) -> Iterator[ModuleType]:
    for home in (path, *_homes_of(path)):
        module: object = tf.keras
        for part in filter(None, home.split(".")):
            module = getattr(module, part, None)
        if isinstance(module, ModuleType):
            yield module


def _source_of(path: str) -> ModuleType | None:
    """The module of the implementation at the same place, if there is one."""
    name = f"keras.src.{path}".rstrip(".")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            return None
        raise

"""The user's model module: load it, build its model, insist on a compiled tf.keras model with known inputs.

The module is run as it is on disk. Keras in any of its spellings means tf.keras there (keras_imports.py), and what a
prototype trains at its top level is left out (prototype.py).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from types import ModuleType

import tensorflow as tf

from trainer.job.errors import ModelError
from trainer.job.signature import ModelSignature
from trainer.training.failures import in_words, own_line, shown_path
from trainer.training.keras_imports import is_keras
from trainer.training.prototype import LeftOut, training_ignored
from trainer.training.user_modules import UserLoader, UserModules, modules_of

# Classes whose objects are taken for a model, by the package they come from, and what to do about them.
OTHER_MODELS = (
    ("tensorflow_estimator.", "Estimator", "an Estimator", "return the compiled Keras model, the job converts it"),
    ("tensorflow.python.keras.", "Model", "a model of TensorFlow's private old Keras", "import keras or tf.keras"),
    ("tf_keras.", "Model", "a model of tf_keras", "import keras or tf.keras"),
    ("keras.", "Model", "a model of a Keras that is not TensorFlow's own (Keras 3?)", "make it with tf.keras"),
    ("torch.", "Module", "a PyTorch module", "return a compiled tf.keras model"),
)
MAIN_GUARD = 'put it below `if __name__ == "__main__":`, which a job does not run'


def load_module(signature: ModelSignature) -> ModuleType:
    """Import the user's module: a file under a private name, a dotted module in its package.

    Raises:
        ModelError: it does not load; the exception is the `__cause__`.
    """
    importlib.invalidate_caches()  # a neighbour may have been written a moment ago
    modules = UserModules(signature.path, signature.module)
    try:
        with modules.as_script():
            if signature.module is not None:
                return importlib.import_module(signature.module)
            return _load_file(modules)
    except (Exception, SystemExit, LeftOut) as error:
        raise ModelError(_load_sentence(error, modules)) from error


def build_model(
    module: ModuleType, signature: ModelSignature, hyperparameters: Mapping[str, object], assets: Mapping[str, str]
) -> tf.keras.Model:
    """Call the module's function and return its model, which is compiled and has named inputs.

    Args:
        hyperparameters: the parameters that the user set, by name; the function's defaults stand for the others.
        assets: name -> path of what the module's `analyze` wrote; given to the function if it has such a parameter.

    Raises:
        ModelError: there is no such function, it raises, or what it returns cannot be trained.
    """
    modules = modules_of(module, signature.path)
    function = getattr(module, signature.function, None)
    if not callable(function):
        raise ModelError(_missing_function(signature, modules))
    arguments = {**signature.arguments(hyperparameters), **_assets_for(function, assets)}
    at = _place_of(function, signature.path)
    try:
        with modules.as_script(), training_ignored(modules.owns):
            model = function(**arguments)
    except (Exception, SystemExit, LeftOut) as error:
        raise ModelError(_build_sentence(error, modules, signature, at)) from error
    if problem := _problem_with(model):
        raise ModelError(f"{at}: {signature.function} returned {problem}.")
    return model


def _load_file(modules: UserModules) -> ModuleType:
    """Load one file under a name that hides no other module; it stays in sys.modules, where dataclasses, type hints
    and Keras (which finds the names that a Lambda layer uses there) look for it."""
    name = _private_name(modules.path)
    loader = UserLoader(name, modules.path, modules)
    spec = importlib.util.spec_from_file_location(name, modules.path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _private_name(path: str) -> str:
    """The same in every process and on every machine, as it gets into model configurations; apart for two files."""
    name = "model_file_" + re.sub(r"\W", "_", os.path.splitext(os.path.basename(path))[0])
    taken = getattr(sys.modules.get(name), "__file__", path)
    return name if taken == path else f"{name}_{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def _assets_for(function: Callable[..., object], assets: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    return {"assets": assets} if "assets" in inspect.signature(function).parameters else {}


def _place_of(function: Callable[..., object], path: str) -> str:
    """FILE:LINE of the function's definition."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{shown_path(code.co_filename)}:{code.co_firstlineno}" if code else shown_path(path)


def _place_of_error(error: BaseException, modules: UserModules) -> str | None:
    found = own_line(error, modules.owns)
    return f"{shown_path(found[0])}:{found[1]}" if found else None


def _load_sentence(error: BaseException, modules: UserModules) -> str:
    at = _place_of_error(error, modules) or shown_path(modules.path)
    if isinstance(error, SyntaxError):
        return f"{at}: not valid Python {sys.version_info.major}.{sys.version_info.minor}: {error.msg}."
    if isinstance(error, SystemExit):
        return f"{at}: the file ends the process while it loads ({in_words(error)}); {MAIN_GUARD}."
    if isinstance(error, ImportError):
        return f"{at}: {_import_sentence(error)}."
    return f"{at}: the model module raised {in_words(error)}; mend it or, if only training needs it, {MAIN_GUARD}."


def _import_sentence(error: ImportError) -> str:
    words = str(error).replace(" (unknown location)", "")
    if is_keras(error.name or ""):
        return f"{words}: tf.keras of TensorFlow {tf.__version__} has no such thing, and this Keras means tf.keras"
    if "relative import" in words:
        return f"{words}; name the module as --model=package.module, not as a file"
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return f"{words}; the package {package} is neither installed here nor beside the file: install it"
    return f"importing raised {in_words(error)}"


def _build_sentence(error: BaseException, modules: UserModules, signature: ModelSignature, at: str) -> str:
    at = _place_of_error(error, modules) or at
    if isinstance(error, ImportError):
        return f"{at}: {_import_sentence(error)}."
    name = getattr(error, "name", None)
    if isinstance(error, NameError) and name in modules.left_out:
        left_out = f"line {modules.left_out[name]}, which would set it, belongs to the training that a job leaves out"
        return f"{at}: {signature.function} needs {name}, but {left_out}; set it before."
    return f"{at}: {signature.function} raised {in_words(error)}."


def _missing_function(signature: ModelSignature, modules: UserModules) -> str:
    at = shown_path(modules.path)
    if line := modules.left_out.get(signature.function):
        return f"{at}:{line}: {signature.function} is not defined, as it needs what a job leaves out; define it before."
    return (
        f"{at}: there is no function {signature.function} once the file has run; wrap what makes the model into "
        f"`def {signature.function}():` which returns it, or name another one with --model=FILE.py:FUNCTION."
    )


def _problem_with(model: object) -> str | None:
    """What is wrong with a result, as the object of "returned ...", and what to do; None for a model we can train."""
    if not isinstance(model, tf.keras.Model):
        return _other_than_model(model)
    if getattr(model, "optimizer", None) is None:
        return "a model that was not compiled; call model.compile(optimizer, loss) before returning it"
    if not getattr(model, "inputs", None):
        if isinstance(model, tf.keras.Sequential):
            return "a Sequential model without inputs; give its first layer input_shape=, or begin with an Input"
        return (
            f"a subclassed model ({type(model).__name__}) without named inputs; make it functional: "
            "`x = keras.Input(shape, name=...)`, then compile and return `keras.Model(x, model(x))`"
        )
    if not model.loss and not model.losses:
        return "a model compiled without a loss; name one: model.compile(optimizer, loss)"
    return None


def _other_than_model(result: object) -> str:
    if result is None:
        return "None; end it with `return model`"
    if isinstance(result, (tuple, list)):
        return f"a {type(result).__name__} of {len(result)} items; return the compiled model alone"
    if isinstance(result, type) and issubclass(result, tf.keras.Model):
        return f"the class {result.__name__}; return an instance, compiled"
    if isinstance(result, tf.keras.layers.Layer):
        return "a layer; return a compiled tf.keras model"
    for ancestor in type(result).__mro__:
        for package, class_name, what, advice in OTHER_MODELS:
            if ancestor.__module__.startswith(package) and ancestor.__name__.startswith(class_name):
                return f"{what}; {advice}"
    return f"an object of type {type(result).__name__}; return a compiled tf.keras model"

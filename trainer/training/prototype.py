"""Run the top level of a user's file without the training that a prototype does there.

A prototype ends in lines such as

    history = model.fit(x, y, epochs=10)
    plt.plot(history.history["loss"])
    model.save("model.h5")

They must not run inside a job, and may stand anywhere: bare, in a loop, in a function that the top level calls. Which
object is a Keras model is known only at run time (a scikit-learn scaler is fitted too, and its fit has to run). So the
methods of tf.keras.Model are replaced while a file loads, by ones which abandon the statement they are called in, and
the file is run one top-level statement at a time: a later statement that reads a name the abandoned one would have set
is left out as well, and one that fails without what was left out is reported, not fatal. The source on disk is never
changed, and tracebacks keep their line numbers.

Nothing of this is an evaluation of the file's text: statements are compiled as they stand, with their own file name.
"""

from __future__ import annotations
import __future__

import ast
import collections
import contextlib
import functools
import importlib
import logging
import traceback
import types
from collections.abc import Callable, Iterator

import tensorflow as tf

from trainer.training.failures import in_words, own_line, shown_path

LOG = logging.getLogger("trainer")
TRAINING = ("fit", "fit_generator", "train_on_batch")
SAVING = ("save", "save_weights", "export")
READING = (
    "evaluate",
    "evaluate_generator",
    "predict",
    "predict_generator",
    "predict_on_batch",
    "test_on_batch",
)
# Where `from keras.models import save_model` ends up, looked up there at each call.
SAVE_FUNCTIONS = (("keras.src.saving.saving_lib", "save_model"), ("keras.src.saving.legacy.save", "save_model"))
_UNSET = object()


class LeftOut(BaseException):
    """A Keras model was asked to train, evaluate, predict or save while a file loads. No `except Exception` of the
    user's may catch it, or the statement would go on with a wrong value."""

    def __init__(self, method: str) -> None:
        super().__init__(f"{method} does not run while a model module loads")
        self.method = method


@contextlib.contextmanager
def calls_abandoned() -> Iterator[None]:
    """Within this context training, evaluating, predicting and saving Keras models raises LeftOut."""
    with _models_patched((*TRAINING, *SAVING, *READING), _abandon):
        yield


@contextlib.contextmanager
def training_ignored(owns: Callable[[str], bool]) -> Iterator[None]:
    """Within this context training and saving Keras models does nothing, with a warning that names the user's line.

    This is for build_model, where abandoning a statement would abandon the model. Evaluating and predicting run: some
    models get their weights by predicting a first batch. Saving does not: it would put an untrained model over a file
    that may hold a trained one.
    """
    with _models_patched((*TRAINING, *SAVING), functools.partial(_ignore, owns)):
        yield


def run_top_level(source: bytes, path: str, namespace: dict[str, object]) -> dict[str, int]:
    """Run the statements of a file in `namespace`, except those that train and those that need their results.

    Returns:
        The names which are not set because their statement was left out, each with its line.

    Raises:
        SyntaxError, and whatever the file raises before anything was left out.
    """
    top_level = _TopLevel(path, namespace)
    for statement, code in _compiled(source, path, namespace):
        top_level.run(statement, code)
    top_level.tell()
    return top_level.missing


def _compiled(source: bytes, path: str, namespace: dict[str, object]) -> list[tuple[ast.stmt, types.CodeType]]:
    """Compile every top-level statement by itself, all of them before the first one runs; sets `__doc__`."""
    tree = ast.parse(source, path)
    namespace["__doc__"] = ast.get_docstring(tree, clean=False)
    flags = 0
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            for alias in statement.names:
                flags |= getattr(getattr(__future__, alias.name, None), "compiler_flag", 0)
    return [
        (statement, compile(ast.Module([statement], []), path, "exec", flags, dont_inherit=True))
        for statement in tree.body
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))  # it would set __doc__
    ]


class _TopLevel:
    """Runs a file's statements one by one and remembers what did not run."""

    def __init__(self, path: str, namespace: dict[str, object]) -> None:
        self.path = path
        self.namespace = namespace
        self.missing: dict[str, int] = {}
        self.calls: list[tuple[str, int]] = []
        self.needing: list[int] = []
        self.failed: list[tuple[int, BaseException]] = []

    def run(self, statement: ast.stmt, code: types.CodeType) -> None:
        """Run one statement, or leave it out where it needs what another one would have set."""
        names = _Names(statement)
        if names.read & self.missing.keys():
            self.needing.append(statement.lineno)
            self.missing |= dict.fromkeys(names.bound, statement.lineno)
            return
        before = {name: self.namespace.get(name, _UNSET) for name in names.bound}
        if self._finished(statement, code):
            self.missing = {name: line for name, line in self.missing.items() if name not in names.bound}
        else:
            unset = [name for name, value in before.items() if self.namespace.get(name, _UNSET) is value]
            self.missing |= dict.fromkeys(unset, statement.lineno)

    def _finished(self, statement: ast.stmt, code: types.CodeType) -> bool:
        try:
            exec(code, self.namespace)
        except LeftOut as left_out:
            self.calls.append((left_out.method, self._line(left_out, statement)))
            return False
        except (Exception, SystemExit) as error:
            if not self.calls:
                raise
            self.failed.append((self._line(error, statement), error))
            return False
        return True

    def _line(self, error: BaseException, statement: ast.stmt) -> int:
        found = own_line(error, self.path.__eq__)
        return found[1] if found else statement.lineno

    def tell(self) -> None:
        """Say once what did not run."""
        shown = shown_path(self.path)
        if self.calls:
            calls = ", ".join(f"{method} (line {line})" for method, line in self.calls)
            needing = f", nor what needs it ({_ranges(self.needing)})" if self.needing else ""
            LOG.info("%s: the job trains by itself: it did not run %s%s.", shown, calls, needing)
        for line, error in self.failed:
            LOG.warning("%s:%d: left out: without the calls before it, it raised %s.", shown, line, in_words(error))


def _ranges(lines: list[int]) -> str:
    """[3, 4, 5, 9] -> "lines 3-5, 9"."""
    groups: list[list[int]] = []
    for line in lines:
        if groups and line == groups[-1][-1] + 1:
            groups[-1].append(line)
        else:
            groups.append([line])
    shown = ", ".join(f"{group[0]}-{group[-1]}" if len(group) > 1 else str(group[0]) for group in groups)
    return f"line{'s' if len(lines) > 1 else ''} {shown}"


class _Names(ast.NodeVisitor):
    """The names of the module that a top-level statement reads and binds when it runs."""

    def __init__(self, statement: ast.AST) -> None:
        self.read: set[str] = set()
        self.bound: set[str] = set()
        self.visit(statement)

    def visit_Name(self, node: ast.Name) -> None:
        (self.bound if isinstance(node.ctx, ast.Store) else self.read).add(node.id)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read.add(node.target.id)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Only decorators, defaults and annotations run now; a body reads its names when it is called."""
        self.bound.add(node.name)
        for part in filter(None, (*node.decorator_list, node.args, node.returns)):
            self.visit(part)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.args)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.bound.add(node.name)
        for part in (*node.decorator_list, *node.bases, *node.keywords, *node.body):
            self.read |= _Names(part).read

    def visit_alias(self, node: ast.alias) -> None:
        self.bound.add((node.asname or node.name).partition(".")[0])


def _abandon(method: str) -> Callable[..., object]:
    def left_out(*_: object, **__: object) -> object:
        raise LeftOut(method)

    return left_out


def _ignore(owns: Callable[[str], bool], method: str) -> Callable[..., object]:
    def ignored(*_: object, **__: object) -> object:
        frames = ((frame.f_code.co_filename, line) for frame, line in traceback.walk_stack(None))
        path, line = next(((path, line) for path, line in frames if owns(path)), ("", 0))
        LOG.warning("%s:%d: %s did not run: a model is built here, the job trains it.", shown_path(path), line, method)
        return _nothing_learned() if method.startswith("fit") else None

    return ignored


def _nothing_learned() -> tf.keras.callbacks.History:
    """A History whose every metric is a NaN, so that code which looks at it goes on."""
    history = tf.keras.callbacks.History()
    history.history = collections.defaultdict(lambda: [float("nan")])
    history.epoch = []
    return history


@contextlib.contextmanager
def _models_patched(methods: tuple[str, ...], stand_in: Callable[[str], Callable[..., object]]) -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        for owner, method in _places(methods):
            undo.callback(setattr, owner, method, getattr(owner, method))
            setattr(owner, method, stand_in(method))
        yield


def _places(methods: tuple[str, ...]) -> Iterator[tuple[object, str]]:
    """Each class of Keras, and each module, that has one of the methods as its own."""
    for model_class in (tf.keras.Model, *tf.keras.Model.__subclasses__()):
        if model_class.__module__.startswith("keras."):  # training_v1.Model, made after disable_eager_execution()
            yield from ((model_class, method) for method in methods if method in vars(model_class))
    if "save" in methods:
        yield from ((importlib.import_module(module), function) for module, function in SAVE_FUNCTIONS)

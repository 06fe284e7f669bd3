"""Import a user's files: their folder importable, their Keras ours, their top level free of training.

The user's files are the model module and the modules it imports from its own folder. Each is loaded by a `UserLoader`,
which gives it an `__import__` of its own (Python looks that up in a module's `__builtins__`). So what these files
import, now or in a function that runs much later, is told apart from what anybody else in the process imports.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

import tensorflow as tf

import trainer
from trainer.training import keras_imports, prototype
from trainer.training.failures import shown_path

LOG = logging.getLogger("trainer")
OUR_FOLDER = os.path.dirname(os.path.abspath(trainer.__file__))


class UserModules(MetaPathFinder):
    """The modules of one user's folder, and the finder for them while his code imports something."""

    def __init__(self, path: str, module: str | None = None) -> None:
        """`path` is the model module's file, `module` its dotted name where it is to be imported by that."""
        self.path = os.path.abspath(path)
        self.is_file = module is None
        self.import_root, self.folder = _folders(self.path, module)
        self.left_out: dict[str, int] = {}  # names the model module would have set, with their lines
        installed = [OUR_FOLDER, *map(os.path.abspath, sys.path)]
        self._installed = [place for place in installed if _is_below(place, self.folder)]  # a .venv in there
        self._search_path: list[str] = []  # sys.path as the user's code left it
        self._preferred: set[str] = set()
        self._told = False

    def owns(self, path: str) -> bool:
        """Whether a file is the user's: in his folder, and not in an installation that lies in there too."""
        return _is_below(path, self.folder) and not any(_is_below(path, place) for place in self._installed)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See MetaPathFinder: the spec of a user's module with our loader, None for everybody else's."""
        if path is not None and not any(_is_below(entry, self.folder) or entry == self.folder for entry in path):
            return None
        spec = PathFinder.find_spec(fullname, [self.folder] if fullname in self._preferred else path, target)
        origin = spec.origin if spec else None
        if spec is None or origin is None or not origin.endswith(".py") or not self.owns(origin):
            return None
        spec.loader = UserLoader(fullname, origin, self)
        return spec

    @contextlib.contextmanager
    def importable(self) -> Iterator[None]:
        """Within this context the import system finds the user's modules, and what he put on sys.path.

        The folder comes last on sys.path, so that a file called json.py hides no other.
        """
        if self in sys.meta_path:
            yield
            return
        before = sys.path[:]
        sys.path[:] = self._search_path or [*before, self.import_root]
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)
            self._search_path, sys.path[:] = sys.path[:], before

    @contextlib.contextmanager
    def as_script(self) -> Iterator[None]:
        """Within this context the process looks to user code as if `python FILE` had started it, without arguments.

        Plots go nowhere: a window would stop the job until somebody closes it.
        """
        arguments, backend = sys.argv[:], os.environ.get("MPLBACKEND")
        sys.argv[:] = [self.path]
        os.environ.setdefault("MPLBACKEND", "agg")
        try:
            with self.importable():
                yield
        finally:
            sys.argv[:] = arguments
            if backend is None:
                os.environ.pop("MPLBACKEND", None)

    def import_for_user(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What an import statement of the user's calls; the arguments and the result are those of `__import__`."""
        if level == 0:
            if found := keras_imports.redirect(name, fromlist):
                self._tell(name)
                return found
            self._prefer_neighbour(name.partition(".")[0])
        with self.importable():
            return builtins.__import__(name, globals, locals, fromlist or (), level)

    def _tell(self, name: str) -> None:
        if not self._told:
            self._told = True
            LOG.info("%s: %s means tf.keras of TensorFlow %s here.", shown_path(self.path), name, tf.__version__)

    def _prefer_neighbour(self, top: str) -> None:
        """Let a file beside the model module come before an installed module of its name, as with `python FILE`.

        Not before one of Python's own or one that is loaded already, and never the model module itself: `pandas.py`
        that imports pandas means the library.
        """
        itself = top == os.path.splitext(os.path.basename(self.path))[0]
        if not self.is_file or itself or top in sys.stdlib_module_names or not self._forgotten(top):
            return
        if PathFinder.find_spec(top, [self.folder]):
            self._preferred.add(top)

    def _forgotten(self, top: str) -> bool:
        """Whether `top` is not loaded, or was the neighbour of another model module, and is forgotten now."""
        loader = getattr(sys.modules.get(top), "__loader__", None)
        if isinstance(loader, UserLoader) and not self.owns(loader.path):
            for name in [each for each in sys.modules if each == top or each.startswith(top + ".")]:
                del sys.modules[name]
        return top not in sys.modules


class UserLoader(SourceFileLoader):
    """Runs one file of the user's; nothing is compiled to __pycache__, nothing of the source is changed."""

    def __init__(self, fullname: str, path: str, modules: UserModules) -> None:
        super().__init__(fullname, path)
        self.modules = modules

    def exec_module(self, module: ModuleType) -> None:
        """Run the file's top level without what would train."""
        namespace = module.__dict__
        namespace["__builtins__"] = {**vars(builtins), "__import__": self.modules.import_for_user}
        with prototype.calls_abandoned():
            left_out = prototype.run_top_level(self.get_data(self.path), self.path, namespace)
        if self.path == self.modules.path:
            self.modules.left_out = left_out


def modules_of(module: ModuleType, path: str) -> UserModules:
    """The UserModules that loaded `module`, or new ones where Python itself had imported it before."""
    loader = getattr(module, "__loader__", None)
    return loader.modules if isinstance(loader, UserLoader) else UserModules(path)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def _folders(path: str, module: str | None) -> tuple[str, str]:
    """The folder to import from, and the one whose files are the user's: that of the file, or of the top package."""
    folder = os.path.dirname(path)
    if module is None:
        return folder, folder
    parts = module.split(".")
    root = folder
    for _ in range(len(parts) - (os.path.basename(path) != "__init__.py")):
        root = os.path.dirname(root)
    top = os.path.join(root, parts[0])
    return root, folder if top == OUR_FOLDER or root == folder else top

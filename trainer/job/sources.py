"""Find the source of a model module by its reference, and the definition of a function in it: nothing is run.

A reference is FILE.py, FILE.py:FUNCTION, package.module or package.module:FUNCTION. Parents of a module are located
by the import system's own finders without being imported, so that reading a signature costs no TensorFlow.
"""

from __future__ import annotations

import ast
import difflib
import importlib.machinery
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from trainer.job.errors import ModelError, UsageError

DEFAULT_FUNCTION = "build_model"
FORMS = "FILE.py[:FUNCTION] or package.module[:FUNCTION]"


def split_ref(ref: str) -> tuple[str, str]:
    """Source (file or dotted module) and function of a reference; a file's path may hold colons."""
    source, colon, function = ref.rpartition(":")
    if not colon or ref.endswith((".py", ".ipynb")) or "/" in function:
        return ref, DEFAULT_FUNCTION
    return source, function or DEFAULT_FUNCTION


def is_remote(source: str) -> bool:
    """Whether it is a file in Cloud Storage."""
    return source.startswith("gs://")


@dataclass(frozen=True)
class Source:
    """One parsed file; `module` is its dotted name where it was referred to by one."""

    path: str
    module: str | None
    tree: ast.Module

    @property
    def package(self) -> str | None:
        """The dotted package that relative imports start from."""
        if self.module is None or os.path.basename(self.path) == "__init__.py":
            return self.module
        return self.module.rpartition(".")[0]

    def statements(self) -> Iterator[ast.stmt]:
        """The statements that run on import, those in top-level if, try and with included."""
        yield from _running(self.tree.body)


def open_source(source: str) -> Source:
    """Locate and parse what a reference names.

    Raises:
      UsageError: there is no such file or module, or it is not Python.
      ModelError: its syntax is broken.
    """
    if source.endswith(".ipynb"):
        raise UsageError(
            f"--model={source} is a notebook: export it as a script (jupyter nbconvert --to script) "
            "and give the .py file."
        )
    if is_remote(source):
        raise UsageError(f"--model={source} is in Cloud Storage: this command needs a local file; copy it here first.")
    if source.endswith(".py") or "/" in source or os.sep in source:
        return parse_file(_existing_file(source), None)
    return parse_file(_module_file(source), source)


def parse_file(path: str, module: str | None) -> Source:
    """Read and parse one file. Raises UsageError, ModelError."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape in the user's file is not ours to report
            return Source(path, module, ast.parse(file.read(), path))
    except OSError as error:
        raise UsageError(f"--model: {path} cannot be read: {error.strerror}.") from None
    except SyntaxError as error:
        raise ModelError(f"{path}, line {error.lineno}: not Python 3 ({error.msg}); mend the file first.") from None
    except ValueError as error:
        raise ModelError(f"{path}: not Python source ({error}).") from None


def _existing_file(source: str) -> str:
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isfile(path) and path.endswith(".py"):
        return path
    if os.path.isdir(path):
        raise UsageError(f"--model={source} is a directory: expected {FORMS}.")
    if os.path.isfile(path):
        raise UsageError(f"--model={source} is not a Python file: expected {FORMS}.")
    folder = os.path.dirname(path)
    names = [name for name in (os.listdir(folder) if os.path.isdir(folder) else []) if name.endswith(".py")]
    close = difflib.get_close_matches(os.path.basename(path), names, n=1)
    hint = f"did you mean {os.path.join(os.path.dirname(source), close[0])}?" if close else f"expected {FORMS}."
    raise UsageError(
        f"--model={source}: no such file in {os.getcwd()}; {hint}"
        if not os.path.isabs(source)
        else f"--model={source}: no such file; {hint}"
    )


def _module_file(name: str) -> str:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"--model={name} is no file and no module name: expected {FORMS}.")
    spec = find_module(name)
    if spec is None:
        raise UsageError(f"--model={name}: no such module from {os.getcwd()}; expected {FORMS}.")
    if spec.origin is None or not spec.origin.endswith(".py"):
        kind = "a folder without __init__.py" if spec.origin is None else "a module without Python source"
        raise UsageError(f"--model={name} is {kind}: expected {FORMS}.")
    return os.path.abspath(spec.origin)


def find_module(name: str) -> importlib.machinery.ModuleSpec | None:
    """The spec of a dotted module, no parent imported; the current folder counts, as with `python -m`."""
    importlib.invalidate_caches()  # a file written a moment ago must be found
    top, *rest = name.split(".")
    spec = importlib.machinery.PathFinder.find_spec(top, [os.getcwd(), *sys.path])
    if spec is None and top not in sys.modules:
        spec = importlib.util.find_spec(top)  # editable installs have a finder of their own
    places = [os.getcwd(), *sys.path]
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        places = _places_in(spec, places)
        # by its last name: of a dotted one, a folder without __init__.py wants to see its parent imported
        spec = importlib.machinery.PathFinder.find_spec(part, places)
    return spec


def _places_in(package: importlib.machinery.ModuleSpec, places: list[str]) -> list[str]:
    """The folders of a package's modules; one without __init__.py would look them up among imported packages."""
    if package.origin is None:
        folders = [os.path.join(place, package.name) for place in places]
        found = [folder for folder in folders if os.path.isdir(folder)]
        if found:
            return found
    return list(package.submodule_search_locations or ())


def imported_source(source: Source, node: ast.ImportFrom) -> Source | None:
    """The file that `from X import ...` in `source` refers to; None where it is not plain Python that can be found."""
    parts = node.module.split(".") if node.module else []
    if node.level and source.module is None:
        folder = os.path.dirname(source.path)
        for _ in range(node.level - 1):
            folder = os.path.dirname(folder)
        return _neighbour(folder, parts)
    if not node.level:
        return _neighbour(os.path.dirname(source.path), parts) or _by_name(".".join(parts))
    package = (source.package or "").split(".")
    return _by_name(".".join([*package[: len(package) - node.level + 1], *parts]))


def _neighbour(folder: str, parts: list[str]) -> Source | None:
    base = os.path.join(folder, *parts)
    for path in (base + ".py", os.path.join(base, "__init__.py")):
        if parts and os.path.isfile(path):
            return parse_file(path, None)
    return None


def _by_name(name: str) -> Source | None:
    spec = find_module(name) if name else None
    found = spec is not None and spec.origin is not None and spec.origin.endswith(".py")
    return parse_file(spec.origin, name) if found else None  # type: ignore[union-attr,arg-type]


def _running(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            if not _is_main_guard(node.test):
                yield from _running(node.body)
            yield from _running(node.orelse)
        elif isinstance(node, ast.Try):
            handlers = [each for handler in node.handlers for each in handler.body]
            yield from _running([*handlers, *node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With):
            yield from _running(node.body)
        else:
            yield node


def _is_main_guard(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))

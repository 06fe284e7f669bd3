"""What a model module's builder takes, read from its source: its parameters are flags before any of it has run."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainer.job.annotations import kind_of_annotation
from trainer.job.errors import ModelError
from trainer.job.kinds import Kind, from_value, kind_of_value
from trainer.job.sources import Source, imported_source, is_remote, open_source, split_ref

RESERVED = "assets"  # filled by the trainer with the files `analyze` wrote, so never a flag

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Parameter:
    """One parameter of the builder.

    `kind` is None where no flag can set it, `obstacle` then says why. `default` is its value where the source tells
    it; where it is `computed`, only running the module would, and `default_text` is the expression.
    """

    name: str
    kind: Kind | None
    default: object = None
    required: bool = False
    computed: bool = False
    default_text: str = ""
    help: str = ""
    obstacle: str = ""

    @property
    def flag(self) -> str:
        """The spelling used in messages, help and `to_argv`."""
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True)
class ModelSignature:
    """The builder that a reference names; `path` is the file the reference leads to, `defined_in` has the `def`."""

    ref: str
    path: str
    module: str | None
    function: str
    parameters: tuple[Parameter, ...] = ()
    summary: str = ""
    takes_assets: bool = False
    defined_in: str = ""
    line: int = 0

    def arguments(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments of a call: a tuple becomes a list where the builder's annotation says so."""
        containers = {each.name: each.kind.container for each in self.parameters if each.kind and each.kind.many}
        return {
            name: containers[name](value) if name in containers and value is not None else value
            for name, value in hyperparameters.items()
        }


def read_signature(ref: str, fetch: Callable[[str], str] | None = None) -> ModelSignature:
    """Read the builder's parameters by `ast`; no line of the user's code runs.

    `fetch` makes a local copy of a file in Cloud Storage and its neighbours, and returns the copy's path.

    Raises:
      UsageError: the reference leads nowhere.
      ModelError: the file is not Python, or holds no function that flags can call.
    """
    name, function = split_ref(ref)
    top = open_source(fetch(name) if fetch and is_remote(name) else name)
    source, node = _definition(top, function, ())
    if not isinstance(node, ast.FunctionDef):
        kind = "a class" if isinstance(node, ast.ClassDef) else "an async function"
        raise ModelError(
            f"{source.path}, line {node.lineno}: {function} is {kind}; expected a plain function that returns "
            "a compiled model."
        )
    parameters = _parameters(source, node)
    return ModelSignature(
        ref,
        top.path,
        top.module,
        function,
        tuple(each for each in parameters if each.name != RESERVED),
        (ast.get_docstring(node) or "").partition("\n")[0],
        any(each.name == RESERVED for each in parameters),
        source.path,
        node.lineno,
    )


def _definition(source: Source, function: str, seen: tuple[tuple[str, str], ...]) -> tuple[Source, Definition]:
    """The last binding of `function` in a module, followed through imports of neighbours."""
    found: tuple[Source, Definition] | None = None
    bound_line = 0
    here = (*seen, (source.path, function))  # names may lead in a circle
    for node in source.statements():
        if isinstance(node, Definition) and node.name == function:
            found = source, node
        elif isinstance(node, ast.ImportFrom):
            found = _imported(source, node, function, here) or found
            bound_line = node.lineno if _imports(node, function) else bound_line
        elif isinstance(node, ast.Assign) and _assigns(node, function):
            found, bound_line = _assigned(source, node.value, here), node.lineno
    if found is None:
        raise _missing(source, function, bound_line)
    return found


def _assigned(source: Source, value: ast.expr, seen: tuple[tuple[str, str], ...]) -> tuple[Source, Definition] | None:
    """What `build_model = make_cnn` leads to."""
    if not isinstance(value, ast.Name) or (source.path, value.id) in seen:
        return None
    return _definition(source, value.id, seen)


def _imported(
    source: Source, node: ast.ImportFrom, function: str, seen: tuple[tuple[str, str], ...]
) -> tuple[Source, Definition] | None:
    names = {each.asname or each.name: each.name for each in node.names}
    wanted = names.get(function, function if "*" in names else None)
    other = imported_source(source, node) if wanted else None
    if wanted is None or other is None or (other.path, wanted) in seen:
        return None
    try:
        return _definition(other, wanted, seen)
    except ModelError:
        if "*" in names:
            return None
        raise


def _missing(source: Source, function: str, bound_line: int) -> ModelError:
    if bound_line:
        return ModelError(
            f"{source.path}, line {bound_line}: the parameters of {function} cannot be read there without running "
            "the file; write it with def in this file or in one beside it."
        )
    there = [node.name for node in source.statements() if isinstance(node, ast.FunctionDef)]
    listed = f"its functions are {', '.join(there)}" if there else "it defines no function"
    return ModelError(
        f"{source.path} has no function {function}: {listed}; name one with "
        f"--model={os.path.basename(source.path)}:NAME or write def build_model(...) that returns a compiled model."
    )


def _imports(node: ast.ImportFrom, name: str) -> bool:
    return any((each.asname or each.name) == name for each in node.names)


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _parameters(source: Source, node: ast.FunctionDef) -> list[Parameter]:
    names = _module_names(source)
    helps = argument_helps(ast.get_docstring(node) or "")
    spec = node.args
    positional = [*spec.posonlyargs, *spec.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(spec.defaults))
    pairs = [
        *zip(positional, [*defaults, *spec.defaults], strict=True),
        *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
    ]
    parameters = []
    for argument, default in pairs:
        each = _parameter(argument, default, names, helps.get(argument.arg, ""))
        if argument in spec.posonlyargs:
            each = replace(each, kind=None, obstacle="it can only be given by position (move it behind the /)")
        if each.required and each.kind is None and each.name != RESERVED:
            raise ModelError(
                f"{source.path}, line {argument.lineno}: {node.name} cannot be called, as {each.name} has no default "
                f"and no flag can set it: {each.obstacle}."
            )
        parameters.append(each)
    return parameters


def _parameter(argument: ast.arg, default: ast.expr | None, names: Mapping[str, ast.expr], help: str) -> Parameter:
    name = argument.arg
    annotated = kind_of_annotation(argument.annotation, names)
    if default is None:
        return Parameter(name, annotated, required=True, help=help, obstacle=_obstacle(name, annotated, argument, True))
    known, value = _literal(default, names)
    kind = annotated or (kind_of_value(value) if known else None)
    if kind and known and value is None:
        kind = replace(kind, optional=True)  # units: int = None
    if kind and known:
        value = _as_kind(kind, value)
    obstacle = _obstacle(name, kind, argument, not known or value is None)
    return Parameter(name, kind, value, False, not known, ast.unparse(default), help, obstacle)


def _obstacle(name: str, kind: Kind | None, argument: ast.arg, untold: bool) -> str:
    if kind:
        return ""
    if argument.annotation is not None:
        return f"its type, {ast.unparse(argument.annotation)}, has no spelling on a command line"
    return (
        f"write its type, such as {name}: float" if untold else "a value of this type has no spelling on a command line"
    )


def _as_kind(kind: Kind, value: Any) -> Any:
    """A default of 0 where float is annotated is 0.0; one that contradicts its annotation is the user's own affair."""
    try:
        return from_value(kind, value)
    except ValueError:
        return value


def _literal(node: ast.expr, names: Mapping[str, ast.expr]) -> tuple[bool, Any]:
    """Whether the source alone tells the value, and the value: a literal, or a constant bound to one."""
    if isinstance(node, ast.Name):
        node = names.get(node.id, node)
    try:
        return True, ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False, None


def _module_names(source: Source) -> dict[str, ast.expr]:
    """Module-level name -> the expression it is bound to, for names bound exactly once."""
    bound: dict[str, list[ast.expr]] = {}
    for node in source.statements():
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and node.value is not None:  # type: ignore[attr-defined]
                bound.setdefault(target.id, []).append(node.value)  # type: ignore[attr-defined]
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            bound.setdefault(node.target.id, []).extend([node.value, node.value])
    return {name: values[0] for name, values in bound.items() if len(values) == 1}


def argument_helps(docstring: str) -> dict[str, str]:
    """Parameter -> help text from the Args section of a Google style docstring."""
    section = re.search(
        r"^(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+\S.*\n?|[ \t]*\n)+)", docstring, re.MULTILINE
    )
    helps: dict[str, str] = {}
    name, depth = "", None
    for line in section.group(1).splitlines() if section else []:
        indent = len(line) - len(line.lstrip())
        entry = re.match(r"\s*\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)", line)
        if entry and (depth is None or indent <= depth):
            name, depth = entry.group(1), indent
            helps[name] = entry.group(2)
        elif name and line.strip():
            helps[name] = f"{helps[name]} {line.strip()}".strip()
    return helps

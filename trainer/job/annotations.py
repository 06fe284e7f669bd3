"""Type annotations of source code, as kinds of values: the same grammar as a setting's, found without running it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace

from trainer.job.kinds import Kind, kind_of_choices

SCALARS: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
SEQUENCES: dict[str, type] = {
    "tuple": tuple,
    "Tuple": tuple,
    "list": list,
    "List": list,
    "Sequence": tuple,
    "Iterable": tuple,
}


def kind_of_annotation(node: ast.expr | None, names: Mapping[str, ast.expr], depth: int = 0) -> Kind | None:
    """The kind an annotation means; None where it means nothing that a command line can spell.

    Args:
      node: the annotation; a string in it is parsed, as `from __future__ import annotations` leaves code alone.
      names: module-level assignments, for aliases such as `Activation = Literal["relu", "tanh"]`.
      depth: guards against aliases that name each other.
    """
    if node is None or depth > 20:
        return None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        parsed = _parsed(node.value)
        return kind_of_annotation(parsed, names, depth + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([node.left, node.right], names, depth)
    if isinstance(node, ast.Subscript):
        return _subscript(_last_name(node.value), _elements(node.slice), names, depth)
    name = _last_name(node)
    if name in SCALARS:
        return Kind(SCALARS[name])
    return kind_of_annotation(names.get(name), names, depth + 1) if isinstance(node, ast.Name) else None


def _subscript(name: str, inner: list[ast.expr], names: Mapping[str, ast.expr], depth: int) -> Kind | None:
    if name == "Literal":
        return _literal(inner)
    if name == "Optional":
        return _union([*inner, ast.Constant(None)], names, depth)
    if name == "Union":
        return _union(inner, names, depth)
    if name in ("Annotated", "Final"):
        return kind_of_annotation(inner[0], names, depth + 1)
    if name in SEQUENCES:
        return _many(SEQUENCES[name], inner, names, depth)
    return None


def _union(members: list[ast.expr], names: Mapping[str, ast.expr], depth: int) -> Kind | None:
    """X | None; int | float means a number; any other union has no single spelling."""
    given = [node for node in members if not (isinstance(node, ast.Constant) and node.value is None)]
    kinds = [kind_of_annotation(node, names, depth + 1) for node in given]
    if None in kinds or not kinds:
        return None
    found = {replace(kind, optional=False) for kind in kinds if kind}
    if found == {Kind(int), Kind(float)}:
        found = {Kind(float)}
    optional = len(given) < len(members) or any(kind and kind.optional for kind in kinds)
    return replace(found.pop(), optional=optional) if len(found) == 1 else None


def _many(container: type, inner: list[ast.expr], names: Mapping[str, ast.expr], depth: int) -> Kind | None:
    items = [node for node in inner if not (isinstance(node, ast.Constant) and node.value is Ellipsis)]
    kinds = {kind_of_annotation(node, names, depth + 1) for node in items}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None or kind.many or kind.optional:
        return None
    return replace(kind, many=True, container=container)


def _literal(inner: list[ast.expr]) -> Kind | None:
    try:
        return kind_of_choices([ast.literal_eval(node) for node in inner])
    except ValueError:
        return None


def _elements(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def _last_name(node: ast.expr) -> str:
    """`Optional` of both `Optional` and `typing.Optional`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return None

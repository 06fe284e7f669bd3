"""The inputs of a row as cells of a table: short texts, numbered columns as one, small pictures as pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from trainer.job.columns import Column
from trainer.training.reader import as_text
from trainer.training.svg import add, picture, to_text

MOST_COLUMNS = 40
MOST_LETTERS = 160
MOST_VALUES = 8  # of a list
NUMBERED = re.compile(r"(.+?)_?(\d+)")
MANY = 16  # numbered columns, from which on they are one value
PICTURE_SIDES = range(6, 65)  # of what is drawn
PIXEL = 3.0

Rows = Sequence[Mapping[str, Any]]


def shown_inputs(
    rows: Rows, without: set[str], features: Mapping[str, Column]
) -> tuple[list[str], list[list[str | Markup]]]:
    """Heads and cells of rows (column -> value), without some columns; `features` tells shapes."""
    names = [name for name in rows[0] if name not in without]
    groups = grouped(names)
    kept = list(groups.items())[:MOST_COLUMNS]
    heads = [head for head, _ in kept]
    if len(groups) > MOST_COLUMNS:
        heads[-1] += f" (and {len(groups) - MOST_COLUMNS} more columns)"
    shapes = {name: features[name].shape for name in features}
    cells = [[_cell([row[name] for name in members], shapes.get(head, ())) for head, members in kept] for row in rows]
    return heads, cells


def grouped(names: Sequence[str]) -> dict[str, list[str]]:
    """Head -> the columns below it: x_0 ... x_63 is one value of 64 numbers."""
    stems: dict[str, list[str]] = {}
    for name in names:
        found = NUMBERED.fullmatch(name)
        stems.setdefault(found[1] if found else name, []).append(name)
    groups: dict[str, list[str]] = {}
    for name in names:
        found = NUMBERED.fullmatch(name)
        many = stems[found[1]] if found else []
        groups.update({f"{many[0]} … {many[-1]}": many} if len(many) >= MANY else {name: [name]})
    return groups


def _cell(values: list[Any], shape: tuple[int, ...]) -> str | Markup:
    if len(values) == 1:
        value = values[0]
        if not isinstance(value, (list, tuple)):
            return _short(as_text(value))
        values = list(np.asarray(value, object).ravel())
    elif not shape:
        side = math.isqrt(len(values))
        shape = (side, side) if side * side == len(values) else ()
    sides = _picture_sides(shape, len(values))
    if sides and all(isinstance(value, (int, float)) for value in values):
        return _picture(np.asarray(values, np.float64).reshape(sides))
    texts = [f"{value:.4g}" if isinstance(value, float) else as_text(value) for value in values[:MOST_VALUES]]
    more = f", … ({len(values)} values)" if len(values) > MOST_VALUES else ""
    return _short(", ".join(texts)) + more


def _picture_sides(shape: tuple[int, ...], size: int) -> tuple[int, int] | None:
    """Height and width of what can be drawn as a grey picture."""
    plane = shape[:2] if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1) else ()
    if len(plane) == 2 and all(side in PICTURE_SIDES for side in plane) and plane[0] * plane[1] == size:
        return plane
    return None


def _picture(pixels: np.ndarray) -> Markup:
    """A small grey picture, white where the values are largest."""
    height, width = pixels.shape
    low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
    root = picture(width * PIXEL, height * PIXEL, f"{height} x {width} values from {low:.4g} to {high:.4g}", "pixels")
    add(root, "rect", width=width * PIXEL, height=height * PIXEL, fill="#000")
    levels = np.nan_to_num((pixels - low) / ((high - low) or 1.0)) * 255
    for row, column in zip(*np.nonzero(levels >= 1), strict=True):
        grey = f"{int(levels[row, column]):02x}" * 3
        add(root, "rect", x=column * PIXEL, y=row * PIXEL, width=PIXEL, height=PIXEL, fill=f"#{grey}")
    return Markup(to_text(root))


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"

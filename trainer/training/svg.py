"""Axes and marks as inline SVG: what the charts of the report are drawn with.

Drawn here and not by a plotting package: colours are the page's own (CSS variables, so dark mode and print come for
free), text stays text, marks have tooltips, the same numbers give the same bytes, and nothing heavy is imported.
ElementTree escapes whatever the data holds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from xml.etree import ElementTree

Element = ElementTree.Element
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
LOG_FROM = 50.0  # how many times the smallest value the largest is, where a log scale shows more
LEFT, RIGHT, TOP, BOTTOM = 68.0, 20.0, 14.0, 44.0
UNITS = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))  # from where on, the unit, its letter
LETTER = 6.2  # the width of a character at the size of the tick labels, on average


@dataclasses.dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` -> positions from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value; what lies outside stays at the edge."""
        low, high, value = (
            math.log10(each) if self.log else each for each in (self.low, self.high, self._inside(value))
        )
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def _inside(self, value: float) -> float:
        return min(max(value, self.low), self.high)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values inside, about `count` of them."""
        if self.log:
            return _log_ticks(self.low, self.high)
        step = _round_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def scale_over(values: Sequence[float], start: float, end: float, log: bool = False, zero: bool = False) -> Scale:
    """A scale that all finite values fit into, with some room; from 0 where asked for."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if log:
        return Scale(low / 1.15, high * 1.15, start, end, log=True)
    low = min(low, 0.0) if zero else low
    room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return Scale(low if zero and low >= 0 else low - room, high + room, start, end)


def wants_log(values: Sequence[float]) -> bool:
    """Whether so different values, all above zero, are shown better on a log scale."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) > LOG_FROM


def short(value: float) -> str:
    """A number in few letters: 0.25, 1,496, 25k, 1.5M."""
    return _in_units(value, abs(value))


def tick_texts(ticks: Sequence[float], percent: bool = False) -> list[tuple[float, str]]:
    """Ticks with their words, all of an axis in the same unit."""
    if percent:
        return [(tick, f"{100 * tick:.0f}%") for tick in ticks]
    largest = max(map(abs, ticks), default=0.0)
    return [(tick, _in_units(tick, largest)) for tick in ticks]


def _in_units(value: float, largest: float) -> str:
    for least, unit, letter in UNITS:
        if largest >= least and value:
            return f"{value / unit:.4g}{letter}"
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.0e}"


def add(parent: Element, tag: str, text: str | None = None, **attributes: float | str) -> Element:
    """A child; `class_` and `stroke_width` stand for `class` and `stroke-width`, and numbers are rounded to 0.1."""
    named = {name.rstrip("_").replace("_", "-"): _attribute(value) for name, value in attributes.items()}
    child = ElementTree.SubElement(parent, tag, named)
    child.text = text
    return child


def picture(width: float, height: float, title: str, class_: str = "chart") -> Element:
    """An empty picture that scales with the page; the title is what a screen reader says."""
    root = Element("svg", {"viewBox": f"0 0 {_attribute(width)} {_attribute(height)}", "class": class_})
    root.set("role", "img")
    root.set("aria-label", title)
    return root


def to_text(root: Element) -> str:
    """The picture as markup for an HTML page."""
    return ElementTree.tostring(root, encoding="unicode")


@dataclasses.dataclass(frozen=True)
class Axes:
    """A picture with two scales, grid lines and labels; a legend is the page's own, as text there flows."""

    root: Element
    x: Scale
    y: Scale

    def path(self, points: Sequence[tuple[float, float]], class_: str) -> None:
        """A line through the finite points, broken at the others."""
        words, pen = [], "M"
        for x, y in points:
            if not (math.isfinite(x) and math.isfinite(y)):
                pen = "M"
                continue
            words.append(f"{pen}{_attribute(self.x(x))} {_attribute(self.y(y))}")
            pen = "L"
        add(self.root, "path", d="".join(words), class_=class_)

    def dot(self, x: float, y: float, class_: str, tip: str = "", radius: float = 3.5) -> None:
        """A round mark with a tooltip."""
        mark = add(self.root, "circle", cx=self.x(x), cy=self.y(y), r=radius, class_=class_)
        if tip:
            add(mark, "title", tip)

    def box(self, x: tuple[float, float], y: tuple[float, float], class_: str, tip: str = "", shade: float = 1) -> None:
        """A rectangle between two values each way; `shade` is its opacity."""
        left, right = sorted(self.x(value) for value in x)
        top, bottom = sorted(self.y(value) for value in y)
        mark = add(
            self.root, "rect", x=left, y=top, width=max(right - left, 0.1), height=max(bottom - top, 0.1), class_=class_
        )
        if shade < 1:
            mark.set("fill-opacity", f"{shade:.2f}")
        if tip:
            add(mark, "title", tip)

    def text(self) -> str:
        """The whole as markup."""
        return to_text(self.root)


def axes(
    title: str, x: Scale, y: Scale, x_label: str, y_label: str, size: tuple[float, float], percent: bool = False
) -> Axes:
    """Axes with grid lines at the y ticks; `percent` writes both scales' 0..1 as per cent."""
    root = picture(*size, title)
    for tick, words in tick_texts(y.ticks(), percent):
        at = y(tick)
        add(root, "path", d=f"M{_attribute(x.start)} {_attribute(at)}H{_attribute(x.end)}", class_="grid")
        add(root, "text", words, x=x.start - 7, y=at + 4, class_="tick end")
    for tick, words in tick_texts(x.ticks(), percent):
        add(root, "path", d=f"M{_attribute(x(tick))} {_attribute(y.start)}v4", class_="axis")
        add(root, "text", words, x=x(tick), y=y.start + 18, class_="tick middle")
    add(root, "path", d=f"M{_attribute(x.start)} {_attribute(y.start)}H{_attribute(x.end)}", class_="axis")
    add(root, "text", x_label, x=(x.start + x.end) / 2, y=y.start + 38, class_="label middle")
    middle = _attribute((y.start + y.end) / 2)
    add(root, "text", y_label, class_="label middle", transform=f"translate(12 {middle}) rotate(-90)")
    return Axes(root, x, y)


def plot_area(size: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Start and end of the x axis and of the y axis, in a picture of this size."""
    width, height = size
    return (LEFT, width - RIGHT), (height - BOTTOM, TOP)


def _attribute(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in STEPS if step * power >= rough * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1.0,) if len(powers) > 6 else (1.0, 3.0) if len(powers) > 3 else (1.0, 2.0, 5.0)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in ticks if low <= tick <= high]

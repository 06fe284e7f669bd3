"""A model module as a user would write one, never run by these tests: only its source is read."""

from __future__ import annotations

import pathlib

import pytest

MODULE = '''
from __future__ import annotations

import sys
from typing import Literal, Optional

sys.exit("this module must not run")

UNITS = 64


def build_model(
    units=UNITS,
    dropout: float = 0,
    learning_rate: float = 1e-3,
    activation: Literal["relu", "none", "a,b"] = "relu",
    title: Optional[str] = None,
    suffix: str = "",
    layers: tuple[int, ...] = (64, 32),
    words: list[str] = ("a",),
    batch_norm: bool = True,
    clip: float | None = None,
    keys: int = 1,
    wide: int = UNITS * 2,
    optimizer=None,
    assets=None,
):
    """Return a compiled model.

    Args:
      units: cells of the layer,
        100% of them.
      dropout (float): the rate.
    """
'''


@pytest.fixture(scope="session")
def model_source() -> str:
    """The text of the module."""
    return MODULE


@pytest.fixture
def model_file(tmp_path: pathlib.Path) -> str:
    """A path with spaces and a colon, as users have them."""
    folder = tmp_path / "my models: 1"
    folder.mkdir()
    path = folder / "price model.py"
    path.write_text(MODULE, encoding="utf-8")
    return str(path)

"""A model module that the rules of studies are held against: its source is read, it never runs."""

from __future__ import annotations

from typing import Literal


def build_model(
    units: int = 64,
    dropout: float = 0.3,
    learning_rate: float = 1e-3,
    activation: Literal["relu", "tanh"] = "relu",
    batch_norm: bool = False,
    layers: tuple[int, ...] = (64, 32),
    name: str = "net",
):
    """Read, never run."""

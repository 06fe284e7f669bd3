"""What the flags of a job have come to: for the manifest, where two trials of a study differ in what a flag named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.job.config import Job
from trainer.job.schedule import Schedule

_LEFT_OUT = ("dtype", "batch_input_shape")  # follow from the data


def describe_effective(model: Mapping[str, Any], job: Job, schedule: Schedule) -> dict[str, Any]:
    """The optimizer and the layers as built, and what a step is, JSON-able.

    Args:
      model: what `fingerprint.describe_model` says of the model that is trained.

    Returns:
      optimizer (class and configuration, the learning rate among it), loss, layers (name, class, and their settings
      without initializers), batch_size (examples in a step, over all replicas), total_steps, steps_per_epoch and seed.
    """
    return {
        "optimizer": model["optimizer"],
        "loss": model["loss"],
        "layers": [
            {"name": name, "class": layer["class"], **_short(layer["config"])}
            for name, layer in model["layers"].items()
        ],
        "batch_size": job.data.batch_size,
        "total_steps": schedule.total_steps,
        "steps_per_epoch": schedule.steps_per_epoch,
        "seed": job.training.seed,
    }


def _short(config: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's configuration without what was not set; that of a layer inside it likewise."""
    return {
        key: _short(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if value is not None
        and key not in _LEFT_OUT
        and not key.endswith("_initializer")
        and (key, value) != ("trainable", True)
    }

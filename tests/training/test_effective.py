"""What the flags came to: layers and optimizer in short."""

from __future__ import annotations

import json

from trainer.job.config import Job
from trainer.job.schedule import plan_schedule
from trainer.training.effective import describe_effective

DESCRIBED = {
    "architecture": "sha256:0",
    "optimizer": {"class": "Adam", "learning_rate": 0.01, "beta_1": 0.9, "clipnorm": None},
    "loss": "mse",
    "layers": {
        "x": {
            "class": "Dense",
            "config": {
                "trainable": True,
                "dtype": "float32",
                "batch_input_shape": [None, 4],
                "units": 8,
                "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
                "bias_constraint": None,
                "kernel_regularizer": {"class_name": "L2", "config": {"l2": 0.001}},
            },
            "weights": [[["4", "8"], "float32"]],
        },
        "twice": {
            "class": "Bidirectional",
            "config": {
                "trainable": False,
                "layer": {"class_name": "LSTM", "config": {"units": 3, "dropout": 0.2, "recurrent_initializer": "o"}},
            },
            "weights": [],
        },
    },
}


def test_what_was_set_is_there_and_nothing_else() -> None:
    job = Job.of({"batch_size": 20, "epochs": 3, "seed": 5})
    effective = describe_effective(DESCRIBED, job, plan_schedule(job, 200))
    assert effective == {
        "optimizer": {"class": "Adam", "learning_rate": 0.01, "beta_1": 0.9, "clipnorm": None},
        "loss": "mse",
        "layers": [
            {
                "name": "x",
                "class": "Dense",
                "units": 8,
                "kernel_regularizer": {"class_name": "L2", "config": {"l2": 0.001}},
            },
            {
                "name": "twice",
                "class": "Bidirectional",
                "trainable": False,
                "layer": {"class_name": "LSTM", "config": {"units": 3, "dropout": 0.2}},
            },
        ],
        "batch_size": 20,
        "total_steps": 30,
        "steps_per_epoch": 10,
        "seed": 5,
    }
    assert json.loads(json.dumps(effective)) == effective

"""What threads, XLA and precision do to a process: each probe has a process of its own, as first operations matter.

    python -m tests.training.devices_probes PROBE [ARGUMENT...]

prints what was found, as JSON, in the last line.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf

from trainer.job.config import Distribution
from trainer.job.errors import TrainerError
from trainer.training.conversion import check_conversion
from trainer.training.converter import convert, fresh_session
from trainer.training.devices import (
    check_precision,
    describe_devices,
    policy_kept,
    session_config,
    set_precision,
    set_up_devices,
)
from trainer.training.early_stopping import EarlyStopHook

keras, layers = tf.keras, tf.keras.layers
STEPS, BATCH = 10, 8
ROWS = np.random.RandomState(0).randn(STEPS * BATCH, 6).astype("float32")
TARGETS = ROWS.sum(1, keepdims=True) / 3
PROBES: dict[str, Callable[..., dict[str, Any]]] = {}


def probe(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    PROBES[function.__name__] = function
    return function


class Twice(layers.Layer):
    """A layer that makes layers: with the policy of the moment, whenever the model is rebuilt."""

    def __init__(self, units: int, **named: Any) -> None:
        super().__init__(**named)
        self._units = units
        self._inner = [layers.Dense(units, activation="relu", name=f"inner_{number}") for number in range(2)]

    def call(self, inputs: Any) -> Any:
        return self._inner[1](self._inner[0](inputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self._units}


MULTIPLIES = re.compile(r"_?(Mkl)?(Native)?(Fused)?MatMul")  # oneDNN's own, where the processor is one it is made for


class ExecutedHook(tf.compat.v1.train.SessionRunHook):
    """Keeps what was run in the steps: how often compiled code was, and the types that matrices were multiplied in."""

    def __init__(self) -> None:
        self.compiled, self.multiplied = 0, set[str]()

    def before_run(self, run_context: Any) -> Any:
        trace = tf.compat.v1.RunOptions.FULL_TRACE
        options = tf.compat.v1.RunOptions(trace_level=trace, output_partition_graphs=True)
        return tf.compat.v1.train.SessionRunArgs([], options=options)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        metadata = run_values.run_metadata
        for device in metadata.step_stats.dev_stats:  # labels are NAME = OP(INPUTS)
            self.compiled += sum("= _XlaRun(" in node.timeline_label for node in device.node_stats)
        for graph in metadata.partition_graphs:
            kinds = [node.attr["T"].type for node in graph.node if MULTIPLIES.fullmatch(node.op)]
            self.multiplied |= {tf.dtypes.as_dtype(kind).name for kind in kinds}


def build(optimizer: Any = None) -> tf.keras.Model:
    fresh_session(1)
    row = keras.Input((6,), name="row")
    model = keras.Model(row, layers.Dense(1, dtype="float32", name="y")(Twice(8, name="twice")(row)))
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse")
    return model


def data() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((ROWS, TARGETS)).batch(BATCH)


def trained(distribution: Distribution, model: tf.keras.Model, *hooks: Any) -> list[float]:
    """Train as a job does; all weights in a row."""
    with tempfile.TemporaryDirectory() as folder:
        config = tf.estimator.RunConfig(tf_random_seed=1, session_config=session_config(distribution))
        names = [weight.name.removesuffix(":0") for weight in model.weights]
        estimator = convert(model, folder, config)
        estimator.train(data, hooks=list(hooks))
        return flat([estimator.get_variable_value(name) for name in names])


def flat(arrays: list[Any]) -> list[float]:
    return [float(each) for each in np.concatenate([np.ravel(array) for array in arrays])]


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


@probe
def pools(inside: str = "", beside: str = "") -> dict[str, Any]:
    """How many threads an eager operation, a job's session and a cluster's server make."""
    distribution = Distribution(
        intra_op_threads=int(inside) if inside else None, inter_op_threads=int(beside) if beside else None
    )
    set_up_devices(distribution)
    counts = [threads()]
    tf.constant(1.0) + 1.0
    counts.append(threads())
    model = build()
    counts.append(threads())
    trained(distribution, model)
    counts.append(threads())
    tf.distribute.Server({"worker": ["127.0.0.1:0"]}, "worker", 0)  # as the Estimator's: without a configuration
    counts.append(threads())
    eager, _, session, server = (after - before for before, after in itertools.pairwise(counts))
    config = session_config(distribution)
    said = [config.intra_op_parallelism_threads, config.inter_op_parallelism_threads]
    return {"eager": eager, "session": session, "server": server, "said": said, **describe_devices(distribution, model)}


@probe
def xla(*flags: str) -> dict[str, Any]:
    """What a job's steps run, with `on` and without; `late` after something else; `split` the CPU first."""
    distribution = Distribution(xla="on" in flags, cpu_devices=2 if "split" in flags else None)
    if "late" in flags:
        tf.constant(1.0) + 1.0
    set_up_devices(distribution)
    hook = ExecutedHook()
    weights = trained(distribution, build(), hook)
    return {"weights": weights, "compiled": hook.compiled, "environ": os.environ.get("TF_XLA_FLAGS")}


@probe
def precision(name: str) -> dict[str, Any]:
    """A job and `fit` in a precision: what they compute in, and the weights that come of it."""
    distribution = Distribution(precision=None if name == "unset" else name)  # type: ignore[arg-type]
    set_up_devices(distribution)
    with policy_kept():
        set_precision(distribution)
        by_fit = build()
        by_fit.fit(data(), verbose=0)
        fit_weights = flat(by_fit.get_weights())
        model = build()
        check_precision(distribution, model)
        kinds = {weight.dtype.name for weight in model.weights}
        described, hook = describe_devices(distribution, model)["precision"], ExecutedHook()
        weights = trained(distribution, model, hook)
    after = keras.mixed_precision.global_policy().name
    return {
        "weights": weights,
        "fit": fit_weights,
        "kept_in": sorted(kinds),
        "multiplied_in": sorted(hook.multiplied),
        "described": described,
        "after": after,
    }


@probe
def refusals() -> dict[str, Any]:
    """What is said where --precision does not come to pass, and where a conversion could not hold it."""
    set_global_policy = keras.mixed_precision.set_global_policy

    def by_module() -> tf.keras.Model:
        set_global_policy("mixed_float16")
        return build()

    def said(
        wanted: Any, make: Callable[[], tf.keras.Model], before: str = "float32", strategy: Any = "none"
    ) -> str | None:
        distribution = Distribution(precision=wanted, strategy=strategy)
        with policy_kept():
            set_global_policy(before)
            set_precision(distribution)
            try:
                model = make()
                check_precision(distribution, model)
                check_conversion(model, allow_lossy=False, strategy="none")
            except TrainerError as error:
                return str(error)
        return None

    ready = build()
    with policy_kept():
        set_global_policy("mixed_bfloat16")
        half = build()
    return {
        "top_level": said("mixed_bfloat16", build, before="mixed_float16"),
        "builder": said("mixed_bfloat16", by_module),
        "made_before": said("mixed_bfloat16", lambda: ready),
        "half": said("float32", lambda: half),
        "shared": said("mixed_bfloat16", build, strategy="central_storage"),
        "optimizer": said("mixed_float16", lambda: build(keras.optimizers.AdamW(0.01))),
    }


@probe
def agree(index: str, *ports: str) -> dict[str, Any]:
    """Train as one of two workers in step, of which the second wants to stop from step 7 on."""
    addresses = [f"127.0.0.1:{port}" for port in ports]
    cluster = {"chief": addresses[:1], "worker": addresses[1:]}
    task = {"type": "worker" if int(index) else "chief", "index": 0}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    asked = [0]

    def is_over() -> bool:
        asked[0] += 1
        return bool(int(index)) and asked[0] * 4 >= 7

    with tempfile.TemporaryDirectory() as folder:
        model = keras.Sequential([layers.Dense(1, input_shape=(6,), name="x")])
        model.compile("sgd", "mse")
        config = tf.estimator.RunConfig(
            folder,
            train_distribute=strategy,
            session_config=session_config(Distribution(intra_op_threads=1), strategy),
        )
        estimator = tf.keras.estimator.model_to_estimator(
            model, model_dir=folder, config=config, checkpoint_format="saver"
        )
        hooks = [CountHook(), EarlyStopHook(is_over, workers_in_step=2, agree_every_steps=4)]
        spec = tf.estimator.TrainSpec(lambda: data().repeat(), max_steps=60, hooks=hooks)
        tf.estimator.train_and_evaluate(estimator, spec, tf.estimator.EvalSpec(data))
    return {"step": hooks[0].steps, "asked": asked[0]}


class CountHook(tf.compat.v1.train.SessionRunHook):
    """Counts steps."""

    def __init__(self) -> None:
        self.steps = 0

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self.steps += 1


if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]](*sys.argv[2:])))

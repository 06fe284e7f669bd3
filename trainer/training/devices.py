"""Which devices there are, and how TensorFlow is told to use them: threads, memory, XLA.

What reaches what, measured on TensorFlow 2.15.1:

- The threads inside operations are one pool for the whole process; what makes it first decides. `tf.config.threading`
  does for eager operations and tf.data, and so for all; operations beside one another have a pool for eager code and
  another one for sessions, which the first session's configuration decides. A server of a cluster, which the Estimator
  starts without either, has pools of its own that only the environment reaches.
- XLA compiles what a session runs if the session's configuration says so; on the CPU only if a flag in the environment
  says so too when the process first lists its devices or runs an operation. Later it is ignored without a word.
  `tf.config.optimizer.set_jit` does not reach sessions.
- A RunConfig with a session configuration has none of the Estimator's own, a cluster's device filters among it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from trainer.job.config import Distribution
from trainer.job.errors import UsageError
from trainer.training.failures import in_words
from trainer.training.precision import check_precision, policy_kept, precision_of, set_precision

__all__ = [
    "Devices",
    "check_precision",
    "describe_devices",
    "device_table",
    "find_devices",
    "policy_kept",
    "require_accelerator",
    "session_config",
    "set_precision",
    "set_up_devices",
]

# TensorFlow's own TPU client looks at these, in this order (tensorflow/python/tpu/client/client.py)
TPU_VARIABLES = ("KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TPU_NAME", "TPU_CONFIG")
PCI = "/sys/bus/pci/devices"
# As JAX and PyTorch/XLA find local TPUs: Google's vendor id and the chips v2/v3, plc, v4, v5p, v5e, v6e. A file
# /dev/accel0 proves nothing, the NPUs of Intel and AMD have one too, and newer TPUs have none.
TPU_VENDOR, TPU_CHIPS = "0x1ae0", {"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f"}
THREADS_INSIDE, THREADS_BESIDE = "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
XLA_FLAGS, XLA_ON_CPU = "TF_XLA_FLAGS", "--tf_xla_cpu_global_jit"


@dataclasses.dataclass(frozen=True)
class Devices:
    """What a process may compute on.

    Attributes:
      cores: CPU cores that it may use; a container's quota is not among what TensorFlow looks at.
      cpus: logical devices that TensorFlow makes of them.
      gpus: what each one is, as far as TensorFlow tells without taking its memory.
      tpu: where one was found; None without one.
    """

    cores: int
    cpus: int = 1
    gpus: tuple[str, ...] = ()
    tpu: str | None = None

    @property
    def has_accelerator(self) -> bool:
        """Whether there is more than a CPU."""
        return bool(self.gpus or self.tpu)


def find_devices(environ: Mapping[str, str] = os.environ, pci: str = PCI) -> Devices:
    """Look at the machine; nothing is initialised by it."""
    logical = tf.config.get_logical_device_configuration(tf.config.list_physical_devices("CPU")[0])
    gpus = tuple(_gpu_name(each) for each in tf.config.list_physical_devices("GPU"))
    return Devices(_cores(), len(logical or [None]), gpus, _find_tpu(environ, pci))


def require_accelerator(distribution: Distribution, devices: Devices) -> None:
    """Raise UsageError where --require-accelerator asks for a GPU or a TPU and there is neither."""
    named = distribution.strategy == "tpu" and distribution.tpu not in (None, "rehearse")
    if distribution.require_accelerator and not devices.has_accelerator and not named:
        raise UsageError(
            f"--require-accelerator: {_why_no_accelerator()}: run the job on a machine that has one, or leave "
            "--require-accelerator out to train on the CPU."
        )


def set_up_devices(distribution: Distribution) -> None:
    """Tell TensorFlow about devices, threads and XLA; to be called before the process's first operation.

    Raises:
      UsageError: this TensorFlow does not compile with XLA here.
    """
    with _xla_flagged() if distribution.xla else contextlib.nullcontext():
        if distribution.cpu_devices is not None:
            cpu, parts = tf.config.list_physical_devices("CPU")[0], distribution.cpu_devices
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * parts)
        if (inside := distribution.intra_op_threads) is not None:
            os.environ[THREADS_INSIDE] = str(inside)
            tf.config.threading.set_intra_op_parallelism_threads(inside)
        if (beside := distribution.inter_op_threads) is not None:
            os.environ[THREADS_BESIDE] = str(beside)
            tf.config.threading.set_inter_op_parallelism_threads(beside)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)  # else the first process takes all of it
        if distribution.xla:
            _prove_xla(distribution)


def session_config(
    distribution: Distribution, strategy: tf.distribute.Strategy | None = None
) -> tf.compat.v1.ConfigProto:
    """What to give a RunConfig as `session_config`: its own choice, with what the flags say.

    Its own depends on TF_CONFIG and on the strategy, the RunConfig's `train_distribute`.
    """
    config = tf.compat.v1.ConfigProto()
    config.CopyFrom(tf.estimator.RunConfig(train_distribute=strategy).session_config or _estimator_default())
    config.intra_op_parallelism_threads = distribution.intra_op_threads or 0
    config.inter_op_parallelism_threads = distribution.inter_op_threads or 0
    if tf.config.list_physical_devices("GPU"):
        config.gpu_options.allow_growth = True
    if distribution.xla:
        config.graph_options.optimizer_options.global_jit_level = tf.compat.v1.OptimizerOptions.ON_1
    return config


def describe_devices(distribution: Distribution, model: tf.keras.Model) -> dict[str, Any]:
    """For the manifest: what --precision, --xla and the threads have come to."""
    return {
        "precision": precision_of(model),
        "xla": distribution.xla,
        "intra_op_threads": distribution.intra_op_threads or int(os.environ.get(THREADS_INSIDE) or _cores()),
        "inter_op_threads": distribution.inter_op_threads or int(os.environ.get(THREADS_BESIDE) or _cores()),
    }


def device_table(
    devices: Devices, strategy: str, replicas: int, per_replica_batch: int, effective: Mapping[str, Any]
) -> list[str]:
    """Lines for the start of a job; `effective` is what `describe_devices` says."""
    logical = f", {devices.cpus} logical devices" if devices.cpus > 1 else ""
    rows = [("CPU", f"{_count(devices.cores, 'core')}{logical}")]
    rows += [(f"GPU {number}", name) for number, name in enumerate(devices.gpus)]
    rows += [("TPU", devices.tpu)] if devices.tpu else []
    rows += [] if devices.has_accelerator else [("GPU, TPU", "none")]
    rows += [
        ("strategy", f"{strategy}: {_count(replicas, 'replica')}, {_count(per_replica_batch, 'example')} a step each"),
        ("precision", effective["precision"]),
        ("XLA", "on" if effective["xla"] else "off"),
        ("threads", "{intra_op_threads} in an operation, {inter_op_threads} operations at a time".format(**effective)),
    ]
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {text}" for name, text in rows]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _cores() -> int:
    """Those this process may use, as TensorFlow counts them for its pools."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpu_name(gpu: Any) -> str:
    details = tf.config.experimental.get_device_details(gpu)
    name, capability = details.get("device_name", "unnamed"), details.get("compute_capability")
    return f"{name}, compute capability {'.'.join(map(str, capability))}" if capability else str(name)


def _find_tpu(environ: Mapping[str, str], pci: str) -> str | None:
    for name in TPU_VARIABLES:
        if environ.get(name):
            return f"{name}={environ[name]}"
    chips = sum(_is_tpu(folder) for folder in glob.glob(f"{glob.escape(pci)}/*"))
    return f"{_count(chips, 'chip')} in this machine" if chips else None


def _is_tpu(folder: str) -> bool:
    found = []
    for name in ("vendor", "device"):
        with contextlib.suppress(OSError), open(f"{folder}/{name}", encoding="ascii") as file:
            found.append(file.read().strip())
    return len(found) == 2 and found[0] == TPU_VENDOR and found[1] in TPU_CHIPS


def _why_no_accelerator() -> str:
    nothing = "there is no GPU and no TPU here"
    if not glob.glob("/dev/nvidia[0-9]*"):
        return nothing
    if not tf.test.is_built_with_cuda():
        return f"this machine has a GPU, but TensorFlow {tf.__version__} as installed cannot use it"
    if (hidden := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return f"this machine has a GPU, but CUDA_VISIBLE_DEVICES={hidden} hides it"
    return "this machine has a GPU, but TensorFlow sees none (driver or CUDA libraries are missing)"


def _estimator_default() -> tf.compat.v1.ConfigProto:
    """tensorflow_estimator.python.estimator.run_config.get_default_session_config, which no public name leads to."""
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    rewriting = config.graph_options.rewrite_options
    rewriting.meta_optimizer_iterations = type(rewriting).ONE
    return config


@contextlib.contextmanager
def _xla_flagged() -> Iterator[None]:
    """Have the flag in the environment when TensorFlow looks for it, and take it out for later processes."""
    before = os.environ.get(XLA_FLAGS)
    os.environ[XLA_FLAGS] = f"{before or ''} {XLA_ON_CPU}".strip()
    try:
        yield
    finally:
        os.environ.pop(XLA_FLAGS)
        if before is not None:
            os.environ[XLA_FLAGS] = before


def _prove_xla(distribution: Distribution) -> None:
    """Run a few operations as a job does, and see that XLA took them. Raises UsageError."""
    metadata, options = tf.compat.v1.RunMetadata(), tf.compat.v1.RunOptions(output_partition_graphs=True)
    with tf.Graph().as_default(), _stderr_hidden():
        value = tf.compat.v1.placeholder(tf.float32, [4, 4], "given")
        for _ in range(4):
            value = tf.nn.relu(tf.matmul(value, value) + 1.0)
        try:
            with tf.compat.v1.Session(config=session_config(distribution)) as session:
                session.run(value, {"given:0": [[0.0] * 4] * 4}, options, metadata)
        except tf.errors.OpError as error:  # such as a GPU's compiler that is not installed
            raise UsageError(f"--xla: TensorFlow cannot compile here ({in_words(error)}): leave it out.") from error
    if not any("XlaRun" in node.op for graph in metadata.partition_graphs for node in graph.node):
        raise UsageError("--xla: TensorFlow does not compile anything here: leave it out.")


@contextlib.contextmanager
def _stderr_hidden() -> Iterator[None]:
    """The first compilation is told to the terminal once in each process, whatever TensorFlow's log level."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

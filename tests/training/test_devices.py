"""Devices are found and said, and what the flags ask of them comes to pass."""

from __future__ import annotations

import functools
import json
import pathlib
import subprocess
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_estimator.python.estimator.run_config import get_default_session_config

from tests import runner, warm
from trainer.job.config import Distribution
from trainer.job.errors import UsageError
from trainer.training.devices import Devices, device_table, find_devices, require_accelerator, session_config

pytestmark = pytest.mark.xdist_group("devices")
CORES = find_devices({}, "/nowhere").cores
PS_CLUSTER = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}


def probe(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a probe in a process of its own."""
    command = [warm.python(), "-m", "tests.training.devices_probes", name, *arguments]
    return subprocess.run(
        command, env=runner.environ(), cwd=runner.ROOT, text=True, capture_output=True, timeout=runner.DEADLINE_SECS
    )


@functools.cache
def found(name: str, *arguments: str) -> dict[str, Any]:
    """What a probe finds; each runs once."""
    done = probe(name, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


# ---------------------------------------------------------------- what there is


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"TPU_NAME": ""}, None, id="set but empty"),
        pytest.param({"TPU_NAME": "local"}, "TPU_NAME=local", id="name"),
        pytest.param(
            {"TPU_NAME": "x", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS": "grpc://10.0.0.2:8470"},
            "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS=grpc://10.0.0.2:8470",
            id="Kubernetes first, as TensorFlow has it",
        ),
    ],
)
def test_a_tpu_that_the_environment_tells_of(environ: dict[str, str], expected: str | None) -> None:
    assert find_devices(environ, "/nowhere").tpu == expected


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        pytest.param([("0x1ae0", "0x0063")], "1 chip in this machine", id="v5e"),
        pytest.param([("0x1ae0", "0x0027")] * 4 + [("0x10de", "0x20b0")], "4 chips in this machine", id="v3, beside"),
        pytest.param([("0x1ae0", "0x0042")], None, id="Google's network card"),
        pytest.param([("0x8086", "0x7d1d")], None, id="Intel's NPU, which has a /dev/accel0 too"),
        pytest.param([("0x1ae0", None)], None, id="half a card"),
    ],
)
def test_a_tpu_in_this_machine(tmp_path: pathlib.Path, cards: list[Any], expected: str | None) -> None:
    for number, card in enumerate(cards):
        folder = tmp_path / "pci [0]" / f"0000:00:0{number}.0"
        folder.mkdir(parents=True)
        for name, text in zip(("vendor", "device"), card, strict=True):
            if text is not None:
                (folder / name).write_text(text + "\n")
    assert find_devices({}, str(tmp_path / "pci [0]")).tpu == expected


@pytest.mark.parametrize(
    ("settings", "devices"),
    [
        pytest.param({}, Devices(2), id="not asked for"),
        pytest.param({"require_accelerator": True}, Devices(2, gpus=("T4",)), id="GPU"),
        pytest.param({"require_accelerator": True}, Devices(2, tpu="TPU_NAME=local"), id="TPU"),
        pytest.param({"require_accelerator": True, "strategy": "tpu", "tpu": "mine"}, Devices(2), id="named TPU"),
    ],
)
def test_an_accelerator_that_is_there(settings: dict[str, Any], devices: Devices) -> None:
    require_accelerator(Distribution(**settings), devices)


@pytest.mark.parametrize("settings", [{}, {"strategy": "tpu", "tpu": "rehearse"}])
def test_no_accelerator(settings: dict[str, Any]) -> None:
    with pytest.raises(
        UsageError, match=r"^--require-accelerator: .*: run the job on a machine that has one, or leave"
    ):
        require_accelerator(Distribution(require_accelerator=True, **settings), Devices(2))


def test_table() -> None:
    effective = {"precision": "mixed_bfloat16, float32", "xla": True, "intra_op_threads": 1, "inter_op_threads": 4}
    assert device_table(Devices(8, gpus=("T4, compute capability 7.5", "T4")), "mirrored", 2, 128, effective) == [
        "CPU        8 cores",
        "GPU 0      T4, compute capability 7.5",
        "GPU 1      T4",
        "strategy   mirrored: 2 replicas, 128 examples a step each",
        "precision  mixed_bfloat16, float32",
        "XLA        on",
        "threads    1 in an operation, 4 operations at a time",
    ]
    plain = {"precision": "float32", "xla": False, "intra_op_threads": 2, "inter_op_threads": 2}
    assert device_table(Devices(1, cpus=2), "none", 1, 1, plain)[:3] == [
        "CPU        1 core, 2 logical devices",
        "GPU, TPU   none",
        "strategy   none: 1 replica, 1 example a step each",
    ]


# ---------------------------------------------------------------- the session's configuration


def test_the_estimators_own_configuration_stays_where_no_flag_speaks() -> None:
    assert session_config(Distribution()) == get_default_session_config()


@pytest.mark.parametrize("role", ["chief", "worker", "ps", "evaluator"])
def test_a_cluster_keeps_its_device_filters(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = {"type": role, "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": PS_CLUSTER, "task": task}))
    own = tf.estimator.RunConfig().session_config or get_default_session_config()
    config = session_config(Distribution(inter_op_threads=3, intra_op_threads=2, xla=True))
    assert list(config.device_filters) == list(own.device_filters)
    assert bool(config.device_filters) == (role != "evaluator")
    assert (config.intra_op_parallelism_threads, config.inter_op_parallelism_threads) == (2, 3)
    assert config.graph_options.optimizer_options.global_jit_level == tf.compat.v1.OptimizerOptions.ON_1
    assert config.graph_options.rewrite_options == own.graph_options.rewrite_options
    assert config.allow_soft_placement


# ---------------------------------------------------------------- effects


def test_threads_are_as_many_as_asked_for() -> None:
    """Pools are counted by the threads of the process; each of the figures grows by that of the flag, and only so."""
    plain, many = found("pools"), found("pools", "40", "60")
    inside, beside = 40 - CORES, 60 - CORES
    assert (plain["intra_op_threads"], plain["inter_op_threads"], plain["said"]) == (CORES, CORES, [0, 0])
    assert (many["intra_op_threads"], many["inter_op_threads"], many["said"]) == (40, 60, [40, 60])
    # eager code has a pool inside operations, which all share, and one beside; sessions and servers have one beside
    assert many["eager"] - plain["eager"] == inside + beside
    assert beside <= many["session"] - plain["session"] <= beside + 8
    assert beside - 8 <= many["server"] - plain["server"] <= beside + 8


def test_xla_compiles_what_a_job_runs() -> None:
    plain, compiled = found("xla"), found("xla", "on")
    assert plain["compiled"] == 0
    assert compiled["compiled"] >= 10  # in each of the steps
    np.testing.assert_allclose(compiled["weights"], plain["weights"], rtol=0, atol=1e-5)


def test_xla_leaves_the_environment_alone_and_is_quiet() -> None:
    done = probe("xla", "on")
    assert json.loads(done.stdout.splitlines()[-1])["environ"] is None
    assert "XLA" not in done.stderr


def test_xla_on_a_cpu_in_parts() -> None:
    assert found("xla", "on", "split")["compiled"] >= 10


def test_xla_that_would_do_nothing_is_an_error() -> None:
    done = probe("xla", "on", "late")
    assert done.returncode != 0
    assert "UsageError: --xla: TensorFlow does not compile anything here: leave it out." in done.stderr


@pytest.mark.parametrize(
    ("name", "computes", "tolerance"),
    [("float32", ["float32"], 0.0), ("mixed_bfloat16", ["bfloat16", "float32"], 0.02), ("mixed_float16", None, None)],
)
def test_precision(name: str, computes: list[str] | None, tolerance: float | None) -> None:
    """Weights stay float32; only what they are multiplied in changes, inside layers of layers as well."""
    wide, taken = found("precision", "unset"), found("precision", name)
    assert taken["kept_in"] == ["float32"]
    assert taken["multiplied_in"] == (computes or ["float16", "float32"])  # the last layer says float32 itself
    assert taken["described"] == ("float32" if name == "float32" else f"{name}, float32")
    assert taken["after"] == "float32"
    distance = np.abs(np.subtract(taken["weights"], wide["weights"])).max()
    if tolerance is not None:
        assert distance <= tolerance
    assert (distance == 0) == (name == "float32")
    np.testing.assert_allclose(taken["weights"], taken["fit"], rtol=0, atol=2e-3 if name != "float32" else 1e-5)


def test_precision_that_does_not_come_to_pass_is_said() -> None:
    said = found("refusals")
    flag = "--precision=mixed_bfloat16"
    assert said["top_level"] is None  # a flag stands above what the module has set
    assert said["builder"] == (
        f"{flag}: the model's builder sets the policy mixed_float16 itself; take that out, or the flag."
    )
    assert said["made_before"] == (
        f"{flag}: no layer of the model takes it up; build the layers inside the builder and without dtype=, or leave "
        "the flag out."
    )
    built = "the layer twice is built with the policy mixed_bfloat16"
    assert said["half"] == f"--precision=float32: {built}; take its dtype= out, or the flag."
    assert "use Adam or SGD, or mixed_bfloat16" in said["optimizer"]
    assert said["shared"] == (
        "--strategy=central_storage: Keras cannot share weights of mixed_bfloat16, float32 so; say "
        "--strategy=mirrored, or --precision=float32."
    )


# ---------------------------------------------------------------- a whole job


@pytest.mark.slow
def test_a_job_with_all_of_them(tmp_path: pathlib.Path) -> None:
    runner.write_project(tmp_path)
    more = ("--exporters=none", "--no-report")
    runner.run(tmp_path, runner.flags(*more, steps=20, job_dir="wide")).ok()
    asked = ("--precision=mixed_bfloat16", "--xla", "--intra-op-threads=1", "--inter-op-threads=3")
    done = runner.run(tmp_path, runner.flags(*more, *asked, steps=20, job_dir="job")).ok()
    effective = runner.read_json(tmp_path / "job" / "manifest.json")["effective"]
    names = ("precision", "xla", "intra_op_threads", "inter_op_threads")
    assert [effective[name] for name in names] == ["mixed_bfloat16", True, 1, 3]
    assert "--precision=mixed_bfloat16: the output y and its loss are in bfloat16" in done.err
    wide, taken = (runner.read_evaluations(tmp_path / name)[20]["mae"] for name in ("wide", "job"))
    assert wide != taken
    assert wide == pytest.approx(taken, rel=0.02)
    spread = ("--precision=mixed_bfloat16", "--strategy=mirrored", "--cpu-devices=2")
    runner.run(tmp_path, runner.flags(*more, *spread, steps=20, job_dir="spread")).ok()
    assert runner.read_evaluations(tmp_path / "spread")[20]["mae"] == pytest.approx(taken, rel=1e-3)
    refused = runner.run(tmp_path, runner.flags(*more, steps=40, job_dir="job"))
    assert refused.exit_code == 2
    assert "mixed_bfloat16" in refused.err

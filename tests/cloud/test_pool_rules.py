"""The rules of jobs, pools and machines by a table: what each broken file is told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cloud.rules_lab import (
    CONTAINER,
    JOB,
    MACHINE,
    POOL,
    POOLS,
    STUDY,
    Change,
    Content,
    changed,
    check,
    drop,
    image,
    machine,
    pools,
    put,
)

BROKEN_JOBS = [
    pytest.param(drop(POOLS), POOLS, "is missing: it says on which machines", id="no pools"),
    pytest.param(put(POOLS, to=[]), POOLS, "is missing", id="empty list of pools"),
    pytest.param(put(POOLS, to=POOL), POOLS, "begin each entry with a dash", id="a mapping of pools"),
    pytest.param(pools(1, 1, 1, 1, 1), POOLS, "5 pools, and there are four, by position: chief", id="five pools"),
    pytest.param(pools(None, 1), f"{POOLS}[0]", "no job runs without its chief", id="no chief"),
    pytest.param(
        pools(2), f"{POOLS}[0].replicaCount", "2, but by its position this pool is the chief", id="two chiefs"
    ),
    pytest.param(pools(0), f"{POOLS}[0].replicaCount", "0, where at least 1 is needed", id="no machine"),
    pytest.param(
        pools(1, 1, 1, 3), f"{POOLS}[3].replicaCount", "the evaluator, of which there is one", id="evaluators"
    ),
    pytest.param(pools(1, 0), f"{POOLS}[1].replicaCount", "write {} in place of the pool", id="no workers"),
    pytest.param(pools(1.5), f"{POOLS}[0].replicaCount", "is no whole number", id="half a machine"),
    pytest.param(drop(POOLS, 0, "replicaCount"), f"{POOLS}[0].replicaCount", "add replicaCount: 1", id="no count"),
    pytest.param(drop(POOLS, 0, "machineSpec"), MACHINE, "add machineSpec", id="no machineSpec"),
    pytest.param(machine(), f"{MACHINE}.machineType", "such as machineType: n1-standard-4", id="no machine type"),
    pytest.param(
        machine(machineType="complex_model_m"), f"{MACHINE}.machineType", "AI Platform's own names", id="legacy machine"
    ),
    pytest.param(
        machine(machineType="n1-standard-4", acceleratorType="nvidia-tesla-t4", acceleratorCount=1),
        f"{MACHINE}.acceleratorType",
        "did you mean NVIDIA_TESLA_T4?",
        id="gcloud's name of a GPU",
    ),
    pytest.param(
        machine(machineType="n1-standard-4", acceleratorType="NVIDIA_TESLA_T4", acceleratorCount=3),
        f"{MACHINE}.acceleratorCount",
        "3, and a machine takes 1, 2, 4, 8 or 16 accelerators (TPUs more); write 2 or 4.",
        id="three GPUs",
    ),
    pytest.param(
        machine(machineType="n1-standard-4", acceleratorType="NVIDIA_TESLA_T4"),
        f"{MACHINE}.acceleratorCount",
        "is missing beside NVIDIA_TESLA_T4; add acceleratorCount: 1.",
        id="a GPU without a count",
    ),
    pytest.param(
        machine(machineType="n1-standard-4", acceleratorCount=2),
        f"{MACHINE}.acceleratorType",
        "is missing beside acceleratorCount: 2",
        id="a count without a GPU",
    ),
    pytest.param(
        machine(machineType="n1-standard-4", acceleratorType="NVIDIA_TESLA_K80", acceleratorCount=1),
        f"{MACHINE}.acceleratorType",
        "take NVIDIA_TESLA_T4",
        id="a GPU that is gone",
    ),
    pytest.param(
        pools(1, 1, machineSpec={"machineType": "cloud-tpu", "acceleratorType": "TPU_V2", "acceleratorCount": 8}),
        POOLS,
        "TPUs in pool 0, pool 1, and a job on TPUs has one pool in all",
        id="two TPU pools",
    ),
    pytest.param(
        pools(2, machineSpec={"machineType": "ct5lp-hightpu-4t", "tpuTopology": "2x2"}),
        f"{POOLS}[0].replicaCount",
        "write replicaCount: 1",
        id="two TPU machines",
    ),
    pytest.param(
        machine(machineType="cloud-tpu"),
        f"{MACHINE}.acceleratorType",
        "nothing beside the machine cloud-tpu; write TPU_V2 or TPU_V3",
        id="a TPU of no kind",
    ),
    pytest.param(
        machine(machineType="n1-standard-4", acceleratorType="TPU_V3", acceleratorCount=8),
        f"{MACHINE}.machineType",
        "write machineType: cloud-tpu",
        id="a TPU in another machine",
    ),
    pytest.param(
        machine(machineType="n1-standard-4", tpuTopology="2x2"), f"{MACHINE}.tpuTopology", "leave it out", id="topology"
    ),
    pytest.param(
        drop(POOLS, 0, "containerSpec"), f"{POOLS}[0]", "says nothing to run; add containerSpec", id="nothing to run"
    ),
    pytest.param(
        put(POOLS, 0, "pythonPackageSpec", to={}), f"{POOLS}[0]", "exclude each other; keep one", id="two things to run"
    ),
    pytest.param(
        put(POOLS, 0, "containerSpec", to={"args": []}), f"{CONTAINER}.imageUri", "is missing: it names", id="no image"
    ),
    pytest.param(
        image("REGION-docker.pkg.dev/PROJECT/REPOSITORY/keras-trainer:latest"),
        f"{CONTAINER}.imageUri",
        "still has the placeholders REGION, PROJECT, REPOSITORY; name the image that you have built and pushed.",
        id="the shipped placeholder",
    ),
    pytest.param(image("My Image"), f"{CONTAINER}.imageUri", "is no name of an image", id="no name of an image"),
    pytest.param(
        put(POOLS, 0, "containerSpec", "args", to=["--epochs=4", 0.1]),
        f"{CONTAINER}.args[1]",
        '0.1 is a number for YAML, where text is expected; write "0.1".',
        id="a number among args",
    ),
    pytest.param(
        put(POOLS, 0, "containerSpec", "env", to=[{"name": "DEBUG", "value": 1}]),
        f"{CONTAINER}.env[0].value",
        'write "1"',
        id="a number in the environment",
    ),
    pytest.param(
        put(POOLS, 0, "containerSpec", "env", to=[{"name": "TF_CONFIG", "value": "{}"}]),
        f"{CONTAINER}.env[0].name",
        "TF_CONFIG is set by Vertex AI itself; leave it out.",
        id="Vertex's own variable",
    ),
    pytest.param(
        put(POOLS, 0, "containerSpec", "env", to=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
        f"{CONTAINER}.env[1].name",
        "A stands there twice",
        id="a variable twice",
    ),
    pytest.param(
        put(POOLS, 0, "containerSpec", "env", to=[{"value": "1"}]),
        f"{CONTAINER}.env[0].name",
        "is missing",
        id="no name",
    ),
    pytest.param(put("scheduling", "timeout", to=7200), "scheduling.timeout", 'write "7200s"', id="timeout without s"),
    pytest.param(put("scheduling", "timeout", to="90m"), "scheduling.timeout", 'write "5400s"', id="minutes"),
    pytest.param(put("scheduling", "timeout", to="0s"), "scheduling.timeout", "leaves no time at all", id="no time"),
    pytest.param(put("scheduling", "strategy", to="spot!"), "scheduling.strategy", "did you mean SPOT?", id="strategy"),
    pytest.param(
        put("baseOutputDirectory", "outputUriPrefix", to="/results"),
        "baseOutputDirectory.outputUriPrefix",
        "/results is no folder in Cloud Storage",
        id="a local folder",
    ),
    pytest.param(
        put("baseOutputDirectory", "outputUriPrefix", to="gs://BUCKET/first"),
        "baseOutputDirectory.outputUriPrefix",
        "names no bucket",
        id="a bucket's placeholder",
    ),
    pytest.param(
        put("baseOutputDirectory", to={}),
        "baseOutputDirectory.outputUriPrefix",
        "is missing",
        id="no folder of results",
    ),
    pytest.param(put(POOLS, 0, "replicaCount", to=None), f"{POOLS}[0].replicaCount", "is missing: it says", id="null"),
    pytest.param(
        put(POOLS, 0, "containerSpec", "args", to=[None]), f"{CONTAINER}.args[0]", "nothing stands", id="null arg"
    ),
    pytest.param(put("serviceAccount", to="trainer"), "serviceAccount", "is no address of an account", id="account"),
    pytest.param(put("labels", to={"a": "b"}), "labels", "belongs to the job around this", id="labels in the job spec"),
    pytest.param(put("shceduling", to={}), "shceduling", "did you mean scheduling?", id="an unknown key"),
    pytest.param(
        put(POOLS, 0, "machineSpec", "acceleratorcount", to=1),
        f"{MACHINE}.acceleratorcount",
        "did you mean acceleratorCount?",
        id="an unknown key inside",
    ),
]


@pytest.mark.parametrize(("change", "where", "words"), BROKEN_JOBS)
def test_a_broken_job(change: Change, where: str, words: str) -> None:
    """Also where the same job is that of a study's trials."""
    found = [each for each in check(changed(JOB, change)) if each.level == "error"]
    assert [each.said for each in found if each.where == where and words in each.said], found
    inside = check({**STUDY, "trialJobSpec": changed(JOB, change)})
    assert [each for each in inside if each.where == f"trialJobSpec.{where}" and words in each.said], inside


def package(**spec: Any) -> Change:
    def change(content: Content) -> None:
        content[POOLS][0]["pythonPackageSpec"] = spec
        del content[POOLS][0]["containerSpec"]

    return change


PREBUILT = "us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-15.py310:latest"
WARNINGS = [
    pytest.param(drop("scheduling"), "scheduling.timeout", "is not set, and a job that hangs is paid for 7", id="time"),
    pytest.param(
        put("scheduling", "timeout", to=None), "scheduling.timeout", "is not set, and a job", id="timeout: null"
    ),
    pytest.param(put("network", to=None), "network", "nothing stands behind it; give it a value, or leave", id="null"),
    pytest.param(drop("scheduling", "timeout"), "scheduling.timeout", 'such as timeout: "7200s"', id="no timeout"),
    pytest.param(
        put("scheduling", "strategy", to="LOW_COST"), "scheduling.strategy", "old name; write SPOT.", id="old strategy"
    ),
    pytest.param(image(PREBUILT), f"{CONTAINER}.imageUri", "stopped offering", id="an image past its availability"),
    pytest.param(
        package(executorImageUri=PREBUILT),
        f"{POOLS}[0].pythonPackageSpec.executorImageUri",
        "stopped offering us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-15.py310:latest on 2025-11-14",
        id="a package's image past its availability",
    ),
    pytest.param(
        machine(machineType="e2-standard-4", acceleratorType="NVIDIA_TESLA_T4", acceleratorCount=1),
        f"{MACHINE}.machineType",
        "e2-standard-4 beside NVIDIA_TESLA_T4",
        id="a GPU in a machine that takes none",
    ),
]


@pytest.mark.parametrize(("change", "where", "words"), WARNINGS)
def test_a_job_that_goes_but_with_a_warning(change: Change, where: str, words: str) -> None:
    [found] = check(changed(JOB, change))
    assert (found.level, found.where) == ("warning", where)
    assert words in found.said


@pytest.mark.parametrize(
    ("via", "levels"),
    [(None, ["warning"] * 2), ("gcloud", ["error"] * 2), ("rest", [])],
    ids=["auto", "gcloud", "rest"],
)
def test_placeholder_pools_depend_on_who_sends(via: str | None, levels: list[str]) -> None:
    found = check(changed(JOB, pools(1, None, None)), via=via)
    assert [each.level for each in found] == levels
    assert all("gcloud refuses it in a file; submit it with --via=rest." in each.said for each in found)


def test_packages_have_to_be_in_cloud_storage() -> None:
    change = package(executorImageUri="a/b:1", packageUris=["gs://b/x.tar.gz", "dist/x.tar.gz"])
    [found] = check(changed(JOB, change))
    assert (found.level, found.where) == ("error", f"{POOLS}[0].pythonPackageSpec.packageUris[1]")

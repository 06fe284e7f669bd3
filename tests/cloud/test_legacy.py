"""Files of the old AI Platform Training: what they become, what is assumed, what has no twin, what is refused."""

from __future__ import annotations

import ast
import copy
import os
import pathlib
from typing import Any

import pytest
import yaml

from tests.cloud.legacy_lab import OLD, accepted
from trainer.cloud.gcloud import find_program
from trainer.cloud.legacy import Conversion, convert
from trainer.cloud.legacy_fields import ENUMS, FIELDS
from trainer.cloud.legacy_machines import TYPES
from trainer.job.errors import UsageError

OWN_IMAGE = "REGION-docker.pkg.dev/PROJECT/REPOSITORY/keras-trainer:latest"
CPU_IMAGE = "us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-15.py310:latest"
GPU_IMAGE = "us-docker.pkg.dev/vertex-ai/training/tf-gpu.2-15.py310:latest"
T4 = {"acceleratorType": "NVIDIA_TESLA_T4"}


def of(training: dict[str, Any], **root: Any) -> Conversion:
    return convert({"trainingInput": training, **root})


def test_a_whole_file() -> None:
    content = yaml.safe_load(OLD)
    before = copy.deepcopy(content)
    args = ["--epochs", "3", "--name=a b", "--job-dir=gs://b/census"]
    container = {"containerSpec": {"imageUri": "gcr.io/p/census", "args": args}}
    gpu = {"acceleratorType": "NVIDIA_TESLA_P100", "acceleratorCount": 1}
    spec = {
        "workerPoolSpecs": [
            {
                "machineSpec": {"machineType": "n1-standard-16", **T4, "acceleratorCount": 4},
                "replicaCount": 1,
                "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 200},
                **container,
            },
            {"machineSpec": {"machineType": "n1-standard-8", **gpu}, "replicaCount": 2, **container},
            {"machineSpec": {"machineType": "n1-highmem-8"}, "replicaCount": 1, **container},
            {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, **container},
        ],
        "scheduling": {"timeout": "7200s", "strategy": "SPOT", "restartJobOnWorkerRestart": True},
        "baseOutputDirectory": {"outputUriPrefix": "gs://b/census"},
        "serviceAccount": "a@b.iam.gserviceaccount.com",
        "network": "projects/1/global/networks/n",
        "enableWebAccess": True,
    }
    parameters = [
        {
            "parameterId": "lr",
            "doubleValueSpec": {"minValue": 0.0001, "maxValue": 0.1},
            "scaleType": "UNIT_LOG_SCALE",
        },
        {
            "parameterId": "layers",
            "integerValueSpec": {"minValue": 1, "maxValue": 3},
            "scaleType": "UNIT_LINEAR_SCALE",
        },
        {"parameterId": "opt", "categoricalValueSpec": {"values": ["adam", "sgd"]}},
        {"parameterId": "units", "discreteValueSpec": {"values": [32, 64]}},
    ]
    assert accepted(convert(content)) == Conversion(
        custom_job=spec,
        tuning_job={
            "displayName": "census_42",
            "maxTrialCount": 10,
            "parallelTrialCount": 2,
            "maxFailedTrialCount": 1,
            "studySpec": {
                "metrics": [{"metricId": "loss", "goal": "MINIMIZE"}],
                "parameters": parameters,
                "algorithm": "RANDOM_SEARCH",
                "medianAutomatedStoppingSpec": {"useElapsedDuration": False},
            },
            "trialJobSpec": spec,
            "labels": {"team": "maps"},
            "encryptionSpec": {"kmsKeyName": "projects/p/locations/l/keyRings/r/cryptoKeys/k"},
        },
        assumptions=(
            "trainingInput.runtimeVersion: YAML reads 2.11 as a number; it is taken as the text '2.11'.",
            "trainingInput.args[1]: YAML reads 3 as a number; it is taken as the text '3'.",
            "trainingInput.masterType=complex_model_m_gpu is taken for n1-standard-16 with 4 x NVIDIA_TESLA_K80; no "
            "published list confirms this row any more, so compare it with an old job.",
            "trainingInput.masterType: Google offers no K80 any more, so 4 x NVIDIA_TESLA_K80 becomes "
            "4 x NVIDIA_TESLA_T4; memory and speed differ.",
            "trainingInput.parameterServerType=large_model is taken for n1-highmem-8.",
            "trainingInput.evaluatorType=standard is taken for n1-standard-4.",
            "trainingInput.scheduling.strategy=LOW_COST becomes SPOT: Google may take the machines away.",
            "trainingInput.hyperparameters.enableTrialEarlyStopping=true becomes medianAutomatedStoppingSpec, which "
            "stops a trial that is below the median of the others at its step: near to what the old service did, not "
            "the same.",
        ),
        without_twin=(
            "trainingInput.region=us-central1: the command says it: --region=us-central1.",
            "trainingInput.runtimeVersion=2.11: the image says which TensorFlow runs, and with the old one it is not "
            "the same.",
            "trainingInput.pythonVersion=3.7: the image says which Python runs.",
            "trainingInput.useChiefInTfConfig=true: TF_CONFIG always says chief on Vertex AI.",
            "trainingInput.scheduling.priority=3: Vertex AI has no priorities.",
            "trainingInput.scheduling.maxWaitTime=3600s: Vertex AI limits the wait with strategy FLEX_START only.",
            "trainingInput.hyperparameters.resumePreviousJobId=census_41: a study of Vertex AI begins anew.",
            "jobId=census_42: Vertex AI numbers jobs itself, and --display-name=census_42 names one; "
            "hptuning_config.yaml has it.",
            'labels={"team": "maps"}: for config.yaml the command says it: --labels=team=maps; hptuning_config.yaml '
            "has it.",
            'trainingInput.encryptionConfig={"kmsKeyName": "projects/p/locations/l/keyRings/r/cryptoKeys/k"}: for '
            "config.yaml gcloud has --kms-key; hptuning_config.yaml has it.",
        ),
    )
    assert content == before


def test_trials_and_job_share_no_value() -> None:
    """What is changed in one file's content stays out of the other's."""
    made = convert(yaml.safe_load(OLD))
    assert made.tuning_job is not None
    made.custom_job["workerPoolSpecs"][0]["containerSpec"]["args"].append("--x")
    assert "--x" not in str(made.tuning_job)


# id: TrainingInput, machines of the pools as TYPE [ACCELERATOR x COUNT] * REPLICAS
POOLS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, ["n1-standard-4 * 1"]),
    "BASIC": ({"scaleTier": "BASIC"}, ["n1-standard-4 * 1"]),
    "BASIC_GPU": ({"scaleTier": "BASIC_GPU"}, ["n1-standard-8 NVIDIA_TESLA_T4 x 1 * 1"]),
    "BASIC_TPU": ({"scaleTier": "BASIC_TPU"}, ["cloud-tpu TPU_V2 x 8 * 1"]),
    "STANDARD_1": ({"scaleTier": "STANDARD_1"}, ["n1-highcpu-8 * 1", "n1-highcpu-8 * 4", "n1-standard-4 * 3"]),
    "PREMIUM_1": ({"scaleTier": "PREMIUM_1"}, ["n1-highcpu-16 * 1", "n1-highcpu-16 * 19", "n1-highmem-8 * 11"]),
    "tier not said": ({"masterType": "standard"}, ["n1-standard-4 * 1"]),
    "evaluator alone": (
        {"masterType": "a2-highgpu-1g", "evaluatorType": "n1-standard-4", "evaluatorCount": 1},
        ["a2-highgpu-1g * 1", "{}", "{}", "n1-standard-4 * 1"],
    ),
    "parameter servers alone": (
        {"masterType": "standard", "parameterServerType": "standard", "parameterServerCount": 2},
        ["n1-standard-4 * 1", "{}", "n1-standard-4 * 2"],
    ),
    "no workers": ({"masterType": "standard", "workerType": "standard", "workerCount": 0}, ["n1-standard-4 * 1"]),
    "a TPU for the worker": (
        {
            "masterType": "n1-standard-8",
            "workerType": "cloud_tpu",
            "workerCount": 2,
            "workerConfig": {"acceleratorConfig": {"type": "TPU_V3", "count": 8}},
            "evaluatorType": "standard",
            "evaluatorCount": 1,
        },
        ["cloud-tpu TPU_V3 x 8 * 1"],
    ),
    "a part of a pod": (
        {"masterType": "n1-standard-8", "masterConfig": {"acceleratorConfig": {"type": "TPU_V2_POD", "count": 32}}},
        ["cloud-tpu TPU_V2 x 32 * 1"],
    ),
    "TPU v4": (
        {"masterType": "cloud_tpu", "masterConfig": {"acceleratorConfig": {"type": "TPU_V4_POD"}}},
        ["cloud-tpu TPU_V4_POD x 8 * 1"],
    ),
    "another GPU than the type's": (
        {
            "masterType": "standard_p100",
            "masterConfig": {"acceleratorConfig": {"type": "NVIDIA_TESLA_V100", "count": 2}},
        },
        ["n1-standard-8 NVIDIA_TESLA_V100 x 2 * 1"],
    ),
    "count not said": (
        {"masterType": "n1-standard-8", "masterConfig": {"acceleratorConfig": {"type": "NVIDIA_TESLA_P4"}}},
        ["n1-standard-8 NVIDIA_TESLA_P4 x 1 * 1"],
    ),
    "count 0": (
        {"masterType": "standard", "masterConfig": {"acceleratorConfig": {"type": "NVIDIA_TESLA_P4", "count": 0}}},
        ["n1-standard-4 * 1"],
    ),
    "type not said": (
        {"masterType": "standard", "masterConfig": {"acceleratorConfig": {"count": 2}}},
        ["n1-standard-4 * 1"],
    ),
    "eight K80s": ({"masterType": "complex_model_l_gpu"}, ["n1-standard-32 NVIDIA_TESLA_T4 x 4 * 1"]),
}


def machines(conversion: Conversion) -> list[str]:
    found = []
    for pool in conversion.custom_job["workerPoolSpecs"]:
        if pool:
            spec = pool["machineSpec"]
            gpus = f" {spec['acceleratorType']} x {spec['acceleratorCount']}" if "acceleratorType" in spec else ""
            found.append(f"{spec['machineType']}{gpus} * {pool['replicaCount']}")
        else:
            found.append("{}")
    return found


@pytest.mark.parametrize(("training", "expected"), POOLS.values(), ids=POOLS)
def test_machines(training: dict[str, Any], expected: list[str]) -> None:
    assert machines(accepted(of(training))) == expected


@pytest.mark.parametrize("tier", ["BASIC", "BASIC_GPU", "BASIC_TPU", "STANDARD_1", "PREMIUM_1"])
def test_a_tier_is_an_assumption(tier: str) -> None:
    assert [each for each in of({"scaleTier": tier}).assumptions if f"scaleTier={tier} is taken for master 1 x" in each]


@pytest.mark.parametrize("name", TYPES)
def test_an_old_type_is_an_assumption(name: str) -> None:
    said = [each for each in of({"masterType": name}).assumptions if f"masterType={name} is taken for" in each]
    assert len(said) == 1
    assert ("no published list confirms" in said[0]) == (not TYPES[name].sure)


def test_machines_that_are_left_out_are_said() -> None:
    config = {"imageUri": "gcr.io/p/i"}
    none = of({"masterType": "standard", "workerType": "standard", "workerConfig": config})
    assert none.without_twin == (
        "trainingInput.workerType=standard: workerCount is 0, so there is none.",
        'trainingInput.workerConfig={"imageUri": "gcr.io/p/i"}: workerCount is 0, so there is none.',
    )
    basic = of({"scaleTier": "BASIC", "evaluatorConfig": config})
    assert basic.without_twin == (
        'trainingInput.evaluatorConfig={"imageUri": "gcr.io/p/i"}: scaleTier BASIC has no evaluator.',
    )
    assert of(POOLS["a TPU for the worker"][0]).without_twin == (
        "trainingInput.masterType=n1-standard-8: on Vertex AI the program runs on the TPU's machine itself, so the "
        "master is left out.",
        "trainingInput.evaluatorType=standard: on Vertex AI the program runs on the TPU's machine itself, so the "
        "evaluator is left out.",
        "trainingInput.workerCount=2: Vertex AI runs one TPU pool of one replica.",
    )


def test_an_empty_pool_says_what_gcloud_does_to_it() -> None:
    said = of(POOLS["evaluator alone"][0]).assumptions
    assert [each for each in said if each.startswith("workerPoolSpecs[1], [2] is an empty {}") and "--via=rest" in each]


IMAGE = {"masterConfig": {"imageUri": "gcr.io/p/i"}}
# id: TrainingInput, what runs, beginning of an assumption or of a field without a twin
PROGRAMS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nothing": ({}, {"containerSpec": {"imageUri": OWN_IMAGE}}, "The file names no image"),
    "a module": (
        {"pythonModule": "a.b"},
        {"containerSpec": {"imageUri": OWN_IMAGE, "command": ["python", "-m", "a.b"]}},
        "trainingInput.pythonModule=a.b becomes the command",
    ),
    "our module": ({"pythonModule": "trainer.task"}, {"containerSpec": {"imageUri": OWN_IMAGE}}, "The file names"),
    "packages": (
        {"packageUris": ["gs://b/a.tar.gz"], "pythonModule": "a.b", "args": ["--x"], "jobDir": "gs://b/j"},
        {
            "pythonPackageSpec": {
                "executorImageUri": CPU_IMAGE,
                "packageUris": ["gs://b/a.tar.gz"],
                "pythonModule": "a.b",
                "args": ["--x", "--job-dir=gs://b/j"],
            }
        },
        f"{CPU_IMAGE} stands for the old runtime version",
    ),
    "packages on a GPU": (
        {"scaleTier": "BASIC_GPU", "packageUris": ["gs://b/a.tar.gz"]},
        {
            "pythonPackageSpec": {
                "executorImageUri": GPU_IMAGE,
                "packageUris": ["gs://b/a.tar.gz"],
                "pythonModule": "trainer.task",
            }
        },
        "trainingInput.pythonModule is not said",
    ),
    "image": (IMAGE, {"containerSpec": {"imageUri": "gcr.io/p/i"}}, ""),
    "image and packages": (
        {**IMAGE, "packageUris": ["gs://b/a.tar.gz"]},
        {"containerSpec": {"imageUri": "gcr.io/p/i"}},
        'trainingInput.packageUris=["gs://b/a.tar.gz"]: a container image is named',
    ),
    "command and args": (
        {"masterConfig": {"imageUri": "gcr.io/p/i", "containerCommand": ["sh", "-c"], "containerArgs": ["a b"]}},
        {"containerSpec": {"imageUri": "gcr.io/p/i", "command": ["sh", "-c"], "args": ["a b"]}},
        "",
    ),
    "command for packages": (
        {
            "masterConfig": {"containerCommand": ["sh"]},
            "packageUris": ["gs://b/a.tar.gz"],
            "pythonModule": "a",
        },
        {
            "pythonPackageSpec": {
                "executorImageUri": CPU_IMAGE,
                "packageUris": ["gs://b/a.tar.gz"],
                "pythonModule": "a",
            }
        },
        'trainingInput.masterConfig.containerCommand=["sh"]: packages run',
    ),
    "job dir in the args": (
        {**IMAGE, "args": ["--job-dir", "gs://b/other"], "jobDir": "gs://b/j"},
        {"containerSpec": {"imageUri": "gcr.io/p/i", "args": ["--job-dir", "gs://b/other"]}},
        "The args have a --job-dir already",
    ),
    "true as an argument": (
        {**IMAGE, "args": ["--x", True, 0.5]},
        {"containerSpec": {"imageUri": "gcr.io/p/i", "args": ["--x", "true", "0.5"]}},
        "trainingInput.args[1]: YAML reads true as a true or false",
    ),
}


@pytest.mark.parametrize(("training", "expected", "said"), PROGRAMS.values(), ids=PROGRAMS)
def test_programs(training: dict[str, Any], expected: dict[str, Any], said: str) -> None:
    made = accepted(of(training))
    pool = made.custom_job["workerPoolSpecs"][0]
    assert {key: value for key, value in pool.items() if key.endswith("Spec") and key != "machineSpec"} == expected
    assert [each for each in (*made.assumptions, *made.without_twin) if each.startswith(said)]


def test_other_roles_run_the_masters_image() -> None:
    training = {
        "masterType": "standard",
        "masterConfig": {"imageUri": "gcr.io/p/i", "containerArgs": ["--a"]},
        "workerType": "standard",
        "workerCount": 1,
        "evaluatorType": "standard",
        "evaluatorCount": 1,
        "evaluatorConfig": {"imageUri": "gcr.io/p/e"},
    }
    made = accepted(of(training))
    assert [pool.get("containerSpec") for pool in made.custom_job["workerPoolSpecs"]] == [
        {"imageUri": "gcr.io/p/i", "args": ["--a"]},
        {"imageUri": "gcr.io/p/i", "args": ["--a"]},
        None,
        {"imageUri": "gcr.io/p/e"},
    ]
    assert [each for each in made.assumptions if each.startswith("containerArgs of masterConfig")]


# id: Scheduling, what it becomes
SCHEDULING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "not said": ({}, {"timeout": "604800s"}),
    "without unit": ({"maxRunningTime": 7200}, {"timeout": "7200s"}),
    "a fraction": ({"maxRunningTime": "0.5s"}, {"timeout": "0.5s"}),
    "on demand": ({"strategy": "ON_DEMAND", "maxRunningTime": "9s"}, {"timeout": "9s", "strategy": "STANDARD"}),
    "unspecified": ({"strategy": "STRATEGY_UNSPECIFIED", "maxRunningTime": "9s"}, {"timeout": "9s"}),
    "resilient": (
        {"resilientToWorkerRestart": "false", "maxRunningTime": "9s"},
        {"timeout": "9s", "restartJobOnWorkerRestart": False},
    ),
}


@pytest.mark.parametrize(("old", "expected"), SCHEDULING.values(), ids=SCHEDULING)
def test_scheduling(old: dict[str, Any], expected: dict[str, Any]) -> None:
    assert accepted(of({"scheduling": old})).custom_job["scheduling"] == expected


LR = {"parameterName": "lr", "type": "DOUBLE", "minValue": 0, "maxValue": 1}
OPT = {"parameterName": "opt", "type": "CATEGORICAL", "categoricalValues": ["a"]}
# id: Hyperparameters, keys of the study that differ from the plain ones, beginning of what is said
STUDIES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "plain": ({}, {}, "trainingInput.hyperparameters.goal is not said: MAXIMIZE"),
    "no trials said": ({}, {}, "trainingInput.hyperparameters.maxTrials is not said: 1"),
    "no tag said": ({}, {}, "trainingInput.hyperparameters.hyperparameterMetricTag is not said"),
    "a tag that no model reports": ({}, {}, "metricId keeps training/hptuning/metric, but this trainer"),
    "a tag with a space": (
        {"hyperparameterMetricTag": "my loss"},
        {"metrics": [{"metricId": "my loss", "goal": "MAXIMIZE"}]},
        "metricId keeps my loss, but",
    ),
    "grid": (
        {"algorithm": "GRID_SEARCH", "params": [OPT]},
        {
            "algorithm": "GRID_SEARCH",
            "parameters": [{"parameterId": "opt", "categoricalValueSpec": {"values": ["a"]}}],
        },
        "",
    ),
    "default algorithm": ({"algorithm": "ALGORITHM_UNSPECIFIED"}, {}, ""),
    "population": (
        {"algorithm": "POPULATION_BASED_TRAINING"},
        {},
        "trainingInput.hyperparameters.algorithm=POPULATION_BASED_TRAINING: Vertex AI has none such",
    ),
    "no early stopping": ({"enableTrialEarlyStopping": False}, {}, ""),
    "not of its type": (
        {"params": [{**LR, "discreteValues": [1]}]},
        {},
        "trainingInput.hyperparameters.params[0].discreteValues=[1]: a parameter of type DOUBLE, such as lr",
    ),
    "out of order": (
        {"params": [{"parameterName": "u", "type": "DISCRETE", "discreteValues": [3, "1e0", 3]}]},
        {"parameters": [{"parameterId": "u", "discreteValueSpec": {"values": [1, 3]}}]},
        "trainingInput.hyperparameters.params[0].discreteValues=[3, 1.0, 3] are put",
    ),
    "a number as category": (
        {"params": [{**OPT, "categoricalValues": [1, "b"]}]},
        {"parameters": [{"parameterId": "opt", "categoricalValueSpec": {"values": ["1", "b"]}}]},
        "trainingInput.hyperparameters.params[0].categoricalValues[0]: YAML reads 1",
    ),
}


@pytest.mark.parametrize(("old", "differs", "said"), STUDIES.values(), ids=STUDIES)
def test_studies(old: dict[str, Any], differs: dict[str, Any], said: str) -> None:
    made = accepted(of({"hyperparameters": {"params": [LR], **old}}))
    assert made.tuning_job is not None
    assert made.tuning_job["studySpec"] == {
        "metrics": [{"metricId": "training/hptuning/metric", "goal": "MAXIMIZE"}],
        "parameters": [{"parameterId": "lr", "doubleValueSpec": {"minValue": 0, "maxValue": 1}}],
        **differs,
    }
    assert made.tuning_job["trialJobSpec"] == made.custom_job
    assert [each for each in (*made.assumptions, *made.without_twin) if each.startswith(said)]


HP = "trainingInput.hyperparameters"
# id: content, words of the sentence
REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown key": ({"masterTyp": "standard"}, ["unknown key trainingInput.masterTyp", "did you mean masterType?"]),
    "snake case": ({"scale_tier": "BASIC"}, ["unknown key trainingInput.scale_tier", "did you mean scaleTier?"]),
    "unlike any": ({"zzz": 1}, ["unknown key trainingInput.zzz", "its keys were scaleTier, "]),
    "unknown and deep": (
        {"workerConfig": {"acceleratorConfig": {"typ": 1}}},
        ["unknown key trainingInput.workerConfig.acceleratorConfig.typ", "did you mean type?"],
    ),
    "tier": ({"scaleTier": "STANDARD"}, ["trainingInput.scaleTier=STANDARD: expected STANDARD_1"]),
    "tier in small letters": ({"scaleTier": "custom"}, ["scaleTier=custom: expected CUSTOM"]),
    "no tier": ({"scaleTier": [1]}, ["scaleTier=[1]: expected one of BASIC, STANDARD_1"]),
    "tier and machines": ({"scaleTier": "BASIC", "workerCount": 2}, ["workerCount=2 is for scaleTier CUSTOM only"]),
    "no master": ({"scaleTier": "CUSTOM"}, ["trainingInput.masterType is missing: scaleTier CUSTOM needs it"]),
    "workers of no type": ({"masterType": "standard", "workerCount": 2}, ["workerType is missing: workerCount=2"]),
    "type": (
        {"masterType": "standrad"},
        ["masterType=standrad is no machine type", "did you mean standard, standard_gpu or"],
    ),
    "number for a mapping": ({"masterConfig": 3}, ["masterConfig=3: expected a mapping of acceleratorConfig"]),
    "text for a list": ({"args": "--x"}, ["trainingInput.args=--x: expected a list"]),
    "list in the args": ({"args": [["--x"]]}, ['trainingInput.args[0]=["--x"]: expected text']),
    "count": ({"workerCount": "two"}, ["trainingInput.workerCount=two: expected a whole number"]),
    "half a machine": ({"workerCount": 0.5}, ["trainingInput.workerCount=0.5: expected a whole number"]),
    "less than none": ({"workerCount": -1}, ["trainingInput.workerCount=-1: expected a whole number from 0"]),
    "true as count": ({"workerCount": True}, ["trainingInput.workerCount=true: expected a whole number"]),
    "a long count": ({"workerCount": "9" * 5000}, ["trainingInput.workerCount=999", "...: expected a whole number"]),
    "yes": ({"enableWebAccess": 1}, ["enableWebAccess=1: expected true or false"]),
    "minutes": ({"scheduling": {"maxRunningTime": "2h"}}, ["maxRunningTime=2h: expected seconds such as 7200s"]),
    "folder": ({"jobDir": "runs/a"}, ["trainingInput.jobDir=runs/a: expected a folder in Cloud Storage"]),
    "args twice": (
        {"args": ["--x"], "workerConfig": {"containerArgs": ["--y"]}},
        ["trainingInput.args and trainingInput.workerConfig.containerArgs exclude each other"],
    ),
    "no parameters": ({"hyperparameters": {}}, [f"{HP}.params is missing"]),
    "no name": ({"hyperparameters": {"params": [{"type": "DOUBLE"}]}}, [f"{HP}.params[0].parameterName is missing"]),
    "no type": ({"hyperparameters": {"params": [{"parameterName": "a"}]}}, [f"{HP}.params[0].type of a is missing"]),
    "unspecified type": (
        {"hyperparameters": {"params": [{"parameterName": "a", "type": "PARAMETER_TYPE_UNSPECIFIED"}]}},
        [f"{HP}.params[0].type of a is missing: give one of DOUBLE"],
    ),
    "no maximum": (
        {"hyperparameters": {"params": [{"parameterName": "a", "type": "DOUBLE", "minValue": 1}]}},
        [f"{HP}.params[0].maxValue is missing: a parameter of type DOUBLE needs it"],
    ),
    "upside down": ({"hyperparameters": {"params": [{**LR, "minValue": 2}]}}, ["minValue=2 is above maxValue=1"]),
    "no whole number": (
        {"hyperparameters": {"params": [{**LR, "type": "INTEGER", "maxValue": 1.5}]}},
        ["maxValue=1.5: expected a whole number, as the type is INTEGER"],
    ),
    "not finite": ({"hyperparameters": {"params": [{**LR, "maxValue": "nan"}]}}, ["maxValue=nan: expected a finite"]),
    "no values": (
        {"hyperparameters": {"params": [{"parameterName": "a", "type": "CATEGORICAL", "categoricalValues": []}]}},
        ["categoricalValues is missing: type CATEGORICAL needs it"],
    ),
    "a name twice": ({"hyperparameters": {"params": [LR, LR]}}, [f"{HP}.params has lr twice"]),
}


@pytest.mark.parametrize(("training", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(training: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        of(training)
    sentence = str(caught.value)
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence
    assert len(sentence) < 800


def test_an_unknown_key_beside_the_training_is_refused() -> None:
    with pytest.raises(
        UsageError, match="unknown key job_id: the old service had none of that name; did you mean jobId"
    ):
        of({}, job_id="x")


EXAMPLES: dict[str, Any] = {  # a value for a field of this name, or else of this kind, that OLD does not have
    "text": "n1-highmem-2",
    "text[]": ["x"],
    "whole": 5,
    "number": 0.01,
    "number[]": [1.5],
    "flag": False,
    "secs": "5s",
    "map": {"a": "b"},
    "any": {"a": 1},
    "type": "NVIDIA_TESLA_V100",
    "jobDir": "gs://b/other",
    "goal": "MAXIMIZE",
    "algorithm": "GRID_SEARCH",
    "strategy": "ON_DEMAND",
    "scaleType": "UNIT_LINEAR_SCALE",
}
DECIDES = (("scaleTier",), ("hyperparameters", "params", 0, "type"))  # about all others: the tables above have them


def leaves(message: str, at: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], str]:
    """Path -> kind of every field that holds values and not fields; a list of messages is entered at its first."""
    found = {}
    for name, kind in FIELDS[message].items():
        inner = (*at, name, 0) if kind.removesuffix("[]") in FIELDS and kind.endswith("[]") else (*at, name)
        found |= leaves(kind.removesuffix("[]"), inner) if kind.removesuffix("[]") in FIELDS else {inner: kind}
    return found


LEAVES = {path: kind for path, kind in leaves("Job").items() if path[1:] not in DECIDES}


@pytest.mark.parametrize(("path", "kind"), LEAVES.items(), ids=[".".join(map(str, path)) for path in LEAVES])
def test_every_old_field_is_mapped_or_said(path: tuple[Any, ...], kind: str) -> None:
    """Another value of it changes the new files or what is said about them: none is swallowed."""
    content = yaml.safe_load(OLD)
    if {"containerArgs", "containerCommand"} & set(path):
        del content["trainingInput"]["args"]  # they exclude each other
    before = convert(content)
    where = content
    for step in path[:-1]:
        where = where[step] if isinstance(where, list) else where.setdefault(step, {})
    where[path[-1]] = EXAMPLES[path[-1] if path[-1] in EXAMPLES else kind]
    assert accepted(convert(content)) != before


def sdk_messages() -> pathlib.Path | None:
    """gcloud's own list of the old API, where it still has one."""
    program = find_program()
    root = pathlib.Path(os.path.realpath(program)).parents[1] if program else pathlib.Path("none")
    found = root / "lib/googlecloudsdk/generated_clients/apis/ml/v1/ml_v1_messages.py"
    return found if found.exists() else None


@pytest.mark.skipif(sdk_messages() is None, reason="gcloud, which has the messages of the old API, is not installed")
def test_the_table_has_the_fields_of_the_old_api() -> None:
    source = sdk_messages()
    assert source is not None
    classes = {
        node.name.removeprefix("GoogleCloudMlV1"): node
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    names = {"Hyperparameters": "HyperparameterSpec", "Parameter": "ParameterSpec"}
    for message, table in FIELDS.items():
        assigned = [node for node in classes[names.get(message, message)].body if isinstance(node, ast.Assign)]
        assert set(table) == {node.targets[0].id for node in assigned if isinstance(node.targets[0], ast.Name)}, message
    enums = {
        node.name.removesuffix("ValueValuesEnum"): node
        for owner in ("AcceleratorConfig", "HyperparameterSpec", "ParameterSpec", "Scheduling", "TrainingInput")
        for node in classes[owner].body
        if isinstance(node, ast.ClassDef)
    }
    assert set(ENUMS["ScaleTier"]) == values_of(enums["ScaleTier"])
    assert set(ENUMS["Strategy"]) == values_of(enums["Strategy"])
    assert set(ENUMS["Goal"]) == values_of(enums["Goal"])
    assert set(ENUMS["Algorithm"]) == values_of(enums["Algorithm"])
    assert set(ENUMS["Scale"]) == values_of(enums["ScaleType"])


def values_of(enum: ast.ClassDef) -> set[str]:
    return {
        node.targets[0].id
        for node in enum.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }

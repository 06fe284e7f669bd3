"""An old file as most are, and the check that what it becomes is what Vertex AI takes."""

from __future__ import annotations

from tests.vertex_schema import normal
from trainer.cloud.legacy import Conversion
from trainer.cloud.schema import unknown_fields, wrong_values

OLD = """\
jobId: census_42
labels: {team: maps}
trainingInput:
  scaleTier: CUSTOM
  masterType: complex_model_m_gpu
  masterConfig: {imageUri: gcr.io/p/census, diskConfig: {bootDiskType: pd-ssd, bootDiskSizeGb: 200}}
  workerType: n1-standard-8
  workerCount: 2
  workerConfig: {acceleratorConfig: {type: NVIDIA_TESLA_P100, count: '1'}}
  parameterServerType: large_model
  parameterServerCount: 1
  evaluatorType: standard
  evaluatorCount: 1
  runtimeVersion: 2.11
  pythonVersion: '3.7'
  region: us-central1
  jobDir: gs://b/census
  args: [--epochs, 3, "--name=a b"]
  serviceAccount: a@b.iam.gserviceaccount.com
  network: projects/1/global/networks/n
  encryptionConfig: {kmsKeyName: projects/p/locations/l/keyRings/r/cryptoKeys/k}
  enableWebAccess: true
  useChiefInTfConfig: true
  scheduling:
    {maxRunningTime: 7200s, maxWaitTime: 3600s, priority: 3, strategy: LOW_COST, resilientToWorkerRestart: true}
  hyperparameters:
    goal: MINIMIZE
    hyperparameterMetricTag: loss
    maxTrials: 10
    maxParallelTrials: 2
    maxFailedTrials: 1
    enableTrialEarlyStopping: true
    algorithm: RANDOM_SEARCH
    resumePreviousJobId: census_41
    params:
    - {parameterName: lr, type: DOUBLE, minValue: 1e-4, maxValue: 0.1, scaleType: UNIT_LOG_SCALE}
    - {parameterName: layers, type: INTEGER, minValue: 1, maxValue: 3.0, scaleType: UNIT_LINEAR_SCALE}
    - {parameterName: opt, type: CATEGORICAL, categoricalValues: [adam, sgd]}
    - {parameterName: units, type: DISCRETE, discreteValues: [32, 64], scaleType: NONE}
"""
# What some YAML reads as a number, a date, a truth or nothing, and what could leave a comment or a line.
HOSTILE = ["1e-3", "0.10", "0o17", "1_000", "12:30:45", "true", "No", "~", "", "null", "2026-01-01", "# a", "a: b"]
HOSTILE += [
    "- x",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "`a",
    "a\nb: c",
    "a\u2028workerPoolSpecs: []",
    "a\x85b",
    "\0",
    "'",
    '"',
    "\\",
]


def accepted(conversion: Conversion) -> Conversion:
    """Google's own messages and our table take both, key by key."""
    normal("customJobs", {"displayName": "a", "jobSpec": conversion.custom_job})
    contents = {"custom_job": conversion.custom_job}
    if conversion.tuning_job:
        normal("hyperparameterTuningJobs", {**conversion.tuning_job, "displayName": "a"})
        contents["tuning_job"] = conversion.tuning_job
    for kind, content in contents.items():
        assert unknown_fields(content, kind) == []
        assert wrong_values(content, kind) == []
    return conversion

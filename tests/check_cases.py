"""Broken files for `trainer.check`: the shipped ones, with names filled in and one place changed in their text."""

from __future__ import annotations

import pytest

from tests.runner import ROOT

FILLED = {
    "REGION-docker.pkg.dev/PROJECT/REPOSITORY/": "us-central1-docker.pkg.dev/my-project/my-repository/",
    "gs://BUCKET/": "gs://my-bucket/",
}


def filled(name: str) -> str:
    """A shipped file with names in the place of its placeholders."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for placeholder, value in FILLED.items():
        assert placeholder in text
        text = text.replace(placeholder, value)
    return text


def edited(name: str, *edits: tuple[str, str]) -> str:
    text = filled(name)
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


JOB, STUDY = "config.yaml", "hptuning_config.yaml"
MACHINE = "machineType: n1-standard-4"
GPU = "acceleratorType: {}\n      acceleratorCount: {}\n      " + MACHINE
ARG = '        - "--model=trainer.samples.place_names"\n'

BROKEN = [
    pytest.param(JOB, ("    replicaCount: 1\n", ""), "workerPoolSpecs[0].replicaCount: is missing", id="no count"),
    pytest.param(JOB, ("replicaCount: 1", "replicaCount: 2"), "replicaCount: 2, but by its position", id="two chiefs"),
    pytest.param(
        JOB,
        ('"7200s"', "7200"),
        'scheduling.timeout: 7200 is no duration, which is seconds with an s; write "7200s".',
        id="timeout without s",
    ),
    pytest.param(JOB, ('"7200s"', "2h"), 'scheduling.timeout: "2h" is no duration', id="hours"),
    pytest.param(
        JOB,
        (ARG, ARG + "        - --epochs\n        - 4\n"),
        'args[2]: 4 is a number for YAML, where text is expected; write "4".',
        id="a number among args",
    ),
    pytest.param(
        JOB,
        (ARG, ARG + "        - --learning-rate: 0.1\n"),
        'args[1]: {"--learning-rate": 0.1} is a mapping, where text is expected; write "--learning-rate=0.1".',
        id="a mapping among args",
    ),
    pytest.param(
        JOB,
        (ARG, ARG + '        - "--epohcs=4"\n'),
        "args: unknown flag --epohcs=4: did you mean --epochs?",
        id="a flag of the file misspelled",
    ),
    pytest.param(
        JOB,
        (ARG, ARG + '        - "--batch-size=none"\n'),
        "args: --batch-size=none: expected a whole number",
        id="a value of the file's flag",
    ),
    pytest.param(
        JOB,
        (MACHINE, GPU.format("nvidia-tesla-t4", 1)),
        "did you mean NVIDIA_TESLA_T4?",
        id="gcloud's name of a GPU",
    ),
    pytest.param(
        JOB,
        (MACHINE, GPU.format("NVIDIA_TESLA_T4", 3)),
        "acceleratorCount: 3, and a machine takes 1, 2, 4",
        id="three GPUs",
    ),
    pytest.param(JOB, (MACHINE, "machineType: standard_gpu"), "standard_gpu is no type of machine", id="legacy"),
    pytest.param(
        JOB,
        ("machineSpec:", "machineSpecs:"),
        "WorkerPoolSpec has no such field; did you mean machineSpec or",
        id="an unknown key",
    ),
    pytest.param(JOB, ("scheduling:", "schedulling:"), "unknown key schedulling in a CustomJobSpec", id="at the root"),
    pytest.param(
        JOB, ("    containerSpec:", "    containerSpec: {}\n    unused:"), "imageUri: is missing", id="no image"
    ),
    pytest.param(
        JOB,
        ("us-central1-docker.pkg.dev/my-project/", "us-central1-docker.pkg.dev/PROJECT/"),
        "still has the placeholder PROJECT",
        id="a placeholder left",
    ),
    pytest.param(
        JOB,
        ("outputUriPrefix: gs://my-bucket/place-names", "outputUriPrefix: gs://my-bucket/elsewhere"),
        "job directory: config.yaml has --job-dir=gs://my-bucket/place-names in args, and gs://my-bucket/elsewhere in",
        id="two job dirs",
    ),
    pytest.param(
        JOB,
        ("outputUriPrefix: gs://my-bucket", "outputUriPrefix: /my-bucket"),
        "is no folder in Cloud Storage",
        id="a local folder for the results",
    ),
    pytest.param(JOB, ("strategy: STANDARD", "strategy: CHEAP"), "scheduling.strategy", id="a strategy"),
    pytest.param(
        JOB, ("workerPoolSpecs:\n", "workerPoolSpecs:\n  - {}\n"), "no job runs without its chief", id="chief"
    ),
    pytest.param(JOB, ("scheduling:", "labels: {a: b}\nscheduling:"), "labels belongs to the job around", id="labels"),
    pytest.param(
        JOB, ("scheduling:", "scheduling: {}\nscheduling:"), "scheduling stands there twice", id="a key twice"
    ),
    pytest.param(JOB, ("workerPoolSpecs:\n", "workerPoolSpecs: [\n"), "is not YAML", id="not YAML"),
    pytest.param(
        STUDY,
        ("metricId: accuracy", "metricId: trial"),
        "trial is a name that cloudml-hypertune keeps",
        id="a reserved metric",
    ),
    pytest.param(STUDY, ("goal: MAXIMIZE", "goal: UP"), "studySpec.metrics[0].goal", id="a goal"),
    pytest.param(
        STUDY,
        ("parameterId: lstm_units", "parameterId: lstm_unit"),
        "or the model; did you mean lstm_units?",
        id="no parameter of the model",
    ),
    pytest.param(
        STUDY,
        ("integerValueSpec:", "doubleValueSpec:"),
        "--embedding_units=16.0: expected a whole number; write integerValueSpec",
        id="a double for whole numbers",
    ),
    pytest.param(STUDY, ("minValue: 0.001", "minValue: 0"), "UNIT_LOG_SCALE, and 0 has no logarithm", id="log of 0"),
    pytest.param(STUDY, ("minValue: 0.001", "minValue: 1e-4O"), '"1e-4O" is no finite number', id="no number"),
    pytest.param(
        STUDY, ("maxValue: 0.01", "maxValue: 0.0001"), "minValue 0.001 is not below maxValue", id="min and max"
    ),
    pytest.param(STUDY, ("values: [32, 64, 96]", "values: [64, 32, 96]"), "does not ascend", id="discrete descending"),
    pytest.param(
        STUDY, ("values: [64, 96]", "values: [64, 128]"), "128 is no value of lstm_units", id="parent's value"
    ),
    pytest.param(
        STUDY,
        ("  #algorithm: RANDOM_SEARCH", "  algorithm: GRID_SEARCH"),
        "GRID_SEARCH has no grid of a double",
        id="a grid of doubles",
    ),
    pytest.param(STUDY, ("  #algorithm: RANDOM_SEARCH", "  observationNoise: HIGH"), "do not support it", id="noise"),
    pytest.param(STUDY, ("parallelTrialCount: 2", "parallelTrialCount: 20"), "20 trials at once, of 8", id="parallel"),
    pytest.param(STUDY, ("maxTrialCount: 8", "maxTrialCount: 0"), "maxTrialCount: 0, where at least 1", id="no trials"),
    pytest.param(
        STUDY,
        ("        maxValue: 0.01\n", "        maxValue: 0.01\n        defaultValue: 0.002\n"),
        "defaultValue: tuning jobs do not support it",
        id="a default",
    ),
    pytest.param(
        STUDY,
        ("parameterId: dropout", "parameterId: learning-rate"),
        "learning-rate stands there twice",
        id="a parameter twice",
    ),
    pytest.param(
        STUDY,
        ('place_names"\n', 'place_names"\n          - "--dropout=0.2"\n'),
        "the args already have --dropout",
        id="a parameter that the args set",
    ),
]

"""From a job and a file to the exact request."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cloud.requests_lab import STUDY
from trainer.cloud.request import Request, Wishes, build_request, file_arguments, with_job_dir
from trainer.cloud.specs import Kind, Spec
from trainer.job.config import Job, check_job
from trainer.job.environment import Environment
from trainer.job.errors import UsageError
from trainer.job.flags import parse

NOW = datetime.datetime(2026, 11, 24, 9, 30)
WISHES = Wishes("my-project", "us-central1", NOW)
POOL: dict[str, Any] = {
    "machineSpec": {"machineType": "n1-standard-4"},
    "replicaCount": 1,
    "containerSpec": {"imageUri": "image:1", "args": ["--epochs=2"], "env": [{"name": "MODE", "value": "1"}]},
}
JOB = Job.of({"epochs": 3, "job_dir": "gs://my-bucket/run"}, {"lstm_units": 32})
ARGS = ["--epochs=3", "--job-dir=gs://my-bucket/run", "--lstm-units=32"]


def spec(kind: Kind = "custom_job", pools: Any = (POOL,), **more: Any) -> Spec:
    job = {"workerPoolSpecs": list(pools), **more}
    if kind == "custom_job":
        return Spec("config.yaml", kind, job)
    content = {"displayName": "study", "maxTrialCount": 8, "parallelTrialCount": 2, "studySpec": STUDY}
    return Spec("hptuning_config.yaml", kind, {**content, "trialJobSpec": job})


def test_a_job_of_one_machine() -> None:
    assert build_request(spec(), JOB, WISHES) == Request(
        "customJobs",
        "my-project",
        "us-central1",
        {
            "displayName": "place_names-20261124-093000",
            "jobSpec": {
                "workerPoolSpecs": [
                    {
                        "machineSpec": {"machineType": "n1-standard-4"},
                        "replicaCount": 1,
                        "containerSpec": {
                            "imageUri": "image:1",
                            "args": ARGS,
                            "env": [{"name": "MODE", "value": "1"}],
                        },
                    }
                ],
                "baseOutputDirectory": {"outputUriPrefix": "gs://my-bucket/run"},
            },
        },
    )


def test_all_that_flags_can_say() -> None:
    wishes = Wishes(
        "p",
        "europe-west4",
        NOW,
        display_name="mine",
        labels={"team": "blue"},
        service_account="a@p.iam.gserviceaccount.com",
        spot=True,
        timeout_secs=5400,
        image="image:2",
    )
    evaluator = {**POOL, "containerSpec": {"imageUri": "image:1"}}
    request = build_request(
        spec(pools=[POOL, {}, {}, evaluator], scheduling={"timeout": "7200s", "disableRetries": True}), JOB, wishes
    )
    container = {"imageUri": "image:2", "args": ARGS}
    assert request.body == {
        "displayName": "mine",
        "jobSpec": {
            "workerPoolSpecs": [
                {**POOL, "containerSpec": {**POOL["containerSpec"], **container}},
                {},
                {},
                {**POOL, "containerSpec": container},
            ],
            "scheduling": {"timeout": "5400s", "disableRetries": True, "strategy": "SPOT"},
            "baseOutputDirectory": {"outputUriPrefix": "gs://my-bucket/run"},
            "serviceAccount": "a@p.iam.gserviceaccount.com",
        },
        "labels": {"team": "blue"},
    }
    assert request.url_path == "v1/projects/p/locations/europe-west4/customJobs"


def test_a_study_keeps_its_own_name_and_everything_else() -> None:
    given_file = spec("tuning_job")
    request = build_request(given_file, JOB, WISHES)
    assert request.kind == "hyperparameterTuningJobs"
    assert request.arguments == ARGS
    assert request.body == {
        **given_file.content,
        "trialJobSpec": {
            "workerPoolSpecs": [{**POOL, "containerSpec": {**POOL["containerSpec"], "args": ARGS}}],
            "baseOutputDirectory": {"outputUriPrefix": "gs://my-bucket/run"},
        },
    }


def test_a_package_in_a_prebuilt_image() -> None:
    package = {"executorImageUri": "prebuilt:1", "args": ["--epochs=2"]}
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, "pythonPackageSpec": package}
    wishes = Wishes("p", "us-central1", NOW, packages=("gs://my-bucket/run/staging/keras_trainer-1.tar.gz",))
    request = build_request(spec(pools=[pool]), JOB, wishes)
    assert request.job_spec["workerPoolSpecs"][0]["pythonPackageSpec"] == {
        "executorImageUri": "prebuilt:1",
        "packageUris": ["gs://my-bucket/run/staging/keras_trainer-1.tar.gz"],
        "pythonModule": "trainer.task",
        "args": ARGS,
    }


def test_the_file_stays_as_it_is() -> None:
    given_file = spec("tuning_job")
    before = copy.deepcopy(given_file.content)
    build_request(given_file, JOB, Wishes("p", "r", NOW, spot=True, labels={"a": "b"}, image="other"))
    assert given_file.content == before


@pytest.mark.parametrize(
    ("flag", "base", "replaces", "found"),
    [
        ("gs://b/x", None, False, "gs://b/x"),
        ("gs://b/x/", "gs://b/x", False, "gs://b/x"),
        (None, "gs://b/y/", False, "gs://b/y"),
        ("gs://b/x", "gs://BUCKET/y", True, "gs://b/x"),
    ],
)
def test_the_job_directory_is_one(flag: str | None, base: str | None, replaces: bool, found: str) -> None:
    file = spec(**({"baseOutputDirectory": {"outputUriPrefix": base}} if base else {}))
    job = with_job_dir(file, Job.of({"job_dir": flag} if flag else {}), replaces)
    assert job.output.job_dir == found
    assert build_request(file, job, WISHES).job_spec["baseOutputDirectory"] == {"outputUriPrefix": found}


def test_no_job_directory_or_two() -> None:
    with pytest.raises(UsageError, match=r"--job-dir is missing, and config\.yaml has no baseOutputDirectory"):
        with_job_dir(spec(), Job())
    two = spec(baseOutputDirectory={"outputUriPrefix": "gs://b/y"})
    with pytest.raises(UsageError, match=r"--job-dir=gs://b/x in args, and gs://b/y in baseOutputDirectory"):
        with_job_dir(two, Job.of({"job_dir": "gs://b/x"}))


def test_arguments_of_the_file() -> None:
    bare = {**POOL, "containerSpec": {"imageUri": "i"}}
    assert file_arguments(spec(pools=[POOL, {}, bare])) == ["--epochs=2"]
    other = {**POOL, "containerSpec": {"imageUri": "i", "args": ["--epochs=3"]}}
    with pytest.raises(UsageError, match="the args of the worker pools differ"):
        file_arguments(spec(pools=[POOL, other]))
    number = {**POOL, "containerSpec": {"imageUri": "i", "args": ["--epochs", 3]}}
    with pytest.raises(UsageError, match="the argument 3 is no text for YAML"):
        file_arguments(spec(pools=[number]))


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=9)


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "train_files": st.lists(TEXT, max_size=3).map(tuple),
            "label_column": TEXT,
            "delimiter": st.sampled_from([",", ";", "tab", "|"]),
            "best_metric": TEXT,
            "class_weights": st.sampled_from([("balanced",), ("a=1.5", "b=0")]),
            "seed": st.integers(0, 2**31 - 1),
            "save_checkpoints_secs": st.floats(0.1, 1e6),
            "exporters": st.sampled_from([(), ("latest",), ("final", "best")]),
            "deterministic": st.booleans(),
        },
    ),
    hyperparameters=st.fixed_dictionaries(
        {},
        optional={"lstm_units": st.integers(1, 999), "dropout": st.floats(0, 1), "learning_rate": st.floats(1e-9, 9)},
    ),
)
@settings(max_examples=120, deadline=None)
def test_the_container_parses_an_equal_job(values: dict[str, Any], hyperparameters: dict[str, Any]) -> None:
    allowed: dict[str, Any] = {"job_dir": "gs://my-bucket/a b"}
    for name, value in values.items():
        try:
            check_job(Job.of({**allowed, name: value}))
        except UsageError:  # a value that the checks refuse makes no job
            continue
        allowed[name] = value
    job = Job.of(allowed, hyperparameters)
    arguments = build_request(spec(), job, WISHES).arguments
    assert all(isinstance(each, str) for each in arguments)
    assert parse(arguments, Environment()).job == job

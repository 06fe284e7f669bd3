"""The loopback Vertex is as strict as the real one, fails on demand, and runs what it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cloud.requests_lab import IMPATIENT, JOB_SPEC, JOBS_PATH, PARENT, custom_job, tuning_job
from tests.runner import flags, read_json, write_project
from tests.vertex_jobs import localized, tf_config
from tests.vertex_rig import PROJECT_NUMBER, Vertex
from trainer.cloud.logs import logging_api, read_logs
from trainer.cloud.request import Request
from trainer.cloud.rest import Rest

SHOW = """
import json, os, sys
names = [name for name in os.environ if name.startswith(("AIP_", "CLOUD_ML_", "MINE")) or name == "TF_CONFIG"]
print(json.dumps({"args": sys.argv[1:], "env": {name: os.environ[name] for name in sorted(names)}}))
print("on stderr", file=sys.stderr)
"""
WAIT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(143)))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def vertex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vertex]:
    (tmp_path / "bucket").mkdir()
    with Vertex(buckets={"my-bucket": tmp_path / "bucket"}, runs=tmp_path) as service:
        for name, value in service.env.items():
            monkeypatch.setenv(name, value)
        yield service


@pytest.fixture
def rest() -> Iterator[Rest]:
    with Rest(patience=IMPATIENT) as sender:
        yield sender


def script_job(source: str, *args: str, **more: Any) -> Request:
    """A job whose container runs a script."""
    container = {"imageUri": "x", "command": ["python", "-c", source], "args": list(args), **more}
    pool = {"machineSpec": {"machineType": "e2-standard-4"}, "replicaCount": 1, "containerSpec": container}
    spec = {"workerPoolSpecs": [pool], "baseOutputDirectory": {"outputUriPrefix": "gs://my-bucket/run"}}
    return custom_job(jobSpec=spec)


def log_of(rest: Rest, name: str) -> list[str]:
    return list(read_logs(logging_api(rest, "us-central1"), name))


def test_a_job_runs_with_the_arguments_and_the_environment_of_a_container(
    vertex: Vertex, rest: Rest, tmp_path: Path
) -> None:
    env = [{"name": "MINE", "value": "gs://my-bucket/data"}]
    name = rest.create(script_job(SHOW, "--job-dir=gs://my-bucket/run", "--other=gs://their-bucket/x", "a b", env=env))
    vertex.wait_for(name, "JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED")
    bucket, lines = tmp_path / "bucket", log_of(rest, name)
    said = json.loads(next(line for line in lines if line.startswith("{")))
    assert said == {
        "args": [f"--job-dir={bucket}/run", "--other=gs://their-bucket/x", "a b"],
        "env": {
            "AIP_CHECKPOINT_DIR": f"{bucket}/run/checkpoints/",
            "AIP_MODEL_DIR": f"{bucket}/run/model/",
            "AIP_TENSORBOARD_LOG_DIR": f"{bucket}/run/logs/",
            "CLOUD_ML_JOB_ID": name.rpartition("/")[2],
            "CLOUD_ML_PROJECT_ID": PROJECT_NUMBER,
            "MINE": f"{bucket}/data",
            "TF_CONFIG": json.dumps(
                {
                    "cluster": {"chief": ["127.0.0.1:2222"]},
                    "environment": "cloud",
                    "task": {"type": "chief", "index": 0},
                }
            ),
        },
    }
    assert lines[0] == "Waiting for job to be provisioned."
    assert "on stderr" in lines
    assert lines[-1] == "Job completed successfully."
    assert {"createTime", "startTime", "endTime"} <= set(vertex.jobs[name])


def test_a_job_that_fails_says_with_which_exit_code(vertex: Vertex, rest: Rest) -> None:
    name = rest.create(script_job("raise SystemExit(3)"))
    job = vertex.wait_for(name, "JOB_STATE_FAILED")
    assert job["error"]["message"] == "The replica workerpool0-0 exited with a non-zero status of 3."


def test_a_cancelled_job_gets_sigterm_and_time_to_save(vertex: Vertex, rest: Rest) -> None:
    name = rest.create(script_job(WAIT))
    vertex.wait_for(name, "JOB_STATE_RUNNING")
    while "ready" not in log_of(rest, name):
        assert vertex.jobs[name]["state"] == "JOB_STATE_RUNNING"
    rest.cancel(name)
    vertex.wait_for(name, "JOB_STATE_CANCELLED")
    assert "saved" in log_of(rest, name)


def test_nothing_is_left_when_it_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Vertex(runs=tmp_path) as vertex, Rest(patience=IMPATIENT) as rest:
        monkeypatch.setenv("TRAINER_VERTEX_ENDPOINT", vertex.url)
        name = rest.create(script_job(WAIT))
        vertex.wait_for(name, "JOB_STATE_RUNNING")
    assert vertex.jobs[name]["state"] == "JOB_STATE_FAILED"
    with pytest.raises(requests.ConnectionError):
        requests.get(vertex.url, timeout=2)


BAD_BODIES = [
    pytest.param({**custom_job().body, "jobspec": {}}, 'no field named "jobspec"', id="an unknown field"),
    pytest.param({"jobSpec": JOB_SPEC}, "Required field is not set: displayName", id="no name"),
    pytest.param({"displayName": "x", "jobSpec": {}}, "Required field is not set: jobSpec", id="no spec"),
    pytest.param(custom_job(jobSpec={"network": "x"}).body, "at least one worker pool", id="no pools"),
    pytest.param(custom_job(jobSpec={"workerPoolSpecs": [{}]}).body, "must not be empty", id="an empty chief"),
    pytest.param(
        custom_job(jobSpec={"workerPoolSpecs": [{"containerSpec": {"args": [0.1]}}]}).body,
        "Failed to parse args field: expected string",
        id="a number among the arguments",
    ),
    pytest.param(custom_job(jobSpec={**JOB_SPEC, "scheduling": {"timeout": "2h"}}).body, "timeout", id="a duration"),
    pytest.param([], "Expected an object", id="no object"),
]


@pytest.mark.parametrize(("body", "words"), BAD_BODIES)
def test_a_body_that_the_protos_do_not_take_is_refused(vertex: Vertex, body: Any, words: str) -> None:
    answer = requests.post(vertex.url.rstrip("/") + JOBS_PATH, json=body, timeout=30)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert words in error["message"]
    assert vertex.jobs == {}


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_both_versions_take_both_kinds(version: str) -> None:
    with Vertex() as vertex:
        for request in (custom_job(), tuning_job()):
            path = f"{version}/{request.parent}/{request.kind}"
            answer = requests.post(vertex.url + path, json=request.body, timeout=30)
            assert (answer.status_code, answer.json()["state"]) == (200, "JOB_STATE_QUEUED")
            found = requests.get(f"{vertex.url}{version}/{answer.json()['name']}", timeout=30)
            assert found.json() == answer.json()
            gone = requests.delete(f"{vertex.url}{version}/{answer.json()['name']}", timeout=30)
            assert gone.json()["done"] is True
        assert vertex.jobs == {}


@pytest.mark.parametrize(
    ("filter_", "count"),
    [
        ("", 3),
        ('display_name="b"', 1),
        ('labels.team="blue"', 2),
        ('labels.team="blue" AND display_name="a"', 1),
        ('state="JOB_STATE_QUEUED"', 3),
        ('labels.team="red"', 0),
    ],
)
def test_lists_are_filtered(filter_: str, count: int) -> None:
    with Vertex() as vertex:
        url = vertex.url.rstrip("/") + JOBS_PATH
        for name, labels in (("a", {"team": "blue"}), ("b", {"team": "blue"}), ("c", {})):
            requests.post(url, json=custom_job(displayName=name, labels=labels).body, timeout=30)
        answer = requests.get(url, {"filter": filter_}, timeout=30).json()
        assert len(answer.get("customJobs", [])) == count


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{JOBS_PATH}?filter=nonsense", 400),
        ("GET", f"{JOBS_PATH}?pageToken=x", 400),
        ("GET", f"{JOBS_PATH}/42", 404),
        ("POST", f"{JOBS_PATH}/42:cancel", 404),
        ("GET", f"/v1/{PARENT}/models", 404),
        ("POST", "/v2/entries:list", 400),
    ],
)
def test_what_it_does_not_know_it_refuses(vertex: Vertex, method: str, path: str, status: int) -> None:
    body = {"filter": "severity>=ERROR", "resourceNames": ["projects/x"]} if "entries" in path else None
    answer = requests.request(method, vertex.url.rstrip("/") + path, json=body, timeout=30)
    assert answer.status_code == status


def test_a_reset_is_a_reset(vertex: Vertex) -> None:
    vertex.fail("GET", "reset")
    with pytest.raises(requests.ConnectionError, match="Connection reset by peer"):
        requests.get(vertex.url, timeout=2)


def test_only_whole_names_of_buckets_become_folders() -> None:
    buckets = {"b": Path("/data/b")}
    texts = ["gs://b/x", "gs://b", "gs://bb/x", "--a=gs://b/x,gs://b/y", "gs://c/x"]
    assert [localized(text, buckets) for text in texts] == [
        "/data/b/x",
        "/data/b",
        "gs://bb/x",
        "--a=/data/b/x,/data/b/y",
        "gs://c/x",
    ]


def test_a_cluster_has_everyone_but_the_evaluator() -> None:
    pools: list[dict[str, Any]] = [{"replicaCount": "1"}, {"replicaCount": "2"}, {}, {"replicaCount": "1"}]
    cluster = tf_config(pools)["cluster"]
    assert {role: len(addresses) for role, addresses in cluster.items()} == {"chief": 1, "worker": 2}


def test_a_submitted_job_trains(vertex: Vertex, rest: Rest, tmp_path: Path) -> None:
    write_project(tmp_path)
    pool = {
        "machineSpec": {"machineType": "e2-standard-4"},
        "replicaCount": 1,
        "containerSpec": {"imageUri": "x", "args": flags(steps=20, job_dir="gs://my-bucket/run")},
    }
    spec = {"workerPoolSpecs": [pool], "baseOutputDirectory": {"outputUriPrefix": "gs://my-bucket/run"}}
    name = rest.create(custom_job(jobSpec=spec))
    job = vertex.wait_for(name, "JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED")
    assert job["state"] == "JOB_STATE_SUCCEEDED", log_of(rest, name)
    assert read_json(tmp_path / "bucket/run/result.json")["global_step"] == 20

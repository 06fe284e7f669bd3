"""No credential is shown or kept: planted ones are looked for in all that a job says and leaves, whatever happens."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from tests.gcs_rig import Fault, Gcs
from tests.runner import Done, environ, flags, run, write_project

TOKEN, PASSWORD = "planted-token-e4c1", "planted-password-77b2"
PLANTED = (TOKEN, PASSWORD, "planted")


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    with Gcs(tmp_path_factory.mktemp("gcs"), tls=True) as rig:
        rig.make_bucket("bucket")
        yield rig


@pytest.fixture
def project(gcs: Gcs, tmp_path: pathlib.Path) -> pathlib.Path:
    write_project(tmp_path)
    gcs.state.reset()
    gcs.put("bucket", {name: (tmp_path / name).read_bytes() for name in ("train.csv", "eval.csv")})
    gcs.state.reset()
    return tmp_path


def train(gcs: Gcs, folder: pathlib.Path, env: Mapping[str, str] | None = None) -> Done:
    """A job that says all it can, with a token of its own and a proxy that wants a password."""
    said = [each for each in flags(steps=20) if not each.startswith(("--train-f", "--eval-f", "--job-dir"))]
    said += [f"--{role}-files=gs://bucket/{role}.csv" for role in ("train", "eval")]
    proxy = gcs.url.replace("http://", f"http://someone:{PASSWORD}@")
    planted = {"GOOGLE_AUTH_TOKEN_FOR_TESTING": TOKEN, "https_proxy": proxy, **(env or {})}
    return run(folder, [*said, "--job-dir=gs://bucket/job", "--verbosity=debug"], gcs.tensorflow_environ(**planted))


def assert_nothing_is_told(done: Done) -> None:
    for each in PLANTED:
        assert each not in done.out + done.err


def test_a_job_leaves_none(gcs: Gcs, project: pathlib.Path) -> None:
    done = train(gcs, project).ok()
    assert_nothing_is_told(done)
    for name, content in gcs.content("bucket").items():
        for each in PLANTED:
            assert each.encode() not in content, name
    assert not [request for request in gcs.log if "planted" in request.path]
    left = [path for path in project.rglob("*") if path.is_file() and b"planted" in path.read_bytes()]
    assert not left


@pytest.mark.parametrize(
    "fault",
    [
        Fault("(POST|PUT) /upload", 401, message=f"Invalid credentials: {TOKEN}"),
        Fault("(POST|PUT) /upload", 403, message=f"Bearer {TOKEN} does not have storage.objects.create access."),
        Fault("(POST|PUT) /upload", 503, message=f"no backend for http://someone:{PASSWORD}@proxy"),
    ],
    ids=["401", "403", "503"],
)
def test_what_the_service_repeats_is_hidden(fault: Fault, gcs: Gcs, project: pathlib.Path) -> None:
    gcs.faults(fault)
    done = train(gcs, project)
    assert done.exit_code == 2
    assert "[hidden]" in done.sentences[-1]
    assert_nothing_is_told(done)


def test_a_proxy_that_is_away_is_named_without_its_password(gcs: Gcs, project: pathlib.Path) -> None:
    done = train(gcs, project, {"https_proxy": f"http://someone:{PASSWORD}@127.0.0.1:1"})
    assert done.exit_code == 2
    assert "cannot be reached" in done.sentences[-1]
    assert_nothing_is_told(done)


def test_a_request_that_is_shown_has_none(gcs: Gcs, project: pathlib.Path) -> None:
    """Nor does it ask anybody: what a machine knows of itself stays there."""
    pool = {
        "machineSpec": {"machineType": "n1-standard-4"},
        "replicaCount": 1,
        "containerSpec": {"imageUri": "image:1"},
    }
    (project / "config.yaml").write_text(json.dumps({"workerPoolSpecs": [pool], "scheduling": {"timeout": "60s"}}))
    key = project / "planted-key.json"
    key.write_text(json.dumps({"type": "service_account", "private_key": "planted", "client_email": "planted@x"}))
    proxy = gcs.url.replace("http://", f"http://someone:{PASSWORD}@")
    planted = {"GOOGLE_AUTH_TOKEN_FOR_TESTING": TOKEN, "https_proxy": proxy, "GOOGLE_APPLICATION_CREDENTIALS": str(key)}
    for style in ("yaml", "json"):
        done = subprocess.run(
            [sys.executable, "-m", "trainer.submit", "--dry-run", f"--dry-run-format={style}", "--model=model.py",
             "--project=my-project", "--region=us-central1", "--job-dir=gs://bucket/job"],
            cwd=project, env=environ(**planted), capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "workerPoolSpecs" in done.stdout
        assert "planted" not in done.stdout + done.stderr
    assert gcs.log == []

"""`python -m trainer.report` of a job in Cloud Storage: the page of a local one, or one sentence, soon."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.gcs_rig import Fault, Gcs
from tests.prediction_lab import predictions as files_below
from tests.runner import Done, ask, environ, flags, run, write_project

pytestmark = pytest.mark.xdist_group("report_storage")
SOON_SECS = 20.0
DEADLINE_SECS = 150.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A finished job in PROJECT/job."""
    folder = write_project(tmp_path_factory.mktemp("report"))
    run(folder, flags("--eval-every-steps=60", "--exporters=final")).ok()
    return folder


@pytest.fixture(scope="module")
def gcs(project: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    """The same job in gs://jobs/first, without its page."""
    job = {name: content for name, content in files_below(project / "job").items() if name != "report.html"}
    with Gcs(tmp_path_factory.mktemp("gcs"), tls=True) as rig:
        rig.make_bucket("jobs")
        rig.put("jobs", {f"first/{name}": content for name, content in job.items()})
        yield rig


@pytest.fixture(autouse=True)
def _calm(gcs: Gcs) -> None:
    gcs.state.reset()


def report(folder: pathlib.Path, *argv: str, env: Mapping[str, str]) -> tuple[Done, float]:
    """The door's end, and the seconds until then."""
    began = time.monotonic()
    return ask("trainer.report", folder, argv, environ(**env)), time.monotonic() - began


def test_a_job_in_a_bucket_has_the_page_of_a_local_one(gcs: Gcs, project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    here, _ = report(project, "job", f"--output={tmp_path}/local.html", env={})
    here.ok()
    done, _ = report(project, "gs://jobs/first/", env=gcs.tensorflow_environ())
    assert done.ok().out == "gs://jobs/first/report.html\n"
    content = gcs.content("jobs")
    page = content["first/report.html"].decode()
    assert "What the final export says of all 60 rows of the evaluation files." in page
    assert page.replace("gs://jobs/first", "job") == (tmp_path / "local.html").read_text()
    assert not [name for name in content if "trainer-check" in name or "unfinished" in name]


def test_a_page_may_go_elsewhere(gcs: Gcs, project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    before = gcs.content("jobs")
    done, _ = report(project, "gs://jobs/first", f"--output={tmp_path}/page.html", env=gcs.tensorflow_environ())
    assert done.ok().out == f"{tmp_path}/page.html\n"
    assert "No predictions" not in (tmp_path / "page.html").read_text()
    assert gcs.content("jobs") == before


@dataclasses.dataclass(frozen=True)
class Broken:
    """Flags and a storage that cannot be used; `asks` is whether the storage has to be asked to know that."""

    argv: tuple[str, ...]
    words: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    asks: bool = True
    network: bool = True


SAID = "me@example.com does not have {} access to the Google Cloud Storage object."
BROKEN = {
    "no bucket": Broken(("gs://absent/first",), ("--job-dir=gs://absent/first: there is no bucket absent",)),
    "no bucket for the page": Broken(
        ("job", "--output=gs://absent/page.html"), ("--output=gs://absent/page.html: there is no bucket absent",)
    ),
    "a slip of the pen": Broken(
        ("gs:/jobs/first",), ("--job-dir=gs:/jobs/first is no place in Cloud Storage",), (), False
    ),
    "a slip in the page": Broken(
        ("job", "--output=gs:/jobs/x.html"), ("--output=gs:/jobs/x.html is no place in Cloud Storage",), (), False
    ),
    "may not read": Broken(
        ("gs://jobs/first", "--output=page.html"),
        ("--job-dir=gs://jobs/first: access denied", "storage.objects.get"),
        (Fault("GET /jobs/", 403, message=SAID.format("storage.objects.get")),),
    ),
    "may not write": Broken(
        ("gs://jobs/first",),
        ("--job-dir=gs://jobs/first: access denied", "storage.objects.create"),
        (Fault("(POST|PUT) /upload", 403, message=SAID.format("storage.objects.create")),),
    ),
    "nobody listens": Broken(("gs://jobs/first",), ("cannot be reached", "check the network"), (), False, False),
    "no job": Broken(("gs://jobs/other",), ("gs://jobs/other is not there",)),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_told_soon(broken: Broken, gcs: Gcs, project: pathlib.Path) -> None:
    before = sorted(project.rglob("*"))
    gcs.faults(*(dataclasses.replace(each) for each in broken.faults))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = {} if broken.network else {"https_proxy": f"http://127.0.0.1:{nobody.getsockname()[1]}"}
        done, secs = report(project, *broken.argv, env=gcs.tensorflow_environ(**away))
    assert (done.exit_code, done.out) == (2, ""), done.err
    assert secs < SOON_SECS
    [sentence] = done.sentences
    assert sentence.startswith("trainer.report: ")
    for each in broken.words:
        assert each in sentence
    assert bool(gcs.log) == broken.asks
    assert sorted(project.rglob("*")) == before


def test_a_page_is_made_without_what_cannot_be_read(gcs: Gcs, project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Data and logs of a job may lie where this machine may not look: TensorFlow would ask for minutes."""
    manifest = json.loads((project / "job" / "manifest.json").read_text())
    other = changed(manifest, "gs://absent/eval.csv", "gs://absent/logs")
    gcs.put("jobs", {"other/manifest.json": json.dumps(other).encode()})
    for name, content in files_below(project / "job" / "export").items():
        gcs.put("jobs", {f"other/export/{name}": content})
    done, secs = report(project, "gs://jobs/other", f"--output={tmp_path}/x.html", env=gcs.tensorflow_environ())
    done.ok()
    assert secs < 2 * SOON_SECS
    page = (tmp_path / "x.html").read_text()
    assert "No predictions: --eval-files=gs://absent/eval.csv: there is no bucket absent" in page
    assert "No curves of the training: --log-dir=gs://absent/logs: there is no bucket absent" in page


def changed(manifest: dict[str, Any], eval_file: str, log_dir: str) -> dict[str, Any]:
    """The manifest of a job that read that file and wrote its events there."""
    data = {**manifest["data"], "eval": [{**manifest["data"]["eval"][0], "path": eval_file}]}
    settings = {**manifest["settings"], "log_dir": {**manifest["settings"]["log_dir"], "value": log_dir}}
    return {**manifest, "data": data, "settings": settings}

"""config.yaml and hptuning_config.yaml as they ship, read by Google's messages and by the real gcloud."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cloud.legacy_lab import HOSTILE, OLD
from tests.vertex_rig import Vertex
from tests.vertex_schema import normal
from trainer.cloud.gcloud import find_program
from trainer.cloud.legacy import Written, write_conversion
from trainer.cloud.schema import unknown_fields, wrong_values
from trainer.cloud.specs import Spec, read_spec
from trainer.job.environment import Environment
from trainer.job.flags import parse

ROOT = pathlib.Path(__file__).parents[2]
CONFIG, STUDY = ROOT / "config.yaml", ROOT / "hptuning_config.yaml"
COMMANDS = {"custom_job": "custom-jobs", "tuning_job": "hp-tuning-jobs"}
KINDS = {"custom_job": "customJobs", "tuning_job": "hyperparameterTuningJobs"}
IMAGE = "REGION-docker.pkg.dev/PROJECT/REPOSITORY/keras-trainer:latest"
SWITCHED_OFF = re.compile(r"^( *)#(?=[\w-])", re.MULTILINE)
installed = pytest.mark.skipif(find_program() is None, reason="gcloud is not installed, and no package registry has it")


def body_of(spec: Spec) -> dict[str, Any]:
    """What a request of this file alone would have."""
    return {"displayName": "a", "jobSpec": spec.content} if spec.kind == "custom_job" else spec.content


def read(spec: Spec) -> dict[str, Any]:
    assert unknown_fields(spec.content, spec.kind) == []
    assert wrong_values(spec.content, spec.kind) == []
    return normal(KINDS[spec.kind], body_of(spec))


def test_the_job_is_one_machine_that_trains_the_sample() -> None:
    job_dir = "gs://BUCKET/place-names"
    args = ["--model=trainer.samples.place_names", f"--job-dir={job_dir}"]
    assert read(read_spec(str(CONFIG)))["jobSpec"] == {
        "workerPoolSpecs": [
            {
                "machineSpec": {"machineType": "n1-standard-4"},
                "replicaCount": "1",
                "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 100},
                "containerSpec": {"imageUri": IMAGE, "args": args},
            }
        ],
        "scheduling": {"timeout": "7200s", "strategy": "STANDARD"},
        "baseOutputDirectory": {"outputUriPrefix": job_dir},
    }


def test_the_study_tunes_parameters_of_the_sample() -> None:
    spec = read_spec(str(STUDY))
    assert read(spec)["studySpec"]["metrics"] == [{"metricId": "accuracy", "goal": "MAXIMIZE"}]
    top = spec.content["studySpec"]["parameters"]
    [condition] = top[2]["conditionalParameterSpecs"]
    assert condition["parentDiscreteValues"] == {"values": [64, 96]}
    names = [each["parameterId"] for each in (*top, condition["parameterSpec"])]
    signature = parse([], Environment()).signature
    assert sorted(names) == sorted(each.name for each in signature.parameters)


@pytest.mark.parametrize("path", [CONFIG, STUDY], ids=lambda path: path.name)
def test_every_flag_is_one_that_the_container_reads(path: pathlib.Path) -> None:
    args = read_spec(str(path)).pools[0]["containerSpec"]["args"]
    job = parse(args, Environment()).job
    assert (job.model.model, job.output.job_dir) == (
        "trainer.samples.place_names",
        read_spec(str(path)).job_spec["baseOutputDirectory"]["outputUriPrefix"],
    )


def switch_on(text: str, *first: str) -> str:
    """Take away the # of the switched-off lines below each of these comments, down to the next line of words."""
    lines, on = [], False
    for line in text.splitlines():
        if not SWITCHED_OFF.match(line):
            on = any(each in line for each in first)
        lines.append(SWITCHED_OFF.sub(r"\1", line) if on else line)
    return "\n".join(lines)


MORE_POOLS = ("# Workers:", "# Parameter servers:", "# The evaluator:")
# id: comments whose lines are switched on, machines of the pools as TYPE [ACCELERATOR x COUNT] * REPLICAS
SWITCHES: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "GPU": (("# GPU:",), ["n1-standard-4 NVIDIA_TESLA_T4 x 1 * 1"]),
    "workers": (MORE_POOLS[:1], ["n1-standard-4 * 1", "n1-standard-4 * 2"]),
    "parameter servers": (MORE_POOLS[:2], ["n1-standard-4 * 1", "n1-standard-4 * 2", "n1-highmem-4 * 1"]),
    "evaluator": (
        MORE_POOLS,
        ["n1-standard-4 * 1", "n1-standard-4 * 2", "n1-highmem-4 * 1", "n1-standard-4 * 1"],
    ),
    "the rest": (("# Who", "# A private", "# A TensorBoard", "# A shell"), ["n1-standard-4 * 1"]),
}


def machines(spec: Spec) -> list[str]:
    found = []
    for pool in spec.pools:
        machine = pool["machineSpec"]
        gpus = f" {machine['acceleratorType']} x {machine['acceleratorCount']}" if "acceleratorType" in machine else ""
        found.append(f"{machine['machineType']}{gpus} * {pool['replicaCount']}")
    return found


@pytest.mark.parametrize(("first", "expected"), SWITCHES.values(), ids=SWITCHES)
def test_switched_off_lines_are_right_when_they_are_on(
    tmp_path: pathlib.Path, first: tuple[str, ...], expected: list[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(switch_on(CONFIG.read_text(encoding="utf-8"), *first), encoding="utf-8")
    spec = read_spec(str(path))
    assert machines(spec) == expected
    assert read(spec) != read(read_spec(str(CONFIG)))
    assert {tuple(pool["containerSpec"]["args"]) for pool in spec.pools} == {
        tuple(read_spec(str(CONFIG)).pools[0]["containerSpec"]["args"])
    }


def test_a_tpu_takes_the_place_of_the_machine_type(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "config.yaml"
    text = switch_on(CONFIG.read_text(encoding="utf-8"), "# TPU:")
    path.write_text(re.sub(r".*machineType: n1-standard-4  .*\n", "", text), encoding="utf-8")
    assert machines(read_spec(str(path))) == ["cloud-tpu TPU_V2 x 8 * 1"]


def test_another_algorithm_is_one_line(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "hptuning_config.yaml"
    path.write_text(SWITCHED_OFF.sub(r"\1", STUDY.read_text(encoding="utf-8")), encoding="utf-8")
    assert read(read_spec(str(path)))["studySpec"]["algorithm"] == "RANDOM_SEARCH"


@pytest.fixture
def vertex() -> Iterator[Vertex]:
    with Vertex() as service:
        yield service


def create(path: pathlib.Path | str, vertex: Vertex, config: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Run the command that the files' comments name, without an account."""
    return subprocess.run(
        [
            *(str(find_program()), "ai", COMMANDS[read_spec(str(path)).kind], "create", f"--config={path}"),
            *("--region=us-central1", "--display-name=from gcloud", "--project=my-project", "--format=json"),
        ],
        env={**os.environ, **vertex.env, "CLOUDSDK_CONFIG": str(config), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@installed
@pytest.mark.parametrize("path", [CONFIG, STUDY], ids=lambda path: path.name)
def test_gcloud_sends_what_the_file_says(path: pathlib.Path, vertex: Vertex, tmp_path: pathlib.Path) -> None:
    done = create(path, vertex, tmp_path / "gcloud")
    assert done.returncode == 0, done.stderr
    [sent] = vertex.posts()
    spec = read_spec(str(path))
    expected = normal(KINDS[spec.kind], {**body_of(spec), "displayName": "from gcloud"})
    assert normal(KINDS[spec.kind], sent.body) == expected


@installed
def test_gcloud_sends_what_was_converted(vertex: Vertex, tmp_path: pathlib.Path) -> None:
    """Both files, their labels and key included, and text that YAML could take for something else."""
    old = yaml.safe_load(OLD)
    old["trainingInput"]["args"] = HOSTILE
    made = convert_in(tmp_path, yaml.safe_dump(old))
    done = [create(path, vertex, tmp_path / "gcloud") for path in made.files]
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    assert made.conversion.custom_job["workerPoolSpecs"][0]["containerSpec"]["args"][:-1] == HOSTILE
    expected = [{"jobSpec": made.conversion.custom_job}, made.conversion.tuning_job or {}]
    for sent, kind, body in zip(vertex.posts(), KINDS.values(), expected, strict=True):
        assert normal(kind, sent.body) == normal(kind, {**body, "displayName": "from gcloud"})


@installed
def test_gcloud_refuses_an_empty_pool_as_the_conversion_says(vertex: Vertex, tmp_path: pathlib.Path) -> None:
    made = convert_in(tmp_path, OLD.replace("parameterServerCount: 1", "parameterServerCount: 0"))
    assert [each for each in made.conversion.assumptions if "gcloud ai custom-jobs refuses it in a file" in each]
    done = [create(path, vertex, tmp_path / "gcloud") for path in made.files]
    assert [each.returncode for each in done] == [1, 0], [each.stderr for each in done]
    assert "Exactly one of fields [pythonPackageSpec, containerSpec]" in done[0].stderr
    assert [bool(pool) for pool in vertex.posts()[0].body["trialJobSpec"]["workerPoolSpecs"]] == [
        True,
        True,
        False,
        True,
    ]


def convert_in(folder: pathlib.Path, content: str) -> Written:
    path = folder / "old.yaml"
    path.write_text(content, encoding="utf-8")
    return write_conversion(str(path), str(folder))

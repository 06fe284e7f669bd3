"""The two files that an old one becomes: commented, never over another, and read by Google's own messages."""

from __future__ import annotations

import copy
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cloud.legacy_lab import HOSTILE, OLD, accepted
from trainer.cloud.legacy import convert, write_conversion
from trainer.cloud.legacy_fields import ENUMS
from trainer.cloud.legacy_machines import TYPES
from trainer.cloud.specs import read_spec
from trainer.job.errors import StorageFailed, UsageError


def write_old(folder: pathlib.Path, content: str = OLD) -> str:
    path = folder / "old job.yaml"
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_the_files_say_what_was_converted(tmp_path: pathlib.Path) -> None:
    made = write_conversion(write_old(tmp_path), str(tmp_path / "new files"))
    conversion = convert(yaml.safe_load(OLD))
    assert made.conversion == conversion
    assert list(made.files) == [str(tmp_path / "new files" / name) for name in ("config.yaml", "hptuning_config.yaml")]
    specs = [read_spec(path) for path in made.files]
    assert [each.kind for each in specs] == ["custom_job", "tuning_job"]
    assert [each.content for each in specs] == [conversion.custom_job, conversion.tuning_job]
    said = (*conversion.assumptions, *conversion.without_twin)
    assert [each for each in said if f"  - {each}\n" not in made.report] == []
    for path in made.files:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
        comments = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
        assert [each for each in said if each not in comments] == []
        assert max(map(len, lines)) <= 120
        assert lines[0] == "# Converted from old job.yaml. To run it, after a look at what is assumed:"


def test_without_hyperparameters_there_is_one_file(tmp_path: pathlib.Path) -> None:
    made = write_conversion(write_old(tmp_path, "trainingInput:"))
    assert made.files == (str(tmp_path / "config.yaml"),)
    assert made.conversion.tuning_job is None
    assert sorted(os.listdir(tmp_path)) == ["config.yaml", "old job.yaml"]
    assert "without a twin" not in made.report


@pytest.mark.parametrize("there", ["config.yaml", "hptuning_config.yaml"])
def test_no_file_is_overwritten(tmp_path: pathlib.Path, there: str) -> None:
    (tmp_path / there).write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=rf"{there} would be overwritten: give another folder with --output=FOLDER"):
        write_conversion(write_old(tmp_path), str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted([there, "old job.yaml"])
    assert (tmp_path / there).read_text(encoding="utf-8") == "mine"


def test_a_folder_that_is_a_file_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "out").write_text("", encoding="utf-8")
    with pytest.raises(StorageFailed, match=r"out cannot be written: "):
        write_conversion(write_old(tmp_path), str(tmp_path / "out"))


def test_only_old_files_are_converted(tmp_path: pathlib.Path) -> None:
    made = write_conversion(write_old(tmp_path), str(tmp_path))
    with pytest.raises(UsageError, match="is of Vertex AI already"):
        write_conversion(made.files[0], str(tmp_path / "again"))
    with pytest.raises(UsageError, match=r"old job\.yaml: unknown key trainingInput\.x: "):
        write_conversion(write_old(tmp_path, "trainingInput: {x: 1}"), str(tmp_path / "again"))
    assert not (tmp_path / "again").exists()


def test_hostile_text_stays_text(tmp_path: pathlib.Path) -> None:
    old = {"trainingInput": {"args": HOSTILE, "region": "\n".join(HOSTILE)}, "jobId": "\u2028".join(HOSTILE)}
    made = write_conversion(write_old(tmp_path, yaml.safe_dump(old)), str(tmp_path))
    pool = read_spec(made.files[0]).pools[0]
    assert pool["containerSpec"]["args"] == HOSTILE


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
COUNTS = st.integers(0, 40)
TYPE = st.sampled_from([*TYPES, "n1-standard-4", "a2-highgpu-1g"])
CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "acceleratorConfig": st.fixed_dictionaries(
            {}, optional={"type": st.sampled_from(ENUMS["Accelerator"]), "count": st.integers(0, 8)}
        ),
        "imageUri": WORDS,
        "containerCommand": st.lists(WORDS, max_size=2),
        "diskConfig": st.fixed_dictionaries({}, optional={"bootDiskType": WORDS, "bootDiskSizeGb": COUNTS}),
        "tpuTfVersion": WORDS,
    },
)
NUMBERS = st.floats(-1e200, 1e200) | st.integers(-(2**60), 2**60)
BOUNDS = st.tuples(NUMBERS, NUMBERS).map(sorted)
WHOLE_BOUNDS = st.tuples(st.integers(-(2**60), 2**60), st.integers(-(2**60), 2**60)).map(sorted)
SCALE = {"scaleType": st.sampled_from(ENUMS["Scale"])}


def bounded(kind: str, bounds: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    ranges = bounds.map(lambda each: {"type": kind, "minValue": each[0], "maxValue": each[1]})
    return st.tuples(ranges, st.fixed_dictionaries({}, optional=SCALE)).map(lambda each: {**each[0], **each[1]})


PARAMETER = st.one_of(
    bounded("DOUBLE", BOUNDS),
    bounded("INTEGER", WHOLE_BOUNDS),
    st.fixed_dictionaries(
        {"type": st.just("CATEGORICAL"), "categoricalValues": st.lists(WORDS | NUMBERS | st.booleans(), min_size=1)},
        optional=SCALE,
    ),
    st.fixed_dictionaries(
        {"type": st.just("DISCRETE"), "discreteValues": st.lists(NUMBERS, min_size=1)}, optional=SCALE
    ),
)
TUNING = st.fixed_dictionaries(
    {
        "params": st.lists(PARAMETER, min_size=1, max_size=3).map(
            lambda each: [{"parameterName": f"p{at}", **parameter} for at, parameter in enumerate(each)]
        )
    },
    optional={
        "goal": st.sampled_from(ENUMS["Goal"]),
        "algorithm": st.sampled_from(ENUMS["Algorithm"]),
        "hyperparameterMetricTag": WORDS,
        **dict.fromkeys(("maxTrials", "maxParallelTrials", "maxFailedTrials"), COUNTS),
        "enableTrialEarlyStopping": st.booleans(),
        "resumePreviousJobId": WORDS,
    },
)
TRAINING = st.fixed_dictionaries(
    {"masterType": TYPE, "workerType": TYPE, "parameterServerType": TYPE, "evaluatorType": TYPE},
    optional={
        "scaleTier": st.just("CUSTOM"),
        **dict.fromkeys(("workerCount", "parameterServerCount", "evaluatorCount"), COUNTS),
        **dict.fromkeys(("masterConfig", "workerConfig", "parameterServerConfig", "evaluatorConfig"), CONFIG),
        **dict.fromkeys(("packageUris", "args"), st.lists(WORDS | st.integers() | NUMBERS, max_size=3)),
        **dict.fromkeys(("pythonModule", "region", "network", "serviceAccount"), WORDS),
        **dict.fromkeys(("runtimeVersion", "pythonVersion"), WORDS | st.floats(0, 4)),
        "jobDir": WORDS.map("gs://b/{}".format),
        "scheduling": st.fixed_dictionaries(
            {},
            optional={
                "maxRunningTime": st.integers(0, 10**9).map("{}s".format) | st.integers(0, 10**9),
                "strategy": st.sampled_from(ENUMS["Strategy"]),
                "resilientToWorkerRestart": st.booleans(),
            },
        ),
        **dict.fromkeys(("enableWebAccess", "useChiefInTfConfig"), st.booleans()),
        "encryptionConfig": st.fixed_dictionaries({}, optional={"kmsKeyName": WORDS}),
        "hyperparameters": TUNING,
        "nasJobSpec": st.none() | st.just({"searchSpaceSpec": "x"}),
    },
)
JOB = st.fixed_dictionaries(
    {"trainingInput": TRAINING}, optional={"jobId": WORDS, "labels": st.dictionaries(WORDS, WORDS, max_size=2)}
)


def convertible(content: dict[str, Any]) -> dict[str, Any]:
    """Without the one pair of fields that exclude each other."""
    commands = [
        each for each in content["trainingInput"].values() if isinstance(each, dict) and "containerCommand" in each
    ]
    if commands and content["trainingInput"].get("args"):
        del content["trainingInput"]["args"]
    return content


@settings(max_examples=150, deadline=None)
@given(content=JOB.map(convertible))
def test_whatever_the_old_service_took_the_new_one_reads(
    content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And the files say exactly what was converted, whatever the text in them."""
    before = copy.deepcopy(content)
    made = accepted(convert(content))
    assert content == before
    folder = tmp_path_factory.mktemp("converted")
    written = write_conversion(write_old(folder, yaml.safe_dump(content, sort_keys=False)), str(folder))
    assert written.conversion == made
    contents = [read_spec(path).content for path in written.files]
    assert contents == [each for each in (made.custom_job, made.tuning_job) if each is not None]


def test_beside_a_file_that_is_named_without_a_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_old(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert write_conversion("old job.yaml").files == ("./config.yaml", "./hptuning_config.yaml")
    assert sorted(os.listdir()) == ["config.yaml", "hptuning_config.yaml", "old job.yaml"]


def test_a_disk_that_is_full_leaves_no_half(tmp_path: pathlib.Path) -> None:
    """The first file fits, the second does not: both or none."""
    old = write_old(tmp_path)
    sizes = [os.path.getsize(path) for path in write_conversion(old, str(tmp_path / "whole")).files]
    assert sizes[0] < sizes[1]
    code = (
        "import resource, sys; from trainer.cloud.legacy import write_conversion; from trainer.job.errors import *\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({sizes[0]}, {sizes[0]}))\n"
        "try:\n    write_conversion(*sys.argv[1:])\nexcept StorageFailed as error:\n    sys.exit(str(error))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, old, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        1,
        f"{tmp_path}/out/hptuning_config.yaml cannot be written: File too large.\n",
    )
    assert os.listdir(tmp_path / "out") == []


def test_what_is_said_obeys_no_terminal(tmp_path: pathlib.Path) -> None:
    """Escapes and line breaks of a value are shown, in the report and in errors."""
    evil = "a\x1b[2J\nb"
    old = {"jobId": evil, "trainingInput": {"region": evil, "pythonModule": evil, "jobDir": f"gs://b/{evil}"}}
    made = write_conversion(write_old(tmp_path, yaml.safe_dump(old)), str(tmp_path))
    lines = made.report.splitlines()
    assert [line for line in lines if not line.isprintable()] == []
    assert [line for line in lines if r"--region=a\u001b[2J\nb" in line]
    for wrong in ({"jobDir": evil}, {"masterType": evil}, {evil: 1}, {"args": evil}, {"scaleTier": evil}):
        with pytest.raises(UsageError) as caught:
            convert({"trainingInput": wrong})
        assert str(caught.value).isprintable()

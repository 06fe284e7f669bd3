"""`python -m trainer.sweep` with real jobs: killed and started again, stopped by mistakes before anything runs."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import psutil
import pytest
import yaml

from tests.runner import ROOT, read_evaluations, read_json, write_project

COMMAND = (sys.executable, "-m", "trainer.sweep")
PARAMETERS: list[dict[str, Any]] = [
    {
        "parameterId": "units",
        "discreteValueSpec": {"values": [4, 8]},
        "conditionalParameterSpecs": [
            {
                "parentDiscreteValues": {"values": [8]},
                "parameterSpec": {
                    "parameterId": "learning_rate",
                    "doubleValueSpec": {"minValue": 0.001, "maxValue": 0.1},
                    "scaleType": "UNIT_LOG_SCALE",
                },
            }
        ],
    }
]
FLAGS = (
    "--model=model.py", "--train-files=train.csv", "--eval-files=eval.csv", "--train-steps=40", "--eval-every-steps=20",
    "--exporters=final", "--no-report",
)  # fmt: skip


def write_study(folder: pathlib.Path, trials: int = 3, **spec: Any) -> None:
    study = {"metrics": [{"metricId": "mae", "goal": "MINIMIZE"}], "parameters": PARAMETERS, **spec}
    container = {"imageUri": "image:1", "args": ["--job-dir=gs://my-bucket/study"]}
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, "containerSpec": container}
    content = {
        "displayName": "a study",
        "maxTrialCount": trials,
        "parallelTrialCount": 2,
        "studySpec": study,
        "trialJobSpec": {"workerPoolSpecs": [pool]},
    }
    (folder / "hptuning_config.yaml").write_text(yaml.safe_dump(content))


def environ() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIP_", "CLOUD_ML_", "TF_CONFIG"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def sweep(folder: pathlib.Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *argv], cwd=folder, env=environ(), capture_output=True, text=True, timeout=250, check=False
    )


def trials_of(folder: pathlib.Path) -> Mapping[int, dict[str, Any]]:
    """The results of a sweep's trials that have finished."""
    return {int(path.parent.name): read_json(path) for path in folder.glob("trials/*/result.json")}


def of_trials(folder: pathlib.Path) -> list[psutil.Process]:
    """The processes that work below a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if "trainer.task" in words and process.info["cwd"] == str(folder):
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_sweep_that_is_killed_goes_on_with_the_same_trials(tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    write_study(tmp_path)
    argv = [*FLAGS, "--sweep-dir=study"]
    with subprocess.Popen([*COMMAND, *argv], cwd=tmp_path, env=environ(), stderr=subprocess.DEVNULL) as killed:
        until = time.monotonic() + 120
        while not trials_of(tmp_path / "study"):
            assert killed.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        killed.send_signal(signal.SIGKILL)
    before = {number: result["metrics"] for number, result in trials_of(tmp_path / "study").items()}
    done = sweep(tmp_path, *argv)
    assert done.returncode == 0, done.stderr
    assert of_trials(tmp_path) == []
    trials = trials_of(tmp_path / "study")
    assert sorted(trials) == [1, 2, 3]
    assert {number: trials[number]["metrics"] for number in before} == before
    for number, result in trials.items():
        assert (result["status"], result["global_step"]) == ("finished", 40)
        manifest = read_json(tmp_path / f"study/trials/{number}/manifest.json")
        said = {name: each["value"] for name, each in manifest["hyperparameters"].items() if each["source"] == "flag"}
        assert ("learning_rate" in said) == (said["units"] == 8)
        built = manifest["effective"]
        assert [layer["units"] for layer in built["layers"] if layer["class"] == "Dense"] == [said["units"], 1]
        if "learning_rate" in said:
            assert built["optimizer"]["learning_rate"] == pytest.approx(said["learning_rate"])
    best = min(trials, key=lambda number: min(metrics(tmp_path / f"study/trials/{number}")))
    assert re.search(rf"^best of 3 trials .*: trial {best}, mae", done.stdout, re.MULTILINE), done.stdout
    page = (tmp_path / "study/sweep.html").read_text()
    assert "Parallel coordinates" in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)
    again = sweep(tmp_path, *argv)
    assert (again.returncode, trials_of(tmp_path / "study")) == (0, trials)


def metrics(job_dir: pathlib.Path) -> list[float]:
    return [each["mae"] for each in read_evaluations(job_dir).values()]


@pytest.mark.timeout(200)
def test_ctrl_c_lets_trials_save(tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    write_study(tmp_path)
    argv = [*FLAGS, "--train-steps=1000000", "--sweep-dir=study"]
    argv.remove("--train-steps=40")
    with subprocess.Popen([*COMMAND, *argv], cwd=tmp_path, env=environ(), stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while len(list(tmp_path.glob("study/trials/*/evaluations.jsonl"))) < 2:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert err.splitlines()[-1] == (
        "trainer.sweep: stopped: 0 of 3 trials are done, 2 at work were saved; the same command goes on."
    )
    assert of_trials(tmp_path) == []
    assert {result["status"] for result in trials_of(tmp_path / "study").values()} == {"stopped"}


@pytest.mark.parametrize(
    ("argv", "spec", "words"),
    [
        (["--sweepdir=x"], {}, "unknown flag --sweepdir=x: did you mean --sweep-dir"),
        (["--units=8"], {}, "--units=8 stands in the command line, and the study tries values of units"),
        (["--job-dir=x"], {}, "--job-dir is not for a sweep"),
        (["--study=nothing.yaml"], {}, "nothing.yaml: no such file"),
        (["--parallel-trials=0"], {}, "--parallel-trials=0: expected a whole number of at least 1"),
        (["--sweep-dir=gs://b/x"], {}, "--sweep-dir=gs://b/x: expected a folder on this machine"),
        ([], {"decayCurveStoppingSpec": {"useElapsedDuration": False}}, "this machine has no twin of"),
        ([], {"parameters": [{"parameterId": "unit", "doubleValueSpec": {"minValue": 1, "maxValue": 2}}]}, "--unit"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_sentence_and_starts_nothing(
    tmp_path: pathlib.Path, argv: list[str], spec: dict[str, Any], words: str
) -> None:
    write_project(tmp_path)
    write_study(tmp_path, **spec)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = sweep(tmp_path, *FLAGS, *argv)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert words in done.stderr.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.timeout(200)
def test_trials_that_fail_end_the_sweep(tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    write_study(tmp_path)
    (tmp_path / "model.py").write_text(
        "def build_model(units: int = 1, learning_rate: float = 1.0):\n    raise OSError('no')\n"
    )
    done = sweep(tmp_path, *FLAGS, "--sweep-dir=study")
    assert done.returncode == 3
    assert "3 trials failed and none has succeeded" in done.stderr.splitlines()[-1]

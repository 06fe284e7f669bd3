"""From a file and a command line to what each trial is started with; nothing is run or written."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.sweeps.lab import content
from trainer.job.environment import Environment
from trainer.job.errors import UsageError
from trainer.job.flags import parse
from trainer.job.sweeping import parse_sweeping
from trainer.sweeps.plan import SweepPlan, make_plan

MODEL = """
def build_model(units: int, rate: float = 0.1, kind: str = "a"):
    raise NotImplementedError
"""
UNITS = {
    "parameterId": "units",
    "discreteValueSpec": {"values": [4, 8]},
    "conditionalParameterSpecs": [
        {
            "parentDiscreteValues": {"values": [8]},
            "parameterSpec": {"parameterId": "rate", "doubleValueSpec": {"minValue": 0.1, "maxValue": 1}},
        }
    ],
}


@pytest.fixture(autouse=True)
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder has a model without a default for units, which a study gives."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(MODEL)


def planned(*argv: str, args: tuple[str, ...] = (), environ: Mapping[str, str] | None = None, **spec: Any) -> SweepPlan:
    """The plan of a study over UNITS, of the model above."""
    study = content(spec.pop("parameter", UNITS), **spec)
    container = study["trialJobSpec"]["workerPoolSpecs"][0]["containerSpec"]
    container.update(args=["--model=my_model.py", *args], env=[{"name": "MINE", "value": "1"}])
    pathlib.Path("hptuning_config.yaml").write_text(yaml.safe_dump(study))
    settings, words = parse_sweeping(argv)
    return make_plan(settings, words, environ or {})


def test_a_trial_gets_what_the_file_and_the_command_line_say() -> None:
    plan = planned("--epochs=3", "--", "--seed=7", args=("--epochs=9", "--batch-size=32", "--job-dir=gs://b/x"))
    assert plan.argv({"units": 8.0, "rate": 0.25}) == [
        "--model=my_model.py",
        "--batch-size=32",
        "--epochs=3",
        "--seed=7",
        "--job-dir=runs/sweep-my_model/trials",
        "--units=8",
        "--rate=0.25",
    ]
    job = parse(plan.argv({"units": 4.0}), Environment()).job
    assert job.hyperparameters == (("units", 4),)
    assert plan.notes[-1] == "--job-dir in the args of hptuning_config.yaml left out: each trial has its own folder"
    assert plan.command(3, {"units": 4.0}).endswith("--units=4 --job-dir=runs/sweep-my_model/trials/3")
    assert not os.path.exists("runs")


def test_a_trial_has_the_environment_of_one_in_the_cloud() -> None:
    outside = {"PATH": "/bin", "AIP_MODEL_DIR": "gs://b", "CLOUD_ML_TRIAL_ID": "9", "TF_CONFIG": "{}"}
    plan = planned("--sweep-dir=s", "--parallel-trials=1", environ=outside)
    cpus = str(len(os.sched_getaffinity(0)))
    assert plan.trial_environ(2) == {
        "PATH": "/bin",
        "MINE": "1",
        "OMP_NUM_THREADS": cpus,
        "TF_NUM_INTRAOP_THREADS": cpus,
        "TF_NUM_INTEROP_THREADS": cpus,
        "CLOUD_ML_TRIAL_ID": "2",
        "CLOUD_ML_HP_METRIC_FILE": os.path.abspath("s/trials/2/hypertune.jsonl"),
    }
    assert planned("--parallel-trials=64", "--max-trials=100").threads == 1
    assert planned(environ={"OMP_NUM_THREADS": "3"}).trial_environ(1)["OMP_NUM_THREADS"] == "3"


def test_counts_of_the_command_line_win() -> None:
    plan = planned("--max-trials=5", "--parallel-trials=9", "--sampler-seed=4")
    assert (plan.max_trials, plan.parallel_trials, plan.seed) == (5, 5, 4)
    assert (planned().max_trials, planned().parallel_trials) == (6, 2)


@pytest.mark.parametrize(("trials", "run", "note"), [(9, 3, "that is all to try"), (2, 2, "the first 2 are run")])
def test_a_grid_ends_where_it_ends(trials: int, run: int, note: str) -> None:
    kind = {"parameterId": "units", "integerValueSpec": {"minValue": 1, "maxValue": 3}}
    plan = planned(parameter=kind, algorithm="GRID_SEARCH", trials=trials)
    assert plan.max_trials == run
    assert plan.notes == (f"the grid has 3 points: {note}",)


def test_what_has_no_twin_needs_leave_and_is_said() -> None:
    with pytest.raises(UsageError, match=r"no twin of studySpec.decayCurveStoppingSpec .*--approximate"):
        planned(decayCurveStoppingSpec={})
    plan = planned("--approximate", decayCurveStoppingSpec={})
    assert plan.notes[-1] == "approximated: studySpec.decayCurveStoppingSpec (no trial is stopped by it)"


TEXTS = {"parameterId": "units", "categoricalValueSpec": {"values": ["4", "four"]}}


@pytest.mark.parametrize(
    ("argv", "change", "words"),
    [
        (["--sampler-sed=1"], {}, "unknown flag --sampler-sed=1: did you mean --sampler-seed?"),
        (["--batchsize=1"], {}, "unknown flag --batchsize=1: did you mean --batch-size?"),
        ([], {"args": ("--unitz=4",)}, "unknown flag --unitz=4"),
        ([], {"parameter": TEXTS}, "--units=four: expected a whole number"),
        (["--rate=1"], {}, "--rate=1 stands in the command line, and the study tries values of rate"),
        ([], {"args": ("--rate=1",)}, "--rate=1 stands in the args in hptuning_config.yaml"),
        (["--export-dir=x"], {}, "--export-dir is not for a sweep"),
        (["--fresh"], {}, "--fresh is not for a sweep"),
        (["--sweep-dir=a[b]"], {}, "--sweep-dir=a[b]: expected a folder on this machine"),
        (["--study=my_model.py"], {}, "my_model.py"),
        ([], {"algorithm": "BAYES"}, "hptuning_config.yaml: studySpec.algorithm=BAYES: expected one of"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else None,
)
def test_a_mistake_is_found_before_anything_starts(argv: list[str], change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        planned(*argv, **change)
    assert words in str(refused.value)


def test_a_file_of_another_kind_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.yaml").write_text("workerPoolSpecs: []\n")
    settings, words = parse_sweeping(["--study=config.yaml"])
    with pytest.raises(UsageError, match=r"--study=config.yaml is no study: expected a file with studySpec"):
        make_plan(settings, words, {})

"""Command lines, and what they mean."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import pytest

from trainer.job.environment import Environment
from trainer.job.errors import ModelError, UsageError
from trainer.job.flags import HelpRequested, Parsed, parse, to_argv


def read(model_file: str, argv: Sequence[str], environment: Environment | None = None) -> Parsed:
    return parse([f"--model={model_file}", *argv], environment or Environment())


# id: words, setting, value
SPELLINGS: dict[str, tuple[list[str], str, Any]] = {
    "dashes": (["--batch-size=3"], "batch_size", 3),
    "underscores": (["--batch_size=3"], "batch_size", 3),
    "a space": (["--batch_size", "3"], "batch_size", 3),
    "the same twice": (["--batch_size=3", "--batch-size", "03"], "batch_size", 3),
    "--model-dir": (["--model-dir=x"], "job_dir", "x"),
    "--output_dir": (["--output_dir", "x"], "job_dir", "x"),
    "an equals sign inside": (["--job-dir=a=b"], "job_dir", "a=b"),
    "a dash in front": (["--job-dir=-x"], "job_dir", "-x"),
    "quotes and a semicolon": (["--job-dir", "a 'b' \"c\"; echo"], "job_dir", "a 'b' \"c\"; echo"),
    "text that YAML would change": (["--label-column=null"], "label_column", "null"),
    "files": (["--train-files", "a.csv", "b.csv"], "train_files", ("a.csv", "b.csv")),
    "files repeated": (
        ["--train-files=a", "--seed=1", "--train_files=b", "--train-files", "c"],
        "train_files",
        ("a", "b", "c"),
    ),
    "commas in files": (["--train-files=a,b.csv"], "train_files", ("a,b.csv",)),
    "brackets in files": (["--train-files=[1]", '--train-files=["x"]'], "train_files", ("[1]", '["x"]')),
    "hostile files": (["--eval-files", "a 0", "b'\"", "; rm x", "-1"], "eval_files", ("a 0", "b'\"", "; rm x", "-1")),
    "feature map": (["--feature-map", "a=b", "c=d+e"], "feature_map", ("a=b", "c=d+e")),
    "exporters with commas": (["--exporters=latest,best"], "exporters", ("latest", "best")),
    "exporters with spaces": (["--exporters", "final", "best"], "exporters", ("final", "best")),
    "no exporters": (["--exporters=none"], "exporters", ()),
    "a flag alone": (["--fresh"], "fresh", True),
    "true": (["--fresh=true"], "fresh", True),
    "false": (["--fresh=False"], "fresh", False),
    "no": (["--no-fresh"], "fresh", False),
    "no with underscores": (["--no_allow_lossy_conversion"], "allow_lossy_conversion", False),
    "whole seconds": (["--eval-every-secs=30"], "eval_every_secs", 30.0),
}


@pytest.mark.parametrize(("words", "name", "value"), SPELLINGS.values(), ids=SPELLINGS)
def test_spellings(model_file: str, words: list[str], name: str, value: Any) -> None:
    parsed = read(model_file, words)
    found = parsed.job.values[name]
    assert (found, type(found)) == (value, type(value))
    assert parsed.sources[name] == "flag"


# id: words, hyperparameters of the job
HYPERPARAMETERS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "none set": ([], {}),
    "dashes": (["--learning-rate=0.1"], {"learning_rate": 0.1}),
    "underscores": (["--learning_rate", "1e-4"], {"learning_rate": 1e-4}),
    "int for float": (["--dropout=0"], {"dropout": 0.0}),
    "the default's own value": (["--units=64"], {"units": 64}),
    "none": (["--title=none", "--clip=none"], {"title": None, "clip": None}),
    "the text none": (['--title="none"', "--activation=none"], {"title": "none", "activation": "none"}),
    "a choice with a comma": (["--activation=a,b"], {"activation": "a,b"}),
    "empty text": (["--suffix="], {"suffix": ""}),
    "many": (["--layers=1,2"], {"layers": (1, 2)}),
    "many, spaced and repeated": (["--layers", "1", "2", "--layers=3"], {"layers": (1, 2, 3)}),
    "none of many": (["--layers=[]"], {"layers": ()}),
    "words": (["--words", "a,b", "c"], {"words": ("a,b", "c")}),
    "no": (["--no-batch-norm"], {"batch_norm": False}),
    "the name of a method": (["--keys=3"], {"keys": 3}),
    "a computed default": (["--wide=3"], {"wide": 3}),
}


@pytest.mark.parametrize(("words", "expected"), HYPERPARAMETERS.values(), ids=HYPERPARAMETERS)
def test_hyperparameters(model_file: str, words: list[str], expected: dict[str, Any]) -> None:
    parsed = read(model_file, words)
    assert dict(parsed.job.hyperparameters) == expected
    assert {name: type(value) for name, value in parsed.job.hyperparameters} == {
        name: type(value) for name, value in expected.items()
    }
    assert all((parsed.sources[name] == "flag") == (name in expected) for name in ("units", "title", "layers"))


def test_precedence(model_file: str, tmp_path: pathlib.Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "seed: 1\nbatch-size: 2\ncheckpoint_dir: c\nexport_dir: c\nlog_dir: c\nunits: 3\n", encoding="utf-8"
    )
    environment = Environment(checkpoint_dir="e", model_dir="e")
    parsed = read(model_file, [f"--config={config}", "--seed=9", "--checkpoint-dir=f"], environment)
    job, names = parsed.job, ("seed", "batch_size", "checkpoint_dir", "export_dir", "log_dir", "cache")
    assert [job.values[name] for name in names] == [9, 2, "f", "e", "c", "auto"]
    assert [parsed.sources[name] for name in names] == ["flag", "config", "flag", "environment", "config", "default"]
    assert (dict(job.hyperparameters), parsed.sources["units"]) == ({"units": 3}, "config")


@pytest.mark.parametrize(
    ("flag", "config", "kept"),
    [
        ("--epochs=3", {"train_steps": 5}, {"epochs": 3, "train_steps": None}),
        ("--train-steps=3", {"epochs": 5}, {"epochs": None, "train_steps": 3}),
        ("--eval-every-secs=3", {"eval_every_steps": 5}, {"eval_every_secs": 3.0, "eval_every_steps": None}),
        ("--save-checkpoints-steps=3", {"save_checkpoints_secs": 5}, {"save_checkpoints_secs": None}),
    ],
)
def test_a_flag_puts_its_rival_aside(
    model_file: str, tmp_path: pathlib.Path, flag: str, config: dict[str, Any], kept: dict[str, Any]
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    values = read(model_file, [flag, "--config", str(path)]).job.values
    assert {name: values[name] for name in kept} == kept


def test_a_cloud_job_that_makes_no_final_export(model_file: str) -> None:
    parsed = read(model_file, ["--exporters=latest"], Environment(model_dir="gs://b/m"))
    assert parsed.job.output.export_dir is None
    assert parse(to_argv(parsed.job), Environment()).job == parsed.job


def test_the_config_may_name_the_model(model_file: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"model": model_file, "units": 3}), encoding="utf-8")
    parsed = parse([f"--config={path}", "--dropout=0.5"], Environment())
    assert parsed.job.model.model == model_file
    assert parsed.job.hyperparameters == (("dropout", 0.5), ("units", 3))
    assert (parsed.sources["model"], parsed.signature.summary) == ("config", "Return a compiled model.")


def test_the_sample_is_the_default() -> None:
    parsed = parse([], Environment())
    assert parsed.job.model.model == "trainer.samples.place_names"
    assert set(parsed.sources.values()) == {"default"}
    assert to_argv(parsed.job) == []


def test_to_argv_says_what_differs(model_file: str) -> None:
    words = ["--train-files=a b", "--train-files=-c", "--batch-size=3", "--exporters=none", "--fresh=true"]
    hyperparameters = ['--activation="none"', "--layers=[1,2]", "--title=none"]
    argv = [f"--model={model_file}", *words, *hyperparameters]
    assert to_argv(parse(argv, Environment()).job) == argv


def test_trainer_flags_are_taken(tmp_path: pathlib.Path) -> None:
    for name in ("seed", "batch_size", "model_dir", "config", "help", "no_fresh"):
        path = tmp_path / f"{name}_.py"
        path.write_text(f"def build_model({name}=1): ...", encoding="utf-8")
        with pytest.raises(ModelError) as caught:
            parse([f"--model={path}"], Environment())
        assert "rename the parameter" in str(caught.value)
        assert name in str(caught.value)


def test_a_required_parameter(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "m.py"
    path.write_text("def build_model(units: int): ...", encoding="utf-8")
    with pytest.raises(UsageError, match=r"--units is missing: build_model in .*m.py has no default.*a whole number"):
        parse([f"--model={path}"], Environment())
    assert parse([f"--model={path}", "--units=3"], Environment()).job.hyperparameters == (("units", 3),)


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["--seed=x", "--help"], ["-h3"]], ids=" ".join)
def test_help(model_file: str, argv: list[str]) -> None:
    with pytest.raises(HelpRequested) as caught:
        read(model_file, argv)
    assert caught.value.text.startswith("usage: python -m trainer.task")


def test_version_needs_no_model() -> None:
    with pytest.raises(HelpRequested, match=r"^trainer \d"):
        parse(["--version", "--model=nowhere.py"], Environment())

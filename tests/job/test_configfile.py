"""Config files: YAML, JSON and the manifest of an earlier run."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from trainer.job.environment import Environment
from trainer.job.errors import UsageError
from trainer.job.flags import Parsed, parse


def read(model_file: str, path: pathlib.Path, content: str | bytes) -> Parsed:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return parse([f"--model={model_file}", f"--config={path}"], Environment())


# id: YAML, setting or hyperparameter, value
ENTRIES: dict[str, tuple[str, str, Any]] = {
    "underscores": ("batch_size: 3", "batch_size", 3),
    "dashes": ("batch-size: 3", "batch_size", 3),
    "alias": ("model-dir: x", "job_dir", "x"),
    "list": ("train_files: [a b.csv, 'c,d']", "train_files", ("a b.csv", "c,d")),
    "one for a list": ("train_files: a,b.csv", "train_files", ("a,b.csv",)),
    "names": ("exporters: latest, best", "exporters", ("latest", "best")),
    "no names": ("exporters: []", "exporters", ()),
    "bool": ("fresh: yes", "fresh", True),
    "not set": ("label_column:", "label_column", None),
    "nothing at all": ("# only a remark", "batch_size", 256),
    "a number that YAML reads as text": ("learning_rate: 1e-3", "learning_rate", 0.001),
    "whole number for float": ("dropout: 0", "dropout", 0.0),
    "hyperparameter none": ("title: null", "title", None),
    "hyperparameter text": ("title: none", "title", "none"),
    "hyperparameter list": ("layers: [1, 2]", "layers", (1, 2)),
}


@pytest.mark.parametrize(("content", "name", "value"), ENTRIES.values(), ids=ENTRIES)
def test_entries(model_file: str, tmp_path: pathlib.Path, content: str, name: str, value: Any) -> None:
    job = read(model_file, tmp_path / "c.yaml", content).job
    found = {**job.values, **dict(job.hyperparameters)}[name]
    assert (found, type(found)) == (value, type(value))


# id: file name, content, words of the sentence
REFUSED: dict[str, tuple[str, str | bytes, list[str]]] = {
    "unknown": ("c.yaml", "bach_size: 3", ["c.yaml: unknown setting bach_size: did you mean batch_size?"]),
    "unknown with dashes": ("c.yaml", "learning-rte: 3", ["unknown setting learning-rte: did you mean learning-rate?"]),
    "type": ("c.yaml", "batch_size: many", ["c.yaml: batch_size=many: expected a whole number of at least 1."]),
    "range": ("c.yaml", "batch_size: 0", ["c.yaml: batch_size=0: expected a whole number of at least 1."]),
    "list for one": ("c.yaml", "seed: [1, 2]", ["c.yaml: seed=1 2: expected a whole number"]),
    "mapping": ("c.yaml", "seed: {a: 1}", ["c.yaml: seed={'a': 1}: expected"]),
    "number for text": ("c.yaml", "label_column: 3", ["c.yaml: label_column=3: expected text."]),
    "none where a value must be": ("c.yaml", "batch_size:", ["c.yaml: batch_size=None: expected a whole number"]),
    "hyperparameter": ("c.yaml", "units: 1.5", ["c.yaml: units=1.5: expected a whole number."]),
    "hyperparameter without flag": ("c.yaml", "optimizer: adam", ["c.yaml: optimizer: no flag can set optimizer"]),
    "exclusive": ("c.yaml", "epochs: 1\ntrain_steps: 1", ["--train-steps=1 and --epochs=1: give only one"]),
    "config in config": ("c.yaml", "config: d.yaml", ["c.yaml: config cannot name a further config file"]),
    "twice": ("c.yaml", "seed: 1\nepochs: 2\nseed: 3", ["c.yaml, line 3: seed stands there twice"]),
    "two spellings": ("c.yaml", "batch-size: 1\nbatch_size: 1", ["batch-size and batch_size are the same setting"]),
    "broken YAML": ("c.yaml", "seed: 1\nepochs: [2", ["c.yaml, line 2", "is not YAML"]),
    "a tab": ("c.yaml", "seed:\n\t1", ["c.yaml, line 2", "is not YAML"]),
    "Python object": ("c.yaml", "seed: !!python/object:os.system x", ["c.yaml, line 1", "is not YAML"]),
    "broken JSON": ("c.json", '{"seed": 1,}', ["c.json is not JSON", "line 1"]),
    "no mapping": ("c.yaml", "- seed", ["c.yaml: expected a mapping of setting names to values"]),
    "no names": ("c.yaml", "3: seed", ["expected a mapping of setting names"]),
    "binary": ("c.yaml", b"\xff\xfe\x00", ["c.yaml is not UTF-8"]),
    "broken manifest": ("c.json", '{"settings": {"seed": 3}}', ["c.json: expected each entry of settings to hold"]),
    "setting of a manifest": (
        "c.json",
        '{"settings": {"sed": {"value": 3, "source": "flag"}}}',
        ["unknown setting sed: did you mean seed?"],
    ),
}


@pytest.mark.parametrize(("name", "content", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(model_file: str, tmp_path: pathlib.Path, name: str, content: str | bytes, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        read(model_file, tmp_path / name, content)
    sentence = str(caught.value)
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence


def test_a_folder_is_no_config(model_file: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse([f"--model={model_file}", f"--config={tmp_path}"], Environment())


def manifest_of(parsed: Parsed) -> dict[str, Any]:
    """As the manifest is written: every setting and hyperparameter with its value and source."""
    given = dict(parsed.job.hyperparameters)
    defaults = {each.name: each.default for each in parsed.signature.parameters}
    entries = {
        name: {"value": value, "source": parsed.sources[name]}
        for name, value in {**parsed.job.values, **defaults, **given}.items()
    }
    settings = {name: entries.pop(name) for name in parsed.job.values}
    return {"settings": settings, "hyperparameters": entries, "versions": {"python": "3.11"}}


def test_a_manifest_makes_the_same_job(model_file: str, tmp_path: pathlib.Path) -> None:
    flags = ["--seed=3", "--train-files", "a,b", "c", "--units=5", "--title=none", "--exporters=latest", "--words=x"]
    first = parse([f"--model={model_file}", *flags], Environment())
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest_of(first)), encoding="utf-8")
    again = parse([f"--config={path}"], Environment())
    assert again.job == first.job
    assert again.sources["seed"] == "config"
    assert parse([f"--config={path}", "--seed=4"], Environment()).job.training.seed == 4


def test_a_manifest_keeps_to_itself_what_was_of_its_time(model_file: str, tmp_path: pathlib.Path) -> None:
    first = parse([f"--model={model_file}", "--fresh"], Environment(checkpoint_dir="gs://old/trial"))
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest_of(first)), encoding="utf-8")
    again = parse([f"--config={path}"], Environment())
    assert again.job.output.checkpoint_dir is None, "another machine's folder"
    assert not again.job.output.fresh, "moving the old run aside is done once"


def test_a_manifest_wins_over_a_default_that_changed(model_file: str, tmp_path: pathlib.Path) -> None:
    manifest = manifest_of(parse([f"--model={model_file}"], Environment()))
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    module = pathlib.Path(model_file)
    module.write_text(module.read_text(encoding="utf-8").replace("UNITS = 64", "UNITS = 128"), encoding="utf-8")
    assert parse([f"--config={path}"], Environment()).job.hyperparameters == (("units", 64),)

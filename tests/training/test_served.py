"""Exports loaded to be asked, found by the folder of an export or of a job, and refused in a sentence."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.errors import UsageError
from trainer.job.serving import KEY, Output, ServingSpec
from trainer.training.handouts import put_handouts
from trainer.training.served import ServedModel, latest_export
from trainer.training.serving import classes_of
from trainer.training.signatures import KEY_FEATURE, Served, build_receiver, finish_signatures

v1 = tf.compat.v1
OUTPUT = Output("y", "kind", "classification", ("a", "b"), True, "class", "classes", "scores")
SPEC = ServingSpec({"größe/m": Column("float32"), "word": Column("string")}, (OUTPUT,))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export whose score of `b` is the size, or 0 for any word but `x`."""
    export = tmp_path_factory.mktemp("made") / "1700000000"
    with tf.Graph().as_default(), v1.Session() as session:
        receiver = build_receiver(Served(SPEC.features), dict)
        size = tf.where(tf.equal(receiver.features["word"], "x"), receiver.features["größe/m"], 0.0)
        scores = tf.stack([1 - size, size], -1)
        outputs = {"y": scores * 2, **classes_of(OUTPUT, scores), KEY: receiver.features[KEY_FEATURE]}
        v1.saved_model.simple_save(session, str(export), receiver.receiver_tensors, outputs)
    put_handouts(str(export), SPEC, None, finish_signatures(str(export)))
    return export


@pytest.fixture(scope="module")
def model(made: Path) -> ServedModel:
    return ServedModel.load(f"{made}/")


def test_it_knows_what_it_takes_and_gives(model: ServedModel) -> None:
    assert model.spec == SPEC


@pytest.mark.parametrize("key", [None, ["k", "ü"], np.array([b"k", "ü".encode()], object), tf.constant(["k", "ü"])])
@pytest.mark.parametrize(
    "columns",
    [
        {"größe/m": [0.75, 0.5], "word": ["x", "y"], "more": [1, 2]},
        {"größe/m": np.array([0.75, 0.5], np.float32), "word": np.array([b"x", b"y"], object)},
        {"größe/m": tf.constant([0.75, 0.5]), "word": tf.constant(["x", "y"])},
    ],
    ids=["lists", "arrays", "tensors"],
)
def test_it_answers_all_outputs_but_the_names_of_all_classes(model: ServedModel, columns: Any, key: Any) -> None:
    found = model.predict(columns, key)
    assert {name: values.tolist() for name, values in found.items()} == {
        "y": [[0.5, 1.5], [2.0, 0.0]],
        "class": [b"b", b"a"],
        "scores": [[0.25, 0.75], [1.0, 0.0]],
        "key": [b"", b""] if key is None else [b"k", "ü".encode()],
    }


def test_no_rows_have_no_answers(model: ServedModel) -> None:
    found = model.predict({"größe/m": [], "word": []})
    assert {name: values.shape for name, values in found.items()} == {
        "y": (0, 2),
        "class": (0,),
        "scores": (0, 2),
        "key": (0,),
    }


def test_a_column_that_is_missing_is_named(model: ServedModel) -> None:
    with pytest.raises(KeyError, match="word"):
        model.predict({"größe/m": [0.5]})


def test_columns_of_different_lengths_are_an_error(model: ServedModel) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="the inputs differ in their number of rows"):
        model.predict({"größe/m": [0.5, 0.25], "word": ["x"]})


def remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Any:
    return lambda folder: (folder / name).write_text(text)


SPEC_FILE = "assets.extra/serving.json"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove("saved_model.pb"), "is no export of this trainer, as it has no saved_model.pb: name an export"),
        (remove(SPEC_FILE), f"is no export of this trainer, as it has no {SPEC_FILE}: name an export"),
        (write("saved_model.pb", "x"), "cannot be loaded ("),
        (write(SPEC_FILE, "{"), "its serving.json cannot be read (Expecting"),
        (write(SPEC_FILE, "[]"), "its serving.json cannot be read ("),
        (
            write(SPEC_FILE, json.dumps({**SPEC.to_json(), "format": 99})),
            "cannot be read (format 99 where 1 is expected)",
        ),
    ],
)
def test_what_is_no_export_is_a_sentence(made: Path, tmp_path: Path, damage: Any, words: str) -> None:
    export = shutil.copytree(made, tmp_path / "it's")
    damage(export)
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        ServedModel.load(str(export))
    assert str(export) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_export_of_another_maker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape("has no saved_model.pb")):
        ServedModel.load(str(tmp_path / "absent"))


def whole(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")


def test_exports_are_found_from_wherever_one_points(tmp_path: Path) -> None:
    """An export, a folder of them, a job: best before final before latest, the newest of a kind."""
    job = tmp_path / "a job"
    whole(job / "export/latest/99", job / "export/latest/100")
    (job / "export/latest/101").mkdir()  # half written by another hand: no graph
    whole(job / "export/latest/temp-export/102")
    latest = str(job / "export/latest/100")
    for place in (job, job / "export", job / "export/latest", latest):
        assert latest_export(f"{place}") == latest_export(f"{place}/") == latest
    (job / "export/best").mkdir()
    (job / "export/best.json").write_text("{}")
    assert latest_export(str(job)) == latest
    whole(job / "export/final/90")
    assert latest_export(str(job)) == str(job / "export/final/90")
    whole(job / "export/best/80")
    assert latest_export(str(job)) == str(job / "export/best/80")
    assert latest_export(str(job / "export/final")) == str(job / "export/final/90")


def test_where_there_is_none_the_sentence_says_what_was_looked_for(tmp_path: Path) -> None:
    words = f"{tmp_path} is no export: looked for saved_model.pb in it, in folders called by a time, and in export/best"
    with pytest.raises(UsageError, match=re.escape(words)):
        latest_export(str(tmp_path))
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path}/absent is no folder")):
        latest_export(f"{tmp_path}/absent")

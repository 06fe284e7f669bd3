"""Exports are asked in a fresh process; one that was tampered with fails the job."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from trainer.job.columns import Column
from trainer.job.errors import VerificationFailed
from trainer.job.serving import KEY, Output, ServingSpec
from trainer.training.handouts import put_handouts
from trainer.training.serving import classes_of
from trainer.training.signatures import KEY_FEATURE, Served, build_receiver, finish_signatures
from trainer.training.verification import TOLERANCE, difference, main, verify, verify_exports

INF = float("inf")
NAN = float("nan")


def rows(*values: object, dtype: Any = np.float32) -> np.ndarray:
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ("served", "predicted", "units"),
    [
        pytest.param(rows(1.0, 2.0), [1.0, 2.0], 0.0, id="equal"),
        pytest.param(rows([0.25, 0.75]), [[0.25, 0.75]], 0.0, id="equal rows"),
        pytest.param(rows(0.0, TOLERANCE, dtype=float), [0.0, 0.0], 1.0, id="one tolerance from zero"),
        pytest.param(rows(-TOLERANCE / 2, dtype=float), [0.0], 0.5, id="half a tolerance below zero"),
        pytest.param(rows(1e6 + 10.00001, dtype=float), [1e6], 1.0, id="relative to large predictions"),
        pytest.param(rows(1.0, 2.0, 3.5, dtype=float), [1.0, 2.0, 3.0], 0.5 / (4 * TOLERANCE), id="the largest one"),
        pytest.param(rows(1, 2, dtype=np.int64), [1, 2], 0.0, id="whole numbers"),
        pytest.param(rows(1, 3, dtype=np.int64), [1, 2], 1 / (3 * TOLERANCE), id="another whole number"),
        pytest.param(rows(200, dtype=np.uint8), [201], 1 / (202 * TOLERANCE), id="bytes do not overflow"),
        pytest.param(rows(True, False, dtype=bool), [True, False], 0.0, id="equal truths"),
        pytest.param(rows(True, dtype=bool), [False], 1 / TOLERANCE, id="another truth"),
        pytest.param(rows(NAN, 1.0), [NAN, 1.0], 0.0, id="NaN in the same place"),
        pytest.param(rows(NAN, 1.0), [0.0, 1.0], INF, id="NaN served"),
        pytest.param(rows(0.0, 1.0), [NAN, 1.0], INF, id="NaN predicted"),
        pytest.param(rows(INF, -INF), [INF, -INF], 0.0, id="the same infinities"),
        pytest.param(rows(INF), [-INF], INF, id="another infinity"),
        pytest.param(rows(INF), [1.0], INF, id="infinity served"),
        pytest.param(rows(1.0), [INF], INF, id="infinity predicted"),
        pytest.param(rows(1.0, 2.0), [[1.0], [2.0]], INF, id="another rank"),
        pytest.param(rows(1.0, 2.0), [1.0, 2.0, 3.0], INF, id="rows missing"),
        pytest.param(rows(1.0), [1.0, 1.0], INF, id="would broadcast"),
        pytest.param(None, [1.0], INF, id="no such output"),
        pytest.param(rows(b"a", "ü".encode(), dtype=object), ["a", "ü"], 0.0, id="text"),
        pytest.param(rows(b"a", dtype=object), ["b"], INF, id="another text"),
        pytest.param(rows(1.0), ["1.0"], INF, id="a number for text"),
        pytest.param(rows(dtype=np.float32), [], 0.0, id="no rows"),
    ],
)
def test_difference(served: Any, predicted: list[Any], units: float) -> None:
    assert difference(served, predicted) == pytest.approx(units, rel=1e-6)


def edit_rows(export: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = Path(export, "assets.extra", "verification_rows.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An export that doubles `size in m` and greets `name`, with the rows that prove it."""

    export = str(tmp_path_factory.mktemp("made") / 'it\'s; a "model" ü')
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        size = v1.placeholder(tf.float32, [None], "size")
        name = v1.placeholder(tf.string, [None], "name")
        v1.saved_model.simple_save(
            session,
            export,
            {"size in m": size, "name": name},
            {"twice": 2.0 * size, "greeting": tf.strings.join(["hi ", name])},
        )
    Path(export, "assets.extra").mkdir()
    content = {
        "request": {"size in m": [0.5, 3.0], "name": ["ü", "b"]},
        "predictions": {"twice": [1.0, 6.0], "greeting": ["hi ü", "hi b"]},
    }
    Path(export, "assets.extra", "verification_rows.json").write_text(json.dumps(content))
    return export


@pytest.fixture
def export(made: str, tmp_path: Path) -> str:
    """A copy of it to tamper with."""
    return str(shutil.copytree(made, tmp_path / Path(made).name))


def record_of(export: str) -> dict[str, Any]:
    return json.loads(Path(export, "verification.json").read_text())


def test_a_sound_export_passes_with_a_record(export: str) -> None:
    assert verify(export)["passed"] is True
    record = record_of(export)
    assert record["passed"] is True
    assert record["rows"] == 2
    assert record["signatures"] == ["serving_default"]
    assert record["difference_in_tolerances"] == {"serving_default": {"twice": 0.0, "greeting": 0.0}}
    assert record["tensorflow"] == tf.__version__


def set_to(column: str, values: list[object]) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["predictions"].update({column: values})


TAMPERED = {
    "another number": (set_to("twice", [1.0, 6.01]), "output twice is off by"),
    "another text": (set_to("greeting", ["hi ü", "hi c"]), "output greeting is off by inf times"),
    "a row less": (set_to("twice", [1.0]), "output twice is off by inf times"),
    "an output that is not there": (set_to("thrice", [1.0, 2.0]), "output thrice is off by inf times"),
    "another request": (lambda content: content["request"].update({"size in m": [0.5, 4.0]}), "output twice is off"),
    "a request of another column": (lambda content: content["request"].pop("name"), "takes name, which is not known"),
}


@pytest.mark.parametrize(("change", "words"), TAMPERED.values(), ids=TAMPERED.keys())
def test_what_was_tampered_with_exits_with_4_and_a_sentence(
    export: str, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], object], words: str
) -> None:
    edit_rows(export, change)
    assert main([export]) == 4
    out = capsys.readouterr().out
    assert out.startswith(f"{export}: signature serving_default: {words}")
    assert out.count("\n") == 1
    assert record_of(export)["passed"] is False


def test_a_difference_within_the_tolerance_passes(export: str) -> None:
    edit_rows(export, set_to("twice", [1.0 + 1e-5, 6.0 - 5e-5]))
    record = verify(export)
    assert record["passed"] is True
    assert 0.4 < record["difference_in_tolerances"]["serving_default"]["twice"] < 1.0


def test_a_copy_is_not_loaded_again_and_a_copy_that_was_tampered_with_is_no_copy(
    export: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = tf.saved_model.load
    monkeypatch.setattr(tf.saved_model, "load", lambda path: loaded.append(path) or load(path))
    copy, tampered = (str(shutil.copytree(export, tmp_path / name)) for name in ("copy", "tampered"))
    edit_rows(tampered, set_to("twice", [1.0, 7.0]))
    assert main([export, copy, tampered]) == 4
    assert loaded == [export, tampered]
    assert record_of(copy) == record_of(export)
    assert [record_of(each)["passed"] for each in (export, copy, tampered)] == [True, True, False]


def test_an_export_whose_request_is_not_known_is_not_called_passed(export: str) -> None:
    edit_rows(export, lambda content: content.update({"request": None}))
    assert main([export]) == 0
    assert record_of(export)["passed"] is None


def test_a_fresh_process_verifies_and_fails_the_job_again_until_it_is_right(export: str, tmp_path: Path) -> None:
    bad = str(shutil.copytree(export, tmp_path / "bad"))
    edit_rows(bad, set_to("twice", [1.0, 7.0]))
    words = "signature serving_default: output twice is off"
    for exports in ([export, bad], [bad]):  # not skipped for having been looked at before
        with pytest.raises(VerificationFailed, match=re.escape(f"verification failed: {bad}: {words}")):
            verify_exports(exports)
    assert record_of(export)["passed"] is True
    before = os.stat(f"{export}/verification.json").st_mtime_ns
    verify_exports([export])
    assert os.stat(f"{export}/verification.json").st_mtime_ns == before
    verify_exports([])


def test_an_export_that_does_not_load_fails_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(VerificationFailed, match=r"verification failed: .*verification_rows\.json"):
        verify_exports([f"{tmp_path}/empty"])


OUTPUT = Output("y", "kind", "classification", ("a", "ü", "c"), True, "class", "classes", "scores")
SPEC = ServingSpec({"size in m": Column("float32"), "pair": Column("int64", (2,)), "word": Column("string")}, (OUTPUT,))
WORDS: list[Any] = ["x", "y,z", 'say "x"', "two\nlines"]


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A classifier with all signatures: scores are made of each of its columns."""
    export = str(tmp_path_factory.mktemp("complete") / "export")
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        receiver = build_receiver(Served(SPEC.features), dict)
        columns = receiver.features
        numbers = [columns["size in m"], tf.cast(tf.reduce_sum(columns["pair"], -1), tf.float32) / 10.0]
        raw = tf.stack([*numbers, tf.cast(tf.strings.length(columns["word"]), tf.float32) / 5.0], -1)
        outputs = {"y": raw, **classes_of(OUTPUT, tf.nn.softmax(raw)), KEY: columns[KEY_FEATURE]}
        ways = {"serving_default": receiver.receiver_tensors, **receiver.receiver_tensors_alternatives}
        builder = v1.saved_model.Builder(export)
        signatures = {name: v1.saved_model.predict_signature_def(inputs, outputs) for name, inputs in ways.items()}
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
        request = {"size in m": [0.1, 2.0, 0.3, 0.4], "pair": [[1, 2], [3, 4], [50, 6], [7, 8]], "word": WORDS}
        feed = {receiver.receiver_tensors[name]: values for name, values in request.items()}
        found = session.run({"y": raw, "scores": outputs["scores"]}, feed)
    put_handouts(export, SPEC, request, finish_signatures(export))
    rows = {"request": request, "predictions": {name: values.tolist() for name, values in found.items()}}
    Path(export, "assets.extra", "verification_rows.json").write_text(json.dumps(rows))
    return export


@pytest.fixture
def whole(complete: str, tmp_path: Path) -> str:
    """A copy of it to tamper with."""
    return str(shutil.copytree(complete, tmp_path / "whole"))


SIGNATURES = ["serving_default", "examples", "csv"]


def test_every_signature_is_asked(whole: str) -> None:
    assert main([whole]) == 0
    record = record_of(whole)
    assert record["signatures"] == SIGNATURES
    assert record["not_checked"] == []
    for found in record["difference_in_tolerances"].values():
        assert set(found) == {"y", "scores", "class", "classes", "key"}
        assert max(found.values()) < 0.1


def test_rows_without_a_key_column_and_with_one_are_both_known(whole: str) -> None:
    edit_rows(whole, lambda content: content["request"].update({KEY: ["k", "", "k,1", "ü"]}))
    assert verify(whole)["passed"] is True


def tamper(export: str, change: Callable[[Any], object]) -> None:
    """Change the signatures of an export."""
    path = Path(export, "saved_model.pb")
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(model.meta_graphs[0].signature_def)
    path.write_bytes(model.SerializeToString())


def swap(signature: str, one: str, other: str) -> Callable[[Any], object]:
    """Let an output of one signature be another tensor."""
    return lambda signatures: signatures[signature].outputs[one].CopyFrom(signatures[signature].outputs[other])


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("y", "scores", "output y is off by"),
        ("scores", "y", "output scores is off by"),
        ("key", "class", "output key is off by inf times"),
        ("class", "key", "output class is off by inf times"),
        ("classes", "key", "output classes is off by inf times"),
    ],
)
def test_a_signature_that_was_tampered_with_is_named(
    whole: str, capsys: pytest.CaptureFixture[str], signature: str, one: str, other: str, words: str
) -> None:
    tamper(whole, swap(signature, one, other))
    assert main([whole]) == 4
    assert capsys.readouterr().out.startswith(f"{whole}: signature {signature}: {words}")


@pytest.mark.parametrize("signature", ["examples", "csv"])
def test_a_signature_that_is_missing_is_named(whole: str, capsys: pytest.CaptureFixture[str], signature: str) -> None:
    tamper(whole, lambda signatures: signatures.pop(signature))
    assert main([whole]) == 4
    assert capsys.readouterr().out == f"{whole}: signature {signature}: it is missing\n"


@pytest.mark.parametrize("output", ["class", "classes", "key"])
def test_an_output_that_is_missing_is_named(whole: str, capsys: pytest.CaptureFixture[str], output: str) -> None:
    tamper(whole, lambda signatures: signatures["csv"].outputs.pop(output))
    assert main([whole]) == 4
    assert capsys.readouterr().out.startswith(f"{whole}: signature csv: output {output} is off by inf times")


def test_an_error_of_a_signature_is_told(whole: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines and examples that lack a column that the graph takes."""
    path = Path(whole, "assets.extra", "serving.json")
    spec = json.loads(path.read_text())
    del spec["features"]["pair"]
    path.write_text(json.dumps(spec))
    assert main([whole]) == 4
    out = capsys.readouterr().out
    assert out.startswith(f"{whole}: signature examples: ")
    assert out.count("\n") == 1
    problems = record_of(whole)["problems"]
    assert set(problems) == {"examples", "csv"}
    assert "pair" in problems["examples"]
    assert problems["csv"].startswith("assertion failed: [a line of csv needs 4 fields, or 5 with its key]")


def test_bytes_that_are_no_text_are_left_out_of_lines_only(whole: str) -> None:
    edit_rows(whole, lambda content: content["request"]["word"].__setitem__(0, {"b64": "/w=="}))
    assert verify(whole)["passed"] is True, "one byte, like x"
    edit_rows(whole, lambda content: content["request"].update({"word": [{"b64": "/w=="}] * 4}))
    record = verify(whole)
    assert record["signatures"] == ["serving_default", "examples"]
    assert record["not_checked"] == ["csv"]

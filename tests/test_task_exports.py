"""Exports as a client meets them: in another folder, in a process that never heard of this package."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from tests.data_files import tfrecord_bytes
from tests.runner import read_json, run, write_model

pytestmark = pytest.mark.xdist_group("exports")  # one job for most of these
CLIENT = pathlib.Path(__file__).with_name("export_client.py")
DEADLINE_SECS = 120.0
CLASSES = ["cold", "mid", "warm"]
ROWS, ROWS_ASKED = 64, 5

WORDS = """
    import tensorflow as tf
    from tensorflow import keras

    FEATURES = {"a word": "string", "size": ("float32", 0.5)}
    LABEL_COLUMN = "kind"
    KEY_COLUMN = "id"


    def build_model():
        model = keras.Sequential(
            [
                keras.layers.Dense(4, activation="tanh", input_shape=(2,), name="x"),
                keras.layers.Dense(3, activation="softmax", name="y"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model


    def analyze(batches):
        return {"words": sorted({word.decode() for batch in batches for word in batch["a word"]})}


    def preprocess(features, assets):
        words = tf.lookup.TextFileInitializer(
            assets["words"],
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        number = tf.lookup.StaticHashTable(words, -1).lookup(features["a word"])
        return {"x": tf.stack([tf.cast(number, tf.float32), features["size"]], -1)}
"""


def client_env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def ask(export: pathlib.Path, *questions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answers of a process of its own."""
    done = subprocess.run(
        [sys.executable, str(shutil.copy(CLIENT, export.parent)), str(export)],
        input=json.dumps(questions),
        cwd=export.parent,
        env=client_env(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["ours"] == [], "the client has met this package"
    answers: list[dict[str, Any]] = found["answers"]
    return answers


def question(signature: str, session: bool = False, **feeds: Any) -> dict[str, Any]:
    feeds = {**feeds.pop("columns", {}), **feeds}
    return {"signature": signature, "feeds": feeds, "session": session}


def export_of(folder: pathlib.Path, *flags: str) -> pathlib.Path:
    """Run a job; its final export, moved to where nothing of the job is."""
    run(folder, ["--model=model.py", "--job-dir=job", "--train-steps=4", "--exporters=final", *flags]).ok()
    [made] = (folder / "job/export/final").iterdir()
    assert read_json(made / "verification.json")["passed"] is True
    moved = folder / 'it\'s; a "moved" ü' / "1"
    moved.parent.mkdir()
    shutil.move(made, moved)
    shutil.rmtree(folder / "job")
    return moved


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The export of a classifier of text and a number, with a vocabulary, names of classes, a default and keys."""
    folder, source = tmp_path_factory.mktemp("words"), random.Random(0)
    write_model(folder / "model.py", WORDS)
    kinds = {"red": "warm", '"gr,een"': "mid", "blau ü": "cold"}
    rows = [f"00{number},{word},{source.random():.4f},{kinds[word]}" for number, word in enumerate([*kinds] * 30)]
    (folder / "data.csv").write_text("id,a word,size,kind\n" + "\n".join(rows) + "\n")
    return export_of(folder, "--train-files=data.csv")


@pytest.fixture(scope="module")
def known(words: pathlib.Path) -> dict[str, Any]:
    """The rows that verified it: `request` and `predictions`."""
    found: dict[str, Any] = read_json(words / "assets.extra/verification_rows.json")
    return found


def assert_predicted(answer: Mapping[str, Any], known: Mapping[str, Any], keys: Sequence[str]) -> None:
    """All outputs of the first rows, from raw scores to names."""
    rows = len(keys)
    predicted = known["predictions"]["y"][:rows]
    assert set(answer) == {"y", "class", "classes", "scores", "key"}
    assert answer["key"] == list(keys)
    for name in ("y", "scores"):
        for found, wanted in zip(answer[name], predicted, strict=True):
            assert found == pytest.approx(wanted, abs=1e-5)
    assert answer["classes"] == [CLASSES] * rows
    assert answer["class"] == [CLASSES[scores.index(max(scores))] for scores in answer["scores"]]


def lines_of(request: Mapping[str, Any]) -> list[str]:
    quoted = ['"' + word.replace('"', '""') + '"' for word in request["a word"][:ROWS_ASKED]]
    return [f"{word},{size}" for word, size in zip(quoted, request["size"], strict=False)]


def examples_of(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"a word": [request["a word"][row]], "size": [request["size"][row]]} for row in range(ROWS_ASKED)]


@pytest.fixture(scope="module")
def asked(words: pathlib.Path, known: dict[str, Any]) -> list[tuple[dict[str, Any], Any]]:
    """Questions with the keys that have to come out, or what else; all in one conversation with one process."""
    request = known["request"]
    columns = {name: request[name][:ROWS_ASKED] for name in ("a word", "size")}
    keys, ids = [f"k {row}" for row in range(ROWS_ASKED)], request["key"][:ROWS_ASKED]
    lines, examples = lines_of(request), examples_of(request)
    inside = [{**each, "id": [key]} for each, key in zip(examples, ids, strict=True)]
    with_ids = [f"{key},{line}" for key, line in zip(ids, lines, strict=True)]
    instances = read_json(words / "request.json")["instances"]
    sent = {name: [row[name] for row in instances] for name in instances[0]}
    ready = (words / "request.csv").read_text().splitlines()
    return [
        (question("serving_default", columns=columns, key=keys), keys),
        (question("serving_default", columns=columns, key=[]), [""] * ROWS_ASKED),
        (question("serving_default", columns=sent), ids[:3]),
        (question("examples", examples=examples, key=keys), keys),
        (question("examples", examples=inside, key=[]), ids),
        (question("csv", csv=lines, key=keys), keys),
        (question("csv", csv=with_ids, key=[]), ids),
        (question("csv", csv=ready, key=[]), ids[:3]),
        (question("csv", csv=ready, key=["", "", ""]), ids[:3]),
        (question("serving_default", session=True, columns=columns), [""] * ROWS_ASKED),
        (question("examples", session=True, examples=inside), ids),
        (question("csv", session=True, csv=with_ids), ids),
        (question("csv", session=True, csv=lines, key=keys), keys),
        (question("serving_default", columns={"a word": ["red"], "size": [0.5]}, key=["k"]), "half"),
        (question("csv", csv=["k,red,"], key=[]), "half"),
        (question("examples", examples=[{"a word": ["red"], "id": ["k"]}], key=[]), "half"),
        (question("csv", csv=["k,red,much"], key=[]), "error"),
        (question("csv", csv=["red"], key=[]), "error"),
        (question("examples", examples=[{"size": [0.5]}], key=[]), "error"),
    ]


@pytest.fixture(scope="module")
def answers(words: pathlib.Path, asked: list[tuple[dict[str, Any], Any]]) -> list[tuple[dict[str, Any], Any]]:
    """Answers with what has to come out."""
    found = ask(words, *(each for each, _ in asked))
    return [(answer, expected) for answer, (_, expected) in zip(found, asked, strict=True)]


def test_each_signature_answers_a_process_that_knows_only_the_folder(
    answers: list[tuple[dict[str, Any], Any]], known: dict[str, Any]
) -> None:
    """Also what lies ready in request.json and request.csv; and the loader of TensorFlow 1, which needs no key."""
    assert known["request"]["key"][:3] == ["000", "001", "002"]
    whole = [(answer, expected) for answer, expected in answers if isinstance(expected, list)]
    assert len(whole) == 13
    for answer, keys in whole:
        assert_predicted(answer, known, keys)


def test_missing_values_follow_their_default_in_each_signature(answers: list[tuple[dict[str, Any], Any]]) -> None:
    columns, csv, examples = (answer for answer, expected in answers if expected == "half")
    assert columns == csv == examples
    assert columns["key"] == ["k"]


def test_what_is_malformed_is_an_error(answers: list[tuple[dict[str, Any], Any]]) -> None:
    found = [answer for answer, expected in answers if expected == "error"]
    assert found == [{"error": "InvalidArgumentError"}] * 3


def test_a_request_may_leave_the_key_out(words: pathlib.Path) -> None:
    """Which TensorFlow Serving goes by: the signatures hold a default."""
    model = saved_model_pb2.SavedModel.FromString((words / "saved_model.pb").read_bytes())
    [graph] = model.meta_graphs
    assert {name: sorted(each.inputs) for name, each in graph.signature_def.items()} == {
        "serving_default": ["a word", "key", "size"],
        "examples": ["examples", "key"],
        "csv": ["csv", "key"],
    }
    for signature in graph.signature_def.values():
        assert list(signature.defaults) == ["key"]
        default = signature.defaults["key"]
        assert default.dtype == signature.inputs["key"].dtype
        assert [each.size for each in default.tensor_shape.dim] == [0]


def test_the_vocabulary_travels(words: pathlib.Path) -> None:
    assert (words / "assets/words.txt").read_text() == "blau ü\ngr,een\nred\n"
    assert not (words.parents[1] / "job").exists(), "the answers cannot be of the job's own"


def blocks(readme: pathlib.Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme.read_text(), re.DOTALL)


def test_the_readmes_python_runs_as_it_stands(words: pathlib.Path) -> None:
    [code] = blocks(words / "README.md", "python")
    command = [sys.executable, "-W", "error::SyntaxWarning", "-c", code]
    done = subprocess.run(
        command, cwd=words, env=client_env(), capture_output=True, text=True, timeout=DEADLINE_SECS, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("b'002'") == 2, "the keys of both signatures"


def test_the_readmes_saved_model_cli_runs_as_it_stands(words: pathlib.Path) -> None:
    commands = [line for block in blocks(words / "README.md", "sh") for line in block.splitlines()]
    runs = [line for line in commands if line.startswith("saved_model_cli run")]
    assert [re.findall("--signature_def ([a-z_]+)", line) for line in runs] == [["serving_default"], ["csv"]]
    env = {**client_env(), "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    script = " && ".join(line for line in commands if line.startswith("saved_model_cli"))
    done = subprocess.run(
        ["sh", "-c", script], cwd=words, env=env, capture_output=True, text=True, timeout=DEADLINE_SECS, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("b'000'") == 2, "the keys of both signatures"
    assert "signature_def['examples']" in done.stdout


def test_the_readmes_requests_are_what_rest_takes(words: pathlib.Path) -> None:
    """Each row has every input, and bytes come as b64."""
    posts = [shlex.split(line) for block in blocks(words / "README.md", "sh") for line in block.splitlines()]
    posts = [words for words in posts if words[0] == "curl"]
    assert posts[0][:3] == ["curl", "-d", "@request.json"]
    csv, examples = (json.loads(each[2]) for each in posts[1:])
    assert (csv["signature_name"], examples["signature_name"]) == ("csv", "examples")
    for body in (csv, examples):
        assert {frozenset(row) for row in body["instances"]} == {frozenset({body["signature_name"], "key"})}
    assert [row["csv"] for row in csv["instances"]] == (words / "request.csv").read_text().splitlines()
    serialized = base64.b64decode(examples["instances"][0]["examples"]["b64"])
    first = read_json(words / "request.json")["instances"][0]
    assert first["a word"].encode() in serialized


SEVERAL = """
    from tensorflow import keras


    def build_model():
        pair, size = keras.Input((2,), name="pair"), keras.Input((1,), name="size")
        joined = keras.layers.Concatenate()([pair, size])
        heads = [
            keras.layers.Dense(3, name="kind"),
            keras.layers.Dense(1, name="alarm", activation="sigmoid"),
            keras.layers.Dense(1, name="cost"),
        ]
        model = keras.Model([pair, size], [head(joined) for head in heads])
        losses = [
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "binary_crossentropy",
            "mse",
        ]
        model.compile("sgd", losses)
        return model
"""


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The export of a model with logits, a probability and a number, of a list and a number.

    The files are TFRecords with whole numbers for one of its columns and for the keys.
    """
    folder, source = tmp_path_factory.mktemp("several"), random.Random(0)
    write_model(folder / "model.py", SEVERAL)
    rows = [
        {"pair": [source.random(), source.random()], "size": number, "kind": "abc"[number % 3]}
        | {"alarm": ["no", "yes"][number % 2], "cost": source.random(), "id": 1000 + number}
        for number in range(70)
    ]
    (folder / "data.tfrecord").write_bytes(tfrecord_bytes(rows))
    return export_of(folder, "--train-files=data.tfrecord", "--key-column=id")


def test_several_outputs_a_list_and_whole_numbers_of_tfrecords(several: pathlib.Path) -> None:
    import numpy as np

    known = read_json(several / "assets.extra/verification_rows.json")
    pairs, sizes = known["request"]["pair"], known["request"]["size"]
    assert len(pairs) == ROWS
    lines = [f"{a},{b},{size}" for (a, b), size in zip(pairs, sizes, strict=True)]
    ids = list(range(1000, 1000 + ROWS))
    examples = [
        {"pair": pair, "size": [int(size)], "id": [number]}
        for pair, size, number in zip(pairs, sizes, ids, strict=True)
    ]
    answers = ask(
        several,
        question("serving_default", columns={"pair": pairs, "size": sizes}, key=list(map(str, ids))),
        question("examples", examples=examples, key=[]),
        question("csv", csv=[f"{number},{line}" for number, line in zip(ids, lines, strict=True)], key=[]),
    )
    for answer in answers:
        about = {f"{output}_{name}" for output in ("kind", "alarm") for name in ("class", "classes", "scores")}
        assert set(answer) == {"kind", "alarm", "cost", "key"} | about
        for output in ("kind", "alarm", "cost"):
            np.testing.assert_allclose(answer[output], known["predictions"][output], atol=1e-5)
        logits = np.asarray(answer["kind"])
        softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(answer["kind_scores"], softmax, atol=1e-6)
        assert answer["kind_class"] == ["abc"[number] for number in logits.argmax(-1)]
        yes = np.asarray(answer["alarm"])
        np.testing.assert_allclose(answer["alarm_scores"], np.concatenate([1 - yes, yes], -1), atol=1e-6)
        assert answer["alarm_class"] == [["no", "yes"][int(each > 0.5)] for [each] in yes]
        assert answer["alarm_classes"] == [["no", "yes"]] * ROWS
        assert answer["key"] == list(map(str, ids))
    assert [row["key"] for row in read_json(several / "request.json")["instances"]] == ["1000", "1001", "1002"]


FUNCTIONS = """
    import tensorflow as tf
    from tensorflow import keras


    def build_model():
        # called like an operation of the serving graph's head: names there know no capitals
        model = keras.Sequential([keras.layers.Dense(1, input_shape=(2,), name="size")])
        model.compile("sgd", "mse")
        return model


    def input_fn(mode, batch_size):
        size = tf.random.stateless_uniform([200, 2], [1, 0])
        rows = tf.data.Dataset.from_tensor_slices(({"size": size}, tf.reduce_sum(size, 1, keepdims=True)))
        return rows.batch(batch_size)
"""
OWN_RECEIVER = """

    def serving_input_receiver_fn():
        size = tf.compat.v1.placeholder(tf.float32, [None, 2], name="size")
        return tf.estimator.export.ServingInputReceiver({"size": size}, {"size": size})
"""


def test_an_input_fn_has_the_same_signatures(tmp_path: pathlib.Path) -> None:
    write_model(tmp_path / "model.py", FUNCTIONS)
    export = export_of(tmp_path)
    known = read_json(export / "assets.extra/verification_rows.json")
    size, name = known["request"]["size"][:2], next(iter(known["predictions"]))
    lines = [f"k{row},{a},{b}" for row, (a, b) in enumerate(size)]
    answers = ask(
        export,
        question("serving_default", size=size, key=["k0", "k1"]),
        question("examples", examples=[{"size": each} for each in size], key=["k0", "k1"]),
        question("csv", csv=lines, key=[]),
    )
    for answer in answers:
        assert answer["key"] == ["k0", "k1"]
        assert [row[0] for row in answer[name]] == pytest.approx(
            [row[0] for row in known["predictions"][name][:2]], abs=1e-5
        )


def test_a_receiver_of_their_own_is_exported_as_it_is(tmp_path: pathlib.Path) -> None:
    write_model(tmp_path / "model.py", FUNCTIONS + OWN_RECEIVER)
    export = export_of(tmp_path)
    assert read_json(export / "verification.json")["signatures"] == ["serving_default"]
    answer, with_key = ask(
        export, question("serving_default", size=[[0.5, 1.0]]), question("serving_default", size=[[0.5, 1.0]], key=[])
    )
    assert set(answer) == set(read_json(export / "assets.extra/verification_rows.json")["predictions"])
    assert with_key == {"error": "KeyError"}, "it is no input"
    assert "key" not in read_json(export / "request.json")["instances"][0]
    assert not (export / "request.csv").exists()
    assert "`key`" not in (export / "README.md").read_text()


def test_a_feature_called_key_is_one_sentence(tmp_path: pathlib.Path) -> None:
    write_model(
        tmp_path / "model.py",
        """
        from tensorflow import keras


        def build_model():
            model = keras.Sequential([keras.layers.Dense(1, input_shape=(2,), name="x")])
            model.compile("sgd", "mse")
            return model
        """,
    )
    (tmp_path / "data.csv").write_text("key,a,y\n" + "1,2,3\n" * 9)
    done = run(tmp_path, ["--model=model.py", "--train-files=data.csv", "--label-column=y", "--job-dir=job"])
    assert done.exit_code == 2
    assert "a feature is called key" in done.sentences[-1]

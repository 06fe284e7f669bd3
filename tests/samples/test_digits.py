"""The digits sample: images as columns, a split that holds, and one command that makes a model that can read."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.runner import read_json, run
from trainer.samples import digits
from trainer.samples.digits import BRIGHTEST, SIDE, build_model, prepare_data
from trainer.training.files import match_files
from trainer.training.readers import open_reader

pytestmark = pytest.mark.xdist_group("digits")  # the files are written once for all of these

COLUMNS = [f"pixel_{number}" for number in range(64)]
BAR = 0.97


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


def images_of(pattern: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ([n, 8, 8]) and digits ([n])."""
    rows: list[list[str]] = []
    for path in match_files([pattern], "--train-files"):
        with open(path, encoding="utf-8", newline="") as file:
            header, *more = csv.reader(file)
            assert header == [*COLUMNS, "digit"]
            rows += more
    values = np.array(rows, int)
    return values[:, :-1].reshape(-1, SIDE, SIDE), values[:, -1]


def middle(image: np.ndarray) -> bytes:
    """What moving an image by a pixel leaves whole."""
    return bytes(image[1:-1, 1:-1].astype(np.uint8).tobytes())


def test_the_data_are_what_the_docstring_says(patterns: dict[str, str]) -> None:
    train, held_out = (images_of(patterns[role])[0] for role in ("train_files", "eval_files"))
    assert len(train) % 9 == 0
    assert len(train) // 9 + len(held_out) == 1797
    assert len(held_out) / 1797 == pytest.approx(0.2, abs=0.01)
    assert (min(train.min(), held_out.min()), max(train.max(), held_out.max())) == (0, BRIGHTEST)
    assert set(images_of(patterns["eval_files"])[1]) == set(range(10))


def test_no_image_stands_on_both_sides_moved_or_not(patterns: dict[str, str]) -> None:
    train, held_out = (images_of(patterns[role])[0] for role in ("train_files", "eval_files"))
    originals = {
        middle(np.pad(image, 1)[down : down + 8, right : right + 8])
        for image in held_out
        for down in range(3)
        for right in range(3)
    }
    assert not originals & {middle(image) for image in train}


def test_copies_are_moved_by_a_pixel_at_most_and_do_not_stand_together(patterns: dict[str, str]) -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    copies = list(digits._shifts(image))
    assert len({copy.tobytes() for copy in copies}) == 9
    assert (copies[4] == image).all()
    assert (copies[0][1:, 1:] == image[:-1, :-1]).all()
    assert (copies[0][0] == 0).all()
    for path in match_files([patterns["train_files"]], "--train-files"):
        labels = images_of(path)[1]
        assert (labels[1:] == labels[:-1]).mean() < 0.13


def test_the_reader_of_users_files_takes_pixels_for_numbers(patterns: dict[str, str]) -> None:
    reader = open_reader(match_files([patterns["train_files"]], "--train-files"))
    assert list(reader.columns) == [*COLUMNS, "digit"]
    assert {reader.column(name).kind for name in reader.columns} == {"int64"}


def test_a_second_call_writes_nothing(patterns: dict[str, str], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {str(path): path.stat().st_mtime_ns for path in cache.rglob("*")}
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(digits, "_digits", lambda: pytest.fail("the data were read again"))
    assert prepare_data() == patterns
    assert {str(path): path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_the_model_takes_the_pixels_together() -> None:
    tf.keras.backend.clear_session()
    model = build_model(filters=2)
    assert (model.input_names, model.input_shape) == (["pixel"], (None, 64))
    shares = model(tf.fill([3, 64], 16.0)).numpy()
    np.testing.assert_allclose(shares.sum(axis=1), [1, 1, 1], rtol=1e-5)


@pytest.mark.slow
def test_one_command_meets_the_bar(cache: Path, patterns: dict[str, str], tmp_path: Path) -> None:
    """Held-out accuracy, with defaults and nothing else."""
    run(tmp_path, ["--model=trainer.samples.digits"], env={"XDG_CACHE_HOME": str(cache)}, deadline_secs=250).ok()
    result = read_json(tmp_path / "runs" / "digits" / "result.json")
    assert (result["status"], result["evaluated_on"]) == ("finished", "eval_files")
    assert result["metrics"]["accuracy"] >= BAR

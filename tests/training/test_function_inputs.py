"""A module with functions of its own for its data, through the door."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = """
import tensorflow as tf
from tensorflow import keras

def build_model():
    model = keras.Sequential([
        keras.layers.Dense(3, input_shape=(2,), name="size"), keras.layers.Dense(1, name="weight")])
    model.compile("sgd", "mse")
    return model

def rows(mode):
    seed = 1 if mode == "train" else 2
    size = tf.random.stateless_uniform([200, 2], [seed, 0])
    return tf.data.Dataset.from_tensor_slices(({"size": size}, tf.reduce_sum(size, 1, keepdims=True)))
"""
INPUT_FN = """
def input_fn(mode, batch_size):
    return rows(mode).shuffle(200).batch(batch_size)
"""
OWN_RECEIVER = """
def serving_input_receiver_fn():
    examples = tf.compat.v1.placeholder(tf.string, [None], name="examples")
    features = tf.io.parse_example(examples, {"size": tf.io.FixedLenFeature([2], tf.float32)})
    return tf.estimator.export.ServingInputReceiver(features, {"examples": examples})
"""


def run(folder: pathlib.Path, text: str, *flags: str) -> subprocess.CompletedProcess[str]:
    (folder / "mine.py").write_text(text)
    command = [sys.executable, "-m", "trainer.task", f"--model={folder / 'mine.py'}", f"--job-dir={folder / 'job'}"]
    return subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_an_input_fn_trains_evaluates_and_its_exports_are_verified(tmp_path: pathlib.Path) -> None:
    done = run(tmp_path, MODEL + INPUT_FN, "--train-steps=30", "--batch-size=50")
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "job/result.json").read_text())
    assert result["global_step"] == 30  # 4 batches a pass: the training dataset is repeated
    assert result["evaluated_on"] == "input_fn"
    for export in result["exports"].values():
        assert json.loads((pathlib.Path(ROOT, export) / "verification.json").read_text())["passed"] is True
    more = run(tmp_path, MODEL + INPUT_FN, "--train-steps=40", "--batch-size=50")
    assert more.returncode == 0, more.stderr[-2000:]
    assert "input_fn starts its data anew" in more.stderr


def test_what_a_receiver_of_their_own_takes_is_not_known_and_that_is_said(tmp_path: pathlib.Path) -> None:
    done = run(tmp_path, MODEL + INPUT_FN + OWN_RECEIVER, "--train-steps=5", "--exporters=final")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "not verified" in done.stdout
    export = json.loads((tmp_path / "job/result.json").read_text())["exports"]["final"]
    assert json.loads((pathlib.Path(ROOT, export) / "verification.json").read_text())["passed"] is None


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        pytest.param(INPUT_FN, [], ["--train-steps", "cannot be counted"], id="no-steps"),
        pytest.param(INPUT_FN, ["--train-files=a.csv", "--train-steps=1"], ["not read"], id="files-too"),
        pytest.param("def input_fn():\n    return 3\n", ["--train-steps=1"], ["returned int"], id="no-dataset"),
        pytest.param(
            "def input_fn():\n    return 1 / 0\n", ["--train-steps=1"], ["mine.py:", "ZeroDivision"], id="raises"
        ),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: pathlib.Path, text: str, flags: list[str], words: list[str]) -> None:
    done = run(tmp_path, MODEL + text, *flags)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr.splitlines()[-1] for word in words), done.stderr

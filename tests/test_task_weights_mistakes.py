"""What users get wrong with weights: one sentence each."""

from __future__ import annotations

import dataclasses
import pathlib
import textwrap

import pytest

from tests.runner import run, write_model

pytestmark = pytest.mark.xdist_group("task_weights_mistakes")
MODEL = """
    import keras


    def build_model(loss: str = "sparse_categorical_crossentropy", heads: int = 1):
        inputs = keras.Input((1,), name="a")
        outputs = [keras.layers.Dense(3, "softmax", name=name)(inputs) for name in ("y", "z")[:heads]]
        model = keras.Model(inputs, outputs)
        model.compile("sgd", loss)
        return model
"""
REGRESSION = MODEL.replace('Dense(3, "softmax"', "Dense(1")
INPUT_FN = """

    import tensorflow as tf


    def input_fn():
        return tf.data.Dataset.from_tensors(([[1.0]], [0], [1.0]))
"""


def rows(*weights: object, label: str = "red") -> str:
    lines = [f"{number},{label},{number % 3},{weight}" for number, weight in enumerate(weights)]
    return "\n".join(["a,y,z,w", *lines]) + "\n"


SOUND = rows(*[1, 0.5] * 10) + rows(*[2] * 9, label="blue").partition("\n")[2]


@dataclasses.dataclass(frozen=True)
class Mistake:
    """Flags, what the sentence must say, and the files where they are not the usual ones."""

    flags: tuple[str, ...]
    words: tuple[str, ...]
    train: str = SOUND
    model: str = MODEL
    reads_files: bool = True


MISTAKES = {
    "no such class": Mistake(
        ("--class-weights", "green=2", "blue=3"),
        ("--class-weights=green=2 blue=3: there is no class green: name blue, red",),
    ),
    "all classes weigh 0": Mistake(
        ("--label-column=z", "--class-weights", "0=0", "1=0", "2=0"), ("--class-weights=0=0 1=0 2=0", "all classes")
    ),
    "a number that is no class": Mistake(
        ("--label-column=z", "--class-weights", "3=2"), ("there is no class 3: name 0, 1, 2",)
    ),
    "a regression": Mistake(
        ("--class-weights=balanced", "--loss=mse", "--label-column=z"),
        ("--class-weights=balanced", "y is no classification", "--weight-column"),
        model=REGRESSION,
    ),
    "several outputs": Mistake(
        ("--class-weights=balanced", "--heads=2"), ("--class-weights=balanced", "one output only", "y, z")
    ),
    "no such column": Mistake(("--weight-column=weight",), ("--weight-column=weight", "no such column", "a, y, z, w")),
    "words for weights": Mistake(("--weight-column=w",), ("weight column w holds text",), rows(*["heavy"] * 30)),
    "one word among the weights": Mistake(
        ("--weight-column=w",), ("train.csv, line 21, column w: found 'heavy'",), rows(*[1] * 19, "heavy", *[1] * 10)
    ),
    "a negative weight": Mistake(
        ("--weight-column=w",), ("train.csv, line 4, column w: found -0.5", "at least 0"), rows(1, 2, -0.5, 1)
    ),
    "a weight that is NaN, far behind": Mistake(
        ("--weight-column=w",), ("train.csv, line 1202, column w: found nan",), rows(*[1] * 1200, "nan")
    ),
    "weights that are all 0": Mistake(("--weight-column=w",), ("all weights", "column w, are 0"), rows(*[0] * 1100)),
    "the label as weight": Mistake(
        ("--weight-column=z", "--label-column=z"), ("weight column z is the label of y too",)
    ),
    "a column for an input_fn": Mistake(
        ("--weight-column=w",), ("--weight-column=w is not read", "weights)"), model=MODEL + INPUT_FN, reads_files=False
    ),
    "balanced with an input_fn": Mistake(
        ("--class-weights=balanced",), ("input_fn", "--class-weights 0=1"), model=MODEL + INPUT_FN, reads_files=False
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_sentence(mistake: Mistake, tmp_path: pathlib.Path) -> None:
    write_model(tmp_path / "model.py", textwrap.dedent(mistake.model))
    (tmp_path / "train.csv").write_text(mistake.train)
    (tmp_path / "eval.csv").write_text(SOUND)
    files = ("--train-files=train.csv", "--eval-files=eval.csv") if mistake.reads_files else ()
    done = run(tmp_path, ["--model=model.py", "--train-steps=40", "--exporters=none", *files, *mistake.flags])
    assert done.exit_code == 2, done.err
    for word in mistake.words:
        assert word in done.sentences[-1]
    assert done.sentences[-1].startswith("trainer.task: ")
    assert "Traceback" not in done.err

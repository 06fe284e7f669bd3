"""A job dir that is damaged is mended aloud; one that holds another job is refused in words."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from tests.runner import (
    Done,
    assert_finished,
    assert_same_weights,
    checkpoint_steps,
    exports,
    flags,
    read_evaluations,
    read_json,
    run,
    snapshot,
    write_csv,
    write_model,
    write_project,
)

pytestmark = pytest.mark.xdist_group("task_job_dir")

CLASSIFIER = """
    import tensorflow as tf


    def build_model(units: int = 8, learning_rate: float = 0.01, classes: int = 3):
        inputs = tf.keras.Input((4,), name="x")
        hidden = tf.keras.layers.Dense(units, activation="relu")(inputs)
        model = tf.keras.Model(inputs, tf.keras.layers.Dense(classes, activation="softmax", name="y")(hidden))
        model.compile(tf.keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", ["accuracy"])
        return model
"""
STEPS = 60
ARGV = flags("--exporters=none", "--eval-every-steps=20", steps=STEPS)
LONGER = flags("--exporters=none", "--eval-every-steps=20", steps=80)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = write_project(tmp_path_factory.mktemp("job_dir"), CLASSIFIER)
    for name in ("train.csv", "eval.csv"):
        name_labels(folder / name)
    run(folder, ARGV).ok()
    return folder


@pytest.fixture
def folder(finished: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return shutil.copytree(finished, tmp_path / "copy")


def name_labels(path: pathlib.Path) -> None:
    """Make three named classes of the numbers in the last column."""
    header, *rows = path.read_text().splitlines()
    pairs = [row.rpartition(",") for row in rows]
    named = [f"{left},{'low' if float(y) < -1 else 'high' if float(y) > 1 else 'middle'}" for left, _, y in pairs]
    path.write_text("\n".join([header, *named]) + "\n")


def damage(checkpoint: pathlib.Path) -> None:
    """Cut the values of a checkpoint short, as a crash of the machine does."""
    [data] = checkpoint.parent.glob(checkpoint.name + ".data-*")
    data.write_bytes(data.read_bytes()[:100])


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(folder: pathlib.Path, finished: pathlib.Path) -> None:
    damage(folder / "job" / "checkpoints" / "model.ckpt-60")
    done = run(folder, ARGV).ok()
    assert "checkpoint job/checkpoints/model.ckpt-60 is damaged" in done.err or "checkpoint 60" in done.err
    assert "step 41/60" in done.err
    assert list((folder / "job" / "checkpoints" / "damaged").glob("model.ckpt-60.data-*"))
    assert_same_weights(finished / "job", folder / "job", STEPS)
    assert read_evaluations(folder / "job") == read_evaluations(finished / "job")


@pytest.mark.parametrize("content", [b"\x00garbage\xff", b"", None], ids=["garbage", "empty", "missing"])
def test_a_spoilt_state_file_does_not_restart_at_0(content: bytes | None, folder: pathlib.Path) -> None:
    state = folder / "job" / "checkpoints" / "checkpoint"
    state.unlink()
    if content is not None:
        state.write_bytes(content)
    done = run(folder, LONGER).ok()
    assert "going on from checkpoint 60" in done.err
    assert "step 61/80" in done.err
    assert checkpoint_steps(folder / "job") == [0, 20, 40, 60, 80]


def test_no_readable_checkpoint_is_an_error_and_not_a_restart(folder: pathlib.Path) -> None:
    for step in checkpoint_steps(folder / "job"):
        damage(folder / "job" / "checkpoints" / f"model.ckpt-{step}")
    done = run(folder, ARGV)
    assert done.exit_code == 5
    assert done.sentences[-1].startswith("trainer.task: no checkpoint in job/checkpoints can be read")
    assert "--fresh" in done.sentences[-1]

    again = run(folder, ARGV)
    assert again.exit_code == 5, "the second attempt restarted at 0"
    run(folder, [*ARGV, "--fresh"]).ok()
    assert checkpoint_steps(folder / "job") == [0, 20, 40, 60]


def test_a_worse_evaluation_after_a_restart_leaves_the_best_export(tmp_path: pathlib.Path) -> None:
    """The learning rate jumps after 40 steps, so that everything later is worse; Estimator's BestExporter forgets."""
    source = """
        import keras


        def build_model():
            model = keras.Sequential([keras.layers.Dense(1, input_shape=(4,), name="x")])
            model.add(keras.layers.Dense(1, name="y"))
            rate = keras.optimizers.schedules.PiecewiseConstantDecay([40], [0.01, 50.0])
            model.compile(keras.optimizers.Adam(rate), "mse")
            return model
    """
    folder = write_project(tmp_path / "worse", source)
    job_dir = folder / "job"
    run(folder, flags("--eval-every-steps=20", steps=40)).ok()
    best = read_json(job_dir / "export" / "best.json")
    kept = snapshot(job_dir / "export" / "best")
    run(folder, flags("--eval-every-steps=20", steps=80)).ok()
    evaluations = read_evaluations(job_dir)
    assert min(evaluations[60]["loss"], evaluations[80]["loss"]) > evaluations[40]["loss"]
    assert read_json(job_dir / "export" / "best.json") == best
    assert snapshot(job_dir / "export" / "best") == kept
    assert assert_finished(job_dir, 80)["best"]["global_step"] == 40
    assert len(exports(job_dir, "latest")) > 1


def refused(done: Done, *words: str) -> None:
    assert done.exit_code == 2, done.err
    sentence = done.sentences[-1]
    assert sentence.startswith("trainer.task: job holds a run of another job: ")
    for word in (*words, "--fresh", "--job-dir"):
        assert word in sentence


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--units=9"], ["9", "8"]),
        (["--learning-rate=0.02"], ["learning", "0.02", "0.01"]),
        (["--classes=4"], ["4", "3"]),
    ],
    ids=["width", "learning rate", "classes"],
)
def test_another_model_is_refused(more: list[str], words: list[str], folder: pathlib.Path) -> None:
    before = snapshot(folder / "job")
    refused(run(folder, [*LONGER, *more]), *words)
    assert snapshot(folder / "job") == before


def test_another_layer_is_refused(folder: pathlib.Path) -> None:
    before = snapshot(folder / "job")
    write_model(folder / "model.py", CLASSIFIER.replace('activation="relu"', 'activation="tanh"'))
    refused(run(folder, LONGER), "tanh", "relu")
    assert snapshot(folder / "job") == before


def test_other_data_are_refused(folder: pathlib.Path) -> None:
    before = snapshot(folder / "job")
    train = folder / "train.csv"
    train.write_text(train.read_text().replace("low", "high", 1))
    refused(run(folder, LONGER), "train files differ")
    assert snapshot(folder / "job") == before


def test_another_order_of_columns_is_refused(folder: pathlib.Path) -> None:
    before = snapshot(folder / "job")
    refused(run(folder, [*LONGER, "--feature-map=x=x_1+x_0+x_2+x_3"]), "x goes with the column x_1+x_0+x_2+x_3")
    assert snapshot(folder / "job") == before


def test_what_a_refused_run_found_in_its_data_is_not_used(folder: pathlib.Path) -> None:
    """A first attempt with the wrong label column left its classes; the second one must not go by them."""
    for name in ("train.csv", "eval.csv"):
        header, *rows = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join([header + ",id", *(f"{row},n{i}" for i, row in enumerate(rows))]) + "\n")
    other = [word.replace("--job-dir=job", "--job-dir=other") for word in ARGV]
    mapped = "--feature-map=x=x_0+x_1+x_2+x_3"
    assert "200 different labels" in run(folder, [*other, mapped, "--label-column=id"]).sentences[-1]
    run(folder, [*other, mapped, "--label-column=y"]).ok()
    assert (folder / "other" / "assets" / "classes.txt").read_text() == "high\nlow\nmiddle\n"


def test_another_order_of_classes_is_put_right(folder: pathlib.Path) -> None:
    """Else every prediction would mean another class: a list that is not what the job wrote is found anew."""
    classes = folder / "job" / "assets" / "classes.txt"
    assert classes.read_text() == "high\nlow\nmiddle\n"
    classes.write_text("low\nhigh\nmiddle\n")
    run(folder, LONGER).ok()
    assert classes.read_text() == "high\nlow\nmiddle\n"


def test_data_that_only_moved_are_the_same(folder: pathlib.Path) -> None:
    (folder / "train.csv").rename(folder / "moved.csv")
    run(folder, [word.replace("train.csv", "moved.csv") for word in LONGER]).ok()
    assert checkpoint_steps(folder / "job")[-1] == 80


def test_before_the_first_step_a_changed_mind_costs_nothing(tmp_path: pathlib.Path) -> None:
    """A run that failed before any step left a manifest, and holds nothing to protect."""
    folder = write_project(tmp_path / "early")
    write_csv(folder / "train.csv", rows=40)
    text = (folder / "train.csv").read_text()
    (folder / "train.csv").write_text(text + "1,2,3,nan,nan\n" * 400)
    assert run(folder, flags("--exporters=none", "--learning-rate=0.1")).exit_code == 3
    write_csv(folder / "train.csv")
    run(folder, flags("--exporters=none", "--fresh")).ok()
    assert checkpoint_steps(folder / "job")[-1] == STEPS

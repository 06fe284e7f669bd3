"""latest, best and final: what is written, copied, kept and remembered across restarts."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tensorflow as tf

from trainer.job.config import Evaluation, Job
from trainer.job.errors import UsageError
from trainer.job.paths import JobPaths
from trainer.job.serving import Output, ServingSpec
from trainer.training import exporters
from trainer.training.data_watch import DataWatch
from trainer.training.exporters import (
    PARTS,
    BestValue,
    Exports,
    best_direction,
    build_exporters,
    check_export_dir,
    publish_export,
)
from trainer.training.inputs import FileInputs, plan_inputs
from trainer.training.readers import open_reader
from trainer.training.serving import Serving, with_serving_outputs
from trainer.training.verification import verify

pytestmark = pytest.mark.xdist_group("exporters")  # one Estimator is trained for all of these

v1 = tf.compat.v1
ROWS = 70


@pytest.mark.parametrize(
    ("names", "direction"),
    [
        ("loss y_loss mae mse mean_absolute_error mean_squared_logarithmic_error rmse root_mean_squared_error", "min"),
        ("mape msle logcosh log_cosh_error kullback_leibler_divergence poisson hinge squared_hinge", "min"),
        ("binary_crossentropy false_positives false_negatives", "min"),
        ("accuracy acc y_accuracy sparse_top_k_categorical_accuracy auc auc_1 AUC precision recall_2", "max"),
        (
            "precision_at_recall true_positives mean_io_u binary_iou cosine_similarity f1_score fbeta_score r2_score",
            "max",
        ),
    ],
)
def test_the_name_of_a_metric_tells_the_direction(names: str, direction: str) -> None:
    for name in names.split():
        assert best_direction(Evaluation(best_metric=name), [name]) == direction, name


@pytest.mark.parametrize("name", ["score", "y", "accuracy_loss", "sensitivity_at_specificity"])
def test_a_name_that_tells_no_direction_needs_the_users_word(name: str) -> None:
    words = f"--best-metric={name}: say whether less or more of it is better with --best-mode=min or max."
    with pytest.raises(UsageError, match=re.escape(words)):
        best_direction(Evaluation(best_metric=name), [name])
    assert best_direction(Evaluation(best_metric=name, best_mode="min"), [name]) == "min"
    assert best_direction(Evaluation(best_metric=name, best_mode="max"), [name]) == "max"


def test_the_users_word_comes_before_the_name() -> None:
    assert best_direction(Evaluation(best_metric="loss", best_mode="max"), []) == "max"


@pytest.mark.parametrize("mode", ["auto", "min"])
def test_a_metric_that_the_model_does_not_report_is_named(mode: Any) -> None:
    words = "--best-metric=acuracy: the model reports accuracy, loss; name one of these."
    with pytest.raises(UsageError, match=re.escape(words)):
        best_direction(Evaluation(best_metric="acuracy", best_mode=mode), ["accuracy"])
    assert best_direction(Evaluation(best_metric="loss"), ["accuracy"]) == "min"
    assert best_direction(Evaluation(best_metric="accuracy"), None) == "max", "what is reported is not always known"


def metrics(value: float, step: int, name: str = "loss") -> dict[str, float]:
    return {name: value, "global_step": step}


@pytest.fixture
def paths(tmp_path: Path) -> JobPaths:
    """A job directory with a folder for exports."""
    made = JobPaths(str(tmp_path / "it's; a job"))
    Path(made.exports).mkdir(parents=True)
    return made


@pytest.mark.parametrize(("direction", "best"), [("min", [3.0, 2.0, 1.0]), ("max", [3.0, 4.0])])
def test_the_best_value_survives_a_restart_after_each_evaluation(
    paths: JobPaths, direction: str, best: list[float]
) -> None:
    kept = []
    for step, value in enumerate([3.0, 3.0, 2.0, 4.0, 2.5, 1.0]):
        restarted = BestValue(paths, "loss", direction)
        if restarted.is_beaten_by(metrics(value, step)):
            restarted.put(metrics(value, step), f"export/{step}")
            kept.append(value)
    assert kept == best
    record = BestValue(paths, "loss", direction).record
    assert record
    assert record["value"] == best[-1]
    assert record["export"] == f"export/{record['global_step']}"


@pytest.mark.parametrize(("metric", "direction"), [("accuracy", "min"), ("loss", "max")])
def test_the_best_of_another_metric_is_none(paths: JobPaths, metric: str, direction: str) -> None:
    BestValue(paths, "loss", "min").put(metrics(0.1, 1), "export/1")
    other = BestValue(paths, metric, direction)
    assert other.record is None
    assert other.is_beaten_by(metrics(99.0, 2, metric))


def test_nan_is_better_than_nothing_only(paths: JobPaths) -> None:
    best = BestValue(paths, "loss", "min")
    assert best.is_beaten_by(metrics(float("nan"), 1))
    best.put(metrics(float("nan"), 1), "export/1")
    assert best.is_beaten_by(metrics(5.0, 2))
    best.put(metrics(5.0, 2), "export/2")
    assert not best.is_beaten_by(metrics(float("nan"), 3))


def model_fn(features: dict[str, tf.Tensor], labels: tf.Tensor, mode: str) -> tf.estimator.EstimatorSpec:
    """Predicts x + the step it was trained to, so that an export tells which checkpoint it is of."""
    step = v1.train.get_or_create_global_step()
    weight = v1.get_variable("weight", initializer=0.0, use_resource=True)
    predictions = {"y": features["x"] + weight}
    if mode == tf.estimator.ModeKeys.PREDICT:
        serving = {"serving_default": tf.estimator.export.PredictOutput(predictions)}
        return tf.estimator.EstimatorSpec(mode, predictions, export_outputs=serving)
    train = tf.group(weight.assign_add(1.0), step.assign_add(1))
    return tf.estimator.EstimatorSpec(mode, predictions, tf.reduce_mean(labels - labels), train)


def make_inputs(folder: Path) -> FileInputs:
    path = folder / "data.csv"
    path.write_text("x,y\n" + "".join(f"{number / 3},0\n" for number in range(ROWS)))
    x = tf.keras.Input((1,), name="x")
    model = tf.keras.Model(x, tf.keras.layers.Dense(1, name="y")(x))
    model.compile("sgd", "mse")
    reader, module = open_reader([str(path)]), ModuleType("model_file")
    module.__file__ = "model_file.py"
    return plan_inputs(module, model, Job.of({}), reader, reader, {}, DataWatch(reader.files))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> FileInputs:
    """A file of rows with one feature."""
    return make_inputs(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(inputs: FileInputs, tmp_path_factory: pytest.TempPathFactory) -> tuple[tf.estimator.Estimator, list[str]]:
    """An Estimator and its checkpoints of steps 1 to 4."""
    folder = str(tmp_path_factory.mktemp("checkpoints"))
    config = tf.estimator.RunConfig(folder, save_summary_steps=None, log_step_count_steps=None, keep_checkpoint_max=9)
    own = lambda features, labels, mode, config: model_fn(features, labels, mode)  # noqa: E731
    wrapped = with_serving_outputs(Serving(spec_of(inputs)))(own)
    estimator = tf.estimator.Estimator(wrapped, config=config)
    checkpoints = []
    for _ in range(4):
        estimator.train(lambda: inputs.train_dataset(0), steps=1)
        checkpoints.append(estimator.latest_checkpoint())
    return estimator, checkpoints


Trained = tuple[tf.estimator.Estimator, list[str]]


def spec_of(inputs: FileInputs) -> ServingSpec:
    return ServingSpec(inputs.served.columns, (Output("y", "y", "regression"),))


def exports_of(paths: JobPaths, inputs: FileInputs, keep: int = 3) -> Exports:
    return Exports(paths, inputs, keep, spec_of(inputs))


def rows_of(export: str) -> dict[str, Any]:
    return json.loads(Path(export, "assets.extra", "verification_rows.json").read_text())


def step_of(export: str) -> float:
    """What an export adds to its input is the step of its checkpoint."""
    serve = tf.saved_model.load(export).signatures["serving_default"]
    return float(serve(x=tf.constant([10.0]), key=tf.constant([], tf.string))["y"].numpy()[0, 0]) - 10.0


def test_an_export_holds_the_rows_that_prove_it(inputs: FileInputs, trained: Trained, paths: JobPaths) -> None:
    estimator, checkpoints = trained
    export = exports_of(paths, inputs).write("latest", estimator, checkpoints[1])
    assert Path(export).parent == Path(paths.export("latest"))
    rows = rows_of(export)
    assert rows["request"] == {"x": [number / 3 for number in range(64)]}
    assert rows["predictions"]["y"] == [[pytest.approx(number / 3 + 2.0)] for number in range(64)]
    assert step_of(export) == 2.0
    assert verify(export)["passed"] is True


def test_an_export_has_what_a_client_needs(inputs: FileInputs, trained: Trained, paths: JobPaths) -> None:
    estimator, checkpoints = trained
    export = Path(exports_of(paths, inputs).write("latest", estimator, checkpoints[1]))
    assert {path.name for path in export.iterdir()} <= PARTS
    assert {"request.json", "request.csv", "README.md"} <= {path.name for path in export.iterdir()}
    assert ServingSpec.from_json(json.loads((export / "assets.extra/serving.json").read_text())) == spec_of(inputs)
    assert set(tf.saved_model.load(str(export)).signatures) == {"serving_default", "examples", "csv"}


class Killed(BaseException):
    """In the place of kill -9."""


@pytest.mark.parametrize("at", ["export_saved_model", "finish_signatures", "put_handouts", "put_text", "rename"])
def test_a_kill_at_any_point_leaves_nothing_that_counts(
    inputs: FileInputs, trained: Trained, paths: JobPaths, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """After each of the steps that make an export whole, up to the one that gives it its name."""
    estimator, checkpoints = trained
    owner = {"export_saved_model": estimator, "rename": exporters.os}.get(at, exporters)

    def killed(*arguments: object, **named: object) -> None:
        raise Killed

    monkeypatch.setattr(owner, at, killed)
    with pytest.raises(Killed):
        exports_of(paths, inputs).write("latest", estimator, checkpoints[0])
    monkeypatch.undo()
    exports = exports_of(paths, inputs)
    assert exports.list("latest") == []
    exports.remove_unfinished()
    assert list(Path(paths.exports).glob("*/*")) == []
    assert step_of(exports.write("latest", estimator, checkpoints[0])) == 1.0


def test_what_somebody_keeps_beside_exports_stays(inputs: FileInputs, trained: Trained, paths: JobPaths) -> None:
    estimator, checkpoints = trained
    whole = exports_of(paths, inputs).write("latest", estimator, checkpoints[0])
    for name in ("my notes", "17", "temp-17", "18.unfinished"):
        Path(paths.export("latest"), name).mkdir()
    exports_of(paths, inputs).remove_unfinished()
    assert sorted(os.listdir(paths.export("latest"))) == [Path(whole).name, "my notes"]


def test_exports_of_one_second_have_names_of_their_own(
    inputs: FileInputs, trained: Trained, paths: JobPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all kinds, as a copy keeps its name."""
    estimator, checkpoints = trained
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    made = [exports_of(paths, inputs).write(kind, estimator, checkpoints[0]) for kind in ("best", "latest", "best")]
    assert [path.removeprefix(f"{paths.exports}/") for path in made] == [
        "best/1700000000",
        "latest/1700000001",
        "best/1700000002",
    ]


def test_one_checkpoint_is_exported_once_and_copied(inputs: FileInputs, trained: Trained, paths: JobPaths) -> None:
    estimator, checkpoints = trained
    exports = exports_of(paths, inputs)
    first = exports.write("latest", estimator, checkpoints[0])
    Path(first, "mark").write_text("of the first one")
    for kind in ("best", "final"):
        copy = exports.write(kind, estimator, checkpoints[0])
        assert copy == first.replace("/latest/", f"/{kind}/")
        assert Path(copy, "mark").read_text() == "of the first one"
        assert step_of(copy) == 1.0
    again = exports.write("latest", estimator, checkpoints[0])
    assert again == first
    other = exports.write("best", estimator, checkpoints[1])
    assert not Path(other, "mark").exists()
    assert [step_of(path) for path in exports.list("best")] == [1.0, 2.0]


@pytest.mark.parametrize("pace", [0.0, -3.0, 2.0], ids=["within a second", "the clock is set back", "slowly"])
def test_the_newest_are_kept(
    pace: float, inputs: FileInputs, trained: Trained, paths: JobPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of one that was removed is free, but a newer one that took it would be the next to go."""
    estimator, checkpoints = trained
    made = []
    for number, checkpoint in enumerate(checkpoints):
        now = 1_700_000_000.0 + pace * number
        monkeypatch.setattr("time.time", lambda now=now: now)
        made.append(exports_of(paths, inputs, 2).write("latest", estimator, checkpoint))
    assert exports_of(paths, inputs, 2).list("latest") == made[-2:]
    assert [step_of(path) for path in made[-2:]] == [3.0, 4.0]


def test_what_a_kill_left_is_no_export_and_is_removed(inputs: FileInputs, paths: JobPaths) -> None:
    latest, best = Path(paths.export("latest")), Path(paths.export("best"))
    left = (latest / "temp-1700000001", latest / "temp-export" / "1700000002", best / "1700000000.unfinished")
    for folder in (latest / "1700000000", *left):
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_text("x")
    exports = exports_of(paths, inputs)
    assert exports.list("latest") == [str(latest / "1700000000")]
    assert exports.list("best") == exports.list("final") == []
    exports.remove_unfinished()
    assert [path.name for path in latest.iterdir()] == ["1700000000"]
    assert not list(best.iterdir())


def test_what_each_exporter_wants(inputs: FileInputs, trained: Trained, paths: JobPaths) -> None:
    """Evaluations at steps 1 to 4, a restart before the third; the second is the best."""
    estimator, checkpoints = trained
    for part in ((1, 2), (3, 4)):
        exports, best = exports_of(paths, inputs), BestValue(paths, "loss", "min")
        exporters = build_exporters(("final", "best", "latest"), exports, best)
        assert [each.name for each in exporters] == ["latest", "best", "final"]
        for step in part:
            result = metrics({1: 5.0, 2: 1.0, 3: 3.0, 4: 2.0}[step], step)
            for exporter in exporters:
                exporter.export(estimator, "ignored", checkpoints[step - 1], result, step == 4)
    found = {kind: [step_of(path) for path in exports.list(kind)] for kind in ("latest", "best", "final")}
    assert found == {"latest": [2.0, 3.0, 4.0], "best": [1.0, 2.0], "final": [4.0]}
    assert best.record == {
        "metric": "loss",
        "direction": "min",
        "value": 1.0,
        "global_step": 2,
        "export": exports.list("best")[-1],
    }


def test_only_what_is_asked_for_is_exported(inputs: FileInputs, paths: JobPaths) -> None:
    best = BestValue(paths, "loss", "min")
    assert build_exporters((), exports_of(paths, inputs), best) == []
    assert [each.name for each in build_exporters(("best",), exports_of(paths, inputs), best)] == ["best"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_published_export_takes_the_place_of_an_older_one(
    inputs: FileInputs, trained: Trained, paths: JobPaths, tmp_path: Path, slash: str
) -> None:
    estimator, checkpoints = trained
    folder = f"{tmp_path}/a model{slash}"
    check_export_dir(folder)
    for checkpoint, step in ((checkpoints[0], 1.0), (checkpoints[1], 2.0)):
        export = exports_of(paths, inputs).write("final", estimator, checkpoint)
        publish_export(export, folder)
        assert step_of(folder.rstrip("/")) == step
        relative = sorted(str(path.relative_to(export)) for path in Path(export).rglob("*"))
        assert sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*")) == relative
        check_export_dir(folder)


def test_a_folder_with_anything_else_is_no_place_for_an_export(tmp_path: Path) -> None:
    check_export_dir(None)
    check_export_dir(str(tmp_path / "absent"))
    check_export_dir(str(tmp_path))
    (tmp_path / "saved_model.pb").write_text("x")
    check_export_dir(str(tmp_path))
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match=re.escape(f"--export-dir={tmp_path} holds thesis.tex, which is no part of")):
        check_export_dir(str(tmp_path))

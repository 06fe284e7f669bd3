"""What TensorBoard finds in the folder of a job, asked the way its plugins ask."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import pytest
from tensorboard.backend.event_processing import data_provider, event_accumulator, plugin_event_multiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from tests.runner import DENSE, flags, read_evaluations, run, write_model, write_project
from trainer.training.tensorboard import hyperparameters

pytestmark = pytest.mark.xdist_group("tensorboard")  # one job is trained for most of these
FAST = ("--no-report", "--exporters=none")
MODEL = DENSE.replace(
    "learning_rate: float = 0.01", 'learning_rate: float = 0.01, name: str = "net", bias: bool = True'
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A job of 60 steps, evaluated every 20, in FOLDER/job with its event files in FOLDER/logs."""
    folder = write_project(tmp_path_factory.mktemp("tensorboard") / "project")
    write_model(folder / "model.py", MODEL)
    run(folder, flags("--histograms", "--units=6", "--eval-every-steps=20", "--log-dir=logs", *FAST)).ok()
    return folder


def scalars(folder: pathlib.Path, tag: str) -> dict[int, float]:
    found = event_accumulator.EventAccumulator(str(folder), {event_accumulator.SCALARS: 0}).Reload()
    return {event.step: event.value for event in found.Scalars(tag)}


def sessions(folder: pathlib.Path) -> list[Any]:
    """The rows of the HParams page."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    context, request = backend_context.Context(base_plugin.TBContext(data_provider=provider)), RequestContext()
    experiment = context.experiment_from_metadata(
        request, "", True, context.hparams_metadata(request, ""), context.hparams_from_data_provider(request, "", None)
    )
    wanted = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=10, allowed_statuses=api_pb2.Status.values(), include_metrics=True
    )
    wanted.col_params.extend(api_pb2.ColParams(metric=each.name) for each in experiment.metric_infos)
    return list(list_session_groups.Handler(request, context, "", wanted).run().session_groups)


def test_training_loss_and_speed(folder: pathlib.Path) -> None:
    losses = scalars(folder / "logs", "loss")
    assert sorted(losses) == list(range(1, 61)), "a short job has every step"
    assert losses[60] < losses[1]
    assert all(rate > 0 for rate in scalars(folder / "logs", "examples_per_sec").values())


def test_evaluations_stand_beside_the_training_wherever_the_logs_go(folder: pathlib.Path) -> None:
    evaluations = read_evaluations(folder / "job")
    for metric in ("mae", "loss"):
        kept = {step: metrics[metric] for step, metrics in evaluations.items()}
        assert scalars(folder / "logs" / "eval", metric) == pytest.approx(kept)
        assert scalars(folder / "job" / "checkpoints" / "eval", metric) == pytest.approx(kept)
    assert sorted(evaluations) == [20, 40, 60]
    assert not (folder / "job" / "report.html").exists(), "--no-report"


def test_the_hparams_page_has_values_defaults_and_metrics(folder: pathlib.Path) -> None:
    [group] = sessions(folder / "logs")
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in group.hparams.items()}
    assert values == {
        "units": 6,
        "learning_rate": 0.01,
        "name": "net",
        "bias": True,
        "batch_size": 20,
        "seed": 0,
    }
    last = read_evaluations(folder / "job")[60]
    metrics = {(each.name.group, each.name.tag): each.value for each in group.metric_values}
    assert metrics == pytest.approx({("eval", "loss"): last["loss"], ("eval", "mae"): last["mae"]})
    [session] = group.sessions
    assert session.status == api_pb2.STATUS_SUCCESS
    assert session.start_time_secs < session.end_time_secs


def test_jobs_below_one_folder_are_rows_of_one_page(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name in ("one", "other"):
        shutil.copytree(folder / "logs", tmp_path / name / "logs")
    groups = sessions(tmp_path)
    assert sorted(group.name for group in groups) == ["one/logs", "other/logs"]
    assert all(len(group.metric_values) == 2 for group in groups)


def test_a_histogram_of_each_weight_at_each_evaluation(folder: pathlib.Path) -> None:
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRun(str(folder / "logs"), "run")
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder / "logs"))
    found = provider.read_tensors(RequestContext(), experiment_id="", plugin_name="histograms", downsample=100)["run"]
    assert sorted(found) == ["weights/x/bias", "weights/x/kernel", "weights/y/bias", "weights/y/kernel"]
    kernels = found["weights/x/kernel"]
    assert [datum.step for datum in kernels] == [20, 40, 60]
    for datum in kernels:
        buckets = datum.numpy
        assert buckets.shape[1:] == (3,), "left edge, right edge, count"
        assert buckets[:, 2].sum() == 4 * 6


def test_a_second_run_replaces_the_session_of_the_first(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """TensorBoard believes the first start and the first end that it finds."""
    copy = shutil.copytree(folder, tmp_path / "project")
    run(copy, flags("--units=6", "--eval-every-steps=20", "--log-dir=logs", *FAST, steps=61)).ok()
    assert [session.status for group in sessions(copy / "logs") for session in group.sessions] == [
        api_pb2.STATUS_SUCCESS
    ]
    assert len(list((copy / "logs").glob("*.hparams"))) == 1
    assert {20, 40, 60, 61} <= set(scalars(copy / "logs" / "eval", "loss"))


def test_a_job_that_fails_is_shown_as_failed_and_has_no_histograms_unasked(tmp_path: pathlib.Path) -> None:
    folder = write_project(tmp_path / "project", MODEL.replace('"mse"', "lambda y, p: (y - p) / 0.0"))
    done = run(folder, flags("--allow-lossy-conversion"))
    assert done.exit_code == 3, done.err
    logs = folder / "job" / "checkpoints"
    [group] = sessions(logs)
    assert [session.status for session in group.sessions] == [api_pb2.STATUS_FAILURE]
    found = event_accumulator.EventAccumulator(str(logs)).Reload().Tags()
    assert not [tag for kind in ("tensors", "histograms") for tag in found[kind] if tag.startswith("weights/")]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, True), (3, 3), (0.5, 0.5), ("a", "a"), (None, "None"), ([64, 32], "[64, 32]"), ({"a": 1}, "{'a': 1}")],
)
def test_a_value_of_any_type_can_be_shown(value: object, shown: object) -> None:
    manifest = {
        "settings": {"batch_size": {"value": 20}, "seed": {"value": 1}},
        "hyperparameters": {"mine": {"value": value}},
    }
    assert hyperparameters(json.loads(json.dumps(manifest)))["mine"] == shown

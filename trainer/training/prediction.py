"""Batch prediction: files in, a file of predictions for each of them out; what is there is not made again."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.job.errors import DataError, Interrupted, UsageError
from trainer.job.mistakes import closest, proposal
from trainer.job.prediction import Prediction
from trainer.job.serving import ServingSpec
from trainer.training.data_watch import DataWatch
from trainer.training.failures import in_words
from trainer.training.prediction_errors import output_explained
from trainer.training.prediction_input import Batch, Source
from trainer.training.prediction_plan import (
    RECORD_FILE,
    Plan,
    Shard,
    describe,
    make_plan,
    put_record,
    read_record,
    refuse_other_run,
)
from trainer.training.prediction_progress import Progress
from trainer.training.prediction_rows import TABLES
from trainer.training.prediction_writer import Background, ShardWriter, changed, checked
from trainer.training.progress import format_secs
from trainer.training.readers import open_reader
from trainer.training.served import ServedModel, latest_export
from trainer.training.stopping import StopRequest

LOG = logging.getLogger("trainer")


def predict(settings: Prediction, stop: StopRequest) -> int:
    """Predict what is missing and return the exit code 0. Raises one of the errors of `trainer.job.errors`."""
    started = time.perf_counter()
    output = str(settings.output)
    with output_explained(output):
        export = latest_export(str(settings.export))
        plan = make_plan(settings)
        record = describe(settings, export)
        refuse_other_run(output, record, plan)
        _say_plan(settings, plan, export)
        if not plan.missing:
            return 0
        model = ServedModel.load(export)
        files = [shard.path for shard in plan.missing]
        watch = DataWatch(files)  # before they are looked into
        source = Source.of(settings, open_reader(files, settings.layout), model.spec)
        names = wanted_outputs(settings, model.spec)
        writer = build_writer(settings, plan, source, names, model.spec, record, watch)
        put_record(output, record)
        try:
            run(model, names, source, writer, Progress(source.reader.rows, len(plan.missing)))
        except KeyboardInterrupt:
            raise Interrupted(_stopped_sentence(plan, writer, output), stop.signum or 2) from None
        finally:
            writer.discard()
        _say_finished(settings, plan, writer, time.perf_counter() - started)
    return 0


def run(model: ServedModel, names: tuple[str, ...], source: Source, writer: ShardWriter, progress: Progress) -> None:
    """Every batch through the model; reading, predicting and writing go on at the same time. Raises TrainerError."""
    try:
        with Background(writer.write) as background:
            for batch in source.batches():
                background.add(batch, _predicted(model, names, source, batch))
                progress.add(batch.rows, batch.file)
        writer.check_complete()
    finally:
        progress.close()


def build_writer(
    settings: Prediction,
    plan: Plan,
    source: Source,
    names: Sequence[str],
    spec: ServingSpec,
    record: Mapping[str, Any],
    watch: DataWatch,
) -> ShardWriter:
    """A writer of what is missing, after a look at the beginning and the length of the files. Raises DataError."""
    if settings.max_bad_rows == 0:
        source.reader.check_sample(source.columns)
    counts = [source.reader.scans[shard.path].rows for shard in plan.missing]
    classes = {
        name: output.classes
        for output in spec.outputs
        for name in (output.name, output.scores_output, output.classes_output)
        if name is not None
    }

    def check(shard: Shard) -> None:
        if found := watch.find_change([shard.path]):
            raise changed(found)
        if read_record(str(settings.output)) != record:
            raise UsageError(
                f"{settings.output}/{RECORD_FILE} was changed by another run at the same time: give each its own "
                "--output, and start this one again."
            )

    table = TABLES[settings.output_format]
    return ShardWriter(plan.missing, counts, source, lambda: table(names, classes), check)


def wanted_outputs(settings: Prediction, spec: ServingSpec) -> tuple[str, ...]:
    """The outputs to write, in order. Raises UsageError for a name that the export does not have."""
    usual = [name for each in spec.outputs for name in (each.class_output, each.name) if name]
    there = [*usual, *(name for each in spec.outputs for name in (each.scores_output, each.classes_output) if name)]
    for name in settings.wanted_outputs:
        if name not in there:
            near = closest(name, there)
            raise UsageError(
                f"--outputs={name}: the export has {', '.join(dict.fromkeys(there))}"
                f"{'; ' + proposal(near) if near else '.'}"
            )
    return settings.wanted_outputs or tuple(dict.fromkeys(usual))


def _predicted(
    model: ServedModel, names: tuple[str, ...], source: Source, batch: Batch
) -> dict[str, np.ndarray] | None:
    """The outputs of a batch's good rows; None where it has none. Raises DataError where the model fails."""
    rows = batch.rows if batch.good is None else len(batch.good)
    if not rows:
        return None
    try:
        outputs = model.predict({name: batch.columns[name] for name in source.features})
        constant = {each.classes_output: each.classes for each in model.spec.outputs if each.classes_output in names}
        return checked(
            {**outputs, **{name: _repeated(classes, rows) for name, classes in constant.items()}}, names, rows
        )
    except tf.errors.OpError as error:
        raise DataError(
            f"{source.reader.files[batch.file]}: the export cannot predict rows {batch.first + 1} to "
            f"{batch.first + batch.rows} ({in_words(error)}): mend them, or try a smaller --batch-size."
        ) from error


def _repeated(classes: Sequence[str], rows: int) -> np.ndarray:
    """The names of all classes for each row: they are not worth asking the model."""
    return np.tile(np.array(classes, object), (rows, 1))


def _say_plan(settings: Prediction, plan: Plan, export: str) -> None:
    machines = settings.part[1]
    part = f" of --shard={settings.shard}" if machines > 1 else ""
    if plan.files < machines:
        LOG.warning(
            "--shard=%s: %d files are too few for %d machines, so that %d have nothing to do",
            *(settings.shard, plan.files, machines, machines - plan.files),
        )
    if plan.outdated:
        old = plan.outdated[0]
        LOG.warning(
            "%s newer than the predictions made of it: remove those (%s) to have them made anew",
            *("a file is" if len(plan.outdated) == 1 else f"{len(plan.outdated)} files are", old.output),
        )
    if plan.missing:
        there = len(plan.shards) - len(plan.missing)
        done = f" ({there} are done already)" if there else ""
        LOG.info("predicting %s%s%s with %s", _files(len(plan.missing)), part, done, export)
    elif plan.shards:
        print(f"already done: the predictions of all {_files(len(plan.shards))}{part} are in {settings.output}.")
    else:
        print(f"nothing to do{part}: machines {plan.files + 1} to {machines} have no file.")


def _say_finished(settings: Prediction, plan: Plan, writer: ShardWriter, secs: float) -> None:
    if settings.verbosity == "quiet":
        return
    rate = f"{writer.rows / secs:,.0f} rows/s" if secs else "at once"
    left_out = f", {writer.bad_rows:,} bad rows left out (bad_rows-*.jsonl has them)" if writer.bad_rows else ""
    print(
        f"predicted {writer.rows:,} rows of {_files(writer.finished)} in {format_secs(secs)} ({rate}, start "
        f"included){left_out}: {settings.output}"
    )


def _stopped_sentence(plan: Plan, writer: ShardWriter, output: str) -> str:
    done = len(plan.shards) - len(plan.missing) + writer.finished
    return f"stopped: {done} of {_files(len(plan.shards))} are predicted in {output}; the same command does the others."


def _files(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"

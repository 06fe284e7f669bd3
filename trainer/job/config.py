"""Every setting of a job, said once: type, default, help, check, spellings and environment variable.

A setting is one field of one of the groups below; flags, help page, config files and the manifest are derived from
it. The groups are frozen: what the user said is never changed, what is derived from it has a name of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trainer.job.columns import Layout
from trainer.job.errors import UsageError
from trainer.job.settings import (
    Group,
    Setting,
    at_least,
    column_maps,
    column_names,
    different,
    files,
    local_folder,
    more_than_zero,
    not_empty,
    separator,
    setting,
    settings_of,
    shown,
    split_names,
    weights_of_classes,
)

DEFAULT_EPOCHS = 4
DEFAULT_SAVE_SECS = 300.0
EXCLUSIVE = (
    ("train_steps", "epochs"),
    ("eval_every_steps", "eval_every_secs"),
    ("save_checkpoints_steps", "save_checkpoints_secs"),
)
READ_BY = {
    "best_metric": ("best",),
    "best_mode": ("best",),
    "export_dir": ("final",),
    "keep_exports": ("latest", "best", "final"),
}


@dataclass(frozen=True)
class Model(Group):
    """Model"""

    model: str = setting(
        "trainer.samples.place_names",
        help="the module that builds the model: FILE.py[:FUNCTION] or package.module[:FUNCTION]; "
        "FUNCTION is build_model unless named",
        check=not_empty,
    )
    allow_lossy_conversion: bool = setting(
        False, help="train even where the Estimator would lose a part of the model; the manifest says what"
    )


@dataclass(frozen=True)
class Data(Group):
    """Data"""

    train_files: tuple[str, ...] = setting(
        (), help="files to train on; patterns such as 'data/*.csv' work", check=files, unset="the module's own"
    )
    eval_files: tuple[str, ...] = setting((), help="files to evaluate on", check=files, unset="the module's own")
    label_column: str | None = setting(
        None, help="the column to predict", check=not_empty, unset="the module's LABEL_COLUMN"
    )
    weight_column: str | None = setting(
        None, help="the column with each example's weight", check=not_empty, unset="the module's WEIGHT_COLUMN, or none"
    )
    key_column: str | None = setting(
        None,
        help="the column that names an example, no feature; predictions carry it",
        check=not_empty,
        unset="the module's KEY_COLUMN, or none",
    )
    class_weights: tuple[str, ...] = setting(
        (),
        help="how much an example of a class counts in training, each as CLASS=WEIGHT; or 'balanced', so that all "
        "classes count the same",
        check=weights_of_classes,
        unset="all examples count the same",
    )
    feature_map: tuple[str, ...] = setting(
        (), help="which columns feed which input, each as INPUT=COLUMN[+COLUMN...]", check=column_maps, unset="by name"
    )
    format: Literal["auto", "csv", "jsonl", "tfrecord"] = setting(
        "auto", help="what the files are; auto goes by .csv, .tsv, .jsonl, .ndjson or .tfrecord, each also with .gz"
    )
    columns: tuple[str, ...] = setting(
        (),
        help="names of the columns of CSV files without a header line",
        check=column_names,
        unset="the header line's",
    )
    delimiter: str = setting(
        "auto",
        help="what stands between the fields of CSV files: one character, or tab",
        check=separator,
    )
    max_bad_rows: int = setting(
        0, help="leave out up to so many rows that cannot be read; JOB_DIR/bad_rows.jsonl has them", check=at_least(0)
    )
    batch_size: int = setting(256, help="examples in a step, over all replicas together", check=at_least(1))
    cache: Literal["auto", "always", "never"] = setting(
        "auto", help="keep the parsed training data in memory; auto does where it is small enough"
    )
    cache_data: str | None = setting(
        None,
        help="local folder that keeps copies of data files in gs://, for every epoch and for later jobs",
        check=local_folder,
        unset="gs:// is read anew in each epoch",
    )

    @property
    def layout(self) -> Layout:
        """How the files are written."""
        return Layout(self.format, split_names(self.columns), self.delimiter)

    @property
    def weight_of_class(self) -> dict[str, float] | None:
        """Class -> weight, of those that `class_weights` names; None for `balanced`."""
        if self.class_weights == ("balanced",):
            return None
        return {name: float(weight) for name, _, weight in (entry.rpartition("=") for entry in self.class_weights)}

    @property
    def columns_of_input(self) -> dict[str, tuple[str, ...]]:
        """`feature_map` as a mapping, input -> columns."""
        pairs = [entry.partition("=") for entry in self.feature_map]
        return {name: tuple(columns.split("+")) for name, _, columns in pairs}


@dataclass(frozen=True)
class Training(Group):
    """Training"""

    train_steps: int | None = setting(
        None, help="train until this global step (not with --epochs)", check=at_least(1), unset="see --epochs"
    )
    epochs: int | None = setting(
        None,
        help="train this many times over the training data (not with --train-steps)",
        check=at_least(1),
        unset=f"{DEFAULT_EPOCHS} unless --train-steps is given",
    )
    seed: int = setting(0, help="seed of weights, dropout and shuffling", check=at_least(0, below=2**31))
    deterministic: bool = setting(False, help="the same numbers in every run with the same seed; slower")
    early_stop_metric: str | None = setting(
        None, help="stop when this metric of the evaluations gets no better", check=not_empty, unset="train to the end"
    )
    early_stop_patience: int = setting(
        3, help="how many evaluations in a row may be no better, with --early-stop-metric", check=at_least(1)
    )


@dataclass(frozen=True)
class Distribution(Group):
    """Distribution"""

    strategy: Literal[
        "auto",
        "none",
        "one_device",
        "mirrored",
        "central_storage",
        "multi_worker_mirrored",
        "parameter_server",
        "tpu",
    ] = setting("auto", help="how the work is spread over devices and machines; auto goes by what is there and says so")
    cpu_devices: int | None = setting(
        None,
        help="take the CPU for so many devices, to try several replicas without GPUs",
        check=at_least(1),
        unset="one",
    )
    require_accelerator: bool = setting(False, help="refuse to train where there is no GPU and no TPU")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] | None = setting(
        None, help="what layers compute in; weights stay float32", unset="what the module sets, else float32"
    )
    xla: bool = setting(False, help="compile the graph with XLA")
    intra_op_threads: int | None = setting(
        None, help="threads that one operation may use", check=at_least(1), unset="one for each CPU"
    )
    inter_op_threads: int | None = setting(
        None, help="operations that may run at a time", check=at_least(1), unset="one for each CPU"
    )
    evaluated_by: Literal["auto", "chief", "evaluator"] = setting(
        "auto", help="which process of a cluster evaluates and exports; auto: the evaluator where there is one"
    )
    stall_secs: float = setting(
        600.0,
        help="end a process of a cluster that has done no step for so long, with the stacks of its threads",
        check=more_than_zero,
    )
    tpu: str | None = setting(
        None,
        help="which TPU: its name, local, or rehearse, which takes the TPU's path through the code on the CPU",
        check=not_empty,
        unset="the machine's own",
    )
    iterations_per_loop: int = setting(100, help="steps that a TPU does on its own", check=at_least(1))


@dataclass(frozen=True)
class Evaluation(Group):
    """Evaluation and export"""

    eval_every_steps: int | None = setting(
        None,
        help="evaluate every so many steps (not with --eval-every-secs)",
        check=at_least(1),
        unset="once an epoch",
    )
    eval_every_secs: float | None = setting(
        None,
        help="evaluate every so many seconds (not with --eval-every-steps)",
        check=more_than_zero,
        unset="see --eval-every-steps",
    )
    eval_steps: int | None = setting(
        None, help="batches of one evaluation", check=at_least(1), unset="the whole evaluation set"
    )
    exporters: tuple[Literal["latest", "best", "final"], ...] = setting(
        ("latest", "best", "final"),
        help="which SavedModels to write: after each evaluation, at each best value, at the end; or none",
        check=different,
    )
    best_metric: str = setting("loss", help="the metric that decides which export is best", check=not_empty)
    best_mode: Literal["auto", "min", "max"] = setting(
        "auto", help="whether a smaller or a larger value is better; auto knows it by the metric's name"
    )
    keep_exports: int = setting(3, help="how many exports of each kind to keep", check=at_least(1))


@dataclass(frozen=True)
class Output(Group):
    """Output"""

    job_dir: str | None = setting(
        None,
        help="folder of everything the job writes; a job resumes from it",
        check=not_empty,
        unset="runs/NAME_OF_THE_MODEL",
        flags=("--model-dir", "--output-dir"),
    )
    checkpoint_dir: str | None = setting(
        None,
        help="folder of the checkpoints",
        check=not_empty,
        unset="JOB_DIR/checkpoints",
        env="AIP_CHECKPOINT_DIR",
    )
    export_dir: str | None = setting(
        None, help="a second place for the final export", check=not_empty, unset="no second place", env="AIP_MODEL_DIR"
    )
    log_dir: str | None = setting(
        None,
        help="folder of the event files for TensorBoard",
        check=not_empty,
        unset="beside the checkpoints",
        env="AIP_TENSORBOARD_LOG_DIR",
    )
    save_checkpoints_steps: int | None = setting(
        None,
        help="save a checkpoint every so many steps (not with --save-checkpoints-secs)",
        check=at_least(1),
        unset="see --save-checkpoints-secs",
    )
    save_checkpoints_secs: float | None = setting(
        None,
        help="save a checkpoint every so many seconds (not with --save-checkpoints-steps); each evaluation saves too",
        check=more_than_zero,
        unset=f"{DEFAULT_SAVE_SECS:g} unless --save-checkpoints-steps is given",
    )
    keep_checkpoints: int = setting(5, help="how many checkpoints to keep", check=at_least(1))
    fresh: bool = setting(
        False, help="start anew; what the job folder holds is moved aside, never deleted", replayed=False
    )
    histograms: bool = setting(False, help="write histograms of the weights for TensorBoard, at each evaluation")
    report: bool = setting(True, help="write JOB_DIR/report.html at the end")
    verbosity: Literal["quiet", "info", "debug"] = setting("info", help="how much to print; debug shows TensorFlow's")


GROUPS: dict[str, type[Group]] = {
    "model": Model,
    "data": Data,
    "training": Training,
    "distribution": Distribution,
    "evaluation": Evaluation,
    "output": Output,
}


@dataclass(frozen=True)
class Job:
    """All that one run was asked for; equal jobs do the same.

    `hyperparameters` holds, sorted by name, only those parameters of the model's builder that the user set: the
    others keep their defaults in the user's module.
    """

    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    training: Training = field(default_factory=Training)
    distribution: Distribution = field(default_factory=Distribution)
    evaluation: Evaluation = field(default_factory=Evaluation)
    output: Output = field(default_factory=Output)
    hyperparameters: tuple[tuple[str, object], ...] = ()

    def __post_init__(self) -> None:
        in_order = sorted(self.hyperparameters, key=lambda pair: pair[0])
        frozen = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in in_order)
        object.__setattr__(self, "hyperparameters", frozen)  # one form, so that equal jobs compare equal
        check_job(self)

    @classmethod
    def of(cls, values: Mapping[str, Any], hyperparameters: Mapping[str, object] | None = None) -> Job:
        """A job from setting name -> value; what is not named keeps its default. Raises UsageError."""
        unknown = sorted(set(values) - set(all_settings()))
        if unknown:
            raise TypeError(f"no settings of a job: {', '.join(unknown)}")
        made = {}
        for group, kind in GROUPS.items():
            names = [each.name for each in settings_of(kind)]
            made[group] = kind(**{name: values[name] for name in names if name in values})
        return cls(**made, hyperparameters=tuple((hyperparameters or {}).items()))  # type: ignore[arg-type]

    @property
    def values(self) -> dict[str, Any]:
        """Setting name -> value, every setting of every group."""
        return {name: getattr(getattr(self, each.group), name) for name, each in all_settings().items()}


def without_copies(job: Job) -> Job:
    """The job without --cache-data: nothing is copied to try it out, and the folder may be one of another machine."""
    return replace(job, data=replace(job.data, cache_data=None))


def check_job(job: Job) -> None:
    """Refuse settings that exclude each other, or that nothing would read. Raises UsageError."""
    values = job.values
    for one, other in EXCLUSIVE:
        if values[one] is not None and values[other] is not None:
            pair = [all_settings()[name].flag for name in (one, other)]
            given = " and ".join(f"{flag}={values[name]}" for flag, name in zip(pair, (one, other), strict=True))
            raise UsageError(f"{given}: give only one of the two.")
    refuse_unread(job)


def refuse_unread(job: Job, said: Collection[str] = ()) -> None:
    """Raise UsageError for a setting that only an exporter reads which this job lacks: it would do nothing.

    `said` names settings that the user typed, so that they count even with their default's value.
    """
    exporters = job.evaluation.exporters
    for name, readers in READ_BY.items():
        setting, value = all_settings()[name], job.values[name]
        if not set(readers) & set(exporters) and (name in said or value != setting.default):
            by = "exporters" if len(readers) > 1 else f"the {readers[0]} exporter"
            raise UsageError(
                f"{setting.flag}={shown(value)} is read by {by} only: add "
                f"--exporters={','.join([*exporters, readers[0]])} or leave {setting.flag} out."
            )


@functools.cache
def all_settings() -> dict[str, Setting]:
    """Name -> setting, group after group."""
    return {each.name: each for group in GROUPS.values() for each in settings_of(group)}

"""What users get wrong: one sentence that says what was given, what is allowed and what to do, and an exit code."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import resource
import textwrap
from collections.abc import Mapping
from typing import Any

import pytest

from tests.runner import DENSE, Running, flags, run, snapshot, write_csv, write_project

FAST_SECS = 1.5
TRAP = "raise RuntimeError('tensorflow was imported')\n"


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One mistake in a project that is sound otherwise.

    Attributes:
      change: flag -> its value in place of the right one; None leaves the flag out.
      words: what the sentence must say.
      exit_code: what the door returns.
      files: file name -> its content in place of the right one.
      env: environment variables.
      fast: whether it is found without TensorFlow.
      starts: whether training starts before it is found, so that the job dir holds something.
    """

    change: Mapping[str, str | None]
    words: tuple[str, ...]
    exit_code: int = 2
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fast: bool = False
    starts: bool = False


def fast(change: Mapping[str, str | None], *words: str, **more: Any) -> Mistake:
    """A mistake that is found without TensorFlow."""
    return Mistake(change, words, fast=True, **more)


def in_data(train: str, *words: str, **more: Any) -> Mistake:
    """A mistake in the training file."""
    return Mistake(more.pop("change", {}), words, files={"train.csv": train}, **more)


def in_model(source: str, *words: str, **more: Any) -> Mistake:
    """A mistake in the model module; words as in `model.py:7` name its line."""
    return Mistake({}, words, files={"model.py": textwrap.dedent(source).lstrip()}, **more)


HEADER = "x_0,x_1,x_2,x_3,y\n"
ROWS = "1,2,3,4,5\n" * 30
# what a job says of itself before it comes to grief
TOLD = ("step ", "no --eval-files", "model.py: ", "CPU ", "GPU, TPU ", "strategy ", "precision ", "XLA ", "threads ")
MODEL = """
    import keras


    def build_model(learning_rate=0.01):
        model = keras.Sequential([keras.layers.Dense({units}, activation={activation!r}, input_shape=(4,), name="y")])
        {compile}
        return model
"""
COMPILED = 'model.compile(keras.optimizers.SGD(learning_rate), "mse", metrics=["mae"])'
SPARSE = 'model.compile("sgd", "sparse_categorical_crossentropy")'


def dense(compile: str = COMPILED, units: int = 1, activation: str = "linear") -> str:
    return MODEL.format(compile=compile, units=units, activation=activation)


MISTAKES = {
    # flags
    "unknown flag": fast({"--learning-rte": "0.1"}, "--learning-rte=0.1", "did you mean --learning-rate"),
    "unknown flag, underscores": fast({"--bach_size": "8"}, "--bach_size=8", "did you mean --batch-size"),
    "no number": fast({"--batch-size": "many"}, "--batch-size=many", "whole number"),
    "a float for an int": fast({"--train-steps": "10.5"}, "--train-steps=10.5", "whole number"),
    "zero": fast({"--batch-size": "0"}, "--batch-size=0", "1"),
    "hyperparameter of a wrong type": fast({"--units": "big"}, "--units=big", "whole number"),
    "steps and epochs": fast({"--epochs": "3"}, "--epochs", "--train-steps"),
    "two ways to evaluate": fast(
        {"--eval-every-steps": "3", "--eval-every-secs": "3"}, "--eval-every-steps", "--eval-every-secs"
    ),
    "unknown exporter": fast({"--exporters": "latest,newest"}, "newest", "latest", "best", "final"),
    "a flag that nothing reads": fast({"--exporters": "none", "--best-metric": "mae"}, "--best-metric", "--exporters"),
    "unknown verbosity": fast({"--verbosity": "loud"}, "--verbosity=loud", "quiet", "debug"),
    "forgotten dashes": fast({"batch-size": "8"}, "batch-size=8", "--batch-size=8"),
    # config files and the environment
    "no config file": fast({"--config": "job.yaml"}, "job.yaml"),
    "broken config file": fast({"--config": "job.yaml"}, "job.yaml", "line 2", files={"job.yaml": "seed: [1\n"}),
    "unknown config key": fast({"--config": "job.yaml"}, "sead", "seed", files={"job.yaml": "sead: 1\n"}),
    "wrong config value": fast({"--config": "job.yaml"}, "seed", "no", files={"job.yaml": "seed: 'no'\n"}),
    "broken TF_CONFIG": fast({}, "TF_CONFIG", "JSON", env={"TF_CONFIG": "{"}),
    "trial id with a path": fast({}, "CLOUD_ML_TRIAL_ID=../7", env={"CLOUD_ML_TRIAL_ID": "../7"}),
    # the model module
    "no model file": fast({"--model": "modell.py"}, "modell.py"),
    "no model package": fast({"--model": "nowhere.to.be.found"}, "nowhere"),
    "no build_model": fast({}, "build_model", "model.py", files={"model.py": "x = 1\n"}),
    "no such function": fast({"--model": "model.py:make"}, "make", "build_model"),
    "syntax error": fast({}, "model.py, line 2", files={"model.py": "x = 1\ndef build_model(:\n"}),
    "not compiled": in_model(dense(compile="pass"), "model.py:4", "not compiled", "model.compile"),
    "build raises": in_model(dense(compile="model.compile(1 / 0)"), "model.py:6", "ZeroDivisionError"),
    "no model": in_model("def build_model():\n    pass\n", "build_model returned None", "return model"),
    "import fails": in_model("import kerras\n\n\ndef build_model():\n    pass\n", "model.py:1", "kerras"),
    "a subclassed model": in_model(
        """
        import keras


        class Mine(keras.Model):
            def call(self, x):
                return x


        def build_model():
            model = Mine()
            model.compile("sgd", "mse")
            return model
        """,
        *("model.py:9", "subclassed model (Mine)", "functional"),
    ),
    "unknown metric": Mistake({"--best-metric": "accuracy"}, ("--best-metric=accuracy", "loss", "mae")),
    # data
    "no files named": Mistake({"--train-files": None, "--eval-files": None}, ("--train-files",)),
    "no such file": Mistake({"--train-files": "trian.csv"}, ("--train-files=trian.csv",)),
    "a pattern without files": Mistake({"--eval-files": "data/*.csv"}, ("--eval-files=data/*.csv",)),
    "empty file": in_data("", "train.csv", "empty"),
    "header only": in_data(HEADER, "train.csv", "no example"),
    "a word for a number": in_data(HEADER + ROWS + "1,2,three,4,5\n", "train.csv", "line 32", "x_2", "'three'"),
    "too few fields": in_data(HEADER + ROWS + "1,2,3\n", "train.csv", "line 32", "3 fields", "5"),
    "nothing for a number": in_data(HEADER + "1,2,3,4,\n" + ROWS, "train.csv", "line 2", "column y", "nothing"),
    "a column twice": in_data("x_0,x_0,x_2,x_3,y\n" + ROWS, "train.csv", "x_0", "twice"),
    "other columns in the two sets": in_data("a,b,c,d,y\n" + ROWS, "eval.csv", "x_0", "train.csv", "a, b"),
    "no such label": Mistake({"--label-column": "price"}, ("--label-column=price", "x_0", "y")),
    "no label at all": Mistake(
        {"--eval-files": None}, ("label", "--label-column"), files={"train.csv": "a,b,c,d,e\n" + ROWS}
    ),
    "no feature for an input": Mistake(
        {"--eval-files": None},
        ("nothing feeds", "--feature-map", "x_input", "a, b, c"),
        files={"train.csv": "a,b,c,y\n" + "1,2,3,4\n" * 9},
    ),
    "feature map without such a column": Mistake({"--feature-map": "x_input=x_0+x_9"}, ("--feature-map", "x_9", "x_0")),
    "more classes than units": Mistake(
        {"--eval-files": None, "--label-column": "y"},
        ("y", "3", "2"),
        files={"model.py": textwrap.dedent(dense(SPARSE, 2, "softmax")), "train.csv": HEADER + "1,2,3,4,3\n" * 40},
        starts=True,
    ),
    "more words than units": Mistake(
        {"--eval-files": None, "--label-column": "y"},
        ("y", "3 different labels", "2"),
        starts=True,  # no training, but its classes were found
        files={
            "model.py": textwrap.dedent(dense(SPARSE, 2, "softmax")),
            "train.csv": HEADER + "".join(f"1,2,3,4,{each}\n" for each in "abc" * 9),
        },
    ),
    # running
    "job dir below a file": Mistake({"--job-dir": "train.csv/job"}, ("--job-dir=train.csv/job", "folder"), exit_code=5),
    "NaN loss": Mistake(
        {"--learning-rate": "1e30"},
        ("NaN", "learning rate", "job/checkpoints"),
        exit_code=3,
        files={"model.py": textwrap.dedent(dense())},
        starts=True,
    ),
    "NaN in the data": in_data(
        HEADER + ROWS + "1,2,3,4,nan\n",
        "NaN",
        "values in the data",
        change={"--batch-size": "31"},
        exit_code=3,
        starts=True,
    ),
}


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with a tensorflow that must not be imported."""
    folder = tmp_path_factory.mktemp("trap")
    (folder / "tensorflow.py").write_text(TRAP)
    return folder


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_sentence(mistake: Mistake, trap: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = write_project(tmp_path / "project")
    for name, content in mistake.files.items():
        (folder / name).write_text(content)
    env = {**mistake.env, "PYTHONPATH": str(trap)} if mistake.fast else mistake.env
    began = cpu_secs()
    done = run(folder, command(mistake.change), env)
    took_secs = cpu_secs() - began

    assert done.exit_code == mistake.exit_code, done.err
    sentence = done.sentences[-1]
    assert sentence.startswith("trainer.task: ")
    for word in mistake.words:
        assert word in sentence
    others = [line for line in done.sentences[:-1] if not line.startswith(TOLD)]
    assert others == [], "stderr says more than the sentence"
    assert sentence.count("trainer.task: ") == 1
    assert done.out == ""
    if mistake.fast:
        assert took_secs < FAST_SECS
    if not mistake.starts:
        assert files_in(folder / "job") == []


def test_the_trap_works(trap: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = run(write_project(tmp_path / "project"), flags(), {"PYTHONPATH": str(trap)})
    assert done.exit_code == 1
    assert "tensorflow was imported" in done.err


def test_a_job_dir_that_another_job_works_in_is_refused(tmp_path: pathlib.Path) -> None:
    folder = write_project(tmp_path / "project")
    write_csv(folder / "train.csv", 3000)
    first = Running(folder, flags("--exporters=none", steps=1_000_000))
    first.wait_for("^step 1/")
    before = (folder / "job" / "manifest.json").read_text()
    done = run(folder, flags("--exporters=none"))
    assert done.exit_code == 2
    assert done.sentences[-1].startswith("trainer.task: another process is at work in job")
    assert (folder / "job" / "manifest.json").read_text() == before
    assert first.process.poll() is None, "the job that was there first has died of it"
    first.kill()
    run(folder, flags("--exporters=none", "--fresh")).ok()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: start the tests as another user")
def test_a_job_dir_that_cannot_be_written_is_one_sentence(tmp_path: pathlib.Path) -> None:
    folder = write_project(tmp_path / "project")
    (folder / "job").mkdir(mode=0o500)
    done = run(folder, flags())
    assert done.exit_code == 5
    assert "--job-dir=job" in done.sentences[-1]


def test_the_sound_project_trains(tmp_path: pathlib.Path) -> None:
    """Else every row above might fail for a reason of its own."""
    folder = write_project(tmp_path / "project")
    assert DENSE.strip().splitlines()[0].strip() in (folder / "model.py").read_text()
    run(folder, [*command({}), "--exporters=none"]).ok()


def command(change: Mapping[str, str | None]) -> list[str]:
    """The flags of a sound job with some of them changed."""
    given = dict(word.split("=", 1) for word in flags())
    if "--epochs" in change and change["--epochs"] is None:
        del given["--train-steps"]
    return [f"{name}={value}" for name, value in {**given, **change}.items() if value is not None]


def files_in(folder: pathlib.Path) -> list[str]:
    """The files of a folder that may not exist, without its lock."""
    return [name for name in snapshot(folder) if name != "job.lock"] if folder.is_dir() else []


def cpu_secs() -> float:
    """CPU time of the children that have ended: what a busy machine does not change."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

"""What is found before a job is started, and that nothing stays behind."""

from __future__ import annotations

import logging
import pathlib
import shutil
import tempfile

import pytest

from tests.runner import DENSE, flags, run, snapshot, write_csv, write_model, write_project
from trainer.job.environment import Environment
from trainer.job.flags import parse
from trainer.job.paths import JobPaths
from trainer.training.jobdir import held
from trainer.training.preflight import preflight

pytestmark = pytest.mark.xdist_group("preflight")
NAN = DENSE.replace('"mse"', 'lambda labels, outputs: outputs * float("nan")')
BAD_SHAPE = DENSE.replace('"mse"', "lambda labels, outputs: keras.backend.reshape(outputs, (3, 7))")
BAD_NAME = DENSE.replace('"mse"', "lambda labels, outputs: no_such_name(outputs)")
IMPORTS = DENSE.replace("    import keras\n", "    import absent_package\n    import keras\n", 1)
WIDE = DENSE.replace("(4,)", "(5,)")
RAISES = DENSE.replace("    model = ", '    raise ValueError("no such width")\n        model = ')
UNCOMPILED = DENSE.replace("    model.compile(", "    return model\n        model.compile(")
WORDS = """
    import keras


    def analyze(data):
        return {"words": data.vocabulary("word")}


    def build_model(assets, units: int = 2):
        word = keras.Input((1,), dtype="string", name="word")
        lookup = keras.layers.StringLookup(vocabulary=assets["words"], name="lookup")
        rows = keras.layers.Flatten()(keras.layers.Embedding(9, units, name="rows")(lookup(word)))
        model = keras.Model(word, keras.layers.Dense(1, name="y")(rows))
        model.compile("sgd", "mse")
        return model
"""
Found = list[tuple[str, str, str]]


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A project to work in; temporary files lie beside it."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(write_project(tmp_path / "project"))
    return tmp_path / "project"


def check(*argv: str, environment: Environment | None = None) -> tuple[Found, tuple[str, ...]]:
    """The findings, and the metrics; insists that what was tried out is gone, and that the log works as before."""
    environment = environment or Environment()
    before = list(logging.getLogger("trainer").handlers)
    findings, metrics = preflight(parse(list(argv), environment), environment)
    assert list(pathlib.Path(tempfile.gettempdir()).glob("trainer-check-*")) == []
    assert logging.getLogger("trainer").handlers == before
    return [(each.level, each.where, each.problem) for each in findings], metrics


def test_a_job_that_would_run(folder: pathlib.Path) -> None:
    before = snapshot(folder)
    assert check(*flags(job_dir="not/there/yet")) == ([], ("loss", "mae"))
    assert snapshot(folder) == before
    assert not (folder / "not").exists()


def test_what_the_user_should_know_is_a_warning(folder: pathlib.Path) -> None:
    [(level, where, problem)], metrics = check(*[word for word in flags() if not word.startswith("--eval-files")])
    assert (level, where) == ("warning", "data")
    assert problem == "no --eval-files: evaluating on the training files, which says nothing about new data"
    assert metrics == ("loss", "mae")


@pytest.mark.parametrize(
    ("source", "where", "problem", "metrics"),
    [
        pytest.param(RAISES, "model", "build_model raised ValueError: no such width", (), id="the builder raises"),
        pytest.param(UNCOMPILED, "model", "a model that was not compiled; call model.compile(", (), id="not compiled"),
        pytest.param(IMPORTS, "model", "absent_package is neither installed here", (), id="no module"),
        pytest.param(WIDE, "data", "nothing feeds the model's input x_input", ("loss", "mae"), id="another width"),
        pytest.param(NAN, "first step", "NaN or infinite: lower the learning rate", ("loss", "mae"), id="NaN at once"),
        pytest.param(BAD_SHAPE, "first step", "a step failed: ", ("loss", "mae"), id="a loss that fails at run time"),
        pytest.param(BAD_NAME, "first step", "a step failed: NameError", ("loss", "mae"), id="a loss that fails"),
    ],
)
def test_what_is_wrong_with_a_model(
    source: str, where: str, problem: str, metrics: tuple[str, ...], folder: pathlib.Path
) -> None:
    write_model(folder / "model.py", source)
    before = snapshot(folder)
    [found], names = check(*flags())
    assert found[:2] == ("error", where)
    assert problem in found[2]
    assert names == metrics
    assert {name for name in snapshot(folder) if "__pycache__" not in name} == set(before)


def test_the_model_is_looked_at_though_the_data_are_wrong(folder: pathlib.Path) -> None:
    [found], metrics = check(*flags("--train-files=absent.csv"))
    assert found[:2] == ("error", "data")
    assert "absent.csv" in found[2]
    assert metrics == ("loss", "mae"), "a study's metric can still be compared"

    write_model(folder / "model.py", RAISES)
    found, _ = check(*flags("--train-files=absent.csv"))
    assert [each[1] for each in found] == ["data", "model"]


def test_a_metric_that_the_model_does_not_report(folder: pathlib.Path) -> None:
    found, metrics = check(*flags("--best-metric=accuracy"))
    problem = "--best-metric=accuracy: the model reports loss, mae; name one of these"
    assert found == [("error", "flags", problem)]
    assert metrics == ("loss", "mae")


def test_a_label_that_the_model_has_no_room_for_is_found_in_the_first_batch(folder: pathlib.Path) -> None:
    write_model(
        folder / "model.py", DENSE.replace('"mse"', '"sparse_categorical_crossentropy"').replace('["mae"]', "[]")
    )
    rows = (folder / "train.csv").read_text().splitlines()
    whole = [rows[0], *(f"{line.rpartition(',')[0]},{number % 5}" for number, line in enumerate(rows[1:]))]
    for name in ("train.csv", "eval.csv"):
        (folder / name).write_text("\n".join(whole) + "\n")
    [found], metrics = check(*flags())
    assert found[:2] == ("error", "data")
    assert "found the label" in found[2]
    assert metrics == ("loss",)


@pytest.mark.parametrize("flag", ["--job-dir", "--checkpoint-dir", "--log-dir", "--export-dir"])
def test_a_folder_that_cannot_be_written_is_found_though_the_model_fails(flag: str, folder: pathlib.Path) -> None:
    write_model(folder / "model.py", RAISES)
    found, _ = check(*[word for word in flags() if not word.startswith(flag)], f"{flag}=train.csv/below")
    assert [each[1] for each in found] == [flag, "model"]
    assert f"{flag}=train.csv/below cannot be written" in found[0][2]


def test_folders_that_a_service_hands_out_are_tried_too(folder: pathlib.Path) -> None:
    environment = Environment(checkpoint_dir="train.csv/checkpoints", model_dir="out/model", trial_id="7")
    found, _ = check(*flags(), environment=environment)
    assert [each[1] for each in found] == ["--checkpoint-dir"]
    assert sorted(each.name for each in folder.iterdir() if each.name != "__pycache__") == [
        "eval.csv",
        "model.py",
        "train.csv",
    ]


def test_a_foreign_folder_and_a_busy_one(folder: pathlib.Path) -> None:
    (folder / "job" / "export").mkdir(parents=True)
    [found], _ = check(*flags())
    assert found[:2] == ("error", "--job-dir")
    assert "holds export, which no job made" in found[2]
    shutil.rmtree(folder / "job")
    with held(JobPaths("job")):
        [found], _ = check(*flags())
    problem = "another process is at work in job: wait for it, stop it, or name another --job-dir"
    assert found == ("error", "--job-dir", problem)


def test_the_job_dir_of_another_model(folder: pathlib.Path) -> None:
    run(folder, flags("--exporters=none", "--no-report", steps=2)).ok()
    before = snapshot(folder / "job")
    assert check(*flags("--exporters=none", steps=20)) == ([], ("loss", "mae"))
    [found], metrics = check(*flags("--units=5"))
    assert found[:2] == ("error", "--job-dir")
    assert found[2].startswith("job holds a run of another job: the layer x's units was 8 and is now 5")
    assert found[2].endswith("Name another --job-dir, or move that run aside with --fresh")
    assert metrics == ("loss", "mae")
    write_csv(folder / "train.csv", 100, seed=9)
    [found], _ = check(*flags())
    assert "the train files differ" in found[2]
    assert check(*flags("--units=5", "--fresh")) == ([], ("loss", "mae"))
    assert snapshot(folder / "job") == before


def test_a_vocabulary_of_an_earlier_run_is_the_same_wherever_it_lies(folder: pathlib.Path) -> None:
    write_model(folder / "model.py", WORDS)
    for name in ("train.csv", "eval.csv"):
        (folder / name).write_text("word,y\n" + "a,1.0\nb,2.0\nc,3.0\n" * 9)
    run(folder, flags("--exporters=none", "--no-report", steps=2)).ok()
    before = snapshot(folder / "job")
    assert check(*flags(steps=20)) == ([], ("loss",))
    [found], _ = check(*flags("--units=3", steps=20))
    assert found[2].startswith("job holds a run of another job: the layer rows's output_dim was 2 and is now 3")
    assert snapshot(folder / "job") == before

"""What users mistype, and the one sentence they get; each is exit code 2 at the door."""

from __future__ import annotations

import pytest

from trainer.job.environment import Environment
from trainer.job.errors import TrainerError
from trainer.job.flags import parse
from trainer.job.mistakes import closest

# id: words, what the sentence must hold
MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "misspelled": (["--learning-rte=0.1"], ["unknown flag --learning-rte=0.1: did you mean --learning-rate?"]),
    "misspelled, spaced": (["--bach_size", "3"], ["unknown flag --bach_size: did you mean --batch-size?"]),
    "abbreviated": (["--batch=3"], ["unknown flag --batch=3: did you mean --batch-size or --batch-norm?"]),
    "a negation": (["--no-bach-norm"], ["did you mean --no-batch-norm"]),
    "two dashes behind a misspelled one": (["--sed=--"], ["unknown flag --sed=--: did you mean --seed?"]),
    "initials": (["--lr=3"], ["did you mean --learning-rate?"]),
    "several": (["--steps=3"], ["did you mean --train-steps, --", " or --"]),
    "of nobody": (["--zzz=1"], ["unknown flag --zzz=1: --help lists all flags."]),
    "capitals": (["--Batch-Size=3"], ["did you mean --batch-size?"]),
    "one dash": (["-batch-size=3"], ["unknown flag -batch-size=3: did you mean --batch-size?"]),
    "no dashes": (["batch-size=3"], ["unexpected batch-size=3: did you mean --batch-size=3?"]),
    "a loose word": (["train"], ["unexpected train: expected flags such as --batch-size=128"]),
    "a second value": (["--seed", "3", "4"], ["unexpected 4"]),
    "an empty word": ([""], ["unexpected empty word"]),
    "two dashes": (["--", "x"], ["unexpected --"]),
    "no whole number": (["--batch-size=abc"], ["--batch-size=abc: expected a whole number of at least 1."]),
    "in the user's spelling": (["--batch_size", "1.5"], ["--batch_size=1.5: expected a whole number of at least 1."]),
    "zero": (["--epochs=0"], ["--epochs=0: expected a whole number of at least 1."]),
    "negative": (["--train-steps", "-3"], ["--train-steps=-3: expected a whole number of at least 1."]),
    "nan": (["--learning-rate=nan"], ["--learning-rate=nan: expected a finite number."]),
    "inf": (["--eval-every-secs=inf"], ["--eval-every-secs=inf: expected a number of seconds above 0."]),
    "an alias in the user's spelling": (["--model-dir="], ["--model-dir=: expected a value that is not empty."]),
    "empty file": (["--train-files="], ["--train-files=: expected file names that are not empty."]),
    "no value": (["--seed"], ["--seed needs a value: expected a whole number of at least 0"]),
    "no values": (["--train-files", "--seed=1"], ["--train-files needs a value"]),
    "no model": (["--model"], ["--model needs a value"]),
    "no config": (["--config", "--seed=1"], ["--config needs a value: expected a YAML or JSON file"]),
    "unknown choice": (["--cache=sometimes"], ["--cache=sometimes: expected one of auto, always, never."]),
    "unknown exporter": (
        ["--exporters=best,newest"],
        ["--exporters=best,newest: expected some of latest, best, final"],
    ),
    "an exporter twice": (
        ["--exporters=best", "--exporters=best"],
        ["--exporters=best best: expected each name once."],
    ),
    "no bool": (["--fresh=maybe"], ["--fresh=maybe: expected true or false."]),
    "no with a value": (["--no-fresh=true"], ["--no-fresh takes no value; use --fresh=true."]),
    "yes and no": (["--fresh", "--no-fresh"], ["--fresh and --no-fresh contradict each other"]),
    "twice": (["--seed=3", "--seed", "4"], ["--seed=3 and --seed=4 contradict each other: keep one."]),
    "two spellings": (["--job-dir=a", "--output_dir=b"], ["--job-dir=a and --output_dir=b contradict"]),
    "two configs": (["--config=/dev/null", "--config=x"], ["--config=/dev/null and --config=x contradict"]),
    "steps and epochs": (
        ["--train-steps=3", "--epochs=2"],
        ["--train-steps=3 and --epochs=2: give only one of the two."],
    ),
    "half a feature map": (["--feature-map", "a"], ["--feature-map=a: expected INPUT=COLUMN"]),
    "a metric nothing reads": (
        ["--best-metric=loss", "--exporters=latest"],
        ["--best-metric=loss is read by the best exporter only: add --exporters=latest,best"],
    ),
    "a mode nothing reads": (
        ["--best-mode=auto", "--exporters=final"],
        ["--best-mode=auto is read by the best exporter"],
    ),
    "a number nothing reads": (
        ["--keep-exports=3", "--exporters=none"],
        ["--keep-exports=3 is read by exporters only"],
    ),
    "a folder nothing writes": (
        ["--export-dir=x", "--exporters=best"],
        ["--export-dir=x is read by the final exporter"],
    ),
    "hyperparameter's type": (["--units=many"], ["--units=many: expected a whole number."]),
    "hyperparameter's choice": (["--activation=tanh"], ["--activation=tanh: expected one of relu, none, a,b."]),
    "hyperparameter that has no flag": (
        ["--optimizer=adam"],
        ["no flag can set optimizer of build_model: write its type"],
    ),
    "the trainer's parameter": (["--assets=x"], ["no flag can set assets", "the trainer fills it"]),
    "no such config": (["--config=nowhere.yaml"], ["--config=nowhere.yaml: no such file"]),
}


@pytest.mark.parametrize(("words", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_sentence(model_file: str, words: list[str], parts: list[str]) -> None:
    argv = words if words[0] == "--model" else [f"--model={model_file}", *words]
    with pytest.raises(TrainerError) as caught:
        parse(argv, Environment())
    sentence = str(caught.value)
    assert caught.value.exit_code == 2
    assert all(part in sentence for part in parts), sentence
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))


def test_an_empty_folder_of_the_environment(model_file: str) -> None:
    with pytest.raises(TrainerError, match=r"AIP_MODEL_DIR= : expected a value that is not empty."):
        parse([f"--model={model_file}"], Environment(model_dir=" "))


@pytest.mark.parametrize(
    ("word", "expected"),
    [("eval", ["--eval-files", "--eval-steps"]), ("bs", ["--batch-size"]), ("qqqq", []), ("x", []), ("", [])],
)
def test_closest(word: str, expected: list[str]) -> None:
    assert closest(word, ["--batch-size", "--batch_size", "--eval-files", "--eval-steps"]) == expected

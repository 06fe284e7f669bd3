"""Which files a prediction reads, what it calls what it writes, and what it may write into."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

import pytest

from trainer.job.errors import UsageError
from trainer.job.prediction import Prediction
from trainer.training.prediction_plan import describe, differences, make_plan, put_record, read_record, refuse_other_run

NAMES = ("a/1/x.csv", "a/2/x.csv", "a/2/y.csv", "b.csv", "c [1].csv")


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A working directory with some files and an export."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x\n1\n")
    for name in ("saved_model.pb", "variables/variables.index", "assets/words.txt", "assets.extra/serving.json"):
        (tmp_path / "export" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "export" / name).write_text(name)
    return tmp_path


def settings(*files: str, **more: Any) -> Prediction:
    return Prediction(**{"export": "export", "output": "out", "files": files, **more})


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/*/x.csv"], ["1/x.csv", "2/x.csv"]),
        (["a/2/*.csv"], ["x.csv", "y.csv"]),
        (["*/2/y.csv"], ["a/2/y.csv"]),
        (["./a/2/?.csv"], ["x.csv", "y.csv"]),
        (["a/[12]/x.csv"], ["1/x.csv", "2/x.csv"]),
        (["a/2/x.csv", "b.csv"], ["b.csv", "x.csv"]),
        (["c [1].csv"], ["c [1].csv"]),
        (["b.csv", "*.csv", "./b.csv"], ["b.csv", "c [1].csv"]),
        (["a/2/x.csv", "a/*/x.csv"], ["1/x.csv", "x.csv"]),
    ],
)
def test_names(files: list[str], names: list[str], folder: pathlib.Path) -> None:
    for absolute in (False, True):
        patterns = [os.path.join(folder, each) for each in files] if absolute else files
        plan = make_plan(settings(*patterns, output="out/"))
        assert [shard.name for shard in plan.shards] == names
        assert [shard.output for shard in plan.shards] == [f"out/{name}.predictions.jsonl" for name in names]


def test_bad_rows_stand_beside_the_predictions(folder: pathlib.Path) -> None:
    [shard] = make_plan(settings("*/2/y.csv", output_format="csv")).shards
    assert shard.output == "out/a/2/y.csv.predictions.csv"
    assert shard.bad_rows == "out/a/2/bad_rows-y.csv.jsonl"


def test_two_files_of_one_name_are_refused(folder: pathlib.Path) -> None:
    with pytest.raises(
        UsageError, match=r"a/1/x.csv and a/2/x.csv would both be written to out/x.csv.predictions.jsonl"
    ):
        make_plan(settings("a/1/x.csv", "a/2/x.csv"))


@pytest.mark.parametrize("output", [".", "a", "a/2"])
def test_an_output_folder_with_inputs_is_refused(output: str, folder: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=rf"--output={output} holds a/2/y.csv"):
        make_plan(settings("a/2/y.csv", output=output))


@pytest.mark.parametrize("machines", [1, 2, 3, 4, 7])
def test_the_parts_of_all_machines_are_all_files_once(machines: int, folder: pathlib.Path) -> None:
    every = [shard.name for shard in make_plan(settings("a/*/*.csv", "*.csv")).shards]
    parts = [
        [shard.name for shard in make_plan(settings("a/*/*.csv", "*.csv", shard=f"{i + 1}/{machines}")).shards]
        for i in range(machines)
    ]
    assert sorted(name for part in parts for name in part) == sorted(every)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_what_is_whole_is_done(folder: pathlib.Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "x.csv.predictions.jsonl").touch()
    (folder / "out" / "y.csv.predictions.jsonl.unfinished").touch()
    os.utime("out/x.csv.predictions.jsonl", (1, 1))
    plan = make_plan(settings("a/2/*.csv"))
    assert [shard.name for shard in plan.missing] == ["y.csv"]
    assert [shard.name for shard in plan.outdated] == ["x.csv"]
    assert plan.has_predictions
    assert not make_plan(settings("a/2/*.csv", output="elsewhere")).has_predictions


def test_a_record_says_what_made_the_predictions(folder: pathlib.Path) -> None:
    record = describe(settings("a/2/*.csv"), "export")
    put_record("out", record)
    assert read_record("out") == record
    assert os.listdir("out") == ["predictions.json"]
    (folder / "out" / "x.csv.predictions.jsonl").touch()
    plan = make_plan(settings("a/2/*.csv"))
    shutil.copytree("export", "copy")
    same = settings("a/2/*.csv", shard="1/2", batch_size=7, max_bad_rows=3, verbosity="quiet")
    refuse_other_run("out", describe(same, "copy"), plan)
    for other, words in [
        (settings("a/2/*.csv", outputs=("a", "b")), "--outputs was not given, is a b"),
        (settings("a/2/*.csv", key_column="id"), "--key-column was not given, is id"),
        (settings("a/2/*.csv", delimiter=";"), "--delimiter was auto, is ;"),
        (settings("a/2/x.csv"), r"--files was .*/a/2/\*.csv, is .*/a/2/x.csv"),
    ]:
        with pytest.raises(UsageError, match=f"--output=out holds predictions of another run: {words}"):
            refuse_other_run("out", describe(other, "export"), plan)


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "assets/words.txt", "assets.extra/serving.json"]
)
def test_another_export_is_known_by_its_bytes(name: str, folder: pathlib.Path) -> None:
    before = describe(settings("b.csv"), "export")
    (folder / "export" / name).write_text("changed")
    after = describe(settings("b.csv"), "export")
    assert differences(before, after) == [f"the export {folder}/export was another one then"]
    (folder / "export" / name).unlink()
    assert differences(after, describe(settings("b.csv"), "export"))


@pytest.mark.parametrize("text", [None, "", "{", "[]"])
def test_predictions_of_unknown_origin_are_refused(text: str | None, folder: pathlib.Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "z.predictions.csv").touch()
    if text is not None:
        (folder / "out" / "predictions.json").write_text(text)
    chosen = settings("b.csv")
    with pytest.raises(UsageError, match=r"no predictions.json that tells what made them"):
        refuse_other_run("out", describe(chosen, "export"), make_plan(chosen))


def test_a_folder_in_which_nothing_became_whole_is_free(folder: pathlib.Path) -> None:
    put_record("out", describe(settings("b.csv", key_column="other"), "export"))
    chosen = settings("b.csv")
    refuse_other_run("out", describe(chosen, "export"), make_plan(chosen))
    put_record("out", describe(chosen, "export"))
    assert read_record("out") == describe(chosen, "export")

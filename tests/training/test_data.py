"""What is done with files before there is a model: columns, and rows that cannot be read."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.training.input_plans import model, module
from trainer.job.config import Job
from trainer.job.errors import DataError
from trainer.job.paths import JobPaths
from trainer.training.analysis import read_lines
from trainer.training.data import FileData, open_data


def analyze(data: Any) -> Any:
    return {"size": data.range("size")}


def opened(folder: Path, user: ModuleType, text: str, **values: object) -> tuple[FileData, Job, JobPaths]:
    """The data of a job on one file, which it is evaluated on too."""
    (folder / "a.csv").write_text(text)
    (folder / "job").mkdir()
    job = Job.of({"train_files": (str(folder / "a.csv"),), **values})
    data = open_data(user, job)
    assert isinstance(data, FileData)
    return data, job, JobPaths(str(folder / "job"))


def test_a_label_that_is_whole_in_the_first_rows_may_be_a_fraction_later(tmp_path: Path) -> None:
    user = module(analyze=analyze, LABEL_COLUMN="y")
    text = "size,y\n" + "0.5,2\n" * 1100 + "9.5,2.5\n" + "1.5,x\n"
    data, job, paths = opened(tmp_path, user, text, max_bad_rows=1)
    assets = data.find_assets(user, job, paths, False)
    assert read_lines(assets["size"]) == ["0.5", "9.5"]
    assert data.train.skipped == {data.train.files[0]: (1101,)}
    data.plan(user, model(size=(1,)), job, paths, assets, False)
    assert data.counts == {
        "train_examples": 1101, "eval_examples": 1101, "train_bad_rows": 1, "eval_bad_rows": 0
    }  # fmt: skip


@pytest.mark.parametrize("max_bad_rows", [0, 1])
def test_a_label_that_the_files_do_not_have_is_named(tmp_path: Path, max_bad_rows: int) -> None:
    user = module(analyze=analyze)
    data, job, paths = opened(tmp_path, user, "size,y\n0.5,1\n", label_column="z", max_bad_rows=max_bad_rows)
    assets = data.find_assets(user, job, paths, False)
    with pytest.raises(DataError, match="--label-column=z: the files have no such column; they have size, y"):
        data.plan(user, model(size=(1,)), job, paths, assets, False)


@pytest.mark.parametrize("max_bad_rows", [1, 2])
def test_rows_left_out_of_the_analysis_count_for_the_job(tmp_path: Path, max_bad_rows: int) -> None:
    """Before there is a model every column may be wanted, and no weight is looked at."""
    user = module(analyze=analyze, LABEL_COLUMN="y", WEIGHT_COLUMN="w")
    text = "size,note,y,w\n" + "0.5,1,1,1\n" * 20 + "0.5,x,1,1\n" + "0.5,1,1,-1\n"
    data, job, paths = opened(tmp_path, user, text, max_bad_rows=max_bad_rows)
    assets = data.find_assets(user, job, paths, False)
    if max_bad_rows == 1:
        with pytest.raises(DataError, match=r"more than --max-bad-rows=1 rows .* line 23, column w: found -1 where"):
            data.plan(user, model(size=(1,)), job, paths, assets, False)
        return
    data.plan(user, model(size=(1,)), job, paths, assets, False)
    assert data.train.skipped == {data.train.files[0]: (20, 21)}
    assert [line.count('"row": 22') + 2 * line.count('"row": 23') for line in read_lines(paths.bad_rows)] == [1, 2]

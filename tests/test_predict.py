"""Batch prediction through the door: what comes out, what is left alone, and what bad rows do."""

from __future__ import annotations

import csv
import gzip
import json
import pathlib
import shutil
import subprocess
from typing import Any

import pytest

from tests.prediction_lab import CLASSES, COMMAND, SHARDS, WORDS, lab, predictions, rows_of, run, run_all, write_csv
from tests.runner import Done, environ, snapshot

pytestmark = pytest.mark.xdist_group("predict")
FORMATS = ("csv", "csv.gz", "jsonl", "tfrecord", "tfrecord.gz")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An export, and the same rows in every format."""
    folder = tmp_path_factory.mktemp("predict")
    lab(folder, "export", "export")
    lab(folder, "data", ".")
    (folder / "csv.gz").mkdir()
    for path in (folder / "csv").iterdir():
        (folder / "csv.gz" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    return folder


def argv(*more: str, files: str = "csv/*.csv", output: str = "out", export: str = "export") -> list[str]:
    return [f"--export={export}", f"--files={files}", f"--output={output}", *more]


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


# ---- what comes out --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(project: pathlib.Path) -> dict[str, Done]:
    """Runs that succeed, by name; each writes to the folder of its name."""
    link = project / "job" / "export" / "final"
    link.mkdir(parents=True)
    shutil.copytree(project / "export", link / "1700000000")
    hostile = project / 'it\'s "a"; echo $(x) [1]'
    hostile.mkdir()
    shutil.copy(project / "csv" / "part-0.csv", hostile / "a b;'.csv")
    for day in ("1", "2"):
        write_csv(project / "days" / f"day={day}" / "part-0.csv", rows_of(int(day)))
    headless = "".join((project / "csv" / "part-0.csv").read_text().splitlines(keepends=True)[1:]).replace(",", "|")
    (project / "headless.txt").write_text(headless.replace("a|b", "a,b"))
    names = ",".join(rows_of(0)[0])
    cases = {
        **{name: argv("--key-column=id", files=f"{name}/*.{name}", output=name + "-out") for name in FORMATS},
        "one-row-batches": argv("--key-column=id", "--batch-size=1", output="one-row-batches"),
        "no-key": argv(output="no-key", export="job"),
        "number-key": argv("--key-column=number", files="jsonl/*", output="number-key"),
        "all": argv("--outputs=scores,class,size,classes", output="all", export="job/export/final"),
        "table": argv("--output-format=csv", "--outputs=class,scores,size", "--key-column=word", output="table"),
        "hostile": argv(files=f"{hostile}/a b;'.csv", output=f"{hostile}/out \"'; x"),
        "days": argv(files="days/*/*.csv", output="deep/er/days"),
        "headless": argv(
            "--format=csv", f"--columns={names}", "--delimiter=|", files="headless.txt", output="headless"
        ),
        **{f"shard {i}": argv("--key-column=id", f"--shard={i}/3", output="shards") for i in (1, 2, 3)},
        "shard 5": argv(f"--shard={SHARDS + 2}/{SHARDS + 2}", output="shard 5"),
        "quiet": argv("--verbosity=quiet", output="quiet"),
    }
    done = run_all(project, [(project, case) for case in cases.values()])
    return dict(zip(cases, done, strict=True))


def test_every_run_succeeds(made: dict[str, Done]) -> None:
    for name, done in made.items():
        assert done.exit_code == 0, f"{name}: {done.err}"


def test_order_keys_and_values(project: pathlib.Path, made: dict[str, Done]) -> None:
    assert made["csv"].out.startswith(f"predicted {SHARDS * 70} rows of {SHARDS} files in ")
    for shard in range(SHARDS):
        found = read_rows(project / "csv-out" / f"part-{shard}.csv.predictions.jsonl")
        assert [row["key"] for row in found] == [row["id"] for row in rows_of(shard)]
        for row in found:
            assert list(row) == ["key", "class", "color", "size"]
            assert row["class"] == CLASSES[row["color"].index(max(row["color"]))]
            assert row["size"] == [pytest.approx(sum(row["color"]), abs=1e-3)]


@pytest.mark.parametrize("name", FORMATS[1:])
def test_every_format_gives_the_same(name: str, project: pathlib.Path, made: dict[str, Done]) -> None:
    csv_files = [path.read_bytes() for path in sorted((project / "csv-out").glob("*.predictions.jsonl"))]
    assert [path.read_bytes() for path in sorted((project / f"{name}-out").glob("*.predictions.jsonl"))] == csv_files


def test_rows_do_not_depend_on_the_batch(project: pathlib.Path, made: dict[str, Done]) -> None:
    for one, other in zip(
        *(sorted((project / name).glob("*.jsonl")) for name in ("csv-out", "one-row-batches")), strict=True
    ):
        for left, right in zip(read_rows(one), read_rows(other), strict=True):
            assert (left["key"], left["class"]) == (right["key"], right["class"])
            assert left["color"] == pytest.approx(right["color"], rel=1e-5, abs=1e-6)


def test_without_a_key_rows_are_called_by_file_and_number(project: pathlib.Path, made: dict[str, Done]) -> None:
    found = read_rows(project / "no-key" / "part-1.csv.predictions.jsonl")
    assert [row["key"] for row in found] == [f"part-1.csv:{row + 1}" for row in range(70)]


def test_a_number_as_key(project: pathlib.Path, made: dict[str, Done]) -> None:
    found = read_rows(project / "number-key" / "part-2.jsonl.predictions.jsonl")
    assert [row["key"] for row in found] == [str(2000 + row) for row in range(70)]


def test_chosen_outputs_in_their_order(project: pathlib.Path, made: dict[str, Done]) -> None:
    for row in read_rows(project / "all" / "part-0.csv.predictions.jsonl"):
        assert list(row) == ["key", "scores", "class", "size", "classes"]
        assert row["classes"] == list(CLASSES)
        assert sum(row["scores"]) == pytest.approx(1, abs=1e-5)


def test_csv_output(project: pathlib.Path, made: dict[str, Done]) -> None:
    with (project / "table" / "part-0.csv.predictions.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file, strict=True)
    assert head == ["key", "class", *(f"scores_{name}" for name in CLASSES), "size"]
    whole = read_rows(project / "all" / "part-0.csv.predictions.jsonl")
    for row, expected, source in zip(rows, whole, rows_of(0), strict=True):
        assert row[:2] == [source["word"], expected["class"]]
        assert list(map(float, row[2:])) == [*expected["scores"], *expected["size"]]
    assert set(WORDS) == {row[0] for row in rows}


def test_what_a_pattern_leaves_open_names_the_predictions(project: pathlib.Path, made: dict[str, Done]) -> None:
    out = project / "deep" / "er" / "days"
    assert sorted(predictions(out)) == [
        "day=1/part-0.csv.predictions.jsonl",
        "day=2/part-0.csv.predictions.jsonl",
        "predictions.json",
    ]
    assert read_rows(out / "day=2" / "part-0.csv.predictions.jsonl")[0]["key"] == "day=2/part-0.csv:1"


def test_a_file_without_a_header(project: pathlib.Path, made: dict[str, Done]) -> None:
    found = read_rows(project / "headless" / "headless.txt.predictions.jsonl")
    assert [row["class"] for row in found] == [
        row["class"] for row in read_rows(project / "csv-out" / "part-0.csv.predictions.jsonl")
    ]


def test_parts_of_many_machines_are_the_whole(project: pathlib.Path, made: dict[str, Done]) -> None:
    assert predictions(project / "shards") == predictions(project / "csv-out")
    for i in (1, 2, 3):
        assert f"of 1 file of --shard={i}/3" not in made[f"shard {i}"].out
        assert made[f"shard {i}"].out.startswith("predicted 70 rows of 1 file in ")


def test_more_machines_than_files(project: pathlib.Path, made: dict[str, Done]) -> None:
    assert made["shard 5"].out.startswith("nothing to do of --shard=5/5: machines 4 to 5 have no file.")
    assert "3 files are too few for 5 machines" in made["shard 5"].err
    assert not (project / "shard 5").exists()


def test_quiet_says_nothing(made: dict[str, Done]) -> None:
    assert (made["quiet"].out, made["quiet"].err) == ("", "")


def test_paths_with_everything(project: pathlib.Path, made: dict[str, Done]) -> None:
    [folder] = project.glob("it's*")
    [name] = [path.name for path in (folder / "out \"'; x").glob("*.jsonl")]
    assert name == "a b;'.csv.predictions.jsonl"


# ---- what is there is left alone -------------------------------------------------------------------------------------


def test_a_second_run_does_what_is_missing(
    project: pathlib.Path, made: dict[str, Done], tmp_path: pathlib.Path
) -> None:
    out = shutil.copytree(project / "csv-out", tmp_path / "out")
    whole = predictions(out)
    (out / "part-1.csv.predictions.jsonl").rename(out / "part-1.csv.predictions.jsonl.unfinished")
    before = snapshot(out)
    done = run(project, argv("--key-column=id", output=str(out))).ok()
    assert done.out.startswith("predicted 70 rows of 1 file in ")
    assert "(2 are done already)" in done.err
    assert predictions(out) == whole
    after = snapshot(out)
    assert {name: after[name] for name in before if name in after} == {
        name: before[name] for name in before if not name.endswith(".unfinished")
    }


def test_a_complete_folder_needs_no_model(project: pathlib.Path, made: dict[str, Done]) -> None:
    """Nor a readable input: the run ends before it looks into either."""
    before = snapshot(project / "csv-out")
    script = (
        "import sys; from trainer.training import prediction, served\n"
        "served.ServedModel.load = prediction.open_reader = None\n"
        f"from trainer.predict import main; sys.exit(main({argv('--key-column=id', output='csv-out')!r}))"
    )
    done = subprocess.run(
        [COMMAND[0], "-c", script], cwd=project, env=environ(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "already done: the predictions of all 3 files are in csv-out.\n"
    assert snapshot(project / "csv-out") == before


# ---- bad rows --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flawed(project: pathlib.Path) -> pathlib.Path:
    """Three files of which the second has two bad rows, late enough that no first look finds them."""
    folder = project / "flawed"
    for shard in range(SHARDS):
        rows = rows_of(shard, 1500)
        if shard == 1:
            rows[1200]["b"] = "two"
            rows[1201]["c"] = ""
        write_csv(folder / f"part-{shard}.csv", rows)
    return folder


def test_a_bad_row_stops_and_what_is_whole_stays(project: pathlib.Path, flawed: pathlib.Path) -> None:
    words = argv("--key-column=id", files="flawed/*.csv", output="stopped")
    once, again = run_all(project, [(project, words), (project, words)])
    for done in (once, again):
        assert done.exit_code == 2
        assert done.sentences[-1].startswith(
            "trainer.predict: flawed/part-1.csv, line 1202, column b: found 'two' where a number is needed."
        )
        assert "--max-bad-rows" in done.sentences[-1]
    assert set(predictions(project / "stopped")) == {"part-0.csv.predictions.jsonl", "predictions.json"}
    assert "(1 are done already)" not in once.err
    assert "(1 are done already)" in again.err


def test_bad_rows_left_out(project: pathlib.Path, flawed: pathlib.Path) -> None:
    cases = [("--max-bad-rows=1", "allowed"), ("--max-bad-rows=2", "allowed"), ("--max-bad-rows=9", "at-once")]
    one, two, again = run_all(
        project, [(project, argv(limit, files="flawed/*.csv", output=output)) for limit, output in cases]
    )
    assert one.exit_code == 2
    assert "line 1203, column c: found nothing" in one.sentences[-1]
    assert "one more than --max-bad-rows=1 allows" in one.sentences[-1]
    two.ok()
    again.ok()
    assert "2 bad rows left out (bad_rows-*.jsonl has them)" in two.out
    assert predictions(project / "allowed") == predictions(project / "at-once")
    keys = [row["key"] for row in read_rows(project / "allowed" / "part-1.csv.predictions.jsonl")]
    assert keys == [f"part-1.csv:{row + 1}" for row in range(1500) if row not in (1200, 1201)]
    bad = read_rows(project / "allowed" / "bad_rows-part-1.csv.jsonl")
    assert [(row["file"], row["row"], row["column"]) for row in bad] == [
        ("flawed/part-1.csv", 1202, "b"),
        ("flawed/part-1.csv", 1203, "c"),
    ]
    assert ",two," in bad[0]["raw"]


# ---- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "exit_code"), [(["--help"], 0), (["--version"], 0), (["--expot=x"], 2)])
def test_what_needs_no_tensorflow_loads_none(words: list[str], exit_code: int, tmp_path: pathlib.Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise RuntimeError('tensorflow was imported')\n")
    (tmp_path / "numpy.py").write_text("raise RuntimeError('numpy was imported')\n")
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=tmp_path,
        env=environ(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == exit_code, done.stderr
    assert b"--export" in done.stdout + done.stderr or words == ["--version"]

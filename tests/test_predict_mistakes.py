"""What users of batch prediction get wrong: one sentence, an exit code, and nothing is written."""

from __future__ import annotations

import dataclasses
import gzip
import pathlib
import shutil
from collections.abc import Sequence

import pytest

from tests.prediction_lab import lab, rows_of, run_all, write_csv
from tests.runner import Done, snapshot

pytestmark = pytest.mark.xdist_group("predict_mistakes")


def argv(*more: str, files: str = "csv/*.csv", output: str = "out", export: str = "export") -> list[str]:
    return [f"--export={export}", f"--files={files}", f"--output={output}", *more]


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One mistake: the words of its sentence, and whether anything may have been written."""

    argv: Sequence[str]
    words: tuple[str, ...]
    exit_code: int = 2
    writes: bool = False


def mistake(*words: str, flags: Sequence[str] = (), exit_code: int = 2, writes: bool = False, **change: str) -> Mistake:
    return Mistake(argv(*flags, **change), words, exit_code, writes)


MISTAKES = {
    "unknown flag": mistake("unknown flag --keycolumn=id: did you mean --key-column", flags=["--keycolumn=id"]),
    "no export": Mistake(["--files=a", "--output=b"], ("--export is missing",)),
    "no folder": mistake("nowhere", "no folder", export="nowhere"),
    "a folder without an export": mistake("csv", "no export", export="csv"),
    "no file": mistake("--files=data/*.csv matches no file", files="data/*.csv"),
    "a folder as file": mistake("--files=csv is a folder", files="csv"),
    "twins": mistake(
        "days/day=1/part-0.csv and days/day=2/part-0.csv would both be written to",
        "one pattern",
        files="days/day=1/part-0.csv",
        flags=["--files=days/day=2/part-0.csv"],
    ),
    "output among the inputs": mistake("--output=csv holds", "csv/part-0.csv", output="csv"),
    "output is a file": mistake("--output=text.txt cannot be written", exit_code=5, output="text.txt"),
    "output below a file": mistake("--output=text.txt/x cannot be written", exit_code=5, output="text.txt/x"),
    "unknown output": mistake(
        "--outputs=score", "class, color, size, scores", "did you mean", flags=["--outputs=score"]
    ),
    "unknown key": mistake("--key-column=name", "id, a, b", flags=["--key-column=name"]),
    "a fraction as key": mistake("--key-column=a", "text or whole numbers", flags=["--key-column=a"]),
    "a column is missing": mistake("odd/lacking.csv", "no column c, word", files="odd/lacking.csv"),
    "a word for a number": mistake("odd/bad.csv, line 3, column b: found 'x'", files="odd/bad.csv"),
    "no row": mistake("odd/empty.csv holds no example", files="odd/empty.csv"),
    "nothing at all": mistake("odd/nothing.csv is empty", files="odd/nothing.csv"),
    "cut off": mistake("odd/cut.csv.gz is cut off", files="odd/cut.csv.gz"),
    "no records": mistake("odd/no.tfrecord is no TFRecord file", files="odd/no.tfrecord"),
    "two formats": mistake("by their names", "--format", files="odd/mixed/*"),
    "no format": mistake("does not tell its format", "--format=", files="text.txt"),
    "the model refuses": mistake(
        "odd/large.csv: the export cannot predict rows 1 to 2", "c is too large", files="odd/large.csv", writes=True
    ),
    "another export": mistake("csv-out holds", "the export was", "other", export="other", output="csv-out"),
    "other flags": mistake(
        "--outputs was not given, is class",
        "--key-column was id, is not given",
        flags=["--outputs=class"],
        output="csv-out",
    ),
    "other files": mistake("--files was", "jsonl", files="jsonl/*", output="csv-out", flags=["--key-column=id"]),
    "no record": mistake("holds predictions but no predictions.json", output="odd/unknown"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Two exports, sound data in `csv` and `jsonl`, and data with one fault each in `odd`."""
    folder = tmp_path_factory.mktemp("predict")
    lab(folder, "export", "export")
    lab(folder, "export", "other", "1")
    lab(folder, "data", ".")
    for day in ("1", "2"):
        write_csv(folder / "days" / f"day={day}" / "part-0.csv", rows_of(int(day)))
    (folder / "text.txt").write_text("a,b,c,word\n1,2,3,x\n")
    odd, rows = folder / "odd", rows_of(0, 2)
    write_csv(odd / "lacking.csv", [{name: row[name] for name in ("id", "a", "b")} for row in rows])
    write_csv(odd / "bad.csv", [rows[0], {**rows[1], "b": "x"}])
    write_csv(odd / "large.csv", [rows[0], {**rows[1], "c": 1e6}])
    (odd / "empty.csv").write_text("a,b,c,word\n")
    (odd / "nothing.csv").touch()
    (odd / "cut.csv.gz").write_bytes(gzip.compress((folder / "csv" / "part-0.csv").read_bytes())[:-20])
    (odd / "no.tfrecord").write_text("a,b,c,word\n1,2,3,x\n")
    write_csv(odd / "mixed" / "a.csv", rows)
    shutil.copy(folder / "jsonl" / "part-0.jsonl", odd / "mixed" / "b.jsonl")
    (odd / "unknown").mkdir()
    (odd / "unknown" / "x.predictions.jsonl").touch()
    return folder


@pytest.fixture(scope="module")
def refused(project: pathlib.Path) -> dict[str, Done]:
    """A sound run into `csv-out`, and every mistake after it."""
    [sound] = run_all(project, [(project, argv("--key-column=id", output="csv-out"))])
    sound.ok()
    before = snapshot(project / "csv-out")
    cases = [
        (project, [f"--output=refused {name}" if word == "--output=out" else word for word in each.argv])
        for name, each in MISTAKES.items()
    ]
    done = run_all(project, cases)
    assert snapshot(project / "csv-out") == before
    return dict(zip(MISTAKES, done, strict=True))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_sentence(name: str, project: pathlib.Path, refused: dict[str, Done]) -> None:
    done, expected = refused[name], MISTAKES[name]
    assert done.exit_code == expected.exit_code, done.err
    sentence = done.sentences[-1]
    assert sentence.startswith("trainer.predict: ")
    for word in expected.words:
        assert word in sentence
    assert [line for line in done.sentences[:-1] if not line.startswith("predicting ")] == []
    assert done.out == ""
    assert (project / f"refused {name}").exists() is expected.writes
    assert not list((project / f"refused {name}").glob("*.unfinished")) if expected.writes else True

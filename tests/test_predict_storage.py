"""Batch prediction from and to Cloud Storage: the bytes of a local run, whatever the network does meanwhile."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.broken_storage import ACCOUNT, EVERYWHERE, SOON_SECS, Broken, broken_environ, denied
from tests.gcs_rig import Fault, Gcs
from tests.prediction_lab import COMMAND, lab, predictions, rows_of, run_all, write_csv
from tests.runner import Done, ask, environ

pytestmark = [pytest.mark.xdist_group("predict_storage"), pytest.mark.timeout(900)]
DEADLINE_SECS = 150.0
FILES, ROWS = 8, 600
ACTIONS: tuple[int | str, ...] = (503, 429, 408, 500, "reset", "truncate", "drop")
TENTH = tuple(Fault(".", action, share=0.1 / len(ACTIONS)) for action in ACTIONS)
USUAL = {"--export": "gs://data/export", "--files": "gs://data/csv/*.csv", "--output": "gs://made/out"}
FLAGS = ("--key-column=id", "--max-bad-rows=1")
SLOWLY = ("--batch-size=4",)


def argv(*more: str, **change: str) -> list[str]:
    """The flags of a prediction from bucket to bucket, with other places for `export`, `files` or `output`."""
    places = {**USUAL, **{f"--{name}": value for name, value in change.items()}}
    return [*(f"{flag}={place}" for flag, place in places.items()), *FLAGS, *more]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An export, files each with a row that is bad, and what a local run makes of them."""
    folder = tmp_path_factory.mktemp("predict")
    lab(folder, "export", "export")
    lab(folder, "data", "formats")
    for shard in range(FILES):
        rows = rows_of(shard, ROWS)
        rows[300]["a"] = "bad"
        write_csv(folder / "csv" / f"part-{shard}.csv", rows)
    places = {"export": "export", "files": "csv/*.csv"}
    cases = [argv(**places, output="out"), argv(*SLOWLY, **places, output="slow")]
    for done in run_all(folder, [(folder, case) for case in cases]):
        done.ok()
    return folder


@pytest.fixture(scope="module")
def gcs(project: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    """A Cloud Storage that has what `project` has, and an empty bucket `made`."""
    with Gcs(tmp_path_factory.mktemp("gcs"), tls=True) as rig:
        for bucket in ("data", "made"):
            rig.make_bucket(bucket)
        for name in ("export", "csv", "formats"):
            rig.put("data", {f"{name}/{path}": content for path, content in predictions(project / name).items()})
        yield rig


@pytest.fixture(autouse=True)
def _calm(gcs: Gcs) -> Iterator[None]:
    """Before and after each test nothing is broken, and nothing is made."""
    gcs.state.reset()
    yield
    gcs.state.reset()
    gcs.remove("made", gcs.content("made"))


def predict(folder: pathlib.Path, words: Sequence[str], env: Mapping[str, str]) -> Done:
    return ask("trainer.predict", folder, words, environ(**env))


def predict_all(folder: pathlib.Path, cases: Sequence[Sequence[str]], env: Mapping[str, str]) -> list[Done]:
    """Several command lines in one process."""
    path = folder / "cases.json"
    path.write_text(json.dumps([{"folder": str(folder), "argv": list(case)} for case in cases]))
    done = ask("tests.prediction_lab", folder, ["run", str(path)], environ(**{**env, "TF_CPP_MIN_LOG_LEVEL": "3"}))
    return [Done(*json.loads(line)) for line in done.ok().out.splitlines()]


def made_by(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """What a run made, wherever: without the record of its places, and with bad rows told by a local file's name."""
    assert "predictions.json" in found
    return {
        name: content.replace(b'"gs://data/csv/', b'"csv/')
        for name, content in found.items()
        if name != "predictions.json"
    }


def stored(gcs: Gcs, folder: str = "out") -> dict[str, bytes]:
    """Name -> content of a folder in the bucket `made`."""
    content = gcs.content("made")
    return {name.removeprefix(f"{folder}/"): each for name, each in content.items() if name.startswith(f"{folder}/")}


def generations(gcs: Gcs) -> dict[str, str]:
    """Name -> generation of what is whole in the bucket, asked behind the back of all faults."""
    host, port = gcs.state.upstream
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://{host}:{port}/storage/v1/b/made/o", timeout=10) as answer:
        items = json.load(answer).get("items", [])
    return {each["name"]: each["generation"] for each in items if ".predictions." in each["name"]}


# ---- places that cannot be used --------------------------------------------------------------------------------------


BROKEN = {
    "no bucket of the export": Broken(
        ("--export=gs://absent/job: there is no bucket absent", "gcloud storage"), change={"export": "gs://absent/job"}
    ),
    "no bucket of the files": Broken(
        ("--files=gs://absent/*.csv: there is no bucket absent",), change={"files": "gs://absent/*.csv"}
    ),
    "no bucket of the output": Broken(
        ("--output=gs://absent/out: there is no bucket absent",), change={"output": "gs://absent/out"}
    ),
    "no bucket for local files": Broken(
        ("--output=gs://absent: there is no bucket absent",),
        change={"export": "export", "files": "csv/*.csv", "output": "gs://absent"},
    ),
    "may not read the export": Broken(
        ("--export=gs://data/export: access denied", "storage.objects.get", ACCOUNT),
        (Fault("GET /data/export", 403, message=denied("storage.objects.get")),),
    ),
    "may not read files of a pattern": Broken(
        ("--files=gs://data/csv/*.csv: access denied", "storage.objects.get", ACCOUNT),
        (Fault("GET /data/csv", 403, message=denied("storage.objects.get")),),
    ),
    "may not list files": Broken(
        ("--files=gs://data/csv/*.csv: access denied", "storage.objects.list"),
        (Fault("GET /storage/v1/b/data/o.*csv", 403, message=denied("storage.objects.list")),),
    ),
    "may not create": Broken(
        ("--output=gs://made/out: access denied", "storage.objects.create", "gs://made", ACCOUNT),
        (Fault("(POST|PUT) /upload", 403, message=denied("storage.objects.create")),),
    ),
    **EVERYWHERE,
    **{
        f"a slip of the pen in --{name}": Broken(
            (f"--{name}=gs:/data/x is no place in Cloud Storage: expected gs://BUCKET/NAME",),
            change={name: "gs:/data/x"},
            asks=False,
        )
        for name in ("export", "files", "output")
    },
    "another service's": Broken(
        ("--files=s3://data/x.csv is no place in Cloud Storage",), change={"files": "s3://data/x.csv"}, asks=False
    ),
}


def told(gcs: Gcs, broken: Broken, words: Sequence[str], folder: pathlib.Path) -> tuple[Done, float]:
    """What the door says of a broken storage, and after how many seconds."""
    with broken_environ(gcs, broken) as env:
        own = {name: value for name, value in environ(**env).items() if name in env or not name.startswith("GOOGLE_")}
        began = time.monotonic()
        return ask("trainer.predict", folder, words, own), time.monotonic() - began


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_told_soon(broken: Broken, gcs: Gcs, project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name in ("export", "csv"):
        (tmp_path / name).symlink_to(project / name)
    done, secs = told(gcs, broken, argv(**broken.change), tmp_path)
    assert done.exit_code == 2, done.err
    assert secs < SOON_SECS
    [sentence] = done.sentences
    assert sentence.startswith("trainer.predict: --")
    for each in broken.words:
        assert each in sentence
    assert bool(gcs.log) or not broken.asks or broken.env
    assert broken.asks or not gcs.log
    gcs.state.reset()
    assert gcs.content("made") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["csv", "export"]


def test_a_storage_that_goes_away_in_the_middle_is_told(gcs: Gcs, project: pathlib.Path) -> None:
    gcs.faults(Fault("GET /data/csv/part-5|GET /data/csv%2Fpart-5", 503, skip=4))
    done = predict(project, argv("--batch-size=16"), gcs.tensorflow_environ())
    assert done.exit_code == 5, done.err
    assert done.sentences[-1] == (
        "trainer.predict: gs://data/csv/part-5.csv: Cloud Storage answers 503 (injected); try again later."
    )


@pytest.mark.parametrize("place", ["gs://data/", ""], ids=["bucket", "disk"])
def test_a_file_replaced_while_it_is_read_is_not_predicted(
    place: str, gcs: Gcs, project: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """It is the last one, and replaced while the first is predicted: by then its rows are counted."""
    name, other = f"csv/part-{FILES - 1}.csv", rows_of(99, ROWS)
    before = (project / name).read_bytes()
    words = argv(*SLOWLY, files=f"{place}csv/*.csv", output=str(tmp_path / "out"))
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=project, env=environ(**gcs.tensorflow_environ()), stderr=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + DEADLINE_SECS
        while not list(tmp_path.glob("out/part-0*")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.005)
        write_csv(tmp_path / "other.csv", other)
        gcs.put("data", {name: (tmp_path / "other.csv").read_bytes()})
        (tmp_path / "other.csv").replace(project / name)
        _, err = process.communicate(timeout=DEADLINE_SECS)
    finally:
        gcs.put("data", {name: before})
        (project / name).write_bytes(before)
    assert process.returncode == 2, err
    assert err.splitlines()[-1] == (
        f"trainer.predict: {place}{name} was replaced or changed while it was read: start again when it is at rest."
    )
    made = {path.name for path in (tmp_path / "out").iterdir() if ".predictions." in path.name}
    assert made == {f"part-{number}.csv.predictions.jsonl" for number in range(FILES - 1)}


# ---- what comes out --------------------------------------------------------------------------------------------------


@pytest.fixture
def local(project: pathlib.Path) -> dict[str, bytes]:
    """What the local run made."""
    made = made_by(predictions(project / "out"))
    assert len(made) == 2 * FILES
    return made


@pytest.mark.slow
def test_every_place_may_be_local_or_in_a_bucket(
    gcs: Gcs, project: pathlib.Path, local: dict[str, bytes], tmp_path: pathlib.Path
) -> None:
    exports, files, outputs = ("gs://data/export", "export"), ("gs://data/csv/*.csv", "csv/*.csv"), ("gs", "local")
    places = list(itertools.product(exports, files, outputs))[:-1]  # the last is `local`
    folders = {"gs": "gs://made", "local": str(tmp_path)}
    cases = [
        argv(export=export, files=file, output=f"{folders[output]}/{number}")
        for number, (export, file, output) in enumerate(places)
    ]
    for done in predict_all(project, cases, gcs.tensorflow_environ()):
        done.ok()
    for number, (_, _, output) in enumerate(places):
        found = stored(gcs, str(number)) if output == "gs" else predictions(tmp_path / str(number))
        assert made_by(found) == local, places[number]


@pytest.mark.slow
def test_other_formats_and_many_machines(gcs: Gcs, project: pathlib.Path) -> None:
    kinds = ("jsonl", "tfrecord", "tfrecord.gz")
    cases = {"root": argv(files="gs://data/formats/csv/part-0.csv", output="gs://made")}  # first: it has to be empty
    cases |= {name: argv(files=f"gs://data/formats/{name}/*", output=f"gs://made/{name}") for name in kinds}
    cases["tables"] = argv("--output-format=csv", files="gs://data/formats/csv/*", output="gs://made/tables")
    cases["by name"] = argv(files="gs://data/formats/*/part-[12].csv", output="gs://made/by name")
    for part in ("1/2", "2/2"):
        cases[f"part {part}"] = argv(
            f"--shard={part}", export="gs://data", files="gs://data/formats/csv/*", output="gs://made/parts/"
        )
    gcs.put("data", {f"export/best/1700000000/{name}": each for name, each in predictions(project / "export").items()})
    for done in predict_all(project, list(cases.values()), gcs.tensorflow_environ()):
        done.ok()
    whole = {name.partition(".")[0]: each for name, each in made_by(stored(gcs, "parts")).items()}
    assert sorted(whole) == ["part-0", "part-1", "part-2"]
    for name in kinds:
        assert {path.partition(".")[0]: each for path, each in made_by(stored(gcs, name)).items()} == whole
    assert sorted(stored(gcs, "by name")) == [
        *(f"csv/part-{shard}.csv.predictions.jsonl" for shard in (1, 2)), "predictions.json"
    ]  # fmt: skip
    assert gcs.content("made")["part-0.csv.predictions.jsonl"] == whole["part-0"]
    assert stored(gcs, "tables")["part-0.csv.predictions.csv"].startswith(b"key,class,color_red,")


def test_a_file_of_predictions_costs_two_requests(gcs: Gcs, project: pathlib.Path, local: dict[str, bytes]) -> None:
    """One to see whose folder it is, one to put it; no object is made that is renamed later."""
    predict(project, argv(), gcs.tensorflow_environ()).ok()
    log = gcs.log
    assert made_by(stored(gcs)) == local
    assert not [each for each in log if "rewriteTo" in each.path or "unfinished" in each.path]
    puts = [each for each in log if each.method == "POST" and "uploadType=multipart" in each.path]
    assert len(puts) == 2 * FILES + 1, "predictions, the rows that were left out, and the record"
    about = [each for each in log if "/made/" in each.path and "trainer-check" not in each.path]
    assert len(about) - len(puts) <= FILES + 5
    assert not [each for each in log if each.method == "DELETE" and "trainer-check" not in each.path]


@pytest.mark.slow
def test_what_is_there_is_left_alone(gcs: Gcs, project: pathlib.Path, local: dict[str, bytes]) -> None:
    env = gcs.tensorflow_environ()
    first, other, again = (argv(), argv("--outputs=class"), argv())
    predict(project, first, env).ok()
    gcs.remove("made", ["out/part-3.csv.predictions.jsonl"])
    before = generations(gcs)
    refused, done, complete = predict_all(project, [other, again, again], env)
    assert refused.exit_code == 2
    assert "--output=gs://made/out holds predictions of another run: --outputs was not given" in refused.sentences[-1]
    assert done.ok().out.startswith(f"predicted {ROWS - 1} rows of 1 file in ")
    assert complete.ok().out == f"already done: the predictions of all {FILES} files are in gs://made/out.\n"
    after = generations(gcs)
    assert {name: after[name] for name in before} == before
    assert made_by(stored(gcs)) == local


# ---- whatever happens ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_faults_change_nothing(gcs: Gcs, project: pathlib.Path, local: dict[str, bytes]) -> None:
    gcs.faults(*(dataclasses.replace(each) for each in TENTH))
    predict(project, argv(), gcs.tensorflow_environ()).ok()
    assert {each.fault for each in gcs.log} == {None, *ACTIONS}, "some faults never came"
    gcs.state.reset()
    assert made_by(stored(gcs)) == local


@pytest.mark.slow
def test_kills_in_the_middle_of_faults_change_nothing(gcs: Gcs, project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    kept = dict[str, str]()
    gcs.faults(*(dataclasses.replace(each) for each in TENTH))
    for whole, delay_secs in ((2, 0.1), (5, 0.0)):
        kill_at(gcs, project, tmp_path / "err", whole, delay_secs)
        now = generations(gcs)
        assert whole <= len(now) < FILES
        assert {name: now.get(name) for name in kept} == kept, "what was whole was written again"
        kept = now
    done = predict(project, argv(*SLOWLY), gcs.tensorflow_environ()).ok()
    assert f"({len(kept)} are done already)" in done.err
    now = generations(gcs)
    assert {name: now.get(name) for name in kept} == kept, "what was whole was written again"
    gcs.state.reset()
    found = stored(gcs)
    assert made_by(found) == made_by(predictions(project / "slow"))
    keys = [json.loads(line)["key"] for name in now for line in found[name.removeprefix("out/")].splitlines()]
    assert len(keys) == len(set(keys)) == FILES * (ROWS - 1)


def kill_at(gcs: Gcs, folder: pathlib.Path, err: pathlib.Path, whole: int, delay_secs: float) -> None:
    """Start a prediction, and kill it a moment after so many files are whole."""
    with err.open("ab") as file:
        process = subprocess.Popen(
            [*COMMAND, *argv(*SLOWLY)], cwd=folder, env=environ(**gcs.tensorflow_environ()),
            stdout=subprocess.DEVNULL, stderr=file,
        )  # fmt: skip
    try:
        end = time.monotonic() + DEADLINE_SECS
        while len(generations(gcs)) < whole:
            assert process.poll() is None, err.read_text()
            assert time.monotonic() < end, err.read_text()
            time.sleep(0.01)
        time.sleep(delay_secs)
    finally:
        process.kill()
        process.wait()
    time.sleep(0.5)  # for what the storage had received by then

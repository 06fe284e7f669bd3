"""`python -m trainer.report`: the page of real jobs, whole, unfinished, moved or robbed of their data, in a browser."""

from __future__ import annotations

import errno
import html.parser
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.runner import Done, ask, environ, flags, read_json, run, write_model

pytestmark = pytest.mark.xdist_group("report")  # one job is trained for all of these
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOSTILE = "<script>alert(1)</script>"
LINKS = ("href", "src", "srcset", "xlink:href", "action", "data", "poster")
KINDS = ("small", "mid & <b>dle</b>", "large")
MODEL = """
    import keras

    def build_model(units: int = 8, learning_rate: float = 0.02):
        x = keras.Input((2,), name="x")
        hidden = keras.layers.Dense(units, activation="relu", name="hidden")(x)
        kind = keras.layers.Dense(3, activation="softmax", name="kind")(hidden)
        size = keras.layers.Dense(1, name="size")(hidden)
        model = keras.Model(x, [kind, size])
        losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
        model.compile(keras.optimizers.Adam(learning_rate), losses, metrics={"kind": ["accuracy"]})
        return model
"""


def write_rows(path: pathlib.Path, rows: int, seed: int) -> None:
    """Two numbers, their sum's size as a class and as a number, and a name that no page may believe."""
    source = random.Random(seed)
    lines = ["x_0,x_1,note,kind,size"]
    for number in range(rows):
        x = [source.gauss(0, 1), source.gauss(0, 1)]
        size = sum(x) + source.gauss(0, 0.3)
        kind = KINDS[0] if size < -0.8 else KINDS[2] if size > 0.8 else KINDS[1]
        lines.append(f"{x[0]:.4f},{x[1]:.4f},{HOSTILE} {number},{kind},{size:.4f}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A finished job with a classification and a regression, in PROJECT/job."""
    folder = tmp_path_factory.mktemp("report")
    write_model(folder / "model.py", MODEL)
    write_rows(folder / "train.csv", 200, seed=1)
    write_rows(folder / "eval.csv", 60, seed=2)
    done = run(folder, flags("--eval-every-steps=20", "--key-column=note")).ok()
    assert re.search(r"^  report +job/report\.html$", done.out, re.MULTILINE), done.out
    return folder


@pytest.fixture
def job(project: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of that job, elsewhere, without its page; it finds the data by paths from the project."""
    copy = shutil.copytree(project / "job", tmp_path / "moved")
    (copy / "report.html").unlink()
    return copy


def report(folder: pathlib.Path, *argv: str) -> Done:
    return ask("trainer.report", folder, argv)


Here = Callable[[pathlib.Path, pathlib.Path], None]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """What the door calls, in this process: pages without predictions need neither a session nor a model."""

    def write(folder: pathlib.Path, job: pathlib.Path) -> None:
        from trainer.training.html_report import write_report

        monkeypatch.chdir(folder)
        write_report(str(job))

    return write


class Page(html.parser.HTMLParser):
    """The tags, the attributes and the text of a page."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_a_finished_job_has_its_page(project: pathlib.Path) -> None:
    page = Page(project / "job" / "report.html")
    result = read_json(project / "job" / "result.json")
    assert f"{result['metrics']['kind_accuracy']:.4f}" in page.text
    assert "What the best export says of all 60 rows of the evaluation files." in page.text
    for section in ("Predictions of kind", "Predictions of size", "Data", "Settings", "Exports", "How to reproduce"):
        assert section in page.text
    for chart in ("Loss over training", "Which class is taken for which", "Can its probabilities be believed?"):
        assert chart in page.text
    assert "Predicted and actual size" in page.text
    assert "verified: predicts what the model does" in page.text
    assert "--config=job/manifest.json" in page.text


def test_what_the_data_holds_is_text_on_the_page(project: pathlib.Path) -> None:
    page = Page(project / "job" / "report.html")
    assert f"{HOSTILE} " in page.text, "no row is shown, so nothing was tried"
    assert KINDS[1] in page.text
    assert not {"script", "b", "iframe", "object", "img", "link"} & set(page.tags)


def test_the_page_asks_nobody_for_anything(project: pathlib.Path) -> None:
    page = Page(project / "job" / "report.html")
    links = [
        value or "" for name, value in page.attributes if name in {"href", "src", "xlink:href", "action", "srcset"}
    ]
    assert links
    assert all(link.startswith("#") for link in links)
    assert "default-src 'none'" in page.source
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", page.source)


def test_the_door_writes_the_same_page_again(project: pathlib.Path) -> None:
    done = report(project, "job", "--output=again.html").ok()
    assert (done.out, done.err) == ("again.html\n", "")
    assert (project / "again.html").read_bytes() == (project / "job" / "report.html").read_bytes()


def test_the_worst_mistakes_are_the_rows_that_are_most_wrong(project: pathlib.Path) -> None:
    """Asked anew, of the export itself and row by row."""
    script = """
        import csv, json, sys
        import numpy as np
        import tensorflow as tf
        from trainer.training.served import ServedModel
        rows = list(csv.DictReader(open("eval.csv")))
        model = ServedModel.load(json.load(open("job/result.json"))["exports"]["best"])
        x = {name: np.array([float(row[name]) for row in rows], np.float32) for name in ("x_0", "x_1")}
        said = model.predict(x)
        off = np.abs(said["size"].ravel() - [float(row["size"]) for row in rows])
        print(json.dumps([[rows[i]["note"], float(off[i])] for i in np.argsort(-off)[:3]]))
    """
    (project / "ask.py").write_text("\n".join(line.strip() for line in script.strip().splitlines()))
    done = subprocess.run(
        [sys.executable, "ask.py"], cwd=project, env=environ(), capture_output=True, text=True, timeout=100, check=True
    )
    worst = json.loads(done.stdout.splitlines()[-1])
    text = Page(project / "job" / "report.html").text.split("Predictions of size")[-1]
    notes = re.findall(re.escape(HOSTILE) + r" \d+", text)
    assert notes[:3] == [note for note, _ in worst]
    assert f"{worst[0][1]:.4g}" in text
    number = int(notes[0].split()[-1])
    assert f"eval.csv, line {number + 2}" in text, "rows are counted from 0, lines from 1, and the first is the header"


def test_fewer_rows(project: pathlib.Path, job: pathlib.Path) -> None:
    report(project, f"--job-dir={job}", "--rows=7").ok()
    assert "says of the first 7 of 60 rows of the evaluation files" in Page(job / "report.html").text


def test_an_unfinished_job_has_a_page_of_what_is_there(project: pathlib.Path, job: pathlib.Path, here: Here) -> None:
    for name in ("result.json", "evaluations.jsonl"):
        (job / name).unlink()
    shutil.rmtree(job / "export")
    here(project, job)
    page = Page(job / "report.html")
    assert "not finished" in page.text
    assert "No predictions: there is no export yet." in page.text
    assert "Loss over training" in page.text, "the event files have it"


def test_a_job_that_never_took_a_step(project: pathlib.Path, job: pathlib.Path, here: Here) -> None:
    for name in ("result.json", "evaluations.jsonl"):
        (job / name).unlink()
    for name in ("export", "checkpoints"):
        shutil.rmtree(job / name)
    here(project, job)
    assert "the job has not trained yet" in Page(job / "report.html").text


def test_data_that_is_gone_or_changed_is_said(project: pathlib.Path, job: pathlib.Path, here: Here) -> None:
    here(job.parent, job)  # the paths in the manifest are relative
    words = "No predictions: eval.csv is not there any more (seen from the current folder); put it back"
    assert words in Page(job / "report.html").text
    write_rows(job.parent / "eval.csv", 61, seed=3)
    here(job.parent, job)
    assert "No predictions: eval.csv has changed since the job read it" in Page(job / "report.html").text


def test_a_module_that_reads_its_data_itself(project: pathlib.Path, job: pathlib.Path, here: Here) -> None:
    manifest = read_json(job / "manifest.json")
    manifest["data"] = {"train": [], "eval": [], "input_fn": "model.py:3"}
    (job / "manifest.json").write_text(json.dumps(manifest))
    here(project, job)
    text = Page(job / "report.html").text
    assert "reads its data with its own input_fn, so there are no files whose rows could be shown" in text


def test_a_damaged_export_is_said(project: pathlib.Path, job: pathlib.Path) -> None:
    for path in job.glob("export/best/*/saved_model.pb"):
        path.write_bytes(b"no model")
    report(project, str(job)).ok()
    assert re.search(r"No predictions: .*/export/best/\d+ cannot be loaded", Page(job / "report.html").text)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param([], "no job directory given: name the folder of a job, as in", id="nothing"),
        pytest.param(["nowhere"], "nowhere is not there: give the --job-dir of a job", id="no folder"),
        pytest.param(["."], ". holds no manifest.json, so no job has made it", id="no job's folder"),
        pytest.param(["--row=3", "job"], "unknown flag --row=3: did you mean --rows?", id="mistyped"),
        pytest.param(["job", "--rows=0"], "--rows=0: expected a whole number of at least 1.", id="no rows"),
        pytest.param(["job", "other"], "contradict each other: keep one.", id="two folders"),
    ],
)
def test_a_mistake_gets_one_sentence(tmp_path: pathlib.Path, argv: list[str], words: str) -> None:
    done = report(tmp_path, *argv)
    assert (done.exit_code, done.out) == (2, "")
    assert len(done.sentences) == 1
    assert done.sentences[0].startswith("trainer.report: ")
    assert words in done.sentences[0]


def test_a_page_that_cannot_be_written(project: pathlib.Path) -> None:
    done = report(project, "job", "--output=model.py/report.html")
    assert done.exit_code == 5
    assert len(done.sentences) == 1
    assert "model.py/report.html cannot be written" in done.sentences[0]


def test_a_report_that_fails_spoils_no_job(project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Where its file should be there is a folder."""
    copy = shutil.copytree(project, tmp_path / "project")
    (copy / "job" / "report.html").unlink()
    (copy / "job" / "report.html" / "in the way").mkdir(parents=True)
    done = run(copy, flags("--eval-every-steps=20", "--key-column=note", "--exporters=latest", steps=61)).ok()
    assert [line for line in done.sentences if line.startswith("job/report.html was not written (")]
    assert read_json(copy / "job" / "result.json")["global_step"] == 61
    assert "  report " not in done.out


def test_ctrl_c_is_no_traceback(tmp_path: pathlib.Path) -> None:
    """The manifest is a pipe, so that the door waits for it and the moment is no matter of chance."""
    manifest = tmp_path / "manifest.json"
    os.mkfifo(manifest)
    command = [sys.executable, "-m", "trainer.report", f"--job-dir={tmp_path}"]
    with subprocess.Popen(command, env=environ(), stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 100
        while (writing := open_if_read(manifest)) is None:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
        os.close(writing)
    assert process.returncode == 130
    assert err == "trainer.report: stopped: no page was written.\n"


def open_if_read(pipe: pathlib.Path) -> int | None:
    """Open a pipe for writing once somebody reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def test_help_loads_no_tensorflow() -> None:
    code = (
        "import sys; from trainer.report import main; assert main(['--help']) == 0; print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ(), capture_output=True, text=True, timeout=60, check=True
    )
    assert "--rows" in done.stdout
    assert done.stdout.endswith("False\n")


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(BROWSERS)} is installed")
    return found


@pytest.fixture
def profile(tmp_path: pathlib.Path) -> Iterator[str]:
    folder = tmp_path / "profile"
    folder.mkdir()
    yield str(folder)
    shutil.rmtree(folder, ignore_errors=True)


def browse(browser: str, profile: str, page: pathlib.Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Load a page without a screen and without a network; what goes wrong in it stands on stderr."""
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    command += [f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"]
    return subprocess.run(
        [*command, *flags, page.resolve().as_uri()],
        env={name: value for name, value in os.environ.items() if name != "DISPLAY"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=100,
        check=True,
    )


@pytest.mark.parametrize("width", [1280, 520], ids=["desktop", "narrow"])
@pytest.mark.parametrize(("scheme", "is_dark"), [("1", False), ("0", True)], ids=["light", "dark"])
def test_a_browser_shows_it(
    project: pathlib.Path, browser: str, profile: str, tmp_path: pathlib.Path, width: int, scheme: str, is_dark: bool
) -> None:
    import numpy as np
    import tensorflow as tf

    image = tmp_path / "page.png"
    flags = (f"--window-size={width},2400", f"--screenshot={image}", f"--blink-settings=preferredColorScheme={scheme}")
    done = browse(browser, profile, project / "job" / "report.html", *flags)
    assert "CONSOLE" not in done.stderr, done.stderr
    pixels = tf.io.decode_png(image.read_bytes(), channels=3).numpy().astype(np.int64)
    assert pixels.shape == (2400, width, 3)
    page = pixels[0, 0]
    assert (page.mean() < 60) == is_dark, "the page does not follow the colours that the user prefers"
    levels = np.abs(pixels - page).max(axis=2)
    assert 0.02 < (levels > 60).mean() < 0.5, "nothing but background, or no background"
    blue = (pixels[..., 2] - pixels[..., 0]) > 60
    orange = (pixels[..., 0] - pixels[..., 2]) > 60
    assert blue.sum() > 1000, "no chart is drawn"
    assert orange.sum() > 100, "no mistake is drawn"
    assert levels[-400:].max() > 60, "the page ends too early"


def test_nothing_reaches_over_the_edge_of_a_narrow_screen(
    project: pathlib.Path, browser: str, profile: str, tmp_path: pathlib.Path
) -> None:
    """Asked of the browser itself: a second page loads the report into a frame and measures it."""
    source = (project / "job" / "report.html").read_text(encoding="utf-8")
    measure = """<script>addEventListener("load", () => {
        document.title = "measured " + document.documentElement.scrollWidth + " of " + innerWidth;
    });</script>"""
    policy = re.compile(r"<meta http-equiv[^>]*>")
    assert policy.search(source)
    copy = tmp_path / "measured.html"
    copy.write_text(policy.sub("", source).replace("</body>", measure + "</body>"), encoding="utf-8")
    done = browse(browser, profile, copy, "--window-size=520,1000", "--dump-dom")
    found = re.search(r"<title>measured (\d+) of (\d+)</title>", done.stdout)
    assert found, done.stderr
    assert int(found[1]) <= int(found[2])

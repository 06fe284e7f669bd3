"""`python -m trainer.check`: what it finds in files, flags, models and data, in one list, and how it ends."""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.check_cases import ARG, BROKEN, JOB, STUDY, edited, filled
from tests.runner import DENSE, ROOT, Done, ask, environ, flags, snapshot, write_project
from trainer.check import main

Check = Callable[..., Done]


@pytest.fixture
def check(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Call the door in an empty folder; TensorFlow stays out of it unless a test says otherwise."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str, local: bool = False) -> Done:
        exit_code = main([*([] if local else ["--no-local"]), *argv])
        return Done(exit_code, *capsys.readouterr())

    return run


@pytest.mark.parametrize(("name", "edit", "words"), BROKEN)
def test_a_broken_file_is_found(
    check: Check, tmp_path: pathlib.Path, name: str, edit: tuple[str, str], words: str
) -> None:
    (tmp_path / name).write_text(edited(name, edit))
    done = check(f"--spec={name}")
    assert (done.exit_code, done.err) == (2, "")
    heading, *lines = done.out.splitlines()
    assert heading == "errors:"
    assert [line for line in lines if line.startswith("  ") and words in line], done.out
    assert lines[-1].partition(",")[0].split()[0] != "no"


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        pytest.param(JOB, "at most 2 machine-hours: 1 x n1-standard-4, 2 h", id="job"),
        pytest.param(STUDY, "at most 8 machine-hours: 1 x n1-standard-4, 1 h x 8 trials", id="study"),
    ],
)
def test_the_shipped_files_need_nothing_but_names(check: Check, tmp_path: pathlib.Path, name: str, hours: str) -> None:
    (tmp_path / name).write_text(filled(name))
    done = check(f"--spec={name}", "--region=us-central1")
    assert (done.exit_code, done.out, done.err) == (0, f"{hours}\nno errors, no warnings\n", "")
    unfilled = check(f"--spec={ROOT / name}")
    assert unfilled.exit_code == 2
    assert "imageUri: REGION-docker.pkg.dev/PROJECT/REPOSITORY/keras-trainer:latest still has the" in unfilled.out
    assert "gs://BUCKET/place-names" in unfilled.out
    assert unfilled.out.endswith("\n2 errors, no warnings\n")


def test_all_findings_come_in_one_list_errors_and_warnings_apart(check: Check, tmp_path: pathlib.Path) -> None:
    old = "us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-15.py310:latest"
    image = "us-central1-docker.pkg.dev/my-project/my-repository/keras-trainer:latest"
    text = edited(JOB, (image, old), ('  timeout: "7200s"', "  #timeout:"), ("replicaCount: 1", "replicaCount: 0"))
    (tmp_path / JOB).write_text(text)
    done = check(f"--spec={JOB}", "--region=us-central1-a")
    assert done.exit_code == 2
    lines = done.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "errors:",
        "  --region=us-central1-a",
        "  workerPoolSpecs[0].replicaCount",
        "warnings:",
        "  workerPoolSpecs[0].containerSpec.imageUri",
        "  scheduling.timeout",
        "2 errors, 2 warnings",
    ]


def test_warnings_alone_are_no_failure(check: Check, tmp_path: pathlib.Path) -> None:
    (tmp_path / JOB).write_text(edited(JOB, ('  timeout: "7200s"', "  #timeout:")))
    done = check(f"--spec={JOB}")
    assert done.exit_code == 0
    assert done.out.splitlines()[0] == "warnings:"
    assert done.out.endswith("at most 168 machine-hours: 1 x n1-standard-4, 168 h\nno errors, 1 warning\n")


def test_prices_are_the_users_own(check: Check, tmp_path: pathlib.Path) -> None:
    (tmp_path / STUDY).write_text(filled(STUDY))
    (tmp_path / "prices.yaml").write_text("currency: EUR\nmachines: {n1-standard-4: 0.25}\n")
    assert "at most 2.00 EUR by prices.yaml, without disks" in check(f"--spec={STUDY}", "--prices=prices.yaml").out
    (tmp_path / "prices.yaml").write_text("currency: EUR\nmachines: {n1-standard-8: 0.25}\n")
    assert "no price: prices.yaml has none for n1-standard-4\n" in check(f"--spec={STUDY}", "--prices=prices.yaml").out


def test_a_legacy_file_is_sent_to_the_converter(check: Check, tmp_path: pathlib.Path) -> None:
    (tmp_path / "old.yaml").write_text("trainingInput: {scaleTier: BASIC}\n")
    done = check("--spec=old.yaml")
    assert done.exit_code == 2
    assert "convert it: python -m trainer.submit --convert-legacy=old.yaml." in done.out
    assert done.out.endswith("\n1 error, no warnings\n")


def test_flags_replace_what_the_file_says(check: Check, tmp_path: pathlib.Path) -> None:
    """The job directory in both its places; and a parameter of the study that a flag sets as well is found."""
    (tmp_path / STUDY).write_text(filled(STUDY))
    done = check(f"--spec={STUDY}", "--dropout=0.1")
    assert done.exit_code == 2
    assert "parameterSpec.parameterId: the args already have --dropout" in done.out
    (tmp_path / STUDY).write_text(filled(STUDY).replace("gs://my-bucket", "gs://BUCKET"))
    assert check(f"--spec={STUDY}").exit_code == 2
    assert check(f"--spec={STUDY}", "--job-dir=gs://my-bucket/other").exit_code == 0
    assert "outputUriPrefix: runs/other is no folder in" in check(f"--spec={STUDY}", "--job-dir=runs/other").out


MODEL = "def build_model(region: str = 'x', units: int = 8):\n    return None\n"


def test_a_model_with_a_flag_of_the_checks_own_gets_it_behind_two_dashes(check: Check, tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.py").write_text(MODEL)
    edits = (
        ("--model=trainer.samples.place_names", "--model=mine.py"),
        ("parameterId: lstm_units", "parameterId: region"),
    )
    (tmp_path / STUDY).write_text(edited(STUDY, *edits))
    done = check(f"--spec={STUDY}", "--region=us-central1-b", "--", "--region=y")
    assert "--region=us-central1-b: is a zone" in done.out
    assert "parameterId: the args already have --region" in done.out
    wrong = check(f"--spec={STUDY}", "--", "--prices=y")
    assert (wrong.exit_code, wrong.out) == (2, "")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param(["--spce=config.yaml"], "unknown flag --spce=config.yaml: did you mean --spec or", id="own"),
        pytest.param(["--epohcs=4"], "unknown flag --epohcs=4: did you mean --epochs?", id="the trainer's"),
        pytest.param(["--lstm-unit=4"], "unknown flag --lstm-unit=4: did you mean --lstm-units?", id="the model's"),
        pytest.param(["--epochs=none"], "--epochs=none: expected a whole number", id="a value of the trainer's"),
        pytest.param(["--via=mail"], "--via=mail: expected one of auto, gcloud, rest.", id="a value of its own"),
        pytest.param(["--spec"], "--spec needs a value", id="no value"),
        pytest.param(["config.yaml"], "unexpected config.yaml", id="no flag"),
        pytest.param(["--prices=none.yaml"], "--prices=none.yaml cannot be read", id="no prices"),
        pytest.param(["--model=none.py"], "none.py", id="no model"),
    ],
)
def test_a_flag_that_cannot_be_used(check: Check, argv: list[str], words: str) -> None:
    done = check(*argv)
    assert (done.exit_code, done.out) == (2, "")
    [sentence] = done.sentences
    assert sentence.startswith("trainer.check: ")
    assert words in sentence


@pytest.mark.parametrize("arg", ["--help", "--version", "--config=mine.yaml"])
def test_args_that_are_no_settings(check: Check, tmp_path: pathlib.Path, arg: str) -> None:
    (tmp_path / JOB).write_text(edited(JOB, (ARG, f'{ARG}        - "{arg}"\n')))
    done = check(f"--spec={JOB}")
    assert done.exit_code == 2
    assert f"  args: {arg} says nothing of the job; leave it out" in done.out


def test_a_file_that_is_not_there_is_a_finding(check: Check) -> None:
    done = check("--spec=none.yaml")
    assert (done.exit_code, done.err) == (2, "")
    assert "  --spec=none.yaml: none.yaml: no such file" in done.out


def test_a_model_that_is_no_python_is_a_finding_beside_the_files(check: Check, tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.py").write_text("def build_model(:\n")
    (tmp_path / JOB).write_text(edited(JOB, ('"7200s"', "7200")))
    done = check(f"--spec={JOB}", "--model=mine.py")
    assert done.exit_code == 2
    assert f"  --model: {tmp_path / 'mine.py'}, line 1: not Python 3" in done.out
    assert "  scheduling.timeout: 7200 is no duration" in done.out
    assert done.out.endswith("2 errors, no warnings\n")


def test_empty_pools_depend_on_who_sends(check: Check, tmp_path: pathlib.Path) -> None:
    (tmp_path / JOB).write_text(edited(JOB, ("\nscheduling:", "  - {}\n\nscheduling:")))
    done = [check(f"--spec={JOB}", f"--via={via}") for via in ("auto", "gcloud", "rest")]
    assert [each.exit_code for each in done] == [0, 2, 0]
    assert [each.out.splitlines()[0] for each in done[:2]] == ["warnings:", "errors:"]
    assert "submit it with --via=rest" in done[0].out
    assert "workerPoolSpecs[1]" not in done[2].out


def test_a_job_on_this_machine_needs_no_file(check: Check) -> None:
    done = check()
    assert (done.exit_code, done.out, done.err) == (0, "no errors, no warnings\n", "")


def test_help_loads_no_tensorflow_and_tells_of_the_trainers_flags(tmp_path: pathlib.Path) -> None:
    code = "import sys; from trainer.check import main; assert main(['--help']) == 0; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    page, loaded = done.stdout.rsplit("\n", 2)[0], set(done.stdout.splitlines()[-1].split())
    assert "--spec" in page
    assert "python -m trainer.task --help" in page
    assert not loaded & {"tensorflow", "numpy", "requests", "google.auth"}


def as_a_process(folder: pathlib.Path, *argv: str) -> Done:
    return ask("trainer.check", folder, argv)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_project(tmp_path_factory.mktemp("check"))


LOCAL_STUDY = {
    "maxTrialCount": 4,
    "parallelTrialCount": 2,
    "studySpec": {
        "metrics": [{"metricId": "accuracy", "goal": "MAXIMIZE"}],
        "parameters": [
            {"parameterId": "units", "integerValueSpec": {"minValue": 2, "maxValue": 16}},
            {"parameterId": "learning_rate", "doubleValueSpec": {"minValue": 0.001, "maxValue": 0.1}},
        ],
    },
    "trialJobSpec": {
        "workerPoolSpecs": [
            {
                "machineSpec": {"machineType": "n1-standard-4"},
                "replicaCount": 1,
                "containerSpec": {"imageUri": "a-docker.pkg.dev/b/c:1", "args": flags()},
            }
        ],
        "scheduling": {"timeout": "60s"},
    },
}


def test_a_job_that_would_run_leaves_nothing_behind(project: pathlib.Path) -> None:
    before = snapshot(project)
    done = as_a_process(project, *flags())
    assert (done.exit_code, done.out) == (0, "no errors, no warnings\n"), done
    assert snapshot(project) == before


def test_model_data_and_file_in_one_list(project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The metric is held against those that the model reports, which takes building it.

    The folder for copies of data is one of the machines that the file names: nobody looks for it here.
    """
    spec = tmp_path / "study.json"
    spec.write_text(json.dumps(LOCAL_STUDY))
    done = as_a_process(project, f"--spec={spec}", "--cache-data=/proc/of-another-machine")
    assert done.exit_code == 2, done
    assert done.out.splitlines() == [
        "errors:",
        "  studySpec.metrics[0].metricId: the model reports no accuracy; it reports loss, mae.",
        "at most 0.07 machine-hours: 1 x n1-standard-4, 0.02 h x 4 trials",
        "1 error, no warnings",
    ]
    (project / "short.csv").write_text("x_0,x_1,y\n1,2,3\n")
    broken = as_a_process(project, f"--spec={spec}", "--train-files=short.csv", "--region=us-east1-b")
    assert broken.exit_code == 2
    assert "  --region=us-east1-b: is a zone" in broken.out
    assert "short.csv" in broken.out


def test_a_parameter_that_only_the_study_sets_is_tried_with_a_trials_value(
    project: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The model's metrics are known, so it was built; without the study the parameter is missing."""
    write_project(tmp_path, DENSE.replace("units: int = 8", "units: int"))
    spec = tmp_path / "study.json"
    spec.write_text(json.dumps(LOCAL_STUDY))
    done = as_a_process(tmp_path, f"--spec={spec}")
    assert done.out.splitlines()[:2] == [
        "errors:",
        "  studySpec.metrics[0].metricId: the model reports no accuracy; it reports loss, mae.",
    ]
    alone = as_a_process(tmp_path, *flags())
    assert (alone.exit_code, alone.out) == (2, "")
    assert "--units is missing: build_model" in alone.err


NOT_FOR_A_TPU = """
    import tensorflow as tf
    from tensorflow import keras


    def build_model():
        word, row = keras.Input((1,), dtype="string", name="word"), keras.Input((4,), name="x")
        number = keras.layers.StringLookup(vocabulary=["a", "b"], name="lookup")(word)
        looked_up = keras.layers.Flatten()(keras.layers.Embedding(4, 3, name="table")(number))
        both = keras.layers.Concatenate()([looked_up, keras.layers.Dense(3, dtype="float64", name="wide")(row)])
        masked = keras.layers.Lambda(lambda x: x + tf.reduce_sum(tf.boolean_mask(x, x[:, 0] > 0)), name="masked")(both)
        python = keras.layers.Lambda(in_python, name="python")(masked)
        model = keras.Model([word, row], keras.layers.Dense(1, name="y")(python))
        model.compile("sgd", "mse")
        return model


    def in_python(x):
        return x + tf.stop_gradient(tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32), x.shape))
"""


def test_what_stands_against_a_tpu_is_said_of_each_layer(tmp_path: pathlib.Path) -> None:
    write_project(tmp_path, NOT_FOR_A_TPU)
    rows = "".join(f"{'ab'[number % 2]},.1,.2,{number / 99},.4,.5\n" for number in range(40))
    for name in ("train.csv", "eval.csv"):
        (tmp_path / name).write_text(f"word,x_0,x_1,x_2,x_3,y\n{rows}")
    argv = [flag for flag in flags() if not flag.startswith("--batch-size")]
    done = as_a_process(tmp_path, *argv, "--strategy=tpu", "--batch-size=20")
    assert done.exit_code == 2, done
    errors, _, warnings = done.out.removeprefix("errors:\n").partition("warnings:\n")
    assert [line.split(";")[0].split(" (")[0] for line in errors.splitlines()] == [
        "  --batch-size=20: cannot be divided among 8 cores",
        "  layer wide: its weights are float64, whose gradients the cores of a TPU cannot add up",
        "  input word: is text",
        "  layer lookup: looks something up in a table",
        "  layer masked: makes a tensor whose shape depends on the data",
        "  layer python: calls Python",
    ]
    assert "layer wide: computes in float64" in warnings


def test_a_model_for_a_tpu_is_ready(project: pathlib.Path) -> None:
    argv = [flag for flag in flags() if not flag.startswith("--batch-size")]
    done = as_a_process(project, *argv, "--strategy=tpu", "--batch-size=16")
    assert (done.exit_code, done.out) == (0, "no errors, no warnings\n"), done


@pytest.mark.parametrize("strategy", ["multi_worker_mirrored", "parameter_server"])
def test_a_strategy_for_clusters_is_none_for_a_machine_alone(check: Check, strategy: str) -> None:
    done = check("--model=trainer.samples.flights", f"--strategy={strategy}")
    assert done.exit_code == 2
    assert f"--strategy={strategy} needs a cluster, and there is one machine" in done.out


@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_check_that_is_stopped_clears_up(
    project: pathlib.Path, tmp_path: pathlib.Path, signum: signal.Signals, exit_code: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "trainer.check", *flags()],
        cwd=project,
        env=environ(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        end = time.monotonic() + 100
        while not list(tmp_path.glob("trainer-check-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signum)
        out, err = process.communicate(timeout=100)
    assert (process.returncode, out) == (exit_code, "")
    assert err == "trainer.check: stopped before the end: nothing was sent or kept.\n"
    assert list(tmp_path.iterdir()) == []

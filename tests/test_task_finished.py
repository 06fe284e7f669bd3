"""A job from its command to its last file, and what the same command does once it is finished."""

from __future__ import annotations

import hashlib
import pathlib
import shutil

import pytest

from tests.runner import (
    Done,
    assert_finished,
    assert_same_weights,
    checkpoint_steps,
    exports,
    flags,
    read_evaluations,
    read_json,
    run,
    snapshot,
    write_project,
)

pytestmark = pytest.mark.xdist_group("task_finished")
STEPS = 60


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, Done]:
    folder = write_project(tmp_path_factory.mktemp("finished"))
    return folder, run(folder, flags("--units=6", "--eval-every-steps=20", steps=STEPS), cold=True).ok()


@pytest.fixture
def copy(finished: tuple[pathlib.Path, Done], tmp_path: pathlib.Path) -> pathlib.Path:
    """The finished job with its data, to go on from or to spoil."""
    shutil.copytree(finished[0], tmp_path / "copy")
    return tmp_path / "copy"


def test_it_leaves_a_result_and_verified_exports(finished: tuple[pathlib.Path, Done]) -> None:
    job_dir = finished[0] / "job"
    result = assert_finished(job_dir, STEPS)
    assert list(read_evaluations(job_dir)) == [20, 40, 60]
    last = read_evaluations(job_dir)[STEPS]
    assert result["metrics"] == {name: last[name] for name in ("loss", "mae")}
    assert last["loss"] < read_evaluations(job_dir)[20]["loss"]
    assert result["evaluated_on"] == "eval_files"
    assert result["examples_per_sec"] > 100
    assert 0 < result["wall_secs"] < 150
    assert [len(exports(job_dir, kind)) for kind in ("latest", "final")] == [3, 1]
    assert checkpoint_steps(job_dir) == [0, 20, 40, 60]


def test_it_ends_with_a_table_and_the_next_commands(finished: tuple[pathlib.Path, Done]) -> None:
    _, done = finished
    lines = [line.strip() for line in done.out.splitlines() if line.strip()]
    assert lines[0] == "finished"
    table, commands = lines[1 : lines.index("next:")], lines[lines.index("next:") + 1 :]
    assert [line.split("  ")[0] for line in table] == [
        *("step", "loss", "mae", "best"),
        *("latest export", "best export", "final export", "report", "wall time", "speed"),
    ]
    assert "60 of 60" in table[0]
    assert f"--train-steps={2 * STEPS}" in commands[0]
    assert commands[1] == "tensorboard --logdir=job/checkpoints"


def test_the_manifest_tells_what_ran(finished: tuple[pathlib.Path, Done]) -> None:
    folder, _ = finished
    manifest = read_json(folder / "job" / "manifest.json")
    settings = manifest["settings"]
    assert settings["batch_size"] == {"value": 20, "source": "flag"}
    assert settings["seed"] == {"value": 0, "source": "default"}
    assert manifest["hyperparameters"] == {
        "units": {"value": 6, "source": "flag"},
        "learning_rate": {"value": 0.01, "source": "default"},
    }
    assert manifest["versions"]["tensorflow"].startswith("2.15")
    [train] = manifest["data"]["train"]
    content = (folder / "train.csv").read_bytes()
    assert (train["path"], train["bytes"]) == ("train.csv", len(content))
    assert train["sha256"] == hashlib.sha256(content).hexdigest()
    assert (manifest["data"]["train_examples"], manifest["data"]["eval_examples"]) == (200, 60)
    assert manifest["code"]["file"].endswith("model.py")
    assert "Adam" in str(manifest["model"]), "the effective optimizer is not in the manifest"
    assert "0.01" in str(manifest["model"])


def test_the_same_command_again_does_nothing(finished: tuple[pathlib.Path, Done], copy: pathlib.Path) -> None:
    before = snapshot(copy / "job")
    done = run(copy, flags("--units=6", "--eval-every-steps=20", steps=STEPS)).ok()
    assert "already finished: step 60 of 60" in done.out
    assert "step 6" not in done.err
    assert snapshot(copy / "job") == before


def test_more_epochs_go_on_from_there(copy: pathlib.Path) -> None:
    argv = [word for word in flags("--units=6") if not word.startswith("--train-steps")]
    done = run(copy, [*argv, "--epochs=9"]).ok()
    assert_finished(copy / "job", 90)
    assert [step for step in read_evaluations(copy / "job") if step > STEPS] == [70, 80, 90]
    assert "step 61/90" in done.err
    assert "step 1/90" not in done.err


def test_the_manifest_runs_it_again_to_the_same_weights(copy: pathlib.Path) -> None:
    run(copy, ["--config=job/manifest.json", "--job-dir=other", "--exporters=none"]).ok()
    assert_same_weights(copy / "job", copy / "other", STEPS)
    assert read_evaluations(copy / "other") == read_evaluations(copy / "job")
    settings = read_json(copy / "other" / "manifest.json")["settings"]
    assert settings["job_dir"] == {"value": "other", "source": "flag"}
    assert settings["batch_size"] == {"value": 20, "source": "config"}


def test_another_seed_gives_other_weights(copy: pathlib.Path) -> None:
    """Else the test above could not fail."""
    run(copy, ["--config=job/manifest.json", "--job-dir=other", "--exporters=none", "--seed=1"]).ok()
    with pytest.raises(AssertionError):
        assert_same_weights(copy / "job", copy / "other", STEPS)


def test_fresh_moves_the_old_run_aside_and_starts_at_0(copy: pathlib.Path) -> None:
    job_dir = copy / "job"
    before = snapshot(job_dir)
    before.pop("job.lock")
    done = run(copy, flags("--units=5", "--eval-every-steps=10", "--fresh", steps=20)).ok()
    [previous] = (job_dir / "previous").iterdir()
    assert str(previous.relative_to(copy)) in done.err
    assert snapshot(previous) == before
    assert_finished(job_dir, 20)
    assert list(read_evaluations(job_dir)) == [10, 20]

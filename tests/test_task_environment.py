"""What a managed service tells a job through its environment, and who wins where several speak."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.runner import assert_finished, flags, leftovers, read_evaluations, read_json, run, write_project

LONE_CHIEF = {"cluster": {"chief": ["localhost:2222"]}, "task": {"type": "chief", "index": 0}}
NOT_IN_IT = {"cluster": {"chief": ["a:2222"], "worker": ["b:2222"]}, "task": {"type": "worker", "index": 7}}


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return write_project(tmp_path / "project")


def test_the_folders_of_a_managed_service(folder: pathlib.Path) -> None:
    """And that a flag beats the environment, and the environment the config file."""
    (folder / "job.yaml").write_text("checkpoint_dir: in-config\nlog_dir: in-config\nseed: 5\nbatch_size: 10\n")
    env = {
        "AIP_CHECKPOINT_DIR": "cloud/checkpoints",
        "AIP_MODEL_DIR": "cloud/model/",
        "AIP_TENSORBOARD_LOG_DIR": "cloud/logs",
    }
    argv = flags("--config=job.yaml", "--log-dir=in-flag", "--eval-every-steps=20", steps=20)
    run(folder, argv, env).ok()
    settings = read_json(folder / "job" / "manifest.json")["settings"]
    assert settings["checkpoint_dir"] == {"value": "cloud/checkpoints", "source": "environment"}
    assert settings["export_dir"] == {"value": "cloud/model/", "source": "environment"}
    assert settings["log_dir"] == {"value": "in-flag", "source": "flag"}
    assert settings["batch_size"] == {"value": 20, "source": "flag"}
    assert settings["seed"] == {"value": 5, "source": "config"}
    assert settings["keep_exports"] == {"value": 3, "source": "default"}
    assert (folder / "cloud" / "checkpoints" / "model.ckpt-20.index").exists()
    assert not (folder / "job" / "checkpoints").exists()
    assert not (folder / "in-config").exists()
    assert list((folder / "in-flag").glob("events.out.tfevents.*"))
    assert not (folder / "cloud" / "logs").exists()
    [final] = (folder / "job" / "export" / "final").iterdir()
    published = folder / "cloud" / "model"
    assert (published / "saved_model.pb").read_bytes() == (final / "saved_model.pb").read_bytes()
    assert read_json(published / "verification.json")["passed"] is True
    assert leftovers(folder / "cloud") == []


def test_each_trial_of_a_study_has_its_own_folder(folder: pathlib.Path) -> None:
    for trial, units in (("1", "3"), ("2", "4")):
        argv = flags("--exporters=none", f"--units={units}", steps=10)
        run(folder, argv, {"CLOUD_ML_TRIAL_ID": trial, "CLOUD_ML_HP_METRIC_FILE": "metrics"}).ok()
    assert sorted(path.name for path in (folder / "job").iterdir()) == ["1", "2"]
    for trial, units in (("1", 3), ("2", 4)):
        manifest = read_json(folder / "job" / trial / "manifest.json")
        assert manifest["hyperparameters"]["units"]["value"] == units
        assert list(read_evaluations(folder / "job" / trial)) == [10]


def test_a_lone_chief_evaluates_and_exports(folder: pathlib.Path) -> None:
    """Estimator by itself would train, exit 0 and leave neither an evaluation nor an export."""
    done = run(folder, flags(steps=20), {"TF_CONFIG": json.dumps(LONE_CHIEF)}).ok()
    assert_finished(folder / "job", 20)
    assert list(read_evaluations(folder / "job")) == [10, 20]
    assert "step 1/20" in done.err


def test_a_role_that_is_not_in_the_cluster_is_refused(folder: pathlib.Path) -> None:
    done = run(folder, flags(), {"TF_CONFIG": json.dumps(NOT_IN_IT)})
    assert done.exit_code == 2
    [sentence] = done.sentences
    assert "TF_CONFIG" in sentence
    assert "worker" in sentence
    assert not (folder / "job").exists()

"""What the manifest says: who set what, on what it ran, and how two runs differ."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import trainer
from trainer.job.config import Job, all_settings
from trainer.job.environment import Environment
from trainer.job.flags import parse
from trainer.job.manifest import (
    asset_difference,
    columns_difference,
    data_difference,
    describe_hyperparameters,
    describe_settings,
    git_commit,
    unknown_settings,
    versions,
)


def test_every_setting_is_there_with_who_spoke() -> None:
    parsed = parse(["--batch-size=32", "--epochs=2"], Environment.from_environ({"AIP_MODEL_DIR": "out"}))
    described = describe_settings(parsed.job, parsed.sources)
    assert set(described) == set(all_settings())
    assert described["batch_size"] == {"value": 32, "source": "flag"}
    assert described["export_dir"] == {"value": "out", "source": "environment"}
    assert described["seed"] == {"value": 0, "source": "default"}
    assert json.loads(json.dumps(described))["exporters"]["value"] == ["latest", "best", "final"]


def test_a_manifest_runs_the_same_job_again(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    first = parse(["--batch-size=32", "--seed=7", "--exporters=best", "--dropout=0.1"], Environment.from_environ({}))
    path.write_text(
        json.dumps(
            {
                "format": 1,
                "settings": describe_settings(first.job, first.sources),
                "hyperparameters": describe_hyperparameters(first.job, first.sources, {"dropout": 0.3, "units": 4}),
            }
        )
    )
    again = parse([f"--config={path}"], Environment.from_environ({}))
    assert again.job == first.job
    assert {again.sources[name] for name in ("batch_size", "seed", "exporters")} == {"config"}


def test_hyperparameters_are_the_users_and_the_modules_defaults() -> None:
    job = Job.of({}, {"units": 8})
    assert describe_hyperparameters(job, {"units": "flag"}, {"units": 64, "rate": 0.1}) == {
        "units": {"value": 8, "source": "flag"},
        "rate": {"value": 0.1, "source": "default"},
    }


def test_versions_are_those_of_this_process() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["trainer"] == trainer.__version__
    assert re.fullmatch(r"2\.15\.\d+", found["tensorflow"])
    assert all(isinstance(version, str) and version for version in found.values())


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit; the machine's own settings of git do not matter."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    folder = tmp_path / "it's; a repository"
    folder.mkdir()
    git(folder, "init")
    (folder / "model.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


def test_the_commit_of_the_models_code(repository: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    assert git_commit(str(repository)) == {"commit": head.stdout.strip(), "changed": False}
    (repository / "model.py").write_text("x = 2\n")
    assert git_commit(str(repository)) == {"commit": head.stdout.strip(), "changed": True}


def test_the_current_folder_has_no_name(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    assert git_commit("") == git_commit(str(repository))
    assert git_commit("")


def test_outside_a_repository_and_without_git_there_is_no_commit(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git_commit(str(repository.parent)) is None
    assert git_commit(str(repository / "absent")) is None
    monkeypatch.setenv("PATH", "")
    assert git_commit(str(repository)) is None


def file(name: str, digest: str = "aa", size: int = 1500) -> dict[str, object]:
    return {"path": f"/data/{name}", "bytes": size, "sha256": digest}


DATA = {"train": [file("a"), file("b", "bb")], "eval": [file("c")], "train_examples": 7}
Data = dict[str, Any]


@pytest.mark.parametrize(
    ("new", "words"),
    [
        pytest.param(DATA, [], id="the same"),
        pytest.param({**DATA, "train": [file("x/a"), file("x/b", "bb")]}, [], id="moved"),
        pytest.param(
            {**DATA, "train": [file("a"), file("b", "cc")]},
            ["the train files differ (2 files of 3,000 bytes then, 2 files of 3,000 bytes now)"],
            id="another content",
        ),
        pytest.param(
            {**DATA, "train": [file("a")]},
            ["the train files differ (2 files of 3,000 bytes then, 1 files of 1,500 bytes now)"],
            id="a file less",
        ),
        pytest.param(
            {**DATA, "eval": []}, ["the eval files differ (1 files of 1,500 bytes then, 0 files of 0 bytes now)"],
            id="no evaluation files",
        ),
        pytest.param(
            {"train": [], "eval": [file("d", size=2)]},
            ["the train files differ (2 files of 3,000 bytes then, 0 files of 0 bytes now)",
             "the eval files differ (1 files of 1,500 bytes then, 1 files of 2 bytes now)"],
            id="both",
        ),
        pytest.param(
            {**DATA, "eval": [{"path": "c", "bytes": 1500, "sha256_of_ends": "zz"}]},
            ["the eval files differ (1 files of 1,500 bytes then, 1 files of 1,500 bytes now)"],
            id="told by its ends",
        ),
    ],
)  # fmt: skip
def test_how_the_data_of_two_runs_differ(new: Data, words: list[str]) -> None:
    assert data_difference(DATA, new) == words


def test_how_vocabularies_differ() -> None:
    old = {"words": "aa", "classes": "bb"}
    assert asset_difference(old, dict(old)) == []
    assert asset_difference(old, {"words": "ab", "letters": "cc"}) == [
        "the vocabulary classes differs",
        "the vocabulary letters differs",
        "the vocabulary words differs",
    ]


def test_how_columns_differ() -> None:
    old = {"x_input": ["a", "b"], "y": ["label"]}
    assert columns_difference(old, {"x_input": ("a", "b"), "y": ("label",)}) == []
    assert columns_difference(old, {"x_input": ["b", "a"], "y": ["label"]}) == [
        "x_input goes with the column b+a where it was a+b"
    ]


def test_settings_of_a_newer_version_are_found() -> None:
    known = describe_settings(Job(), {})
    assert unknown_settings({"settings": known}) == []
    assert unknown_settings({"settings": {**known, "warp_speed": {"value": 9}}}) == ["warp_speed"]
    assert unknown_settings({}) == []

"""What a job was asked to do and with what: enough to run it again, and to refuse what would not be the same job."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import trainer
from trainer.job.config import Job, all_settings

FORMAT = 1
PACKAGES = ("tensorflow", "tensorflow-estimator", "keras", "numpy", "protobuf")
GIT_SECS = 5.0


def describe_settings(job: Job, sources: Mapping[str, str]) -> dict[str, Any]:
    """Setting name -> its value and who spoke: flag, environment, config or default."""
    return {name: {"value": value, "source": sources.get(name, "default")} for name, value in job.values.items()}


def describe_hyperparameters(
    job: Job, sources: Mapping[str, str], defaults: Mapping[str, object]
) -> dict[str, dict[str, Any]]:
    """The builder's parameters: the ones the user set, and the module's defaults for the others."""
    given = dict(job.hyperparameters)
    return {
        name: {"value": given.get(name, default), "source": sources.get(name, "default")}
        for name, default in {**defaults, **given}.items()
    }


def versions() -> dict[str, str]:
    """What this process runs on."""
    found = {"python": platform.python_version(), "trainer": trainer.__version__, "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # TensorFlow has several names: tensorflow-cpu and the like
            found[package] = "not installed under this name"
    return found


def git_commit(folder: str) -> dict[str, Any] | None:
    """The commit that the model's code is at, and whether it was changed since; None outside a repository."""
    head = _git(folder, "rev-parse", "HEAD")
    return {"commit": head, "changed": bool(_git(folder, "status", "--porcelain"))} if head else None


def _git(folder: str, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", folder or os.curdir, *words], capture_output=True, text=True, timeout=GIT_SECS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a repository on a slow network disk
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def data_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the files of two runs, in words; files that only moved are the same."""
    found = []
    for role in ("train", "eval"):
        before, now = ([_content(file) for file in side.get(role, [])] for side in (old, new))
        if before != now:
            found.append(f"the {role} files differ ({_counted(before)} then, {_counted(now)} now)")
    return found


def columns_difference(old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]) -> list[str]:
    """Which inputs and outputs of the model (name -> columns) other columns feed than in the earlier run."""
    was, now = ({name: "+".join(columns) for name, columns in side.items()} for side in (old, new))
    names = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
    return [f"{name} goes with the column {now.get(name)} where it was {was.get(name)}" for name in names]


def asset_difference(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Which vocabularies and lists of classes are not those of the earlier run."""
    names = sorted({*old, *new})
    return [f"the vocabulary {name} differs" for name in names if old.get(name) != new.get(name)]


def unknown_settings(manifest: Mapping[str, Any]) -> list[str]:
    """Settings of a manifest that this version does not know."""
    return [name for name in manifest.get("settings", {}) if name not in all_settings()]


def _content(file: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(value for name, value in sorted(file.items()) if name != "path")


def _counted(files: Sequence[tuple[Any, ...]]) -> str:
    return f"{len(files)} files of {sum(file[0] for file in files):,} bytes"

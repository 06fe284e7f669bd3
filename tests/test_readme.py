"""The README's commands work as they stand there."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("readme")
def test_commands_run_as_written_and_leave_what_the_readme_says(tmp_path: pathlib.Path) -> None:
    assert len(BLOCKS) == 9
    for name in (
        "trainer",
        "scripts",
        "setup.py",
        "constraints.txt",
        "README.md",
        "config.yaml",
        "hptuning_config.yaml",
    ):
        source, target = ROOT / name, tmp_path / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    # the environment of the tests itself, behind the folder where the scripts look for theirs
    # (whose own path may contain .venv/bin/python)
    script = "\n".join(["set -e", *BLOCKS]).replace(".venv/bin/python", shlex.quote(sys.executable))
    for name, door in (("train-local", "task"), ("submit", "submit"), ("sweep", "sweep")):
        script = script.replace(f"scripts/{name}.sh", f"{shlex.quote(sys.executable)} -m trainer.{door}")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "--units INT" in done.stdout  # --model=... --help shows the module's own flags
    first = json.loads((tmp_path / "runs/first/result.json").read_text())
    assert first["status"] == "finished"
    assert first["metrics"]["accuracy"] >= 0.56
    assert set(first["exports"]) == {"latest", "best", "final"}
    for export in first["exports"].values():
        assert json.loads((tmp_path / export / "verification.json").read_text())["passed"] is True
    (predictions,) = (tmp_path / "runs/mine/predictions").glob("*.jsonl")
    predicted = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert len(predicted) == 4
    assert {"key", "class", "is_large"} <= set(predicted[0])
    assert "<html" in (tmp_path / "runs/first/report.html").read_text()
    assert "no errors, " in done.stdout
    assert "# POST https://us-central1-aiplatform.googleapis.com/v1/projects/my-project/" in done.stdout
    assert "--epochs=8" in done.stdout
    assert "NVIDIA_TESLA_T4" in (tmp_path / "runs/config.yaml").read_text()
    assert "<html" in (tmp_path / "runs/study/sweep.html").read_text()
    mine = json.loads((tmp_path / "runs/mine/result.json").read_text())
    assert mine["global_step"] == 3
    named = set(re.findall(r"^(\w[\w.]*)/? {2,}", README.split("```text")[1].split("```")[0], re.MULTILINE))
    assert named >= {"manifest.json", "result.json", "evaluations.jsonl", "checkpoints", "assets", "cluster"}
    assert all((tmp_path / "runs/first" / name).exists() for name in named - {"cluster"})


def test_exit_codes_are_those_of_the_errors() -> None:
    from trainer.cluster.rules import STALLED
    from trainer.job import errors

    section = README.split("## Exit codes")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| (\d+)", section, re.MULTILINE)) | {"143"}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TrainerError)]
    codes = {str(kind.exit_code) for kind in kinds} | {"0", "1", "130", "143", str(STALLED)}
    assert listed == codes

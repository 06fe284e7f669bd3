"""What leaves this machine for a job: the project's sources and the model's, and nothing beside them."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping

import pytest

from tests.gcs_rig import Fault, Gcs
from trainer.cloud import package
from trainer.cloud.package import ModelFiles, build_sdist, package_url, stage_model, stage_package
from trainer.job.errors import ModelError, UsageError

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECRETS = (
    *(".env", "key.json", "credentials.json", "id_rsa", "trainer/.env", "trainer/key.json", "trainer/samples/key.pem"),
    *("trainer/application_default_credentials.json", ".venv/lib/x.py", ".git/config", "runs/first/manifest.json"),
    *("tests/test_secret.py", "data.csv", "trainer/.hidden/x.py", "build/lib/trainer/old.py", "my_model.py"),
)


def write(folder: pathlib.Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of this project with things in it that are nobody's business."""
    root = tmp_path_factory.mktemp("check out")
    for name in ("setup.py", "MANIFEST.in", "README.md", "LICENSE", "constraints.txt", "pyproject.toml"):
        shutil.copyfile(ROOT / name, root / name)
    shutil.copytree(ROOT / "trainer", root / "trainer", ignore=shutil.ignore_patterns("__pycache__"))
    write(root, dict.fromkeys(SECRETS, "secret = 'hunter2'\n"))
    write(root, {"keras_trainer.egg-info/SOURCES.txt": "key.json\n.env\ntrainer/key.json\n"})
    return root


@pytest.fixture(scope="module")
def sdist(checkout: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The package of that checkout."""
    return build_sdist(str(checkout), str(tmp_path_factory.mktemp("built")))


def names_in(archive: str) -> set[str]:
    with tarfile.open(archive) as opened:
        return {member.name.partition("/")[2] for member in opened.getmembers()}


def test_a_package_is_called_by_its_content(sdist: str) -> None:
    assert re.search(r"/[0-9a-f]{12}/keras_trainer-[0-9.]+\.tar\.gz$", sdist)
    assert package_url(sdist, "gs://bucket/a/") == "gs://bucket/a/packages/" + "/".join(sdist.split("/")[-2:])


def test_the_package_has_what_an_installation_needs_and_no_more(sdist: str) -> None:
    names = names_in(sdist)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "trainer").rglob("*.py")}
    missing = {name for name in modules if "/." not in name} - names
    assert not missing
    assert {"setup.py", "constraints.txt", "trainer/training/report.html.j2", "PKG-INFO"} <= names
    assert not names & set(SECRETS)
    with tarfile.open(sdist) as opened:
        contents = [opened.extractfile(member) for member in opened.getmembers()]
        assert not [each for each in contents if each and b"hunter2" in each.read()]


def test_the_same_sources_make_the_same_bytes_anywhere(
    sdist: str, checkout: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(checkout, moved, copy_function=shutil.copyfile)  # other times, other modes
    assert os.stat(moved / "setup.py").st_mtime != os.stat(checkout / "setup.py").st_mtime
    again = build_sdist(str(moved), str(tmp_path / "built"))
    assert pathlib.Path(again).parts[-2:] == pathlib.Path(sdist).parts[-2:]
    assert pathlib.Path(again).read_bytes() == pathlib.Path(sdist).read_bytes()
    (moved / "trainer" / "quiet.py").write_text("# another\n")
    assert pathlib.Path(build_sdist(str(moved), str(tmp_path / "built"))).parent != pathlib.Path(again).parent


def test_building_leaves_the_checkout_as_it_was(sdist: str, checkout: pathlib.Path) -> None:
    assert not (checkout / "dist").exists()
    assert (checkout / "keras_trainer.egg-info" / "SOURCES.txt").read_text().startswith("key.json")


def test_what_is_installed_without_sources_cannot_be_packed(tmp_path: pathlib.Path) -> None:
    shutil.copytree(ROOT / "trainer", tmp_path / "trainer", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from trainer.cloud.package import project_root\nproject_root()"
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
    )
    assert f"UsageError: this trainer is installed in {tmp_path} without its sources" in done.stderr
    assert package.project_root() == str(ROOT)


def test_a_setup_that_fails_is_said(tmp_path: pathlib.Path) -> None:
    write(tmp_path, {"setup.py": "raise RuntimeError('no version')", "trainer/__init__.py": ""})
    with pytest.raises(UsageError) as caught:
        build_sdist(str(tmp_path), str(tmp_path / "built"))
    assert str(caught.value) == (
        f"{tmp_path}/setup.py sdist fails (RuntimeError: no version): run it there to see more."
    )


def test_a_setup_that_hangs_is_given_up(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "BUILD_SECS", 0.5)
    write(tmp_path, {"setup.py": "import time; time.sleep(60)", "trainer/__init__.py": ""})
    with pytest.raises(UsageError, match=r"setup\.py sdist does not end within 0 s"):
        build_sdist(str(tmp_path), str(tmp_path / "built"))


def test_the_package_installs_and_runs(sdist: str, tmp_path: pathlib.Path) -> None:
    """By pip, as a job does it; what else it needs is here already."""
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    alone = {**os.environ, "PYTHONPATH": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*pip, f"--target={target}", sdist], cwd=tmp_path, env=alone, check=True, timeout=120)
    assert (target / "trainer" / "training" / "report.html.j2").is_file()
    code = "import trainer, trainer.task, sys; print(trainer.__file__); sys.exit(trainer.task.main(['--help']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"{target}/trainer/__init__.py\n")
    assert "--train-files" in done.stdout


def test_a_package_is_staged_once(gcs: Gcs, bucket: str, sdist: str) -> None:
    gcs.faults(Fault("POST /upload", 503, times=1), Fault("POST /upload", "drop", times=1))
    urls = {stage_package(sdist, f"gs://{bucket}/jobs") for _ in range(2)}
    digest, name = pathlib.Path(sdist).parts[-2:]
    assert urls == {f"gs://{bucket}/jobs/packages/{digest}/{name}"}
    assert gcs.content(bucket) == {f"jobs/packages/{digest}/{name}": pathlib.Path(sdist).read_bytes()}


MODEL = """
import json, helpers
import numpy as np
import pandas
import trainer.samples
from layers import attention, missing_name
from layers.deep.norm import Norm
from far.away import thing
def build_model():
    from late import x
    import importlib
if __name__ == "__main__":
    from experiments import *
"""
TREE = {
    "my model.py": MODEL,
    "helpers.py": "from tools import tool\nimport helpers\n",
    "tools.py": "import helpers\nfrom . import relative\n",
    "relative.py": "",
    "late.py": "",
    "json.py": "never: Python's own comes first",
    "pandas.py": "",
    "unused.py": "not Python",
    "layers/__init__.py": "from .base import Base\n",
    "layers/base.py": "from .. import outside\nfrom ..outside2 import y\nimport helpers\n",
    "layers/attention.py": "from . import shared as s\n",
    "layers/shared.py": "",
    "layers/unused.py": "",
    "layers/deep/norm.py": "from ..shared import a\nfrom .unit import Unit\n",
    "layers/deep/unit.py": "",
    "layers/data.csv": "1,2",
    "outside.py": "",
    "outside2.py": "",
    "experiments/__init__.py": "",
    "experiments/a.py": "",
    "experiments/b.py": "",
    "trainer/samples.py": "",
    "trainer/__init__.py": "",
    "key.json": "{}",
    "vocabulary.txt": "a",
}
TAKEN = [
    *("experiments/__init__.py", "experiments/a.py", "experiments/b.py", "helpers.py", "late.py", "layers/__init__.py"),
    *("layers/attention.py", "layers/base.py", "layers/deep/norm.py", "layers/deep/unit.py", "layers/shared.py"),
    *("my model.py", "outside.py", "outside2.py", "pandas.py", "relative.py", "tools.py"),
]


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    """A model module with neighbours, in a folder as users have them."""
    folder = tmp_path / "my models: 1"
    write(folder, TREE)
    return folder / "my model.py"


def test_a_file_takes_along_what_it_imports(model: pathlib.Path) -> None:
    files = ModelFiles.of(f"{model}:build")
    assert [relative for relative, _ in files.files] == TAKEN
    assert files.files == tuple((each, os.path.join(str(model.parent), each)) for each in TAKEN)
    assert (files.target, files.function) == ("my model.py", "build")


def test_a_file_alone_is_found_from_anywhere(model: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    assert [name for name, _ in ModelFiles.of("late.py").files] == ["late.py"]
    assert ModelFiles.of("late.py").url("gs://b/p") == ModelFiles.of(str(model.parent / "late.py")).url("gs://b/p/")


def test_the_name_stands_for_the_content(model: pathlib.Path) -> None:
    before = ModelFiles.of(str(model)).digest
    (model.parent / "layers" / "data.csv").write_text("3,4")
    assert ModelFiles.of(str(model)).digest == before, "data is no code"
    (model.parent / "layers" / "shared.py").write_text("a = 1\n")
    assert ModelFiles.of(str(model)).digest != before


def test_a_neighbour_that_is_not_python_is_said(model: pathlib.Path) -> None:
    (model.parent / "late.py").write_text("def")
    with pytest.raises(ModelError, match=r"late\.py, line 1: not Python 3"):
        ModelFiles.of(str(model))


def test_a_missing_file_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"no such file"):
        ModelFiles.of(str(tmp_path / "nothing.py"))


def test_a_module_of_a_package_keeps_its_place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        tmp_path,
        {
            "shop/__init__.py": "from shop import rates",
            "shop/rates.py": "",
            "shop/models/__init__.py": "",
            "shop/models/price.py": "from ..common import x\nimport shop.units\nimport top\n",
            "shop/common.py": "",
            "shop/units.py": "",
            "shop/other.py": "",
            "top.py": "",
        },
    )
    monkeypatch.chdir(tmp_path)
    files = ModelFiles.of("shop.models.price:make")
    assert [relative for relative, _ in files.files] == [
        *("shop/__init__.py", "shop/common.py", "shop/models/__init__.py", "shop/models/price.py", "shop/rates.py"),
        *("shop/units.py", "top.py"),
    ]
    assert files.url("gs://b/p") == f"gs://b/p/models/{files.digest}/shop.models.price:make"


def test_our_own_and_installed_modules_need_no_staging(
    gcs: Gcs, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "lib" / "site-packages"
    write(installed, {"zoo_of_models/big.py": "import os", "zoo_of_models/__init__.py": ""})
    monkeypatch.syspath_prepend(installed)
    for ref in ("trainer.samples.place_names", "trainer.samples.digits:build_model", "zoo_of_models.big:make"):
        assert ModelFiles.of(ref).files == ()
        assert stage_model(ModelFiles.of(ref), "gs://bucket/p") == ref
    assert gcs.log == []


def test_a_model_is_staged(gcs: Gcs, bucket: str, model: pathlib.Path) -> None:
    gcs.faults(Fault("POST /upload", 503, share=0.3), Fault("POST /upload", "drop", share=0.3))
    files = ModelFiles.of(str(model))
    url = stage_model(files, f"gs://{bucket}/jobs")
    folder = f"jobs/models/{files.digest}"
    assert url == files.url(f"gs://{bucket}/jobs") == f"gs://{bucket}/{folder}/my model.py:build_model"
    assert sum(each.fault is not None for each in gcs.log) > 5
    gcs.faults()
    assert gcs.content(bucket) == {f"{folder}/{each}": TREE[each].encode() for each in TAKEN}

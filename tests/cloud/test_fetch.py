"""A model module that went to the bucket comes back as it was, or not at all."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.gcs_rig import Fault, Gcs
from trainer.cloud.fetch import fetch_model
from trainer.cloud.package import ModelFiles, stage_model
from trainer.job.errors import UsageError
from trainer.job.signature import read_signature

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "from parts.sizes import UNITS\n\n\ndef build_model(units: int = 3, rate: float = 0.5):\n    return UNITS\n"
FILES = {"my: model.py": MODEL, "parts/__init__.py": "", "parts/sizes.py": "UNITS = 7\n"}


@pytest.fixture
def staged(gcs: Gcs, bucket: str, tmp_path: pathlib.Path) -> str:
    """The reference to a model in the bucket."""
    folder = tmp_path / "here"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return stage_model(ModelFiles.of(str(folder / "my: model.py")), f"gs://{bucket}/a job")


def files_in(folder: pathlib.Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def refused(ref: str, folder: pathlib.Path) -> str:
    with pytest.raises(UsageError) as caught:
        fetch_model(ref, str(folder))
    return str(caught.value)


@pytest.mark.parametrize("function", ["", ":build_model"])
def test_what_was_staged_comes_back(staged: str, tmp_path: pathlib.Path, function: str) -> None:
    there = tmp_path / "there"
    ref = fetch_model(staged.removesuffix(":build_model") + function, str(there))
    assert ref == f"{there}/my: model.py{function}"
    assert files_in(there) == FILES
    assert [each.flag for each in read_signature(ref).parameters] == ["--units", "--rate"]


def test_a_folder_that_has_it_already_is_no_obstacle(staged: str, tmp_path: pathlib.Path) -> None:
    there = tmp_path / "there"
    assert [fetch_model(staged, str(there)) for _ in range(2)] == [f"{there}/my: model.py:build_model"] * 2
    assert files_in(there) == FILES


def test_breaks_on_the_way_leave_it_whole(gcs: Gcs, staged: str, tmp_path: pathlib.Path) -> None:
    gcs.faults(*(Fault("GET /(download|storage)", each, times=1) for each in (503, "reset", "truncate", 429)))
    fetch_model(staged, str(tmp_path / "there"))
    assert files_in(tmp_path / "there") == FILES
    assert {each.fault for each in gcs.log} >= {503, "reset", 429}


def test_folders_made_by_hand_in_the_bucket_do_not_count(
    gcs: Gcs, bucket: str, staged: str, tmp_path: pathlib.Path
) -> None:
    digest = staged.split("/")[-2]
    gcs.put(bucket, {f"a job/models/{digest}/": b"", f"a job/models/{digest}/parts/": b""})
    fetch_model(staged, str(tmp_path / "there"))
    assert files_in(tmp_path / "there") == FILES


@pytest.mark.parametrize("name", ["more.py", "parts/sizes.py"])
def test_another_file_than_was_staged_is_refused(
    gcs: Gcs, bucket: str, staged: str, tmp_path: pathlib.Path, name: str
) -> None:
    digest = staged.split("/")[-2]
    gcs.put(bucket, {f"a job/models/{digest}/{name}": b"UNITS = 8"})
    assert refused(staged, tmp_path / "there") == (
        f"--model={staged}: its files in gs://{bucket}/a job/models/{digest}/ are not those that were staged; submit "
        "the job again with python -m trainer.submit, which stages it."
    )


def test_nothing_there_is_refused(bucket: str, tmp_path: pathlib.Path) -> None:
    url = f"gs://{bucket}/a/models/0123456789ab/my_model.py"
    assert "are not those that were staged" in refused(url, tmp_path / "there")


@pytest.mark.parametrize("name", ["../out.py", "parts/../../out.py", "a//b.py", "/etc/out.py", "..\\out.py", "./x.py"])
def test_nothing_is_written_outside(gcs: Gcs, bucket: str, staged: str, tmp_path: pathlib.Path, name: str) -> None:
    digest = staged.split("/")[-2]
    gcs.put(bucket, {f"a job/models/{digest}/{name}": b"bad"})
    there = tmp_path / "there"
    said = refused(staged, there)
    assert said.startswith(
        f"gs://{bucket}/a job/models/{digest} holds {name!r}, which would be written outside of {there}"
    )
    assert not there.exists()
    assert not list(tmp_path.rglob("out.py"))


@pytest.mark.parametrize(
    "ref",
    [
        "my_model.py",
        "gs://bucket/my_model.py",
        "gs://bucket/models/xyz/my_model.py",
        "gs://bucket/models/0123456789ab/",
    ],
)
def test_what_was_never_staged_is_refused(ref: str, tmp_path: pathlib.Path) -> None:
    assert re.match(rf"--model={re.escape(ref)} is no module that was staged", refused(ref, tmp_path))


RUN = """
import sys
from trainer.cloud.fetch import fetch_model
from trainer.job.signature import read_signature
ref = fetch_model(sys.argv[1], sys.argv[2])
signature = read_signature(ref)
print(ref, signature.path, [each.flag for each in signature.parameters])
import shop.models.price
print(shop.models.price.build_model(2))
"""


def test_a_module_of_a_package_is_found_by_its_name(
    gcs: Gcs, bucket: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "shop" / "models").mkdir(parents=True)
    for package in ("shop", "shop/models"):
        (here / package / "__init__.py").touch()
    (here / "shop" / "rates.py").write_text("RATE = 20\n")
    (here / "shop" / "models" / "price.py").write_text(
        "from ..rates import RATE\n\ndef build_model(units: int = 1):\n    return units + RATE\n"
    )
    monkeypatch.chdir(here)
    staged = stage_model(ModelFiles.of("shop.models.price"), f"gs://{bucket}/a job")
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUN, staged, str(there)],
        cwd=tmp_path / "empty", env=gcs.environ(PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        f"shop.models.price:build_model {there}/shop/models/price.py ['--units']",
        "22",
    ], done.stderr
    assert set(os.listdir(there / "shop")) - {"__pycache__"} == {"__init__.py", "models", "rates.py"}

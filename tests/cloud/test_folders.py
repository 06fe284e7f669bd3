"""Folders in Cloud Storage: whole where their last file is, and never written outside of where they were asked for."""

from __future__ import annotations

import pathlib

import pytest

from tests.gcs_rig import Fault, Gcs
from trainer.cloud.folders import copy_folder, fetch_folder, files_below, put_folder, remove_folder
from trainer.job.errors import StorageFailed, UsageError

LAST = "saved_model.pb"
CONTENT = {LAST: b"graph", "variables/a b": b"\x00\xff", "variables/ü": b"", "assets/words.txt": b"x\n"}


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for name, content in CONTENT.items():
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "made"


def test_a_folder_goes_up_is_copied_and_comes_down(
    gcs: Gcs, bucket: str, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    put_folder(str(folder), f"gs://{bucket}/one/", LAST)
    copy_folder(f"gs://{bucket}/one", f"gs://{bucket}/two", LAST)
    assert gcs.content(bucket) == {f"{place}/{name}": CONTENT[name] for place in ("one", "two") for name in CONTENT}
    assert set(files_below(f"gs://{bucket}/one")) == set(CONTENT)
    assert files_below(f"gs://{bucket}/on") == {}
    fetch_folder(f"gs://{bucket}/two", str(tmp_path / "back"))
    back = {str(path.relative_to(tmp_path / "back")): path for path in (tmp_path / "back").rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in back.items()} == CONTENT


def test_what_fails_on_the_way_does_not_count_as_whole(gcs: Gcs, bucket: str, folder: pathlib.Path) -> None:
    denied = Fault("POST /upload", 403, skip=len(CONTENT) - 2, message="no")
    gcs.faults(denied)
    with pytest.raises(UsageError, match="access denied"):
        put_folder(str(folder), f"gs://{bucket}/one", LAST)
    gcs.state.reset()
    put_folder(str(folder), f"gs://{bucket}/two", LAST)
    gcs.faults(Fault("rewriteTo", 403, skip=len(CONTENT) - 1, message="no"))
    with pytest.raises(UsageError, match="access denied"):
        copy_folder(f"gs://{bucket}/two", f"gs://{bucket}/three", LAST)
    gcs.state.reset()
    found = gcs.content(bucket)
    assert not {f"one/{LAST}", f"three/{LAST}"} & set(found)
    assert f"two/{LAST}" in found


def test_the_last_one_goes_first(gcs: Gcs, bucket: str, folder: pathlib.Path) -> None:
    put_folder(str(folder), f"gs://{bucket}/one", LAST)
    gcs.faults(Fault("DELETE", 403, skip=1, message="no"))
    with pytest.raises(UsageError):
        remove_folder(f"gs://{bucket}/one", LAST)
    gcs.state.reset()
    assert set(gcs.content(bucket)) == {f"one/{name}" for name in CONTENT} - {f"one/{LAST}"}
    remove_folder(f"gs://{bucket}/one", LAST, {"assets"})
    assert {name.split("/")[1] for name in gcs.content(bucket)} == {"variables"}
    remove_folder(f"gs://{bucket}/one", LAST)
    remove_folder(f"gs://{bucket}/one", LAST)
    assert gcs.content(bucket) == {}


@pytest.mark.parametrize("action", [503, "reset", "drop", "truncate"])
def test_faults_cost_time_only(gcs: Gcs, bucket: str, folder: pathlib.Path, action: int | str) -> None:
    gcs.faults(Fault(".", action, times=3))
    put_folder(str(folder), f"gs://{bucket}/one", LAST)
    gcs.faults(Fault("rewriteTo|DELETE", action, times=2))
    copy_folder(f"gs://{bucket}/one", f"gs://{bucket}/two", LAST)
    remove_folder(f"gs://{bucket}/one", LAST)
    gcs.state.reset()
    assert gcs.content(bucket) == {f"two/{name}": content for name, content in CONTENT.items()}


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/outside", "a//b"])
def test_no_name_leads_out_of_the_folder(gcs: Gcs, bucket: str, tmp_path: pathlib.Path, name: str) -> None:
    gcs.put(bucket, {f"one/{name}": b"x"})
    with pytest.raises(UsageError, match="would be written outside of"):
        fetch_folder(f"gs://{bucket}/one", str(tmp_path / "here"))
    assert list(tmp_path.rglob("*")) == []


def test_what_is_not_what_was_sent_is_told(
    gcs: Gcs, bucket: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.cloud.folders.crc32c_of", lambda path: "another")
    with pytest.raises(StorageFailed, match="arrived damaged"):
        put_folder(str(folder), f"gs://{bucket}/one", LAST)

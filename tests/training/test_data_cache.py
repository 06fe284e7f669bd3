"""Local copies of data files in Cloud Storage."""

from __future__ import annotations

import fcntl
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator

import pytest

from tests.gcs_rig import Fault, Gcs, collect_connections
from tests.runner import environ
from trainer.job.errors import DataError, StorageFailed, UsageError
from trainer.training import data_cache
from trainer.training.data_cache import LOCK_FILE, Part, keep_copies

CONTENT = {"data/a.csv": b"x,y\n1,2\n" * 1000, "data/b c'; d.csv": b"x,y\n3,4\n", "other/empty.csv": b""}
URLS = [f"gs://bucket/{name}" for name in CONTENT]
DEADLINE_SECS = 60.0
FILL = """
import sys
from trainer.training.data_cache import keep_copies
keep_copies(sys.argv[2:], sys.argv[1])
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    with Gcs(tmp_path_factory.mktemp("gcs"), tls=True) as gcs:
        gcs.make_bucket("bucket")
        yield gcs


@pytest.fixture
def gcs(rig: Gcs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gcs]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", rig.url)
    rig.state.reset()
    rig.remove("bucket", rig.content("bucket"))
    rig.put("bucket", CONTENT)
    rig.state.reset()
    yield rig
    rig.state.reset()
    collect_connections()


def downloads(gcs: Gcs) -> int:
    return sum("alt=media" in each.path for each in gcs.log if each.fault is None)


def files_below(folder: pathlib.Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()} - {LOCK_FILE}


def test_copies_are_made_once(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    copies = keep_copies(URLS, str(tmp_path / "cache"))
    assert list(copies) == URLS
    assert {url: pathlib.Path(path).read_bytes() for url, path in copies.items()} == {
        f"gs://bucket/{name}": content for name, content in CONTENT.items()
    }
    assert all(os.path.basename(path) == url.rpartition("/")[2] for url, path in copies.items())
    assert downloads(gcs) == len(URLS)
    gcs.state.reset()
    assert keep_copies(URLS, str(tmp_path / "cache")) == copies
    assert len(gcs.log) == 2  # a list for each folder
    assert files_below(tmp_path / "cache") == {os.path.relpath(each, tmp_path / "cache") for each in copies.values()}


def test_a_damaged_copy_is_made_anew(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    copies = keep_copies(URLS, str(tmp_path))
    path = pathlib.Path(copies[URLS[0]])
    path.write_bytes(b"z" + path.read_bytes()[1:])
    gcs.state.reset()
    assert keep_copies(URLS, str(tmp_path)) == copies
    assert path.read_bytes() == CONTENT["data/a.csv"]
    assert downloads(gcs) == 1


def test_a_file_that_was_replaced_is_copied_beside_the_earlier_copy(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    before = keep_copies(URLS, str(tmp_path))
    gcs.put("bucket", {"data/a.csv": b"x,y\n5,6\n"})
    after = keep_copies(URLS, str(tmp_path))
    assert pathlib.Path(after[URLS[0]]).read_bytes() == b"x,y\n5,6\n"
    assert pathlib.Path(before[URLS[0]]).read_bytes() == CONTENT["data/a.csv"]
    assert {url for url in URLS if before[url] != after[url]} == {URLS[0]}


def test_faults_change_nothing(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    more = {f"many/{number}.csv": os.urandom(20_000) for number in range(30)}
    gcs.put("bucket", more)
    gcs.state.reset()
    gcs.weather(0.3, 0.0)
    urls = [f"gs://bucket/{name}" for name in more]
    subprocess.run([sys.executable, "-c", FILL, str(tmp_path), *urls], env=environ(**gcs.environ()), check=True)
    assert any(each.fault is not None for each in gcs.log)
    gcs.state.reset()
    copies = keep_copies(urls, str(tmp_path))
    assert downloads(gcs) == 0
    assert {url.removeprefix("gs://bucket/"): pathlib.Path(path).read_bytes() for url, path in copies.items()} == more
    assert not [name for name in files_below(tmp_path) if name.endswith(".unfinished")]


def test_what_is_gone_is_named(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"gs://bucket/data/absent\.csv is not there any more"):
        keep_copies([*URLS, "gs://bucket/data/absent.csv"], str(tmp_path))


def test_no_name_leads_out_of_the_folder(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    gcs.put("bucket", {"x/../../../../out.csv": b"x\n"})
    with pytest.raises(UsageError, match="leads out of it"):
        keep_copies(["gs://bucket/x/../../../../out.csv"], str(tmp_path / "cache"))
    assert not list(tmp_path.rglob("out.csv"))


def test_a_full_disk_is_told_before_anything_is_copied(
    gcs: Gcs, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_cache.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=10))
    with pytest.raises(StorageFailed, match=r"--cache-data=.* need 0 MB, the disk has 0 MB left: make room"):
        keep_copies(URLS, str(tmp_path))
    assert downloads(gcs) == 0


def test_a_folder_that_cannot_be_made_is_told(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match=re.escape(f"--cache-data={tmp_path}/file/cache: ")):
        keep_copies(URLS, f"{tmp_path}/file/cache")


def test_what_a_kill_leaves_is_no_copy(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    """Killed while the first bytes arrive; the next one removes what is unfinished and copies it whole."""
    large = {"large.csv": os.urandom(8_000_000)}
    gcs.put("bucket", large)
    gcs.state.reset()
    gcs.faults(Fault("GET .*large.csv.*alt=media", "truncate", times=1000))
    process = subprocess.Popen(
        [sys.executable, "-c", FILL, str(tmp_path), "gs://bucket/large.csv"], env=environ(**gcs.environ())
    )
    end = time.monotonic() + DEADLINE_SECS
    while not [name for name in files_below(tmp_path) if name.endswith("large.csv.unfinished")]:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    gcs.state.reset()
    [left] = files_below(tmp_path)
    assert left.endswith(".unfinished")
    gcs.put("bucket", {"large.csv": large["large.csv"]})  # another generation
    copies = keep_copies(["gs://bucket/large.csv"], str(tmp_path))
    assert pathlib.Path(copies["gs://bucket/large.csv"]).read_bytes() == large["large.csv"]
    assert len(files_below(tmp_path)) == 1


def test_ctrl_c_ends_it_soon(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    """With many files still to come: threads of a download would go on to the last."""
    gcs.put("bucket", {f"many/{number}.csv": b"x\n" for number in range(400)})
    gcs.state.reset()
    gcs.state.latency_secs = 0.5
    urls = [f"gs://bucket/many/{number}.csv" for number in range(400)]  # 25 s
    process = subprocess.Popen(
        [sys.executable, "-c", FILL, str(tmp_path), *urls], env=environ(**gcs.environ()), stderr=subprocess.PIPE
    )
    end = time.monotonic() + DEADLINE_SECS
    while downloads(gcs) < 8:
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    process.communicate(timeout=DEADLINE_SECS)
    assert time.monotonic() - began < 10
    assert not [name for name in files_below(tmp_path) if name.endswith(".unfinished")]


def test_two_processes_copy_once(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-c", FILL, str(tmp_path), *URLS]
    with open(tmp_path / LOCK_FILE, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        both = [subprocess.Popen(command, env=environ(**gcs.environ())) for _ in range(2)]
        time.sleep(2)
        assert downloads(gcs) == 0
        assert [each.poll() for each in both] == [None, None]
    assert [each.wait(DEADLINE_SECS) for each in both] == [0, 0]
    assert downloads(gcs) == len(URLS)


def test_what_is_discarded_as_its_first_byte_comes_leaves_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, begins, makedirs = Part(str(tmp_path / "copies" / "a.unfinished")), threading.Event(), os.makedirs

    def slowly(*given: object, **more: object) -> None:
        begins.set()
        time.sleep(0.3)
        makedirs(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "makedirs", slowly)
    writer = threading.Thread(target=part.write, args=(b"x",))
    writer.start()
    assert begins.wait(DEADLINE_SECS)
    part.discard()
    writer.join()
    assert files_below(tmp_path) == set()
    with pytest.raises(InterruptedError, match="not wanted any more"):
        part.write(b"y")

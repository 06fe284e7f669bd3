"""Of two processes in one job directory of a bucket, one works; a dead one's lease goes to the next."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.gcs_rig import Fault, Gcs
from trainer.cloud import lease, storage
from trainer.cloud.lease import held, refuse_held
from trainer.job.errors import JobDirError, StorageFailed, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
ROOT = pathlib.Path(__file__).resolve().parents[2]
ELSEWHERE = json.dumps(
    {"host": "another", "pid": 7, "namespace": "x", "started": "1", "token": "t", "beat": 1}
).encode()
HOLDER = """
import sys, time
from trainer.cloud import lease
lease.BEAT_SECS = 0.2
with lease.held(sys.argv[1], "the place"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def url(bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lease of small times: beats of 0.2 s, taken over after 1.5."""
    for name, secs in {"BEAT_SECS": 0.2, "LEASE_SECS": 1.5, "LOOK_SECS": 0.1}.items():
        monkeypatch.setattr(lease, name, secs)
    return f"gs://{bucket}/a job/job.lock"


@pytest.fixture
def holder(url: str, gcs: Gcs) -> Iterator[subprocess.Popen[str]]:
    """A process of this machine that holds it."""
    environ = gcs.environ(PYTHONPATH=str(ROOT))
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLDER, url],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def lies_at(url: str) -> bool:
    return storage.read_version(url) is not None


def test_it_is_held_within_and_given_back(url: str) -> None:
    with held(url, "the place"):
        first = storage.read_version(url)
        assert first
        assert json.loads(first[0])["pid"] == os.getpid()
        time.sleep(1.0)
        later = storage.read_version(url)
        assert later
        assert later[1] != first[1], "it is not kept alive"
    assert not lies_at(url)
    with pytest.raises(ZeroDivisionError), held(url, "the place"):
        raise ZeroDivisionError
    assert not lies_at(url)


def test_the_second_is_refused_until_the_first_is_killed(url: str, holder: subprocess.Popen[str]) -> None:
    words = rf"^another process is at work in the place \(process {holder.pid} on [^ )]+\): wait for it, stop it, or "
    for refused in (lambda: held(url, "the place").__enter__(), lambda: refuse_held(url, "the place")):
        began = time.monotonic()
        with pytest.raises(JobDirError, match=words):
            refused()
        assert time.monotonic() - began < 1.5
    holder.kill()
    holder.wait()
    assert lies_at(url)
    began = time.monotonic()
    with held(url, "the place"):
        assert time.monotonic() - began < 1.0, "that a process of this machine has ended is known at once"


def test_a_lease_from_elsewhere_is_taken_over_when_it_stays_the_same(url: str) -> None:
    storage.put_version(url, ELSEWHERE, 0)
    began = time.monotonic()
    with held(url, "the place"):
        assert 1.5 <= time.monotonic() - began < 4.0


@pytest.mark.parametrize("text", [b"", b"not JSON", b"\xff", b"[1]", b'{"pid": "x"}'])
def test_a_lease_that_says_nothing_is_one_from_elsewhere(url: str, text: bytes) -> None:
    storage.put_version(url, text, 0)
    with held(url, "the place"):
        pass


def test_of_many_that_take_it_over_one_gets_it(url: str) -> None:
    storage.put_version(url, ELSEWHERE, 0)
    got, refused, done = list[int](), list[int](), threading.Event()

    def take(number: int) -> None:
        try:
            with held(url, "the place"):
                got.append(number)
                done.wait(20)
        except JobDirError:
            refused.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    until = time.monotonic() + 20
    while len(refused) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    done.set()
    for each in threads:
        each.join()
    assert (len(got), len(refused)) == (1, 3)


def test_answers_that_are_lost_do_not_lose_it(url: str, gcs: Gcs, holder: subprocess.Popen[str]) -> None:
    gcs.faults(Fault("upload", "drop", share=0.3), Fault("upload", 503, share=0.2))
    time.sleep(4)
    gcs.faults()
    assert holder.poll() is None
    assert sum(each.fault is not None for each in gcs.log) > 2, "nothing has failed: this proves nothing"
    with pytest.raises(JobDirError):
        refuse_held(url, "the place")


def test_a_beat_whose_answers_were_all_lost_is_ones_own(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write has happened, and the next one is not in its place."""
    put = lease.put_version

    def put_and_say_nothing(url: str, text: str, generation: int) -> int | None:
        put(url, text, generation)
        monkeypatch.setattr(lease, "put_version", put)
        raise StorageFailed("no answer")

    monkeypatch.setattr(lease, "end_lost", lambda sentence: pytest.fail(sentence))
    with held(url, "the place"):
        monkeypatch.setattr(lease, "put_version", put_and_say_nothing)
        time.sleep(1.5)
        assert lease.put_version is put, "no beat since"
        with pytest.raises(JobDirError):
            refuse_held(url, "the place")


def test_who_has_lost_it_ends(url: str, holder: subprocess.Popen[str]) -> None:
    while True:
        found = storage.read_version(url)
        assert found
        if storage.put_version(url, ELSEWHERE, found[1]):
            break
    said = holder.communicate(timeout=20)[1]
    assert holder.returncode == JobDirError.exit_code
    assert said == (
        "trainer.task: the place was taken over by another process, as this one was silent for too long: ended "
        "without saving.\n"
    )


def test_a_bucket_that_is_not_there_is_told(url: str) -> None:
    with pytest.raises(UsageError, match="there is no bucket absent"), held("gs://absent/x", "the place"):
        pass

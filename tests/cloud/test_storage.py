"""Small files in Cloud Storage, against a server that loses, breaks and refuses things."""

from __future__ import annotations

import io
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gcs_rig import Fault, Gcs
from trainer.cloud import asking, storage
from trainer.cloud.storage import Uploaded, failure_in, split
from trainer.job.errors import StorageFailed, TrainerError, UsageError

# google-cloud-storage leaves the connection of a download that was refused to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

HELLO = "mnG7TA=="  # crc32c of b"hello", as Cloud Storage shows it
ROOT = pathlib.Path(__file__).resolve().parents[2]
LARGE_BYTES = 9 << 20  # past 8 MB an upload goes in parts


@pytest.fixture
def hello(tmp_path: pathlib.Path) -> str:
    """A file called as users call files."""
    path = tmp_path / "hello, world #1?.txt"
    path.write_bytes(b"hello")
    return str(path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test wants to see the end of all patience."""
    monkeypatch.setattr(asking, "RETRY_SECS", 0.5)
    monkeypatch.setattr(asking, "CONNECT_AND_READ_SECS", (0.3, 0.3))


def failing(call: Callable[[], object]) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        call()
    return caught.value


def test_a_file_goes_up_and_comes_down(gcs: Gcs, bucket: str, hello: str, tmp_path: pathlib.Path) -> None:
    url = f"gs://{bucket}/a folder/ü#?%41.txt"
    assert storage.upload(hello, url) == Uploaded(url, 5, HELLO, created=True)
    assert gcs.content(bucket) == {"a folder/ü#?%41.txt": b"hello"}
    storage.download(url, str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"hello"
    assert storage.read_text(url) == "hello"
    assert [each.url for each in storage.objects_below(f"gs://{bucket}/a f")] == [f"gs://{bucket}/a folder/ü#?%41.txt"]
    assert storage.exists(url)
    assert not storage.exists(f"gs://{bucket}/a folder")
    assert storage.exists(f"gs://{bucket}")
    assert not storage.exists("gs://no-such-bucket")
    assert storage.bucket_location(bucket) == "europe-west4"


def test_the_same_file_again_is_left_as_it_is(gcs: Gcs, bucket: str, hello: str) -> None:
    url = f"gs://{bucket}/x"
    assert [storage.upload(hello, url).created for _ in range(2)] == [True, False]
    assert len([each for each in gcs.log if each.method == "POST"]) == 1, "it was sent again"


def test_who_may_only_write_sends_it_again(gcs: Gcs, bucket: str, hello: str) -> None:
    gcs.faults(Fault("GET /storage", 403))
    assert storage.upload(hello, f"gs://{bucket}/x").created
    gcs.state.reset()
    assert gcs.content(bucket) == {"x": b"hello"}


@pytest.mark.parametrize("size", [0, 5, LARGE_BYTES])
def test_what_is_put_takes_the_place_of_what_was_there(gcs: Gcs, bucket: str, size: int) -> None:
    content = os.urandom(size)
    gcs.put(bucket, {"x": b"old"})
    gcs.state.reset()
    storage.put(f"gs://{bucket}/x", io.BytesIO(content))
    assert len(gcs.log) == (1 if size < LARGE_BYTES else 2)
    assert gcs.content(bucket) == {"x": content}


@pytest.mark.parametrize("size", [5, LARGE_BYTES])
@pytest.mark.parametrize("action", [408, 429, 500, 503, "reset", "drop", "truncate"])
def test_what_is_put_is_put_again_after_a_failure(gcs: Gcs, bucket: str, action: int | str, size: int) -> None:
    content = os.urandom(size)
    gcs.faults(Fault("POST /upload|PUT /upload", action, times=2))
    storage.put(f"gs://{bucket}/x", io.BytesIO(content))
    assert gcs.content(bucket) == {"x": content}


@pytest.mark.usefixtures("impatient")
def test_what_cannot_be_put_leaves_what_was_there(gcs: Gcs, bucket: str) -> None:
    gcs.put(bucket, {"x": b"old"})
    gcs.faults(Fault("POST /upload", 503))
    error = failing(lambda: storage.put(f"gs://{bucket}/x", io.BytesIO(b"new"), patience=0.5))
    assert isinstance(error, StorageFailed)
    assert gcs.content(bucket) == {"x": b"old"}


def test_another_file_under_the_name_is_an_error(gcs: Gcs, bucket: str, hello: str) -> None:
    gcs.put(bucket, {"x": b"hullo"})
    error = failing(lambda: storage.upload(hello, f"gs://{bucket}/x"))
    assert isinstance(error, StorageFailed)
    assert str(error) == (
        f"gs://{bucket}/x is there already with other content (crc32c cxUKcQ==, of {hello} {HELLO}): "
        "remove that object, then try again."
    )
    assert gcs.content(bucket) == {"x": b"hullo"}


@pytest.mark.parametrize("action", [408, 429, 500, 502, 503, 504, "reset"])
def test_what_passes_by_is_tried_again(gcs: Gcs, bucket: str, hello: str, action: int | str) -> None:
    gcs.faults(Fault("POST /upload", action, times=2))
    assert storage.upload(hello, f"gs://{bucket}/x").created
    assert gcs.content(bucket) == {"x": b"hello"}
    assert [each.fault for each in gcs.log if each.method == "POST"] == [action, action, None]


def test_an_upload_whose_answer_was_lost_is_a_success(gcs: Gcs, bucket: str, hello: str) -> None:
    gcs.faults(Fault("POST /upload", "drop", times=1))
    assert storage.upload(hello, f"gs://{bucket}/x") == Uploaded(f"gs://{bucket}/x", 5, HELLO, created=False)
    assert gcs.content(bucket) == {"x": b"hello"}


@pytest.mark.parametrize("action", [503, "reset", "drop"])
def test_a_large_file_survives_breaks_between_its_parts(
    gcs: Gcs, bucket: str, tmp_path: pathlib.Path, action: int | str
) -> None:
    content = os.urandom(LARGE_BYTES)
    (tmp_path / "large").write_bytes(content)
    gcs.faults(Fault("PUT /upload", action, times=1))
    assert storage.upload(str(tmp_path / "large"), f"gs://{bucket}/large").size == LARGE_BYTES
    assert gcs.content(bucket) == {"large": content}
    assert action in [each.fault for each in gcs.log]


@pytest.mark.parametrize("action", [429, 503, "reset", "truncate"])
def test_a_download_is_whole(gcs: Gcs, bucket: str, tmp_path: pathlib.Path, action: int | str) -> None:
    content = os.urandom(300_000)
    gcs.put(bucket, {"x": content})
    gcs.faults(Fault("GET /download", action, times=1))
    storage.download(f"gs://{bucket}/x", str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == content
    assert os.listdir(tmp_path) == ["x"]
    assert action in [each.fault for each in gcs.log]


@pytest.mark.usefixtures("impatient")
def test_a_download_that_never_gets_whole_leaves_what_was_there(gcs: Gcs, bucket: str, tmp_path: pathlib.Path) -> None:
    gcs.put(bucket, {"x": b"new"})
    (tmp_path / "x").write_text("old")
    gcs.faults(Fault("GET /download", 503))
    error = failing(lambda: storage.download(f"gs://{bucket}/x", str(tmp_path / "x")))
    assert isinstance(error, StorageFailed)
    assert str(error) == f"gs://{bucket}/x: Cloud Storage answers 503 (injected); try again later."
    assert (tmp_path / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_that_cannot_be_written_is_said(gcs: Gcs, bucket: str, tmp_path: pathlib.Path) -> None:
    gcs.put(bucket, {"x": b"new"})
    error = failing(lambda: storage.download(f"gs://{bucket}/x", str(tmp_path / "nowhere" / "x")))
    assert isinstance(error, StorageFailed)
    assert str(error).startswith(f"gs://{bucket}/x: {tmp_path}/nowhere/x.")
    assert str(error).endswith(": No such file or directory.")


CALLS: dict[str, Callable[[str, str], object]] = {
    "upload": lambda url, path: storage.upload(path, url),
    "download": lambda url, path: storage.download(url, path),
    "read": lambda url, path: storage.read_text(url),
    "list": lambda url, path: storage.objects_below(url),
}


@pytest.mark.parametrize("call", ["upload", "list"])
def test_a_missing_bucket(gcs: Gcs, hello: str, call: str) -> None:
    error = failing(lambda: CALLS[call]("gs://no-such-bucket/x", hello))
    assert isinstance(error, UsageError)
    assert str(error) == (
        "gs://no-such-bucket/x: there is no bucket no-such-bucket; make it with gcloud storage buckets create "
        "gs://no-such-bucket."
    )


def test_a_missing_bucket_has_no_location(gcs: Gcs) -> None:
    assert "there is no bucket no-such-bucket;" in str(failing(lambda: storage.bucket_location("no-such-bucket")))


@pytest.mark.parametrize("call", ["download", "read"])
def test_a_missing_object(gcs: Gcs, bucket: str, hello: str, call: str) -> None:
    error = failing(lambda: CALLS[call](f"gs://{bucket}/x", hello))
    assert isinstance(error, UsageError)
    assert str(error) == (
        f"gs://{bucket}/x: there is no such object; gcloud storage ls gs://{bucket} shows what there is."
    )


@pytest.mark.parametrize("call", ["download", "read"])
def test_a_missing_object_of_a_missing_bucket_as_google_says_it(gcs: Gcs, hello: str, call: str) -> None:
    gcs.faults(Fault("GET ", 404, message="The specified bucket does not exist."))
    assert "there is no bucket nowhere;" in str(failing(lambda: CALLS[call]("gs://nowhere/x", hello)))


DENIED = "me@example.com does not have storage.objects.{} access to the Google Cloud Storage object."


@pytest.mark.parametrize(
    ("call", "said", "permission"),
    [
        ("upload", DENIED.format("create"), "storage.objects.create"),
        ("upload", DENIED.format("delete"), "storage.objects.delete"),
        ("download", "Forbidden", "storage.objects.get"),
        ("list", "Forbidden", "storage.objects.list"),
    ],
)
def test_a_refusal_names_what_to_ask_for(
    gcs: Gcs, bucket: str, hello: str, call: str, said: str, permission: str
) -> None:
    gcs.faults(Fault(".", 403, message=said))
    error = failing(lambda: CALLS[call](f"gs://{bucket}/x", hello))
    assert isinstance(error, UsageError)
    assert str(error) == (
        f"gs://{bucket}/x: access denied; ask for {permission} on gs://{bucket}, which the role Storage Object Admin "
        f"(roles/storage.objectAdmin) has ({said.rstrip('.')})."
    )
    asked = [(each.method, each.path) for each in gcs.log]
    assert len(set(asked)) == len(asked), "a refusal is not tried again"


def test_who_may_not_look_at_the_bucket_does_not_learn_where_it_is(gcs: Gcs, bucket: str) -> None:
    gcs.faults(Fault("GET /storage", 403))
    assert storage.bucket_location(bucket) is None


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("call", CALLS)
def test_no_network(gcs: Gcs, hello: str, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{probe.getsockname()[1]}")
        error = failing(lambda: CALLS[call]("gs://a-bucket/x", hello))
    assert isinstance(error, StorageFailed)
    assert str(error).startswith("gs://a-bucket/x: Cloud Storage cannot be reached (")
    assert str(error).endswith("); check the network and its proxy, then try again.")


def test_who_never_answers_is_given_up(gcs: Gcs, hello: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hangs, and however long each attempt would wait."""
    monkeypatch.setattr(asking, "LAST_ATTEMPT_SECS", 0.4 - asking.RETRY_SECS)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        error = failing(lambda: storage.exists("gs://a-bucket/x"))
    assert time.monotonic() - started < 10
    assert isinstance(error, StorageFailed)
    assert "Cloud Storage cannot be reached (no answer within 0 s)" in str(error)


def test_the_deadline_is_what_a_user_waits() -> None:
    assert asking.RETRY_SECS + asking.LAST_ATTEMPT_SECS < 20


SAY = """
import sys
from trainer.cloud import storage
from trainer.job.errors import TrainerError
try:
    print(storage.upload(sys.argv[1], sys.argv[2]).created)
except TrainerError as error:
    print(type(error).__name__, error)
"""


def upload_elsewhere(environ: dict[str, str], hello: str, url: str) -> str:
    """What a process of its own, with a fresh client, prints."""
    done = subprocess.run(
        [sys.executable, "-c", SAY, hello, url],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.strip()


def test_no_credentials(gcs: Gcs, hello: str, tmp_path: pathlib.Path) -> None:
    environ = gcs.google_environ(HOME=str(tmp_path), CLOUDSDK_CONFIG=str(tmp_path), NO_GCE_CHECK="true")
    said = upload_elsewhere(environ, hello, "gs://a-bucket/x")
    assert said.startswith("UsageError gs://a-bucket/x: no Google credentials were found (")
    assert "; run gcloud auth application-default login, or name a service account's file in" in said
    assert gcs.log == []


def test_tokens_come_from_the_machine(gcs: Gcs, bucket: str, hello: str, tmp_path: pathlib.Path) -> None:
    """By TLS, from Google's own addresses, with the metadata server's token."""
    gcs.state.token = "from-the-machine"
    environ = gcs.google_environ(HOME=str(tmp_path), CLOUDSDK_CONFIG=str(tmp_path))
    assert upload_elsewhere(environ, hello, f"gs://{bucket}/x") == "True"
    assert any("/token" in each.path for each in gcs.log)
    gcs.state.token = None
    assert gcs.content(bucket) == {"x": b"hello"}


def test_credentials_that_are_not_accepted(gcs: Gcs, bucket: str, hello: str, tmp_path: pathlib.Path) -> None:
    gcs.faults(Fault("POST /upload", 401, message="Invalid Credentials"))
    environ = gcs.google_environ(HOME=str(tmp_path), CLOUDSDK_CONFIG=str(tmp_path))
    said = upload_elsewhere(environ, hello, f"gs://{bucket}/x")
    assert said.startswith(
        f"UsageError gs://{bucket}/x: the Google credentials are not accepted (Invalid Credentials);"
    )


def test_a_machine_without_an_account(gcs: Gcs, bucket: str, hello: str, tmp_path: pathlib.Path) -> None:
    gcs.faults(Fault("GET .*/token", 404))
    environ = gcs.google_environ(HOME=str(tmp_path), CLOUDSDK_CONFIG=str(tmp_path))
    said = upload_elsewhere(environ, hello, f"gs://{bucket}/x")
    assert said.startswith(f"UsageError gs://{bucket}/x: the Google credentials are not accepted (")


SAID_BY_TENSORFLOW = [
    ("Error executing an HTTP request: HTTP response code 503 with body 'no'\n\t when reading gs://b/a b.csv", 5,
     "gs://b/a b.csv: Cloud Storage answers 503 (no more was said); try again later."),
    ("File contents are inconsistent for file: gs://b/it @ 5.csv @ 1048576.\n\t [[{{node IteratorGetNext}}]]", 2,
     "gs://b/it @ 5.csv was replaced or changed while it was read: start again when it is at rest."),
]  # fmt: skip


@pytest.mark.parametrize(("said", "exit_code", "sentence"), SAID_BY_TENSORFLOW, ids=["an answer", "a shorter file"])
def test_what_tensorflow_says_of_an_object(said: str, exit_code: int, sentence: str) -> None:
    refused = failure_in(said)
    assert refused is not None
    assert (refused.exit_code, str(refused)) == (exit_code, sentence)
    assert failure_in(said.replace("gs://", "/")) is None


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("gs://my-bucket", ("my-bucket", "")),
        ("gs://my-bucket/", ("my-bucket", "")),
        ("gs://my.bucket_1/a/b c/", ("my.bucket_1", "a/b c/")),
        ("gs://bucket//odd", ("bucket", "/odd")),
    ],
)
def test_places(url: str, parts: tuple[str, str]) -> None:
    assert split(url) == parts


@pytest.mark.parametrize(
    "url", ["", "gs://", "bucket/x", "s3://bucket/x", "gs://Bucket/x", "gs://b/x", "gs://-bucket/x", "gs://bucket/a\nb",
            "http://bucket/x", "gs:/bucket/x", " gs://bucket/x", "gs://bucket/" + "x" * 1025]
)  # fmt: skip
def test_no_places(url: str) -> None:
    error = failing(lambda: split(url))
    assert isinstance(error, UsageError)
    assert str(error).endswith(" is no place in Cloud Storage: expected gs://BUCKET/NAME, such as gs://my-bucket/jobs.")


@given(
    st.from_regex(r"[a-z0-9][a-z0-9._-]{1,60}[a-z0-9]", fullmatch=True),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=200),
)
def test_every_place_is_made_of_its_parts(bucket: str, name: str) -> None:
    assert split(f"gs://{bucket}/{name}") == (bucket, name)


def test_a_place_below_another() -> None:
    assert (
        storage.join("gs://bucket/a/", "b", "c.txt")
        == storage.join("gs://bucket/a", "b/c.txt")
        == ("gs://bucket/a/b/c.txt")
    )

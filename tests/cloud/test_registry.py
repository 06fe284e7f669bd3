"""Whether an image is in its registry, asked of a registry on loopback."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from trainer.cloud.registry import build_commands, is_there, look_at

HOST = "us-central1-docker.pkg.dev"
DIGEST = f"sha256:{'a' * 64}"
THERE = {"/v2/p/images/trainer/manifests/1", "/v2/p/images/trainer/manifests/latest", f"/v2/p/t/manifests/{DIGEST}"}


class Registry(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        status = 403 if "secret" in self.path else 200 if self.path in THERE else 404
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("TRAINER_REGISTRY_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/")
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        (f"{HOST}/p/images/trainer:1", True),
        (f"{HOST}/p/images/trainer", True),
        (f"eu.gcr.io/p/t@{DIGEST}", True),
        (f"{HOST}/p/images/trainer:2", False),
        (f"{HOST}/p/secret/trainer:1", None),
        ("docker.io/library/python:3.11", None),
        ("no image", None),
    ],
)
def test_what_the_registry_says(uri: str, found: bool | None) -> None:
    assert is_there(uri) is found


def test_a_registry_that_does_not_answer_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINER_REGISTRY_ENDPOINT", "http://127.0.0.1:9/")
    assert is_there(f"{HOST}/p/images/trainer:1") is None


def test_a_missing_image_is_an_error_with_the_commands_that_make_it() -> None:
    missing = f"{HOST}/p/images/trainer:2"
    [found], unknown = look_at([missing, missing, f"{HOST}/p/images/trainer:1"])
    assert found.level == "error"
    assert found.said.endswith(f"docker build --tag={missing} . && docker push {missing}.")
    assert unknown == []
    assert build_commands("a b") == ["docker build --tag='a b' .", "docker push 'a b'"]


@pytest.mark.parametrize(("uri", "ask"), [(f"{HOST}/p/secret/trainer:1", True), (f"{HOST}/p/images/trainer:2", False)])
def test_where_it_cannot_be_told_the_commands_are_shown(uri: str, ask: bool) -> None:
    assert look_at([uri, uri], ask) == (
        [],
        [
            f"{uri}: not known whether it is in its registry; in a checkout of this project these put it there:",
            f"  docker build --tag={uri} .",
            f"  docker push {uri}",
        ],
    )

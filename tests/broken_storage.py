"""Storages that cannot be used, for the doors that have to say so soon."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Iterator, Mapping

from tests.gcs_rig import Fault, Gcs

SOON_SECS = 20.0
ACCOUNT = "job@a-project.iam.gserviceaccount.com"
UNNAMED = {"GOOGLE_AUTH_TOKEN_FOR_TESTING": None, "HOME": "/nonexistent", "CLOUDSDK_CONFIG": "/nonexistent"}


@dataclasses.dataclass(frozen=True)
class Broken:
    """A storage that cannot be used.

    Attributes:
      words: what the sentence must say.
      faults: what the storage answers.
      env: environment variables in place of the right ones; HOLE stands for an address where nobody answers, NOBODY for
        one where nobody listens, None for a variable that is not set.
      change: flags in place of the right ones.
      token: the one that the storage accepts.
      asks: whether the storage has to be asked to know that.
    """

    words: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    env: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    change: Mapping[str, str] = dataclasses.field(default_factory=dict)
    token: str | None = None
    asks: bool = True


def denied(permission: str) -> str:
    """What Cloud Storage says to an account without a permission."""
    return f"{ACCOUNT} does not have {permission} access to the Google Cloud Storage object."


EVERYWHERE = {
    "an expired token": Broken(
        ("credentials are not accepted", "gcloud auth application-default login"), token="another"
    ),
    "no credentials": Broken(
        ("no Google credentials were found", "gcloud auth application-default login"),
        (Fault(".", 401, message="Anonymous caller does not have storage.objects.create access."),),
        env={**UNNAMED, "NO_GCE_CHECK": "true"},
    ),
    "a metadata server that is silent": Broken(
        ("no Google credentials were found", "NO_GCE_CHECK=true"), env={**UNNAMED, "GCE_METADATA_HOST": "HOLE"}
    ),
    "nobody listens": Broken(
        ("cannot be reached", "check the network and its proxy"), env={"https_proxy": "http://NOBODY"}
    ),
    "a network that swallows all": Broken(
        ("cannot be reached", "check the network"), env={"https_proxy": "http://HOLE"}
    ),
    "a storage that is down": Broken(("answers 503", "try again later"), (Fault("(POST|PUT) /upload", 503),)),
}


@contextlib.contextmanager
def broken_environ(gcs: Gcs, broken: Broken) -> Iterator[dict[str, str]]:
    """Within this context the storage is broken, for a process with this environment."""
    gcs.faults(*(dataclasses.replace(each) for each in broken.faults))
    gcs.state.token = broken.token
    with _addresses() as known:
        changed = {name: value and _filled(value, known) for name, value in broken.env.items()}
        together: dict[str, str | None] = {**gcs.tensorflow_environ(), **changed}
        yield {name: value for name, value in together.items() if value is not None}


@contextlib.contextmanager
def _addresses() -> Iterator[dict[str, str]]:
    """One that takes connections and never answers, and one that is nobody's."""
    with socket.socket() as hole, socket.socket() as nobody:
        for each in (hole, nobody):
            each.bind(("127.0.0.1", 0))
        hole.listen(64)
        yield {name: f"127.0.0.1:{each.getsockname()[1]}" for name, each in (("HOLE", hole), ("NOBODY", nobody))}


def _filled(value: str, known: Mapping[str, str]) -> str:
    for word, address in known.items():
        value = value.replace(word, address)
    return value

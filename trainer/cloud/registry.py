"""Whether a job's image is where the job will look for it, and the commands that put it there."""

from __future__ import annotations

import re
import shlex

from trainer.cloud.transport import endpoint, open_session
from trainer.job.errors import TrainerError
from trainer.job.findings import Finding

ENDPOINT_VARIABLE = "TRAINER_REGISTRY_ENDPOINT"
IMAGE = re.compile(
    r"(?P<host>[a-z0-9-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)/(?P<name>[a-z0-9._/-]+)"
    r"(?::(?P<tag>\w[\w.-]*)|@(?P<digest>sha256:[0-9a-f]{64}))?"
)
KINDS = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
DEADLINE_SECS = (4.0, 8.0)  # to connect, to answer


def build_commands(uri: str) -> list[str]:
    """What makes the image of this project and puts it into its registry; run in a checkout."""
    return [f"docker build --tag={shlex.quote(uri)} .", f"docker push {shlex.quote(uri)}"]


def is_there(uri: str) -> bool | None:
    """Whether Google's registry has an image; None where that cannot be told: another registry, no right to look."""
    image = IMAGE.fullmatch(uri)
    if image is None:
        return None
    import requests
    from google.auth.exceptions import GoogleAuthError

    version = image["digest"] or image["tag"] or "latest"
    try:
        url = endpoint(ENDPOINT_VARIABLE, f"https://{image['host']}/")
        with open_session(url) as session:
            answer = session.head(
                f"{url}v2/{image['name']}/manifests/{version}", headers={"Accept": KINDS}, timeout=DEADLINE_SECS
            )
    except (TrainerError, GoogleAuthError, requests.RequestException):  # no credentials, no network: not our question
        return None
    return {200: True, 404: False}.get(answer.status_code)


def look_at(uris: list[str], ask: bool = True) -> tuple[list[Finding], list[str]]:
    """An error for each image that is certainly not there; lines that show how to make those of which nothing is known.

    `ask`: whether to ask the registries, which takes credentials.
    """
    there = {uri: is_there(uri) if ask else None for uri in dict.fromkeys(uris)}
    missing = [_missing(uri) for uri, found in there.items() if found is False]
    return missing, [line for uri, found in there.items() if found is None for line in _unknown(uri)]


def _missing(uri: str) -> Finding:
    return Finding(
        "error",
        "imageUri",
        f"{uri} is not in its registry",
        f"put it there from a checkout of this project: {' && '.join(build_commands(uri))}",
    )


def _unknown(uri: str) -> list[str]:
    head = f"{uri}: not known whether it is in its registry; in a checkout of this project these put it there:"
    return [head, *(f"  {line}" for line in build_commands(uri))]

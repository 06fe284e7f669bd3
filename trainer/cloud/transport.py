"""JSON over HTTP to one of Google's services: credentials, time-outs, another try, and refusals in a sentence."""

from __future__ import annotations

import json
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer.cloud.vertex import PATIENCE, NotFound, Patience, Unanswered
from trainer.job.credentials import without_secrets
from trainer.job.errors import CloudError, TrainerError, UsageError

if TYPE_CHECKING:
    import requests

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
REFRESH_SECS = 60
AGAIN = (429, 500, 502, 503, 504)
LONGEST = 1000  # characters of a message: some of the service's list every region there is
PERMISSION = re.compile(r"\b[a-z]+\.(?!googleapis\b)[a-zA-Z]+\.[a-zA-Z]+\b")
LOGIN = "log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"


def endpoint(variable: str, default: str) -> str:
    """The address of a service, overridden by an environment variable; it ends in a slash.

    Raises:
      UsageError: the variable sends requests in plain text to another machine.
    """
    url = os.environ.get(variable) or default
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url.rstrip("/") + "/"
    if not is_loopback(url):
        raise UsageError(f"{variable}={url}: expected https://HOST/, or http://127.0.0.1:PORT/ for a test.")
    return url.rstrip("/") + "/"


def is_loopback(url: str) -> bool:
    """Whether it is a plain server on this machine, which gets no credentials."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "http" and parts.hostname == "127.0.0.1"


def default_credentials() -> Any:
    """Those of the machine or of the user's login. Raises UsageError where there are none."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        return google.auth.default(scopes=SCOPES)[0]
    except GoogleAuthError as error:
        why = one_line(str(error)).partition(". ")[0]
        raise UsageError(f"no credentials for Google Cloud ({why}): {LOGIN}.") from None


def open_session(url: str, credentials: Any = None) -> requests.Session:
    """A session with the user's credentials; with none where the server is on this machine. Raises UsageError."""
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import AuthorizedSession

    if credentials is None:
        credentials = AnonymousCredentials() if is_loopback(url) else default_credentials()
    session: requests.Session = AuthorizedSession(credentials, max_refresh_attempts=1, refresh_timeout=REFRESH_SECS)
    if is_loopback(url):
        session.trust_env = False  # a proxy could not reach it
    return session


def one_line(text: str) -> str:
    """A message without line breaks, without a token, no longer than a user reads, without the full stop at its end."""
    words = without_secrets(" ".join(text.split())).rstrip(". ")
    return words if len(words) <= LONGEST else words[:LONGEST].rsplit(" ", 1)[0] + " ..."


@dataclass(frozen=True)
class Api:
    """One service at one address.

    Attributes:
      service: its name, for sentences.
      url: ends in a slash.
    """

    service: str
    url: str
    session: requests.Session
    patience: Patience = PATIENCE

    def sibling(self, service: str, url: str) -> Api:
        """Another service with the same session; with one of its own where the credentials must not go there."""
        shared = is_loopback(url) == is_loopback(self.url)
        return replace(self, service=service, url=url, session=self.session if shared else open_session(url))

    def call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        tries: int | None = None,
    ) -> dict[str, Any]:
        """Send a request, and again where it had no answer; the JSON of the answer.

        Args:
          tries: as many as `patience` says, if None; 1 for what must not be done twice.

        Raises:
          UsageError: the service refuses it for a reason that the user can mend (NotFound for an unknown name).
          Unanswered: it did not answer, or only that it cannot now.
          CloudError: it refuses it for another reason.
        """
        tries = tries or self.patience.tries
        for failures in range(1, tries + 1):
            try:
                return self._call_once(method, path, params, body)
            except Unanswered as error:
                if failures == tries:
                    raise
                self.patience.pause(failures, error.wait_secs)
        raise AssertionError("tries is at least 1")

    def pages(
        self, method: str, path: str, field: str, params: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """All entries of a list, page after page; the token of a page goes where the request's other words are."""
        token = ""
        while True:
            more = {"pageToken": token} if token else {}
            if body is None:
                page = self.call(method, path, {**params, **more})
            else:
                page = self.call(method, path, params, {**body, **more})
            yield from page.get(field) or []
            token = page.get("nextPageToken") or ""
            if not token:
                return

    def _call_once(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        import requests
        from google.auth.exceptions import GoogleAuthError, TransportError

        try:
            response = self.session.request(
                method,
                self.url + path,
                params=params,
                json=body,
                timeout=(self.patience.connect_secs, self.patience.answer_secs),
                allow_redirects=False,  # a token goes nowhere else
            )
        except requests.exceptions.SSLError as error:
            why = self._hide(one_line(str(error)))
            raise CloudError(f"the certificate of {self.service} at {self.url} cannot be trusted ({why}).") from None
        except (requests.exceptions.RequestException, TransportError) as error:
            raise Unanswered(f"no answer from {self.service} at {self.url} ({self._hide(_short(error))}).") from None
        except GoogleAuthError as error:
            why = self._hide(one_line(str(error)))
            if error.retryable:
                raise Unanswered(f"no answer from the service that gives tokens ({why}).") from None
            raise UsageError(f"the credentials for Google Cloud cannot be used ({why}): {LOGIN}.") from None
        return self._read(response)

    def _read(self, response: requests.Response) -> dict[str, Any]:
        answer = _json(response.text)
        if response.status_code == 200 and isinstance(answer, dict):
            return answer
        if response.status_code == 200:
            raise Unanswered(f"{self.service} at {self.url} answered with something that is no JSON object.")
        words = self._hide(one_line(message_of(response.text) or response.reason or "no reason given"))
        if response.status_code in AGAIN:
            busy = Unanswered(f"{self.service} answered {response.status_code}: {words}.")
            busy.wait_secs = _seconds(response.headers.get("Retry-After", ""))
            raise busy
        raise refusal(self.service, response.status_code, words)

    def _hide(self, text: str) -> str:
        """No token in a sentence, wherever the service or a library got it from."""
        token = getattr(getattr(self.session, "credentials", None), "token", None)
        return text.replace(token, "[hidden]") if token else text


def refusal(service: str, status: int, words: str) -> TrainerError:
    """What a refusal is to the user, with the service's own words and what to do."""
    said = f"{service} refused the request ({status}: {words})"
    if status == 400:
        return UsageError(f"{said}: mend what it names.")
    if status == 401:
        return UsageError(f"{said}: {LOGIN}.")
    if status == 403:
        return UsageError(f"{said}: {remedy_for_denied(words)}.")
    if status == 404:
        return NotFound(f"{said}: check the job's ID, --project and --region.")
    return CloudError(f"{said}.")


def message_of(text: str) -> str:
    """The message in the JSON of an error; empty where there is none."""
    answer = _json(text)
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("message") or "") if isinstance(error, dict) else ""


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def remedy_for_denied(words: str) -> str:
    """What to do about a 403."""
    found = PERMISSION.search(words)
    if found:
        return f"ask who administers the project for a role that has the permission {found[0]}"
    return "check --project, and which account is logged in with `gcloud auth list`"


def _short(error: BaseException) -> str:
    """What went wrong in the system's own words, without the layers of libraries around it."""
    import requests

    if isinstance(error, requests.exceptions.Timeout):
        return "it took too long"
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return one_line(inner.strerror)
        inner = inner.__cause__ or inner.__context__
    return one_line(str(error)) or type(error).__name__


def _seconds(text: str) -> float:
    """A Retry-After in seconds; a date, which Google's services do not send, counts as nothing said."""
    return float(text) if text.isdecimal() else 0.0

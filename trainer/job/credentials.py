"""What nobody may read: credentials in what libraries and services say, taken out before it is shown or kept."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping

HIDDEN = "[hidden]"
TOKENS = re.compile(r"(?i)\bbearer\s+[^\s'\"]+|\bya29\.[\w.-]+")  # an access token of Google's begins so
USER_INFO = re.compile(r"(?<=://)[^/\s'\"@]+:[^/\s'\"@]*(?=@)")  # of a URL: user:password
TOKEN_VARIABLES = ("GOOGLE_AUTH_TOKEN_FOR_TESTING", "CLOUDSDK_AUTH_ACCESS_TOKEN")
SHORTEST = 4  # a password that is a letter would take that letter out of every word


def without_secrets(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """The text without tokens, and without the passwords of the environment's proxies, in any spelling."""
    for secret in sorted(set(_secrets(environ)), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return USER_INFO.sub(HIDDEN, TOKENS.sub(HIDDEN, text))


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        found = [value] if name in TOKEN_VARIABLES else []
        if name.lower().endswith("_proxy") and "@" in value:
            password = value.rpartition("@")[0].rpartition("://")[2].partition(":")[2]
            found += [password, urllib.parse.unquote(password)]
        yield from (each for each in found if len(each) >= SHORTEST)

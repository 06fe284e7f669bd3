"""Credentials in what libraries say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.job.credentials import HIDDEN, without_secrets

PROXY = {"https_proxy": "http://someone:pass%40word@proxy.example:3128"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("denied to ya29.a0Af_x-y.z, sorry", f"denied to {HIDDEN}, sorry"),
        ("Authorization: Bearer eyJ.abc", f"Authorization: {HIDDEN}"),
        ("no way to http://someone:else@proxy:1/", f"no way to http://{HIDDEN}@proxy:1/"),
        ("the password pass@word or pass%40word", f"the password {HIDDEN} or {HIDDEN}"),
        ("token opaque-one", f"token {HIDDEN}"),
        ("gs://bucket/a@b:c.csv, line 7, column x: found 'y'", "gs://bucket/a@b:c.csv, line 7, column x: found 'y'"),
        ("mail someone@example.com at http://host:80/x@y", "mail someone@example.com at http://host:80/x@y"),
    ],
)
def test_what_is_hidden_and_what_is_not(said: str, shown: str) -> None:
    assert without_secrets(said, {**PROXY, "GOOGLE_AUTH_TOKEN_FOR_TESTING": "opaque-one"}) == shown


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=30), st.text())
def test_no_token_of_any_form_is_left(token: str, around: str) -> None:
    shown = without_secrets(f"{around}{token}{around}", {"GOOGLE_AUTH_TOKEN_FOR_TESTING": token})
    assert token not in shown.replace(HIDDEN, "\0")


def test_a_password_too_short_to_be_told_from_words_takes_nothing_away() -> None:
    assert without_secrets("a proxy at a port", {"https_proxy": "http://me:a@proxy:1"}) == "a proxy at a port"

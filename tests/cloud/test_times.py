"""Times as the services write them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.cloud.times import format_time, parse_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T02:18:06Z", "2026-11-24T02:18:06.000000Z"),
        ("2026-11-24T02:18:06.1Z", "2026-11-24T02:18:06.100000Z"),
        ("2026-11-24T02:18:06.123456789Z", "2026-11-24T02:18:06.123456Z"),
        ("2026-11-24T02:18:06+02:00", "2026-11-24T00:18:06.000000Z"),
    ],
)
def test_times_are_read_as_the_service_writes_them(text: str, expected: str) -> None:
    at = parse_time(text)
    assert at is not None
    assert at.tzinfo == datetime.timezone.utc
    assert format_time(at) == expected


@given(st.datetimes(min_value=datetime.datetime(1900, 1, 1), timezones=st.just(datetime.timezone.utc)))
def test_a_time_is_read_as_it_was_written(at: datetime.datetime) -> None:
    assert parse_time(format_time(at)) == at


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-11-24", 7])
def test_what_is_no_time_is_none(text: object) -> None:
    assert parse_time(text) is None

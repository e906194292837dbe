"""Dates, against the standard library's reading of them."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import httpdate

SECONDS = st.integers(0, 253_402_300_799)


@given(SECONDS)
def test_http_dates_round_trip_and_agree_with_email(seconds: int) -> None:
    text = httpdate.format_http(seconds)
    assert text == formatdate(seconds, usegmt=True)
    assert httpdate.parse_http(text) == seconds == int(parsedate_to_datetime(text).timestamp())


@given(SECONDS)
def test_basic_dates_round_trip(seconds: int) -> None:
    text = httpdate.format_basic(seconds)
    assert text == datetime.fromtimestamp(seconds, UTC).strftime("%4Y%m%dT%H%M%SZ").rjust(16, "0")
    assert httpdate.parse_basic(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_every_form_a_recipient_must_read(text: str) -> None:
    assert httpdate.parse_http(text) == 784111777


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "x" * 10_000,
    ],
)
def test_what_is_no_http_date(text: str) -> None:
    assert httpdate.parse_http(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20261121",
        "20261121T113000",
        "2026-11-21T11:30:00Z",
        "20261321T113000Z",
        "20261121T113000Z\n",
        "20261121T250000Z",
        "٢٠٢٦1121T113000Z",
    ],
)
def test_what_is_no_basic_date(text: str) -> None:
    assert httpdate.parse_basic(text) is None


def test_a_leap_second_is_read() -> None:
    assert httpdate.parse_http("Sat, 31 Dec 2016 23:59:60 GMT") == 1483228799


@given(st.text())
def test_no_text_raises(text: str) -> None:
    httpdate.parse_http(text)
    httpdate.parse_basic(text)


def test_iso_dates_have_whole_seconds() -> None:
    assert httpdate.format_iso(1_790_000_000_999) == "2026-09-21T14:13:20.000Z"

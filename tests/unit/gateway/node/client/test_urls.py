"""Which URLs of a node are followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.node.client.errors import NodeLied
from gateway.node.client.urls import http_url


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:3000/blob/zQm?X-Amz-Signature=a%2Fb%20c&x=%C3%A4",
        "https://node.example",
        "http://[::1]:81/",
        "http://node.example/a%2f..%2f//b;c=d?e?f",
    ],
)
def test_a_url_is_followed_just_as_it_was_written(text: str) -> None:
    assert str(http_url(text)) == text


NO_URLS_OF_HTTP = ["", "node.example", "//node.example/", "ftp://node.example/", "file:///etc/passwd", "HTTP://n/"]
BROKEN = ["http://", "http:///path", "http://n:99999/", "http://n:x/", "http://[::1/", "http://n/" + "x" * 2048]
WITH_MORE = ["http://user@n/", "http://user:secret@n/", "http://n/#part"]
WITH_OTHER_CHARACTERS = ["http://n/a b", "http://n/\r\nX: y", "http://nöde.example/", "http://n/\x7f"]


@pytest.mark.parametrize("text", [*NO_URLS_OF_HTTP, *BROKEN, *WITH_MORE, *WITH_OTHER_CHARACTERS])
def test_other_urls_are_not(text: str) -> None:
    with pytest.raises(NodeLied):
        http_url(text)


@given(st.one_of(st.text(), st.text(alphabet="htps:/@[]#?%.0123456789ab").map("http://".__add__)))
def test_any_text_is_a_url_or_a_lie(text: str) -> None:
    try:
        url = http_url(text)
    except NodeLied:
        return
    assert url.scheme in ("http", "https")
    assert url.host
    assert url.raw_path in text or url.raw_path == "/"

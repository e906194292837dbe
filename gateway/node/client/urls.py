"""URLs that a node gives: only those that are plainly of HTTP are followed, and just as they were written."""

from __future__ import annotations

import re

from yarl import URL

from gateway.node.client.errors import NodeLied
from registry.ucan.limits import URL_CHARS_MAX

_PLAIN = re.compile(r"https?://[!-~]+")


def http_url(text: str) -> URL:
    """The URL that is exactly ``text``.

    Raises:
        NodeLied: it is not of HTTP, too long, or has a user, a password or a fragment.
    """
    if len(text) > URL_CHARS_MAX or _PLAIN.fullmatch(text) is None:
        raise NodeLied(f"{text[:100]!r} is no URL of HTTP")
    try:
        url = URL(text, encoded=True)
        usable = bool(url.host) and url.port is not None and url.user is None and url.password is None
    except ValueError:
        usable = False
    if not usable or "#" in text:
        raise NodeLied(f"{text[:100]!r} is no URL of HTTP without user and fragment")
    return url

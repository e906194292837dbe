"""The exact text a SigV4 signature is made over, and the key it is made with."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import quote

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.sigv4.claim import ALGORITHM, SERVICE, TERMINATOR
from gateway.s3.sigv4.verified import SigningKey
from gateway.s3.target import decode_component

_SIGNING_KEYS_CACHED: Final = 1024
_CANONICAL_PATH: Final = re.compile(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})*", re.ASCII)
_CANONICAL_QUERY: Final = re.compile(r"(?:[A-Za-z0-9._~=&-]|%[0-9A-F]{2})*", re.ASCII)


def header_block(names: tuple[str, ...], headers: Headers) -> str:
    """Return the canonical headers; a run of blanks inside a value counts as one space.

    Raises:
        S3Error: ``SignatureDoesNotMatch`` when a header that was signed did not arrive.
    """
    try:
        block = "\n".join([f"{name}:{headers[name]}" for name in names])
    except KeyError as missing:
        raise S3Error("SignatureDoesNotMatch", f"The signed header {missing.args[0]} is missing.") from None
    if "  " in block or "\t" in block:
        block = "\n".join([f"{name}:{' '.join(headers[name].split())}" for name in names])
    return block


def canonical_forms(raw_path: str, raw_query: str) -> Iterator[tuple[str, str]]:
    """Yield the readings of path and query under which a signature is accepted.

    First as sent, pairs sorted. Then, if it differs, as the specification has it: every character
    percent-encoded that should be, because some clients send ``delimiter=/`` and sign
    ``delimiter=%2F``. Both readings decode to the same key and parameters, so accepting either lets
    nobody change what a request means.
    """
    query = _sorted_query(raw_query)
    yield raw_path, query
    if _CANONICAL_PATH.fullmatch(raw_path) is None or _CANONICAL_QUERY.fullmatch(query) is None:
        yield (
            quote(decode_component(raw_path), safe="/~"),
            _sorted_query("&".join(_encoded_pairs(raw_query))),
        )


def _encoded_pairs(raw_query: str) -> Iterator[str]:
    for pair in raw_query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            name = quote(decode_component(name, plus_is_space=True), safe="~")
            value = quote(decode_component(value, plus_is_space=True), safe="~")
            yield f"{name}={value}"


def _sorted_query(raw_query: str) -> str:
    """Return the pairs sorted by name, then value, each with an equals sign."""
    if not raw_query:
        return ""
    pairs = [pair.partition("=") for pair in raw_query.split("&") if pair]
    pairs.sort()
    return "&".join([f"{name}={value}" for name, _, value in pairs])


@lru_cache(maxsize=_SIGNING_KEYS_CACHED)
def signing_key(secret: str, date: str, region: str) -> SigningKey:
    """Derive the key of one day. The secret is part of the cache's key: a rotated one is new."""
    key = f"AWS4{secret}".encode()
    for step in (date, region, SERVICE, TERMINATOR):
        key = hmac.digest(key, step.encode(), "sha256")
    return SigningKey(key)


def string_to_sign(amz_date: str, scope: str, canonical_request: str) -> str:
    """Return what a request's signature is the HMAC of."""
    digest = sha256(canonical_request.encode()).hexdigest()
    return f"{ALGORITHM}\n{amz_date}\n{scope}\n{digest}"

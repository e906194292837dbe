"""DAG-JSON, which the signed text of a UCAN and the list of missing proofs are written in.

Keys are sorted by their bytes and nothing is between tokens.  Refused is whatever two implementations write
differently, because a signature over it would be believed by only one of them: floats, the characters that one escapes
and another does not, and maps that could be read as bytes or links.
Spec: https://ipld.io/specs/codecs/dag-json/spec/
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping

from mst.cbor import Value
from mst.cid import Link
from registry.ucan.errors import Malformed
from registry.ucan.limits import TIME_SECONDS_MAX

_RESERVED_KEY = "/"
_ESCAPED_IN_MANY_WAYS = re.compile("[\b\f\u2028\u2029\ud800-\udfff]")


def encode(value: Value) -> str:
    """The text of ``value``.

    Raises:
        Malformed: it has no text that all implementations agree on.
    """
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        if not -TIME_SECONDS_MAX <= value <= TIME_SECONDS_MAX:
            raise Malformed("a number that not every implementation reads")
        return str(value)
    if isinstance(value, Link):
        return f'{{"/":"{value}"}}'
    if isinstance(value, bytes):
        return f'{{"/":{{"bytes":"{b64encode(value).decode().rstrip("=")}"}}}}'
    if isinstance(value, float):
        raise Malformed("a float, which implementations write differently")
    return _container(value)


def _container(value: object) -> str:
    if isinstance(value, Mapping):
        if _RESERVED_KEY in value:
            raise Malformed('a map with the key "/", which DAG-JSON reserves')
        # Code points sort as their UTF-8 does.
        return "{" + ",".join(f"{_text(key)}:{encode(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(encode, value)) + "]"
    raise Malformed(f"{type(value).__name__} has no form in DAG-JSON")


def _text(value: str) -> str:
    if _ESCAPED_IN_MANY_WAYS.search(value):
        raise Malformed("a character that implementations escape differently")
    return json.dumps(value, ensure_ascii=False)

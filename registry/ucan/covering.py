"""Which capabilities one covers that was granted: how delegations narrow on their way."""

from __future__ import annotations

from collections.abc import Callable

from mst import cbor
from mst.cbor import Value
from mst.errors import FormatError
from registry.ucan.capability import RETRIEVE, byte_range
from registry.ucan.errors import Malformed
from registry.ucan.token import Capability


def grants(granted: Capability, claimed: Capability) -> bool:
    """Whether ``granted`` covers ``claimed``: the ability, the resource, and every condition.

    A condition must be met by an argument that equals it; a range, by one that lies inside.
    """
    return (
        _covers_ability(granted.can, claimed.can)
        and granted.resource in (claimed.resource, "ucan:*")
        and all(_meets(claimed, name, condition) for name, condition in (granted.nb or {}).items())
    )


def _covers_ability(pattern: str, can: str) -> bool:
    return pattern in (can, "*") or (pattern.endswith("/*") and can.startswith(pattern[:-1]))


def _meets(claimed: Capability, name: str, condition: Value) -> bool:
    if claimed.nb is None or name not in claimed.nb:
        return False
    narrower = _NARROWER.get((claimed.can, name), _equal)
    return narrower(condition, claimed.nb[name])


def _equal(condition: Value, argument: Value) -> bool:
    # By their bytes: to Python 1 and True are equal.
    try:
        return cbor.encode(condition) == cbor.encode(argument)
    except FormatError:
        return False


def _inside(condition: Value, argument: Value) -> bool:
    try:
        (first, last), (start, end) = byte_range(condition), byte_range(argument)
    except Malformed:
        return False
    return first <= start and end <= last


_NARROWER: dict[tuple[str, str], Callable[[Value, Value], bool]] = {(RETRIEVE, "range"): _inside}

"""What a field of a decoded document may be: the checks that commits, manifests and batch records have in common."""

from __future__ import annotations

from mst.cid import CID, DAG_CBOR
from mst.limits import INSTANCE_BYTES, INTEGER_MAX


def is_count(value: object) -> bool:
    """Whether it is a whole number from 0 on, and no boolean."""
    return type(value) is int and 0 <= value <= INTEGER_MAX


def is_text(value: object, limit_bytes: int) -> bool:
    """Whether it is a text of 1 to ``limit_bytes`` bytes in UTF-8."""
    return type(value) is str and 0 < len(value.encode("utf-8", "surrogatepass")) <= limit_bytes


def is_instance(value: object) -> bool:
    """Whether it can be the id of a bucket instance."""
    return type(value) is bytes and len(value) == INSTANCE_BYTES


def is_document(value: object) -> bool:
    """Whether it is a link to a DAG-CBOR block."""
    return type(value) is CID and value.codec == DAG_CBOR

"""Agent messages: invocations on their way to a node and receipts on their way back, in one CAR file.

Spec: https://github.com/storacha/specs/blob/main/w3-ucan.md, type ``ucanto/message@7.0.0``
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mst.block import Block
from mst.cbor import Value
from mst.cid import CID, DAG_CBOR, Link
from mst.errors import FormatError
from registry.ucan import car, receipt, wire
from registry.ucan.delegation import Delegation
from registry.ucan.errors import Malformed
from registry.ucan.limits import INVOCATIONS_MAX, MESSAGE_BYTES_MAX
from registry.ucan.receipt import Receipt
from registry.ucan.wire import Fields

CONTENT_TYPE = "application/vnd.ipld.car"
"""What a message is called in HTTP."""
_TAG = "ucanto/message@7.0.0"


@dataclass(frozen=True, slots=True)
class Message:
    """What a message says.

    Attributes:
        execute: invocations to execute, or over GET of claims delegations to use.
        report: receipts by the invocation they are for.
        blocks: every block that came along; each matches its CID.
    """

    execute: tuple[CID, ...]
    report: Mapping[CID, CID]
    blocks: Mapping[Link, bytes]

    def receipt(self, ran: CID) -> Receipt:
        """The receipt for an invocation, with the message's blocks; see `Receipt.verify`.

        Raises:
            Malformed: the message has none, or its block is missing or no receipt.
        """
        cid = self.report.get(ran)
        data = None if cid is None else self.blocks.get(cid)
        if data is None:
            raise Malformed(f"the message has no receipt for {ran}")
        return receipt.decode(data, self.blocks)


def request(invocations: Sequence[Delegation], *, proofs: bool = True) -> bytes:
    """The message that asks for invocations to be executed.

    Args:
        invocations: what is asked.
        proofs: whether the blocks of their proofs go along.

    Raises:
        Malformed: more than ``INVOCATIONS_MAX``.
    """
    blocks: dict[Link, bytes] = {}
    for invocation in invocations:
        blocks.update(invocation.blocks() if proofs else [(invocation.cid, invocation.token.data)])
    return partial_request([invocation.cid for invocation in invocations], blocks.items())


def partial_request(execute: Sequence[CID], blocks: Iterable[tuple[Link, bytes]]) -> bytes:
    """The message that asks for ``execute`` and carries just those blocks, when proofs are sent one by one."""
    _bounded(len(execute))
    return _encode({"execute": execute}, blocks)


def response(receipts: Sequence[Receipt]) -> bytes:
    """The message that reports receipts.

    Raises:
        Malformed: more than ``INVOCATIONS_MAX``.
    """
    _bounded(len(receipts))
    blocks: dict[Link, bytes] = {}
    for one in receipts:
        blocks.update(one.blocks())
    return _encode({"report": {str(one.ran): one.cid for one in receipts}}, blocks.items())


def decode(data: bytes, *, limit_bytes: int = MESSAGE_BYTES_MAX) -> Message:
    """The message that is exactly ``data``.

    Raises:
        Malformed: it is none, or over a limit.
    """
    found = car.decode(data, "message", limit_bytes=limit_bytes)
    if found.root not in found.blocks:
        raise Malformed("message: its root is missing")
    content = wire.variant(found.blocks[found.root], _TAG, "message", limit_bytes=limit_bytes)
    fields = Fields(content, "message")
    execute = fields.take_list_if("execute", CID, many=INVOCATIONS_MAX)
    reported: dict[str, Value] = fields.take_if("report", dict) or {}
    fields.end()
    _bounded(len(reported))
    return Message(execute, dict(map(_reported, reported.items())), found.blocks)


def _reported(pair: tuple[str, Value]) -> tuple[CID, CID]:
    ran, cid = pair
    if type(cid) is not CID:
        raise Malformed("message: a report names no receipt")
    try:
        return CID.from_text(ran), cid
    except FormatError as error:
        raise Malformed(f"message: {error}") from None


def _encode(content: dict[str, Value], blocks: Iterable[tuple[Link, bytes]]) -> bytes:
    root = Block.of(DAG_CBOR, wire.encode({_TAG: content}, "message"))
    return car.encode(root.cid, [*blocks, root])


def _bounded(count: int) -> None:
    if count > INVOCATIONS_MAX:
        raise Malformed(f"more than {INVOCATIONS_MAX} invocations or receipts in a message")

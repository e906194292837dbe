"""Several invocations in one message, and what came of each.

Nothing is believed without a receipt of the right executor for the right invocation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.node.client.errors import NodeLied, NodeRefused
from gateway.node.client.settings import Service
from gateway.node.client.together import for_each
from gateway.node.client.transport import Request, Transport
from gateway.node.client.urls import http_url
from mst.cbor import Value
from mst.cid import Link
from registry.ucan import message
from registry.ucan.delegation import Delegation
from registry.ucan.errors import UcanError
from registry.ucan.limits import INVOCATIONS_MAX, MESSAGE_BYTES_MAX
from registry.ucan.message import Message
from registry.ucan.receipt import Ok

MESSAGES_AT_ONCE = 8
"""Most messages that are under way at once for one call."""


@dataclass(frozen=True, slots=True)
class Done:
    """An invocation was executed.

    Attributes:
        value: what its capability gives.
        blocks: what came along.
    """

    value: Value
    blocks: Mapping[Link, bytes]


Outcome = Done | NodeRefused
"""What a receipt says of one invocation."""


async def invoke(transport: Transport, executor: Service, invocations: Sequence[Delegation]) -> list[Outcome]:
    """Have invocations executed, in as few messages as they fit in, all of which are under way at once.

    Args:
        transport: sends them.
        executor: who is to execute them, and where.
        invocations: to that executor.

    Returns:
        An outcome for each, in their order.

    Raises:
        NodeUnavailable: there is no answer.
        NodeRefused: the answer is no message.
        NodeLied: a receipt is missing, of somebody else, or forged.
    """
    messages = [invocations[at : at + INVOCATIONS_MAX] for at in range(0, len(invocations), INVOCATIONS_MAX)]

    async def send(one: Sequence[Delegation]) -> list[Outcome]:
        return await _invoke(transport, executor, one)

    return [outcome for outcomes in await for_each(send, messages, at_once=MESSAGES_AT_ONCE) for outcome in outcomes]


def done(outcome: Outcome) -> Done:
    """The outcome of an invocation that must have been executed.

    Raises:
        NodeRefused: it was not.
    """
    if isinstance(outcome, NodeRefused):
        raise outcome
    return outcome


def outcome_of(invocation: Delegation, answer: Message, executor: Service) -> Outcome:
    """What a message says of an invocation.

    Raises:
        NodeLied: nothing that can be believed.
    """
    try:
        receipt = answer.receipt(invocation.cid)
        receipt.verify(executor.did, invocation.cid)
    except UcanError as error:
        raise NodeLied(f"{executor.did} answered without a receipt to believe: {error}") from None
    if isinstance(receipt.out, Ok):
        return Done(receipt.out.value, receipt.attached)
    return NodeRefused(receipt.out.name or "Failure", receipt.out.message)


async def _invoke(transport: Transport, executor: Service, invocations: Sequence[Delegation]) -> list[Outcome]:
    data = message.request(invocations)

    async def body() -> AsyncIterator[bytes]:
        yield data

    answer = await transport.send(
        Request(
            method="POST",
            url=http_url(executor.url),
            headers={
                "Accept": message.CONTENT_TYPE,
                "Accept-Encoding": "identity",
                "Content-Type": message.CONTENT_TYPE,
                "Content-Length": str(len(data)),
            },
            body=body,
            moves_bytes=len(data) + MESSAGE_BYTES_MAX,
            answer_bytes_max=MESSAGE_BYTES_MAX,
        )
    )
    if not answer.succeeded:
        raise NodeRefused(f"HTTP {answer.status}", answer.excerpt)
    try:
        said = message.decode(answer.body)
    except UcanError as error:
        raise NodeLied(f"{executor.did} answered with no message: {error}") from None
    return [outcome_of(invocation, said, executor) for invocation in invocations]

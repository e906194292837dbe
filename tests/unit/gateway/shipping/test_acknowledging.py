"""Who is answered when: not before the change is shipped, not after the time that somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.shipping.acknowledging import ShippedFirst
from gateway.store.committer import Answer, Taking
from gateway.store.errors import NoSuchBucket, NotShipped
from gateway.store.mutations import Committed, DropBucket, MarkShipped, Mutation, Record
from mst.cid import CID, DAG_CBOR
from registry.heads import Bucket

COMMIT = CID.of(DAG_CBOR, b"commit")


def bucket(name: str) -> Bucket:
    return Bucket(name, name.encode() * 16, COMMIT, COMMIT, 5, 0, 0, 4, None, 0, 0)


class Now(Taking):
    """Commits at once whatever it is told to."""

    failure = None

    def __init__(self) -> None:
        self.failed: list[str] = []

    def take(self, mutation: Mutation, ticket: Any, answer: Answer) -> None:
        match mutation:
            case DropBucket("missing"):
                answer([(ticket, NoSuchBucket("missing"))])
            case DropBucket(name):
                answer([(ticket, Committed(bucket(name)))])
            case _:
                answer([(ticket, Committed(None, value="recorded"))])

    def fail(self, reason: str) -> None:
        self.failed.append(reason)


def run(test: Callable[[ShippedFirst], Any], seconds: float = 60.0) -> None:
    async def make() -> None:
        await test(ShippedFirst(Now(), seconds))

    asyncio.run(make())


def test_an_answer_waits_for_the_shipment_that_brings_it() -> None:
    async def test(first: ShippedFirst) -> None:
        wanted = asyncio.Event()
        first.want = wanted.set
        before = first.mark()
        waiting = first.enqueue(DropBucket("a"))
        await wanted.wait()
        first.shipped(before, frozenset())
        first.shipped(first.mark(), frozenset([bucket("a").instance]))
        await asyncio.sleep(0)
        assert not waiting.done()
        first.shipped(first.mark(), frozenset([bucket("b").instance]))
        answered = (await waiting).bucket
        assert answered is not None
        assert (answered.shipped, answered.shipped_sequence) == (COMMIT, 5)

    run(test)


def test_who_was_answered_may_come_back() -> None:
    async def test(first: ShippedFirst) -> None:
        assert not first.expects_more()
        one, two = (first.enqueue(DropBucket(name)) for name in "ab")
        first.shipped(first.mark(), frozenset([bucket("b").instance]))
        await one
        assert first.expects_more()
        again = first.enqueue(DropBucket("a"))
        assert not first.expects_more()
        first.shipped(first.mark(), frozenset())
        await asyncio.gather(two, again)
        assert first.expects_more()
        first.shipped(first.mark(), frozenset())
        assert not first.expects_more()

    run(test)


def test_refusals_and_records_do_not_wait() -> None:
    async def test(first: ShippedFirst) -> None:
        with pytest.raises(NoSuchBucket):
            await first.submit(DropBucket("missing"))
        assert (await first.submit(Record(_nothing))).value == "recorded"
        assert (await first.submit(MarkShipped((), _nothing))).value == "recorded"

    run(test)


def test_a_record_that_changes_settings_waits_for_its_bucket() -> None:
    async def test(first: ShippedFirst) -> None:
        waiting = first.enqueue(Record(_nothing, b"i" * 16))
        first.shipped(first.mark(), frozenset([b"i" * 16]))
        await asyncio.sleep(0)
        assert not waiting.done()
        first.shipped(first.mark(), frozenset())
        assert (await waiting).value == "recorded"

    run(test)


def _nothing(_: object) -> None:
    pass


def test_the_time_that_somebody_waits() -> None:
    async def test(first: ShippedFirst) -> None:
        for _ in range(2):
            with pytest.raises(NotShipped):
                await first.submit(DropBucket("a"))

    run(test, seconds=0.01)


def test_a_close_answers_all() -> None:
    async def test(first: ShippedFirst) -> None:
        waiting = [first.enqueue(DropBucket("a")) for _ in range(3)]
        first.close()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [NotShipped] * 3

    run(test)


def test_failures_are_those_of_the_committer() -> None:
    async def test(first: ShippedFirst) -> None:
        first.fail("a disk")
        assert first.failure is None
        assert first._committer.failed == ["a disk"]  # type: ignore[attr-defined]

    run(test)

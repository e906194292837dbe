"""Segments: whatever is torn, flipped or appended, exactly the whole batches before it are found, and other readers
read what ours reads.
"""

from __future__ import annotations

import itertools
from hashlib import sha256

import dag_cbor
import multiformats
import pytest

from mst import car, cbor, segment, varint
from mst.block import Block
from mst.cid import CID, DAG_CBOR, DAG_PB, RAW
from mst.errors import FormatError
from mst.segment import BatchRecord, Framed, find_batch_after, frame_batch, scan

HEADER_BYTES = len(car.HEADER)
INSTANCE = b"i" * 16
COMMIT = Block.of(DAG_CBOR, cbor.encode({"a": "commit"}))


def _blocks(batch: int) -> list[Block]:
    """A batch's blocks: every codec, an empty one, one whose length takes two bytes."""
    return [
        Block.of(RAW, b"body %d" % batch),
        Block.of(DAG_CBOR, cbor.encode({"node": batch})),
        Block.of(DAG_PB, b"\x0a\x00" + bytes([batch])),
        Block.of(RAW, b""),
        Block.of(RAW, bytes([batch]) * 100),
    ]


class Segment:
    """The bytes of a segment of several batches, and where each of them ends."""

    def __init__(self, batches: list[list[Block]]) -> None:
        self.data = car.HEADER
        self.framed: list[Framed] = []
        self.ends = [len(self.data)]
        previous = None
        for number, blocks in enumerate(batches, 1):
            framed = frame_batch(
                blocks, start=len(self.data), sequence=number, previous=previous,
                commits=[COMMIT.cid] if blocks else [], drops=[] if blocks else [INSTANCE],
            )  # fmt: skip
            self.framed.append(framed)
            self.data += b"".join(framed.buffers)
            self.ends.append(len(self.data))
            previous = framed.record

    def whole_before(self, offset: int) -> int:
        """How many batches end at or before ``offset``."""
        return sum(end <= offset for end in self.ends[1:])


SMALL = Segment([_blocks(1), [], _blocks(2)])


def _scan(data: bytes, start: int = HEADER_BYTES) -> list[segment.Batch]:
    return list(scan(memoryview(data), start))


def test_what_was_framed_is_found() -> None:
    batches = _scan(SMALL.data)
    assert [batch.stop for batch in batches] == SMALL.ends[1:]
    assert [batch.places for batch in batches] == [framed.places for framed in SMALL.framed]
    assert [batch.record_cid for batch in batches] == [framed.record for framed in SMALL.framed]
    assert [batch.record.previous for batch in batches] == [None, *[framed.record for framed in SMALL.framed[:-1]]]
    assert [batch.record.sequence for batch in batches] == [1, 2, 3]
    assert [batch.record.commits for batch in batches] == [(COMMIT.cid,), (), (COMMIT.cid,)]
    assert [batch.record.drops for batch in batches] == [(), (INSTANCE,), ()]
    for framed, start, end in zip(SMALL.framed, SMALL.ends, SMALL.ends[1:], strict=False):
        assert framed.size_bytes == end - start


def test_places_are_where_the_bytes_lie() -> None:
    for number in (1, 3):
        places = SMALL.framed[number - 1].places
        blocks = _blocks(1 if number == 1 else 2)
        for (digest, offset, length), block in zip(places, blocks, strict=True):
            assert SMALL.data[offset : offset + length] == block.data
            assert digest == block.cid.digest


def test_a_scan_may_begin_behind_any_batch() -> None:
    for number, end in enumerate(SMALL.ends):
        assert [batch.stop for batch in _scan(SMALL.data, end)] == SMALL.ends[number + 1 :]


def test_a_file_without_batches() -> None:
    assert _scan(car.HEADER) == []
    assert _scan(b"", 0) == []


def test_truncation_at_every_offset() -> None:
    for length in range(HEADER_BYTES, len(SMALL.data)):
        found = _scan(SMALL.data[:length])
        assert len(found) == SMALL.whole_before(length)
        good = found[-1].stop if found else HEADER_BYTES
        assert find_batch_after(memoryview(SMALL.data[:length]), good) is None


@pytest.mark.parametrize(
    "tail",
    [
        b"\x00",
        b"\x00" * 4096,
        b"\xff" * 300,
        b"\x80" * 20,
        bytes(range(256)),
        b"\x24" + b"\x01" * 36,
        b"\x8a\x6ams3t/batch",
    ],
    ids=["zero", "zeros", "ones", "endless varint", "every byte", "section of nonsense", "record's first bytes"],
)
def test_tails_that_are_no_batch(tail: bytes) -> None:
    """Behind a whole segment, and behind one torn anywhere."""
    for length in range(HEADER_BYTES, len(SMALL.data) + 1, 7):
        data = SMALL.data[:length] + tail
        found = _scan(data)
        assert len(found) == SMALL.whole_before(length)
        assert find_batch_after(memoryview(data), found[-1].stop if found else HEADER_BYTES) is None


def test_a_valid_section_without_a_record_is_no_batch() -> None:
    block = Block.of(RAW, b"lone")
    data = SMALL.data + car.section(*block)
    assert len(_scan(data)) == 3
    assert find_batch_after(memoryview(data), SMALL.ends[-1]) is None


def test_every_flipped_bit_is_noticed() -> None:
    """Those in lengths, in codec bytes of CIDs and in records included, which no block's own digest covers."""
    for offset, bit in itertools.product(range(HEADER_BYTES, len(SMALL.data)), range(8)):
        data = bytearray(SMALL.data)
        data[offset] ^= 1 << bit
        found = _scan(bytes(data))
        assert len(found) == SMALL.whole_before(offset)
        good = found[-1].stop if found else HEADER_BYTES
        behind = find_batch_after(memoryview(bytes(data)), good)
        following = [end for end in SMALL.ends[:-1] if end > offset]
        assert behind == (following[0] if following else None)


def test_a_section_moved_or_left_out_is_noticed() -> None:
    sections = [car.section(*block) for block in _blocks(1)]
    record = SMALL.data[SMALL.ends[0] + sum(map(len, sections)) : SMALL.ends[1]]
    assert len(_scan(car.HEADER + b"".join(sections) + record)) == 1
    for order in itertools.permutations(sections):
        if list(order) != sections:
            assert _scan(car.HEADER + b"".join(order) + record) == []
    for left_out in range(len(sections)):
        assert _scan(car.HEADER + b"".join(sections[:left_out] + sections[left_out + 1 :]) + record) == []
    assert _scan(car.HEADER + b"".join(sections) + sections[0] + record) == []
    assert _scan(car.HEADER + record) == []


def test_a_batch_copied_to_another_offset_is_none() -> None:
    batch = SMALL.data[SMALL.ends[1] : SMALL.ends[2]]
    assert len(_scan(SMALL.data + batch)) == 3
    assert find_batch_after(memoryview(SMALL.data + batch), SMALL.ends[3]) is None


def test_the_first_of_several_whole_batches_behind_damage_is_found() -> None:
    many = Segment([_blocks(n) for n in range(1, 9)])
    data = bytearray(many.data)
    data[many.ends[2] + 60] ^= 1
    data[many.ends[3] + 60] ^= 1
    (first, second) = _scan(bytes(data))
    assert second.stop == many.ends[2]
    assert find_batch_after(memoryview(bytes(data)), second.stop) == many.ends[4]
    assert [batch.stop for batch in _scan(bytes(data), many.ends[4])] == many.ends[5:]
    assert first.stop == many.ends[1]


def test_damage_larger_than_what_is_searched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record may lie across the border of two searches."""
    block = Block.of(RAW, b"x" * 3000)
    damaged = Segment([[block], _blocks(2)])
    data = bytearray(damaged.data)
    data[HEADER_BYTES + 50] ^= 1
    for window in range(1, 64):
        monkeypatch.setattr(segment, "_SEARCH_BYTES", window)
        assert find_batch_after(memoryview(bytes(data)), HEADER_BYTES) == damaged.ends[1]


def test_a_body_that_looks_like_a_record_is_a_body() -> None:
    """What a client stores decides nothing, whatever it says."""
    lure = segment.frame_batch([Block.of(RAW, b"lure")], start=HEADER_BYTES, sequence=99, previous=None)
    record = BatchRecord(9, None, HEADER_BYTES, HEADER_BYTES + 40, 1, bytes(32)).block()
    bodies = [Block.of(RAW, b"".join(lure.buffers)), Block.of(RAW, record.data), Block.of(RAW, segment._RECORD_PREFIX)]
    lured = Segment([bodies, _blocks(2)])
    assert [batch.stop for batch in _scan(lured.data)] == lured.ends[1:]


def test_records_of_every_size() -> None:
    """The length of a record's section takes one, two or three bytes."""
    for count in (0, 1, 40, 500, 5000):
        commits = [CID.of(DAG_CBOR, b"%d" % n) for n in range(count)]
        framed = frame_batch(_blocks(1), start=HEADER_BYTES, sequence=1, previous=None, commits=commits)
        data = car.HEADER + b"".join(framed.buffers)
        (batch,) = _scan(data)
        assert batch.record.commits == tuple(commits)
        damaged = (
            data
            + b"\x00"
            + b"".join(
                frame_batch([], start=len(data) + 1, sequence=2, previous=framed.record, commits=commits).buffers
            )
        )
        assert find_batch_after(memoryview(damaged), batch.stop) == len(data) + 1


RECORD = BatchRecord(7, COMMIT.cid, 26, 100, 3, sha256(b"").digest(), (COMMIT.cid,), (INSTANCE,))
FIELDS = ["ms3t/batch", 1, 7, COMMIT.cid, 26, 100, 3, sha256(b"").digest(), [COMMIT.cid], [INSTANCE]]


def test_a_record_has_one_form() -> None:
    assert RECORD.block().data == cbor.encode(FIELDS)
    assert BatchRecord.decode(RECORD.block().data) == RECORD


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "ms3t/other"), (0, b"ms3t/batch"), (1, 0), (1, 2), (1, True), (1, 1.0), (2, -1), (2, 1.0), (2, False),
        (2, None), (3, b"x"), (3, "x"), (4, -26), (5, "100"), (6, None), (7, b"short"), (7, None), (7, COMMIT.cid),
        (8, None), (8, [None]), (8, [b"x"]), (9, [b"short"]), (9, [COMMIT.cid]), (9, {}), (9, ["i" * 16]),
    ],
)  # fmt: skip
def test_records_with_a_wrong_field(place: int, value: cbor.Value) -> None:
    fields = [*FIELDS[:place], value, *FIELDS[place + 1 :]]
    with pytest.raises(FormatError):
        BatchRecord.decode(cbor.encode(fields))


@pytest.mark.parametrize("document", [[], FIELDS[:-1], [*FIELDS, None], {}, None, "ms3t/batch", {"0": FIELDS}])
def test_documents_that_are_no_record(document: cbor.Value) -> None:
    with pytest.raises(FormatError):
        BatchRecord.decode(cbor.encode(document))


def test_mutated_records_are_refused_or_canonical() -> None:
    data = RECORD.block().data
    for offset, bit in itertools.product(range(len(data)), range(8)):
        mutated = bytearray(data)
        mutated[offset] ^= 1 << bit
        try:
            decoded = BatchRecord.decode(bytes(mutated))
        except FormatError:
            continue
        assert decoded.block().data == mutated


def _read_independently(data: bytes) -> list[tuple[multiformats.CID, bytes]]:
    """A CAR reader that shares nothing with ours: multiformats and dag-cbor do the work."""
    length, used, rest = multiformats.varint.decode_raw(data)
    header = bytes(rest[:length])
    # The placeholder root is an identity CID, which dag-cbor decodes as any other.
    assert dag_cbor.decode(header)["version"] == 1
    position = used + length
    found = []
    while position < len(data):
        length, used, _ = multiformats.varint.decode_raw(data[position:])
        start = position + used
        cid = multiformats.CID.decode(data[start : start + 36])
        block = data[start + 36 : start + length]
        assert multiformats.multihash.digest(block, "sha2-256") == cid.digest
        if cid.codec.name == "dag-cbor":
            dag_cbor.decode(block)
        found.append((cid, block))
        position = start + length
    return found


def test_others_read_the_same_blocks() -> None:
    expected = [
        *_blocks(1), BatchRecord.decode(_record_data(0)).block(),
        BatchRecord.decode(_record_data(1)).block(),
        *_blocks(2), BatchRecord.decode(_record_data(2)).block(),
    ]  # fmt: skip
    theirs = [(bytes(cid), block) for cid, block in _read_independently(SMALL.data)]
    assert theirs == [(bytes(block.cid), block.data) for block in expected]
    reader = car.Reader()
    assert list(reader.feed(SMALL.data)) == expected
    reader.finish()


def _record_data(number: int) -> bytes:
    section = SMALL.framed[number].buffers[-1]
    _, after = varint.decode(section)
    return section[after + 36 :]


def test_others_agree_about_a_record() -> None:
    decoded = dag_cbor.decode(RECORD.block().data)
    assert isinstance(decoded, list)
    assert bytes(decoded[3]) == bytes(COMMIT.cid)  # type: ignore[arg-type]
    assert decoded[4:8] == [26, 100, 3, sha256(b"").digest()]
    assert dag_cbor.encode(decoded) == RECORD.block().data


def test_a_block_too_large_for_a_section_is_not_framed() -> None:
    with pytest.raises(FormatError, match="too large"):
        frame_batch([Block(COMMIT.cid, bytes(2 * 1024 * 1024 + 1))], start=26, sequence=1, previous=None)

"""The streaming file builder and the range reader against a layout written down all at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mst.block import Block
from mst.cid import CID, DAG_PB, RAW
from mst.fetch import drive
from mst.unixfs import FileBuilder, FileLink, encode_file_node, leaf_ranges


def lay_out(level: list[FileLink], width: int, blocks: dict[CID, bytes]) -> CID:
    """Group every level by ``width`` until one link is left."""
    while len(level) > 1:
        parents = []
        for at in range(0, len(level), width):
            links = level[at : at + width]
            cid, data = Block.of(DAG_PB, encode_file_node(links))
            blocks[cid] = data
            tsize = len(data) + sum(link.tsize for link in links)
            parents.append(FileLink(cid, tsize, sum(link.blocksize for link in links)))
        level = parents
    return level[0].cid


@given(
    st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=60),
    st.integers(2, 7),
    st.data(),
)
def test_builder_and_reader_agree_with_the_layout(chunks: list[bytes], width: int, data: st.DataObject) -> None:
    leaves = [(CID.of(RAW, chunk), chunk) for chunk in chunks]
    expected: dict[CID, bytes] = {}
    links = [FileLink(cid, len(chunk), len(chunk)) for cid, chunk in leaves]
    root = lay_out(links, width, expected)

    builder = FileBuilder(6, width)
    built = [block for cid, chunk in leaves for block in builder.add_leaf(cid, len(chunk))]
    found, last = builder.finish()
    assert found == root
    assert dict(built + last) == expected

    content = b"".join(chunks)
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, len(content)))
    touched = drive(leaf_ranges(root, len(content), start, stop), lambda cids: [expected[cid] for cid in cids])
    offset = 0
    wanted = []
    for cid, chunk in leaves:
        if start < stop and offset < stop and offset + len(chunk) > start:
            wanted.append((cid, offset, len(chunk)))
        offset += len(chunk)
    assert touched == wanted

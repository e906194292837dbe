"""Merkle Search Tree buckets as pure functions: formats, trees and the walks over them.

Nothing here opens a socket or a file, reads a clock, draws a random number or signs: bytes and
numbers go in, blocks come out, and code that needs a block it does not have asks its driver for
it.  So everything here can be tested exhaustively, and used on either side of a network.

Start with `mst.tree` (a bucket's index), `mst.entry` (what the index says about an object),
`mst.commit` (the signed block that pins an index), `mst.unixfs` (how an object's bytes become
blocks) and `mst.car` (how blocks become files). The byte tables are in docs/formats/.
"""

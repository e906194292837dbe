"""Every limit of this package in one place, so that the bounds on hostile input read together.

Limits of formats are part of the formats: decoders refuse what lies beyond them, encoders never
write it.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# --- all formats ---
INTEGER_MAX = 2**63 - 1
"""Largest size, count, sequence number or time: what a signed 64-bit database column holds."""
VARINT_BYTES_MAX = 9
"""Longest unsigned varint, in bytes (multiformats: 63 bits)."""
CID_BYTES = 36
"""A binary CIDv1 of a sha2-256 digest."""
BLOCK_BYTES_MAX = 2 * MIB
"""Largest block; public IPFS tools refuse larger ones."""

# --- DAG-CBOR ---
CBOR_DEPTH_MAX = 64
"""Deepest nesting of arrays and maps."""

# --- tree ---
KEY_BYTES_MAX = 1024
"""Longest key (S3's own limit), in bytes of UTF-8."""
VERSION_SUFFIX_BYTES = 17
"""What a key of the tree of versions has behind the object's key: a NUL and 16 hexadecimal digits."""
NODE_KEY_BYTES_MAX = KEY_BYTES_MAX + VERSION_SUFFIX_BYTES
"""Longest key in a node, in bytes: that of a version."""
NODE_ENTRIES_MAX = 1024
"""Most entries of a node; at fan-out 16 honest keys meet it with odds of 1e-24."""
NODE_BYTES_MAX = 1 * MIB
"""Largest encoded node, in bytes."""
LAYER_MAX = 15
"""Layers are clamped here, so that one mined key cannot make every path long."""
TREE_BITS_MAX = 6
"""Largest log2 of the fan-out: beyond 64, honest nodes would come near the entry limit."""
SALT_BYTES = 32
"""Length of a tree's salt."""

# --- entry ---
ENTRY_META_INLINE_BYTES_MAX = 256
"""Largest encoded metadata map kept inside an entry; a larger one is a block of its own."""

# --- commit ---
COMMIT_BYTES_MAX = 4 * KIB
"""Largest encoded commit."""
SPACE_DID_BYTES_MAX = 256
"""Longest DID of a space."""
BUCKET_NAME_BYTES_MAX = 255
"""Longest bucket name a commit can carry (the S3 front is stricter)."""
INSTANCE_BYTES = 16
"""Length of the random id that tells a bucket from an earlier one of the same name."""
SIGNATURE_BYTES = 64
"""An ed25519 signature."""

# --- UnixFS ---
CHUNK_BYTES = 1 * MIB
"""Leaf size of the profile unixfs-v1-2025."""
FILE_NODE_LINKS_MAX = 1024
"""Most links of one file node, and the width of the profile unixfs-v1-2025."""
FILE_DEPTH_MAX = 16
"""Most levels of inner nodes in a file; three reach 1 PiB in the profile."""

FILE_RANGE_LEAVES_MAX = 16_384
"""Most leaves that one look-up of a byte range may touch: 16 GiB in the profile."""

# --- CAR ---
CAR_HEADER_BYTES_MAX = 4 * KIB
"""Largest header of a CAR file, without its length prefix."""
CAR_SECTION_BYTES_MAX = CID_BYTES + BLOCK_BYTES_MAX
"""Largest section of a CAR file, CID and data, without its length prefix."""

# --- segment ---
BATCH_RECORD_BYTES_MAX = 1 * MIB
"""Largest record that ends a batch, in bytes: room for 25,000 commits."""

# --- manifest ---
MANIFEST_BYTES_MAX = 1 * MIB
"""Largest manifest, in bytes."""
MANIFEST_SHARDS_MAX = 1024
"""Most shards that one manifest names."""
SETTING_NAME_BYTES_MAX = 255
"""Longest name of a bucket's setting."""

# --- shard ---
SHARD_BYTES_MAX = 253 * MIB
"""Largest shard, in bytes; the smallest maximum met on real storage nodes is 266,338,304."""
SHARD_BLOCKS_MAX = 65_536
"""Most blocks of a shard, which bounds its index to about 3 MB."""
PACK_BYTES_MAX = 32 * MIB
"""Largest pack, in bytes; one is in memory while it is made."""

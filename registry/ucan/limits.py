"""Every limit of this package in one place, so that the bounds on hostile input read together."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# --- values ---
DID_BYTES_MAX = 256
"""Longest DID, in characters of its text."""
ABILITY_CHARS_MAX = 128
"""Longest ability (the ``can`` of a capability)."""
RESOURCE_CHARS_MAX = 1 * KIB
"""Longest resource (the ``with`` of a capability)."""
TIME_SECONDS_MAX = 2**53 - 1
"""Latest time that every implementation can tell from its neighbours, in seconds since 1970."""
URL_CHARS_MAX = 2 * KIB
"""Longest URL of a location claim."""
URLS_MAX = 16
"""Most URLs or addresses of one claim."""

# --- tokens ---
TOKEN_BYTES_MAX = 16 * KIB
"""Largest UCAN, in bytes of its block."""
CAPABILITIES_MAX = 64
"""Most capabilities of one UCAN."""
PROOFS_MAX = 32
"""Most proofs of one UCAN, and most UCANs looked at to authorize one invocation."""
PROOF_DEPTH_MAX = 8
"""Most delegations between an invocation and the owner of its resource."""
CLOCK_SKEW_SECONDS = 60
"""How far two machines' clocks may be apart before a UCAN is taken for expired or too early."""

# --- receipts and messages ---
RECEIPT_BYTES_MAX = 64 * KIB
"""Largest receipt; a failure may carry a long trace."""
FORKS_MAX = 64
"""Most effects of one receipt."""
MESSAGE_BYTES_MAX = 1 * MIB
"""Largest agent message over POST."""
MESSAGE_BLOCKS_MAX = 2048
"""Most blocks of one message, archive or query result."""
INVOCATIONS_MAX = 256
"""Most invocations, and most receipts, of one message."""
ARCHIVE_BYTES_MAX = 256 * KIB
"""Largest archive of a delegation with its proofs."""

BLOBS_LISTED_MAX = 500
"""Most blobs of one answer to ``space/blob/list``: their receipt is at most 64 KiB."""

# --- X-Agent-Message ---
HEADER_CHARS_MAX = 4096
"""Longest X-Agent-Message header."""
HEADER_MESSAGE_BYTES_MAX = 64 * KIB
"""Largest message that is unpacked from a header: compressed, it has 3 KiB at most."""

# --- indexes and queries ---
INDEX_BYTES_MAX = 64 * MIB
"""Largest archive of an index."""
INDEX_SHARD_BYTES_MAX = 8 * MIB
"""Largest block of an index: room for 170,000 slices of one shard."""
INDEX_SHARDS_MAX = 4096
"""Most shards of one index."""
QUERY_BYTES_MAX = 128 * MIB
"""Largest answer to a query for claims."""

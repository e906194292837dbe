"""The shape parameters of a tree: which layer a key lives on.

A key's layer is the number of leading zero bits of ``sha256(salt || key)`` in groups of ``bits``, so a node has about
``2**bits`` entries.  Fan-out 4 without salt is atproto's tree; buckets default to fan-out 16.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from mst.errors import FormatError
from mst.limits import LAYER_MAX, SALT_BYTES, TREE_BITS_MAX

_HASH_BITS = 256


@dataclass(frozen=True, slots=True)
class TreeParams:
    """What, together with the set of (key, value) pairs, determines a tree's root.

    Args:
        bits: log2 of the fan-out, 1 to ``TREE_BITS_MAX``.
        salt: ``SALT_BYTES`` bytes hashed before every key, or None.  A secret salt keeps whoever chooses the keys from
            mining a wide or a tall tree.

    Raises:
        FormatError: a parameter out of range (parameters arrive in commits, that is from the wire).
    """

    bits: int = 4
    salt: bytes | None = None
    cache_tag: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= TREE_BITS_MAX:
            raise FormatError(f"tree bits must be 1 to {TREE_BITS_MAX}, not {self.bits}")
        if self.salt is not None and len(self.salt) != SALT_BYTES:
            raise FormatError(f"a tree salt is {SALT_BYTES} bytes, not {len(self.salt)}")
        default = self.bits == DEFAULT_BITS and self.salt is None
        tag = b"" if default else bytes([self.bits]) + (self.salt or b"")
        object.__setattr__(self, "cache_tag", tag)

    def layer(self, key: bytes) -> int:
        """The layer of ``key``, 0 (the leaves) to ``LAYER_MAX`` (clamped: honest keys never reach it)."""
        digest = sha256(self.salt + key if self.salt else key).digest()
        zeros = _HASH_BITS - int.from_bytes(digest, "big").bit_length()
        return min(zeros // self.bits, LAYER_MAX)


DEFAULT_BITS = 4

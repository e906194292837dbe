"""Location claims: where a blob is kept, believed only if the right node says it of the right space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from gateway.node.client.errors import NodeLied
from gateway.node.client.urls import http_url
from registry.ucan import archive
from registry.ucan.capability import Blob, Location, arguments
from registry.ucan.delegation import Delegation
from registry.ucan.did import DID
from registry.ucan.errors import UcanError
from registry.ucan.v091 import UCAN_0_9_1


@dataclass(frozen=True, slots=True)
class Site:
    """Where a blob is, as its node signed it.

    Attributes:
        digest: sha2-256 of the blob, 32 bytes.
        urls: where it can be read.
        offset: where in what the URLs give it begins.
        size: how many bytes it has, or None where the claim does not say.
        expires: until when the claim holds, seconds since 1970, or None for ever.
        claim: the claim itself.
    """

    digest: bytes
    urls: tuple[str, ...]
    offset: int
    size: int | None
    expires: int | None
    claim: Delegation

    @classmethod
    def of(cls, claim: Delegation, node: DID, space: DID) -> Self:
        """What a claim says.

        Args:
            claim: a location claim, unverified.
            node: who must have signed it.
            space: for whom it must be.

        Raises:
            NodeLied: it is of another node, for another space, forged, or no location claim.
        """
        said = claim.token.payload
        try:
            UCAN_0_9_1.verify(claim.token)
            location = arguments(Location, claim.capability)
        except UcanError as error:
            raise NodeLied(f"a location claim that does not hold: {error}") from None
        if said.issuer != node or claim.capability.resource != node or len(said.capabilities) != 1:
            raise NodeLied(f"a location claim of {said.issuer} instead of {node}")
        if (location.space or said.audience) != space:
            raise NodeLied(f"a location claim for {location.space or said.audience} instead of {space}")
        for url in location.urls:
            http_url(url)
        return cls(location.digest, location.urls, location.offset or 0, location.length, said.expires, claim)

    @classmethod
    def read(cls, data: bytes, node: DID, space: DID) -> Self:
        """The site whose `archive` was kept.

        Raises:
            NodeLied: as for `of`, or it is no archive of a claim.
        """
        try:
            return cls.of(archive.decode(data), node, space)
        except UcanError as error:
            raise NodeLied(f"no archive of a location claim: {error}") from None

    def archive(self) -> bytes:
        """The claim as a file, to keep it."""
        return archive.encode(self.claim)

    def require(self, blob: Blob) -> None:
        """That it is of just this blob.

        Raises:
            NodeLied: it is of another, or of a part.
        """
        if self.digest != blob.digest or self.offset != 0 or self.size not in (None, blob.size):
            raise NodeLied(f"a location claim for other bytes than blob {blob.digest.hex()} of {blob.size} bytes")

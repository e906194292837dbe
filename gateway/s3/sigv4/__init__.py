"""AWS Signature Version 4: who sent a request, proven over the request as it was sent.

Every request passes a check of its signature, and nothing else makes a :class:`Verified`; whatever
reads a body or obeys a header asks for one, so no path through the server can forget the check.

Specification: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.
"""

from gateway.s3.sigv4.verified import PayloadMode, Verified
from gateway.s3.sigv4.verify import Authenticator, Lookup

__all__ = ["Authenticator", "Lookup", "PayloadMode", "Verified"]

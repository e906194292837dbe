"""The one exception of the S3 front, the table of every error code, and its XML form.

A refusal is raised where it is found, as ``S3Error("NoSuchKey", Key=key)``, and is turned into a
response in one place. The code decides the status; keyword arguments become XML elements of the
same name, as Amazon S3 adds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from gateway.s3.xmltext import DECLARATION, escape


class ErrorKind(NamedTuple):
    """What a code means: its HTTP status and the message used when nothing better is known."""

    status: int
    message: str


_KINDS: dict[str, ErrorKind] = {
    "AccessDenied": ErrorKind(403, "Access Denied"),
    "AuthorizationHeaderMalformed": ErrorKind(400, "The authorization header that you provided is not valid."),
    "AuthorizationQueryParametersError": ErrorKind(
        400, "The authorization query parameters that you provided are not valid."
    ),
    "BadDigest": ErrorKind(400, "The Content-MD5 you specified did not match what we received."),
    "BadRequest": ErrorKind(400, "An error occurred when parsing the HTTP request."),
    "BucketAlreadyExists": ErrorKind(
        409,
        "The requested bucket name is not available. The bucket namespace is shared by all users"
        " of the system. Please select a different name and try again.",
    ),
    "BucketAlreadyOwnedByYou": ErrorKind(
        409, "Your previous request to create the named bucket succeeded and you already own it."
    ),
    "BucketNotEmpty": ErrorKind(409, "The bucket you tried to delete is not empty."),
    "ConditionalRequestConflict": ErrorKind(
        409, "The conditional request cannot succeed due to a conflicting operation."
    ),
    "EntityTooLarge": ErrorKind(400, "Your proposed upload exceeds the maximum allowed object size."),
    "EntityTooSmall": ErrorKind(400, "Your proposed upload is smaller than the minimum allowed object size."),
    "IllegalLocationConstraintException": ErrorKind(
        400,
        "The specified location constraint is incompatible for the region specific endpoint this request was sent to.",
    ),
    "IllegalVersioningConfigurationException": ErrorKind(400, "The Versioning element must be specified"),
    "IncompleteBody": ErrorKind(400, "The request body terminated unexpectedly."),
    # 507, not 503: every SDK retries a 503 at once, and would hammer a disk that is full.
    "InsufficientStorage": ErrorKind(507, "There is not enough free space to store this."),
    "InternalError": ErrorKind(500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": ErrorKind(403, "The AWS Access Key Id you provided does not exist in our records."),
    "InvalidArgument": ErrorKind(400, "Invalid Argument"),
    "InvalidBucketName": ErrorKind(400, "The specified bucket is not valid."),
    "InvalidDigest": ErrorKind(400, "The Content-MD5 you specified was invalid."),
    "InvalidLocationConstraint": ErrorKind(400, "The specified location-constraint is not valid"),
    "InvalidPart": ErrorKind(
        400,
        "One or more of the specified parts could not be found. The part may not have been"
        " uploaded, or the specified entity tag may not match the part's entity tag.",
    ),
    "InvalidPartNumber": ErrorKind(416, "The requested partnumber is not satisfiable"),
    "InvalidPartOrder": ErrorKind(
        400, "The list of parts was not in ascending order. Parts must be ordered by part number."
    ),
    "InvalidRange": ErrorKind(416, "The requested range is not satisfiable"),
    "InvalidRedirectLocation": ErrorKind(
        400,
        "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
    ),
    "InvalidRequest": ErrorKind(400, "Invalid Request"),
    "InvalidStorageClass": ErrorKind(400, "The storage class you specified is not valid"),
    "InvalidTag": ErrorKind(400, "The tag provided was not a valid tag."),
    "InvalidToken": ErrorKind(400, "The provided token is malformed or otherwise invalid."),
    "InvalidURI": ErrorKind(400, "Couldn't parse the specified URI."),
    "KeyTooLongError": ErrorKind(400, "Your key is too long"),
    "MalformedTrailerError": ErrorKind(
        400,
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    ),
    "MalformedXML": ErrorKind(
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    "MaxMessageLengthExceeded": ErrorKind(400, "Your request was too big."),
    "MetadataTooLarge": ErrorKind(400, "Your metadata headers exceed the maximum allowed metadata size"),
    "MethodNotAllowed": ErrorKind(405, "The specified method is not allowed against this resource."),
    "MissingContentLength": ErrorKind(411, "You must provide the Content-Length HTTP header."),
    "MissingSecurityHeader": ErrorKind(400, "Your request was missing a required header"),
    "NoSuchBucket": ErrorKind(404, "The specified bucket does not exist"),
    "NoSuchBucketPolicy": ErrorKind(404, "The bucket policy does not exist"),
    "NoSuchCORSConfiguration": ErrorKind(404, "The CORS configuration does not exist"),
    "NoSuchKey": ErrorKind(404, "The specified key does not exist."),
    "NoSuchLifecycleConfiguration": ErrorKind(404, "The lifecycle configuration does not exist"),
    "NoSuchPublicAccessBlockConfiguration": ErrorKind(404, "The public access block configuration was not found"),
    "NoSuchTagSet": ErrorKind(404, "The TagSet does not exist"),
    "NoSuchUpload": ErrorKind(
        404,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have"
        " been aborted or completed.",
    ),
    "NoSuchVersion": ErrorKind(404, "The specified version does not exist."),
    "NoSuchWebsiteConfiguration": ErrorKind(404, "The specified bucket does not have a website configuration"),
    "NotImplemented": ErrorKind(501, "A header or query you provided implies functionality that is not implemented."),
    "NotModified": ErrorKind(304, "Not Modified"),
    "ObjectLockConfigurationNotFoundError": ErrorKind(404, "Object Lock configuration does not exist for this bucket"),
    "OperationAborted": ErrorKind(
        409,
        "A conflicting conditional operation is currently in progress against this resource. Please try again.",
    ),
    "OwnershipControlsNotFoundError": ErrorKind(404, "The bucket ownership controls were not found"),
    "PreconditionFailed": ErrorKind(412, "At least one of the pre-conditions you specified did not hold"),
    "ReplicationConfigurationNotFoundError": ErrorKind(404, "The replication configuration was not found"),
    "RequestHeaderSectionTooLarge": ErrorKind(
        400,
        "Your request header and query parameters used to make the request exceed the maximum allowed size.",
    ),
    "RequestTimeTooSkewed": ErrorKind(
        403, "The difference between the request time and the server's time is too large."
    ),
    "RequestTimeout": ErrorKind(
        400,
        "Your socket connection to the server was not read from or written to within the timeout period.",
    ),
    "ServerSideEncryptionConfigurationNotFoundError": ErrorKind(
        404, "The server side encryption configuration was not found"
    ),
    "ServiceUnavailable": ErrorKind(503, "Service is unable to handle request."),
    "SignatureDoesNotMatch": ErrorKind(
        403,
        "The request signature we calculated does not match the signature you provided. Check your"
        " key and signing method.",
    ),
    "SlowDown": ErrorKind(503, "Please reduce your request rate."),
    "XAmzContentSHA256Mismatch": ErrorKind(
        400, "The provided 'x-amz-content-sha256' header does not match what was computed."
    ),
}

CODES: Final[Mapping[str, ErrorKind]] = MappingProxyType(_KINDS)
"""Every error code the gateway answers with."""

_BODYLESS_STATUSES: Final = frozenset({304})
_NOT_IN_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class S3Error(Exception):
    """A refusal in the words of S3.

    Args:
        code: one of :data:`CODES`; anything else is a programming error (``KeyError``).
        message: replaces the code's default message.
        fields: extra XML elements, in order, named exactly as on the wire.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        /,
        **fields: str | int,
    ) -> None:
        kind = CODES[code]
        super().__init__(code, message or kind.message)
        self.code: Final = code
        self.status: Final = kind.status
        self.message: Final = message or kind.message
        self.fields: Final[Mapping[str, str | int]] = fields
        self.headers: dict[str, str] = {}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def with_headers(self, headers: Mapping[str, str]) -> S3Error:
        """Add response headers that belong to the refusal (an ETag beside a 304), and return it."""
        self.headers.update(headers)
        return self

    def document(self, *, resource: str, request_id: str) -> bytes:
        """Return the XML error document; empty where HTTP allows no body (304).

        Args:
            resource: the path the request named, decoded.
            request_id: the value of the response's ``x-amz-request-id``.
        """
        if self.status in _BODYLESS_STATUSES:
            return b""
        extra = "".join(f"<{name}>{_shown(str(value))}</{name}>" for name, value in self.fields.items())
        return (
            f"{DECLARATION}<Error><Code>{self.code}</Code>"
            f"<Message>{_shown(self.message)}</Message>{extra}"
            f"<Resource>{escape(resource)}</Resource>"
            f"<RequestId>{escape(request_id)}</RequestId></Error>"
        ).encode()


def _shown(text: str) -> str:
    """What a client sent, in a document that any client can parse: whatever the text, even a NUL."""
    return escape(_NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text))

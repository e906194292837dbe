"""What every failure below the front is in the words of S3: the one place where that is decided."""

from __future__ import annotations

from gateway.s3.errors import S3Error
from gateway.store.errors import (
    BlockCorrupt,
    BlockMissing,
    BucketNotEmpty,
    NoSuchBucket,
    NotShipped,
    RemoteUnavailable,
    StoreBusy,
    StoreFull,
    StoreReadOnly,
)
from mst.errors import TreeLimitError
from registry.heads import BucketMissing
from registry.uploads import UploadMissing

RETRY_SECONDS = 1
"""When a client whose request failed for now may try again."""
_FOR_NOW = (NotShipped, RemoteUnavailable, StoreBusy)
_CODES: dict[type[BaseException], tuple[str, str | None]] = {
    NoSuchBucket: ("NoSuchBucket", None),
    BucketMissing: ("NoSuchBucket", None),
    BucketNotEmpty: ("BucketNotEmpty", None),
    UploadMissing: ("NoSuchUpload", None),
    StoreFull: ("InsufficientStorage", None),
    StoreBusy: ("SlowDown", None),
    StoreReadOnly: ("ServiceUnavailable", "The store takes no writes until it is restarted."),
    NotShipped: ("ServiceUnavailable", "The change is made here, but the storage node has not taken it yet."),
    RemoteUnavailable: ("ServiceUnavailable", "The storage node cannot be reached."),
    TreeLimitError: ("InvalidRequest", "This key cannot be stored in this bucket: its tree would exceed a limit."),
    BlockMissing: ("InternalError", "The object's stored data is damaged."),
    BlockCorrupt: ("InternalError", "The object's stored data is damaged."),
    ConnectionError: ("IncompleteBody", None),
    TimeoutError: ("RequestTimeout", None),
}


def as_s3_error(error: BaseException) -> S3Error:
    """The S3 error a client is told for ``error``; InternalError for what nobody foresaw."""
    if isinstance(error, S3Error):
        return error
    for kind in type(error).__mro__:
        if kind in _CODES:
            refused = S3Error(*_CODES[kind])
            if kind in _FOR_NOW:
                refused.headers["Retry-After"] = str(RETRY_SECONDS)
            return refused
    return S3Error("InternalError")

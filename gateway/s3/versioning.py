"""PutBucketVersioning and GetBucketVersioning: whether a bucket keeps the versions of its objects."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.s3.body import parse, read_document
from gateway.s3.call import Call
from gateway.s3.xml import parse_versioning
from gateway.s3.xmltext import DECLARATION, NAMESPACE
from gateway.store.mutations import SetVersioning
from registry.heads import ENABLED, SUSPENDED, Versioning

_STATES: Final[dict[str, Versioning]] = {"Enabled": ENABLED, "Suspended": SUSPENDED}
_STATUSES: Final = {state: status for status, state in _STATES.items()}


async def put_bucket_versioning(call: Call) -> web.Response:
    """PutBucketVersioning: enabled or suspended; never off again."""
    bucket = call.bucket
    status = await parse(await read_document(call), parse_versioning)
    await call.front.store.committer.submit(SetVersioning(bucket.name, _STATES[status]))
    return call.answer(200)


async def get_bucket_versioning(call: Call) -> web.Response:
    """GetBucketVersioning: an empty document if it was never enabled."""
    status = _STATUSES.get(call.bucket.versioning)
    content = f"<Status>{status}</Status>" if status else ""
    return call.xml(f'{DECLARATION}<VersioningConfiguration xmlns="{NAMESPACE}">{content}</VersioningConfiguration>')

"""GetBucketAcl, GetObjectAcl, PutBucketAcl, PutObjectAcl: the one ACL there is, the owner's full control."""

from __future__ import annotations

from aiohttp import web

from gateway.s3.body import read_document
from gateway.s3.call import Call
from gateway.s3.entries import find_object
from gateway.s3.errors import S3Error
from gateway.s3.owners import owner_element
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape


async def get_bucket_acl(call: Call) -> web.Response:
    """GetBucketAcl."""
    _ = call.bucket
    return _answer(call)


async def get_object_acl(call: Call) -> web.Response:
    """GetObjectAcl."""
    await find_object(call)
    return _answer(call)


async def put_bucket_acl(call: Call) -> web.Response:
    """PutBucketAcl: only what every bucket has."""
    _ = call.bucket
    return await _confirm(call)


async def put_object_acl(call: Call) -> web.Response:
    """PutObjectAcl: only what every object has."""
    await find_object(call)
    return await _confirm(call)


def _answer(call: Call) -> web.Response:
    owner = call.owner
    return call.xml(
        f'{DECLARATION}<AccessControlPolicy xmlns="{NAMESPACE}">{owner_element(call)}<AccessControlList><Grant>'
        '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">'
        f"<ID>{owner.owner_id}</ID><DisplayName>{escape(owner.display_name)}</DisplayName></Grantee>"
        "<Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"
    )


async def _confirm(call: Call) -> web.Response:
    """Agree to a canned ACL; `gateway.s3.unsupported` has let through only those that mean this one.

    Raises:
        S3Error: NotImplemented for a document with grants, MissingSecurityHeader for nothing at all.
    """
    if await read_document(call):
        raise S3Error("NotImplemented", "Grants are not implemented.")
    if "x-amz-acl" not in call.headers:
        raise S3Error("MissingSecurityHeader")
    return call.answer(200)

"""DeleteObject and DeleteObjects."""

from __future__ import annotations

from aiohttp import web

from gateway.s3.body import parse, read_document
from gateway.s3.call import Call, state_headers
from gateway.s3.claims import declared
from gateway.s3.errors import S3Error
from gateway.s3.failures import as_s3_error
from gateway.s3.headers import Headers
from gateway.s3.preconditions import write_check
from gateway.s3.sigv4 import PayloadMode
from gateway.s3.target import check_key
from gateway.s3.versions import HEADER, MARKER_HEADER, format_version, parse_version
from gateway.s3.xml import DeleteObject, parse_delete
from gateway.s3.xmltext import DECLARATION, NAMESPACE, escape
from gateway.store.mutations import Committed, Delete


async def delete_object(call: Call) -> web.Response:
    """DeleteObject: by a delete marker where versions are kept; deleting what is not there is a success."""
    number = parse_version(call.target.query.get("versionId"))
    check = write_check(call.headers)
    if number is not None and check is not None:  # Amazon S3 judges only the current version
        raise S3Error("NotImplemented", "Conditions on the deletion of one version are not implemented.")
    done = await call.front.store.committer.submit(Delete(call.bucket_name, call.key, check, number))
    headers = {} if done.version is None else {HEADER: format_version(done.version)}
    if done.marker:
        headers[MARKER_HEADER] = "true"
    return call.answer(204, headers=headers | state_headers(done.bucket))


async def delete_objects(call: Call) -> web.Response:
    """DeleteObjects: up to 1,000 keys in one commit, each with its own outcome."""
    bucket = call.bucket
    document = await read_document(call)
    if "content-md5" not in call.headers and declared(call.headers, PayloadMode.SIGNED) is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5")
    request = await parse(document, parse_delete)
    refused: dict[int, S3Error] = {}
    mutations: dict[int, Delete] = {}
    for place, wanted in enumerate(request.objects):
        try:
            mutations[place] = _deletion(bucket.name, wanted)
        except S3Error as error:
            refused[place] = error
    outcomes = await call.front.store.committer.submit_all(list(mutations.values()))
    deleted: dict[int, Committed] = {}
    headers: dict[str, str] = {}
    for place, outcome in zip(mutations, outcomes, strict=True):
        if isinstance(outcome, Committed):
            deleted[place] = outcome
            headers = state_headers(outcome.bucket)
        else:
            refused[place] = as_s3_error(outcome)
    rows = "".join(
        _refused(wanted, refused[place]) if place in refused else _deleted(wanted, deleted[place])
        for place, wanted in enumerate(request.objects)
        if place in refused or not request.quiet
    )
    return call.xml(f'{DECLARATION}<DeleteResult xmlns="{NAMESPACE}">{rows}</DeleteResult>', headers)


def _deletion(bucket: str, wanted: DeleteObject) -> Delete:
    number = parse_version(wanted.version_id)
    key = check_key(wanted.key).encode()
    check = write_check(Headers({"if-match": wanted.etag})) if wanted.etag else None
    return Delete(bucket, key, check, number)


def _named(wanted: DeleteObject) -> str:
    version = f"<VersionId>{escape(wanted.version_id)}</VersionId>" if wanted.version_id else ""
    return f"<Key>{escape(wanted.key)}</Key>{version}"


def _refused(wanted: DeleteObject, error: S3Error) -> str:
    return f"<Error>{_named(wanted)}<Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"


def _deleted(wanted: DeleteObject, done: Committed) -> str:
    marker = ""
    if done.marker and done.version is not None:
        marker = (
            "<DeleteMarker>true</DeleteMarker>"
            f"<DeleteMarkerVersionId>{format_version(done.version)}</DeleteMarkerVersionId>"
        )
    return f"<Deleted>{_named(wanted)}{marker}</Deleted>"

"""What a put, a change or a deletion of an object means, by whether its bucket keeps versions.

It is decided at the moment of commit, from the bucket's state then. Where versions are kept, the object that was
current becomes an older version, and the number of the new one follows from the commit that makes it
(`mst.version.number_of_commit`). While keeping them is suspended, what is written is the null version, of which a key
has only one.
"""

from __future__ import annotations

from gateway.store.draft import Draft
from gateway.store.mutations import Amend, Check, Committed, Delete, ObjectMutation, Put
from mst import version
from mst.entry import Entry
from registry.heads import SUSPENDED, UNVERSIONED


def apply_mutation(draft: Draft, mutation: ObjectMutation, number: int, now_ms: int) -> Committed:
    """Do ``mutation`` in ``draft``.

    Args:
        draft: the bucket, changed only if the mutation passes.
        mutation: what to do.
        number: the number of the version that it may make.
        now_ms: the time, milliseconds since 1970.

    Raises:
        whatever the mutation's check or change raises: nothing was changed.
    """
    match mutation:
        case Put():
            return _put(draft, mutation, number)
        case Amend():
            return _amend(draft, mutation)
        case Delete(version=None):
            return _delete(draft, mutation, number, now_ms)
        case _:
            return _delete_version(draft, mutation)


def _put(draft: Draft, put: Put, number: int) -> Committed:
    current = draft.current(put.key)
    _check(put.check, current)
    draft.blocks += put.blocks
    if draft.bucket.versioning == UNVERSIONED:
        draft.set_current(put.key, current, put.entry)
        return Committed(draft.bucket, current)
    null = draft.bucket.versioning == SUSPENDED
    entry, blocks = version.as_version(put.entry, number, null=null)
    draft.blocks += blocks
    _step_back(draft, put.key, current)
    draft.set_current(put.key, current, entry)
    return Committed(draft.bucket, current, version=version.version_of(entry))


def _amend(draft: Draft, amend: Amend) -> Committed:
    current = draft.current(amend.key)
    if amend.version is None or (current is not None and version.version_of(current) == amend.version):
        amended = current
    else:
        found = draft.version(amend.key, amend.version)
        amended = None if found is None else _object(found.entry)
    changed, blocks = amend.change(amended)
    assert amended is not None  # the change refuses it
    order = version.order_of(amended)
    entry, more_blocks = version.as_version(changed, order, null=version.is_null(amended))
    draft.blocks += blocks + more_blocks
    if amended is current:
        draft.set_current(amend.key, current, entry)
    else:
        draft.set_version(amend.key, order, entry)
    kept = draft.bucket.versioning != UNVERSIONED
    return Committed(draft.bucket, amended, version=version.version_of(amended) if kept else None)


def _delete(draft: Draft, delete: Delete, number: int, now_ms: int) -> Committed:
    current = draft.current(delete.key)
    _check(delete.check, current)
    if draft.bucket.versioning == UNVERSIONED:
        draft.set_current(delete.key, current, None)
        return Committed(draft.bucket, current)
    marker = version.delete_marker(number, now_ms, null=draft.bucket.versioning == SUSPENDED)
    _step_back(draft, delete.key, current)
    draft.set_current(delete.key, current, None)
    draft.set_version(delete.key, number, marker)
    return Committed(draft.bucket, current, version=version.version_of(marker), marker=True)


def _delete_version(draft: Draft, delete: Delete) -> Committed:
    key, wanted = delete.key, delete.version
    assert wanted is not None
    current = draft.current(key)
    if current is not None and version.version_of(current) == wanted:
        _check(delete.check, current)
        draft.set_current(key, current, None)
        _step_forward(draft, key)
        return Committed(draft.bucket, current, version=wanted)
    found = draft.version(key, wanted)
    deleted = None if found is None else _object(found.entry)
    _check(delete.check, deleted)
    if found is None:
        return Committed(draft.bucket, version=wanted)
    draft.set_version(key, found.number, None)
    if current is None:
        _step_forward(draft, key)
    return Committed(draft.bucket, deleted, version=wanted, marker=deleted is None)


def _step_back(draft: Draft, key: bytes, current: Entry | None) -> None:
    """Make way for a new version: the current object becomes an older one; a null version goes when another comes."""
    replaces_null = draft.bucket.versioning == SUSPENDED
    if current is not None:
        if replaces_null and version.is_null(current):
            return
        draft.set_version(key, version.order_of(current), current)
    if replaces_null and (null := draft.version(key, version.NULL)) is not None:
        draft.set_version(key, null.number, None)


def _step_forward(draft: Draft, key: bytes) -> None:
    """The newest version of a key that has no current object becomes that, unless it is a delete marker."""
    newest = draft.newest(key)
    if newest is not None and not version.is_marker(newest.entry):
        draft.set_version(key, newest.number, None)
        draft.set_current(key, None, newest.entry)


def _object(entry: Entry) -> Entry | None:
    return None if version.is_marker(entry) else entry


def _check(check: Check | None, entry: Entry | None) -> None:
    if check is not None:
        check(entry)

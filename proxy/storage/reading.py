"""Rows of the catalog as values. A cell that cannot be what was written there raises RowDamaged."""

from collections.abc import Sequence
from typing import Any

from proxy.core.errors import DigestInvalid, TagInvalid
from proxy.core.names import Digest, Tag
from proxy.storage.contract import Content
from proxy.storage.recovery import RowDamaged

COLUMNS = (
    "content.digest, content.size, content.media_type, content.created_at, content.used_at, content.upstream,"
    " content.subject"
)


def digest_in(row: Sequence[Any]) -> Digest:
    """Of its first cell."""
    try:
        return Digest.parse(row[0])
    except DigestInvalid as error:
        raise RowDamaged(str(error)) from error


def tag_in(row: Sequence[Any]) -> Tag:
    """Of its first cell."""
    try:
        return Tag.parse(row[0])
    except TagInvalid as error:
        raise RowDamaged(str(error)) from error


def content_in(row: Sequence[Any]) -> Content:
    """Of ``COLUMNS``."""
    _, size, media_type, created_at, used_at, upstream, subject = row
    about = digest_in((subject,)) if subject is not None else None
    return Content(digest_in(row), size, media_type, created_at, used_at, upstream, about)

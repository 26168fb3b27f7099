"""What an unwelcome answer means: status and error code to a kind of ``core.errors``. Pure."""

import base64
import json
from typing import NamedTuple

from proxy.core.errors import (
    Absent,
    BlobUnknown,
    Fault,
    ManifestUnknown,
    NameUnknown,
    RateLimited,
    ReferrersUnsupported,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
)
from proxy.upstream.challenge import Challenge
from proxy.upstream.message import Kind

LONGEST_REASON = 400  # characters
RETRIED = frozenset({500, 502, 503, 504})

_ABSENT: dict[Kind, type[Absent]] = {
    Kind.MANIFEST: ManifestUnknown,
    Kind.BLOB: BlobUnknown,
    Kind.TAGS: NameUnknown,
    Kind.REFERRERS: ReferrersUnsupported,
}


class Rejection(NamedTuple):
    """An answer of 400 or more, read to its end and closed."""

    status: int
    code: str | None  # of the first error in the body, where that is the OCI error form
    challenges: tuple[Challenge, ...]
    retry_after: float | None  # seconds, capped
    at_home: bool  # the registry itself said so, not a host that it redirected to
    reason: str = ""  # the registry's own sentence
    date: str | None = None
    page: bool = False  # the body is a page for people
    authorized: bool = False  # the request carried an authorization


def error_code(body: bytes) -> str | None:
    """The first code of an OCI error body (distribution-spec "Error Codes"), in upper case; None for any other body."""
    try:
        code = json.loads(body)["errors"][0]["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return code.upper() if isinstance(code, str) and len(code) <= 64 and code.isascii() and code.isprintable() else None


def error_reason(body: bytes, authorization: str | None) -> str:
    """The first message of an OCI error body, which names the right that is missing; empty where it has none that can
    be shown, or where it quotes the credential that it was sent."""
    try:
        message = json.loads(body)["errors"][0]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    if not isinstance(message, str) or not message.isprintable():
        return ""
    return "" if any(secret in message for secret in _secrets(authorization)) else message[:LONGEST_REASON]


def _secrets(authorization: str | None) -> list[str]:
    """The credential as it was sent, and the password in it."""
    scheme, _, credential = (authorization or "").partition(" ")
    if not credential:
        return []
    try:
        password = base64.b64decode(credential).partition(b":")[2].decode() if scheme == "Basic" else ""
    except ValueError:
        password = ""
    return [secret for secret in (credential, password) if secret]


def fault_of(upstream: str, kind: Kind, what: str, rejection: Rejection) -> Fault:
    """``what`` names the thing asked for, as ``library/alpine:3``."""
    status, code = rejection.status, rejection.code
    said = f"{status} {code}" if code else str(status)
    if status == 429:
        wait = rejection.retry_after or 1.0
        return RateLimited(upstream, f"it limits our requests; {what} may be asked again in {wait:.0f} s", wait)
    if status >= 500:
        return UpstreamFailed(upstream, f"it answered {said} to {what}")
    if status == 408:
        return UpstreamTimeout(upstream, f"it answered 408 to {what}")
    if rejection.page and not rejection.challenges and kind is not Kind.REFERRERS:
        return UpstreamFailed(upstream, f"a page for people stands in place of {what} ({status})")
    if not rejection.at_home and status in (401, 403):
        return UpstreamBroken(upstream, f"the storage host that it redirects to answered {said} to {what}")
    if status in (401, 403):
        reason = f": {rejection.reason}" if rejection.reason else ""
        return UpstreamRefused(upstream, f"it refused {what} ({said}){reason}")
    return _absence(upstream, kind, what, rejection) or UpstreamBroken(upstream, f"it answered {said} to {what}")


def what_was_sent(authorized: bool, identified: bool) -> str:
    """With a request that was refused, whether there are credentials for it or not; empty where these were sent, which
    is what a reader expects."""
    if identified:
        return "" if authorized else "it asked for no credentials, so none were sent"
    return "it was asked with an anonymous token" if authorized else "it was asked without credentials"


def _absence(upstream: str, kind: Kind, what: str, rejection: Rejection) -> Fault | None:
    if kind is Kind.REFERRERS:
        return ReferrersUnsupported(f"{upstream} has no referrers API")
    if rejection.status != 404:
        return None
    if rejection.code == "NAME_UNKNOWN":
        return NameUnknown(f"{upstream} does not know the repository of {what}")
    if kind is Kind.BLOB and rejection.code is None and not rejection.at_home:
        return None  # the registry has it, its storage lost it
    return _ABSENT[kind](f"{upstream} does not have {what}")

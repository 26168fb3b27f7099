"""What an unwelcome answer means: status and error code to a kind of ``core.errors``. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from proxy.core.credentials import quotes
from proxy.core.errors import (
    Absent,
    BlobUnknown,
    Fault,
    Hint,
    ManifestUnknown,
    NameUnknown,
    RateLimited,
    ReferrersUnsupported,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamLoops,
    UpstreamOffline,
    UpstreamRefused,
    UpstreamTimeout,
)
from proxy.core.foreign_json import SMALL, JsonRefused, parse_json
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
    origin: str = ""  # of the host that said so
    authorized: bool = False  # the request carried an authorization
    offline: bool = False  # it is a cache's, which is not to ask the registry


def first_error(body: bytes) -> dict[str, Any]:
    """Of an OCI error body (distribution-spec "Error Codes"); empty for any other body."""
    try:
        error = parse_json(body, SMALL)["errors"][0]
    except (JsonRefused, LookupError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def error_code(error: Mapping[str, Any]) -> str | None:
    """In upper case; None where there is none."""
    code = error.get("code")
    return code.upper() if isinstance(code, str) and len(code) <= 64 and code.isascii() and code.isprintable() else None


def error_reason(error: Mapping[str, Any], authorization: str | None) -> str:
    """Its message, which names the right that is missing: for the log. Empty where it has none that can be shown, or
    where it quotes any part of the credential that it was sent."""
    message = error.get("message")
    if not isinstance(message, str) or not message.isprintable():
        return ""
    shown = message[:LONGEST_REASON]
    return "" if quotes(shown, authorization) else shown


def fault_of(upstream: str, kind: Kind, what: str, rejection: Rejection) -> Fault:
    """``what`` names the thing asked for, as ``library/alpine:3``."""
    status, code = rejection.status, rejection.code
    said = f"{status} {code}" if code else str(status)
    if status == 429:
        wait = rejection.retry_after or 1.0
        return RateLimited(upstream, f"it limits our requests; {what} may be asked again in {wait:.0f} s", wait)
    if status == 508:  # RFC 5842 section 7.2
        return UpstreamLoops(upstream, f"{what} is asked for in a circle: it answered {said}")
    if status >= 500:
        return UpstreamFailed(upstream, f"it answered {said} to {what}")
    if status == 408:
        return UpstreamTimeout(upstream, f"it answered 408 to {what}")
    if status == 404 and rejection.offline and rejection.at_home:
        return UpstreamOffline(upstream, f"the cache that is asked for it is offline, and does not hold {what}")
    if rejection.page and not rejection.challenges and kind is not Kind.REFERRERS:
        return UpstreamFailed(upstream, f"a page for people stands in place of {what} ({status})", Hint.PAGE)
    if not rejection.at_home and status in (401, 403):
        why = f"the storage host that it redirects to answered {said} to {what}"
        return UpstreamBroken(upstream, why, Hint.STORAGE_REFUSED)
    if status in (401, 403):
        reason = f": {rejection.reason}" if rejection.reason else ""
        refused = UpstreamRefused(upstream, f"it refused {what} ({said}){reason}")
        refused.disbelieved = is_disbelieved(rejection)
        return refused
    return _absence(upstream, kind, what, rejection) or UpstreamBroken(upstream, f"it answered {said} to {what}")


def what_was_sent(authorized: bool, identified: bool) -> Hint | None:
    """With a request that was refused, whether there are credentials for it or not; None where these were sent, which
    is what a reader expects."""
    if identified:
        return None if authorized else Hint.ASKED_FOR_NOTHING
    return Hint.ASKED_BY_ANONYMOUS_TOKEN if authorized else Hint.ASKED_ANONYMOUSLY


def is_disbelieved(rejection: Rejection) -> bool:
    """Whether it is what was sent that is no good: passwords are not asked for again, and of a token it is said (RFC
    6750 section 3.1)."""
    bearers = [each for each in rejection.challenges if each.scheme == "bearer"]
    invalid = all(each.parameters.get("error") == "invalid_token" for each in bearers)
    return rejection.status == 401 and rejection.authorized and invalid


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

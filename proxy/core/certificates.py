"""Whom a client certificate names."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from proxy.core.access import ANONYMOUS, Caller

ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "cn": "commonName",
        "ou": "organizationalUnitName",
        "o": "organizationName",
        "uid": "userId",
        "email": "emailAddress",
    }
)
"""Short name → the name that OpenSSL writes out (RFC 4514 section 3, RFC 4519)."""
_LONGEST = 256

Subject = Iterable[Iterable[tuple[str, str]]]
"""Relative distinguished names, each of one or more attributes, as ``ssl`` gives them."""


class CertificateNames(NamedTuple):
    """Which attribute of a subject is the caller's name, and which are his groups: keys of ``ATTRIBUTES``."""

    name: str = "cn"
    groups: str = "ou"


def caller_named(subject: Subject, until: float, names: CertificateNames) -> Caller:
    """Who proved by a certificate that he is ``subject``; it ends at ``until``, in seconds since the epoch. A subject
    that has the name twice, or not at all, names nobody."""
    attributes = [attribute for part in subject for attribute in part]
    found = _values(attributes, names.name)
    if len(found) != 1:
        return ANONYMOUS
    return Caller(found[0], frozenset(_values(attributes, names.groups)), until)


def _values(attributes: Iterable[tuple[str, str]], wanted: str) -> list[str]:
    return [
        value
        for attribute, value in attributes
        if attribute == ATTRIBUTES[wanted] and value and len(value) <= _LONGEST and value.isprintable()
    ]

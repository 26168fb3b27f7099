"""What a registry or a proxy is shown as proof. The secret part is never in a ``repr``."""

import base64
import re
from collections.abc import Iterator
from typing import NamedTuple

_TELLING = 6  # characters in a row: fewer of a credential stand in ordinary words too
_WRITTEN = re.compile(r"[^0-9a-z]")


class Credentials(NamedTuple):
    """User and password, sent as Basic or to a token server."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, password=...)"


class IdentityToken(NamedTuple):
    """What a login left instead of a password: a refresh token, which only a token server takes (``grant_type=
    refresh_token`` of the distribution specification's OAuth2 form)."""

    token: str

    def __repr__(self) -> str:
        return "IdentityToken(token=...)"


class BearerToken(NamedTuple):
    """What a client already has from its registry, sent as Bearer (RFC 6750) to that registry alone."""

    token: str

    def __repr__(self) -> str:
        return "BearerToken(token=...)"


Login = Credentials | IdentityToken
ClientLogin = Credentials | BearerToken
"""What a client sends along that is for the registry."""


def basic(credentials: Credentials) -> str:
    """For ``Authorization`` and ``Proxy-Authorization`` (RFC 7617)."""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def unbasic(credential: bytes) -> tuple[str, bytes]:
    """User and password of what is sent behind ``Basic`` (RFC 7617 section 2). Raises ValueError."""
    return parted(base64.b64decode(credential, validate=True))


def parted(pair: bytes) -> tuple[str, bytes]:
    """``user:password`` at its first colon. Raises ValueError."""
    user, colon, password = pair.partition(b":")
    if not colon:
        raise ValueError("no colon")
    return user.decode(), password


def quotes(text: str, authorization: str | None) -> bool:
    """Does the text repeat, whole or in part, the credential of an Authorization header, or the password in it? A part
    is some characters in a row; case and punctuation do not count, so that no escaping hides it."""
    told = _plain(text)
    return any(not _parts(told, size).isdisjoint(_parts(secret, size)) for secret, size in _telling(authorization))


def _telling(authorization: str | None) -> Iterator[tuple[str, int]]:
    """Each form of a secret, and how many characters in a row of it would be telling: a short one whole."""
    for secret in map(_plain, _secrets(authorization)):
        if secret:
            yield secret, min(_TELLING, len(secret))


def _secrets(authorization: str | None) -> Iterator[str]:
    scheme, _, credential = (authorization or "").partition(" ")
    if credential:
        yield credential
        yield credential.encode().hex()
    if scheme == "Basic":
        try:
            password = base64.b64decode(credential).partition(b":")[2]
        except ValueError:
            return
        yield password.decode("latin-1")
        yield from (form.decode() for form in (base64.b64encode(password), password.hex().encode()))


def _plain(text: str) -> str:
    return _WRITTEN.sub("", text.lower())


def _parts(text: str, size: int) -> set[str]:
    return {text[at : at + size] for at in range(len(text) - size + 1)}

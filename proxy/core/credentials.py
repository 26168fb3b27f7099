"""What a registry or a proxy is shown as proof. The secret part is never in a ``repr``."""

import base64
from typing import NamedTuple


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


Login = Credentials | IdentityToken


def basic(credentials: Credentials) -> str:
    """For ``Authorization`` and ``Proxy-Authorization`` (RFC 7617)."""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"

"""How a token server is asked, in the two forms that the distribution project specifies. Pure."""

from typing import NamedTuple
from urllib.parse import quote, urlencode

from proxy.core.credentials import IdentityToken, basic
from proxy.upstream.target import Target
from proxy.upstream.tokens import TokenKey

_CLIENT = "entrepot"  # names the software and is no secret


class TokenQuestion(NamedTuple):
    """One request to a token server."""

    method: str
    target: Target
    headers: dict[str, str]
    body: bytes = b""


def token_question(realm: Target, key: TokenKey) -> TokenQuestion:
    """A refresh token is sent by POST (Token Authentication Specification, "OAuth2"), everything else by GET, which all
    servers know (the same, "Requesting a token")."""
    headers = {"Accept": "application/json"}
    if isinstance(key.credentials, IdentityToken):
        form = [("grant_type", "refresh_token"), ("service", key.service), ("client_id", _CLIENT), ("scope", key.scope)]
        given = [(name, value) for name, value in form if value]
        body = urlencode([*given, ("refresh_token", key.credentials.token)]).encode()
        return TokenQuestion("POST", realm, {**headers, "Content-Type": "application/x-www-form-urlencoded"}, body)
    if key.credentials is not None:
        headers["Authorization"] = basic(key.credentials)
    return TokenQuestion("GET", _with_query(realm, key), headers)


def _with_query(realm: Target, key: TokenKey) -> Target:
    """The realm may have a query of its own."""
    asked = [("service", key.service), ("scope", key.scope)]
    query = "&".join(f"{name}={quote(value, safe='/:,')}" for name, value in asked if value)
    if not query:
        return realm
    return realm._replace(path=f"{realm.path}{'&' if '?' in realm.path else '?'}{query}")

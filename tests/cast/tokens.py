"""A token server as the distribution project specifies it ("Token Authentication Specification"), with real signatures.

A granted token dies when the registry says so, not when the grant said: that is how a token expires in the middle of a
pull.

For a real registry, which verifies what it is given; ``Guard`` is for the upstream of the cast, which only compares.
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cast.authority import Authority
from tests.cast.guard import basic
from tests.cast.served import served

ISSUER, SERVICE = "tokens.test", "registry.test"
REGISTRY_LEEWAY = 60  # docker-registry accepts a token for this many seconds after its end


class TokenServer:
    """Grants a token to whoever asks, or only to ``credentials`` where they are given, and keeps a ledger."""

    def __init__(self, folder: Path, credentials: tuple[str, str] | None = None) -> None:
        self.grants: list[str] = []  # the scope of each
        self.lifetimes: list[float] = []  # seconds that the next tokens live, in order; then an hour
        self.granted: list[str] = []  # the tokens themselves
        self._lock = threading.Lock()
        self._wanted = None if credentials is None else basic(*credentials)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        authority = Authority(folder, self._key)
        self._bundle = authority.ca_file
        self._x5c = [base64.b64encode(authority.der).decode()]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def registry_settings(self) -> dict[str, Any]:
        """Of a docker-registry that trusts this server."""
        realm = {"realm": f"http://{self.host}/token", "service": SERVICE, "issuer": ISSUER}
        return {"auth": {"token": {**realm, "rootcertbundle": str(self._bundle)}}}

    def grant(self, scope: str) -> str:
        with self._lock:
            lifetime = self.lifetimes.pop(0) if self.lifetimes else 3600.0
            token = self._sign(scope, lifetime, number=len(self.grants))
            self.grants.append(scope)
            self.granted.append(token)
        return token

    def _sign(self, scope: str, lifetime: float, number: int) -> str:
        now = time.time()
        access = []
        for part in scope.split():
            kind, _, rest = part.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        claims = {
            "iss": ISSUER,
            "aud": SERVICE,
            "sub": "",
            "jti": str(number),
            "iat": int(now) - 2 * REGISTRY_LEEWAY,
            "nbf": int(now) - 2 * REGISTRY_LEEWAY,
            "exp": int(now + lifetime) - REGISTRY_LEEWAY,
            "access": access,
        }
        return jwt.encode(claims, self._key, "RS256", {"x5c": self._x5c})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if tokens._wanted not in (None, self.headers.get("Authorization")):
                    self._answer(401, {"errors": [{"code": "UNAUTHORIZED"}]})
                    return
                query = parse_qs(urlsplit(self.path).query)
                self._answer(200, {"token": tokens.grant(" ".join(query.get("scope", []))), "expires_in": 3600})

            def _answer(self, status: int, body: object) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    @contextmanager
    def serving(self) -> Iterator["TokenServer"]:
        with served(self._server):
            yield self

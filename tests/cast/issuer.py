"""An issuer of tokens, its keys, and whoever forges them."""

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER, AUDIENCE = "https://issuer.test", "entrepot"


class Issuer:
    """``key_set`` is what it publishes; ``kind`` is RS256, ES256 or EdDSA."""

    def __init__(self, kind: str = "RS256", kid: str = "one") -> None:
        self.kind = kind
        self.kid = kid
        self.private: Any = {
            "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }[kind]()

    def key_set(self) -> dict[str, Any]:
        algorithm = jwt.get_algorithm_by_name(self.kind)
        public: Any = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": self.kid, "use": "sig", "alg": self.kind}]}

    def publish(self, file: Path) -> Path:
        file.write_text(json.dumps(self.key_set()))
        return file

    def pem(self) -> bytes:
        """Of the public key."""
        pem: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem

    def token(self, headers: Mapping[str, Any] | None = None, now: float | None = None, **claims: Any) -> str:
        given = {"kid": self.kid, **(headers or {})}
        named = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(self.claims(now, **claims), self.private, self.kind, named)

    def claims(self, now: float | None = None, **claims: Any) -> dict[str, Any]:
        now = time.time() if now is None else now
        given = {"iss": ISSUER, "aud": AUDIENCE, "sub": "builder", "exp": int(now) + 600, **claims}
        return {name: value for name, value in given.items() if value is not None}


def assembled(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes = b"") -> str:
    """A token of these parts, whatever they are."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

"""What our own tokens are signed with: an Ed25519 key in PEM (RFC 8410), or a shared secret for HMAC-SHA256."""

import re
import secrets
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxy.core.claims import TokenRefused
from proxy.login.key_sets import signed_claims

LARGEST = 64 << 10
"""Bytes of a file of keys."""
_LEAST_SECRET = 32  # bytes (RFC 7518 section 3.2)
_PEM = re.compile(rb"-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----", re.DOTALL)


class TokenKeyInvalid(ValueError):
    """The sentence quotes nothing of the file."""


class TokenKeys:
    """The first key signs; each proves, so that a new one can be put in front of the old one while replicas learn of
    it."""

    def __init__(self, algorithm: str, signing: Any, proving: tuple[Any, ...]) -> None:
        self._algorithm = algorithm
        self._signing = signing
        self._proving = proving

    @classmethod
    def random(cls) -> "TokenKeys":
        """Known to nobody else, and gone with the process."""
        secret = secrets.token_bytes(_LEAST_SECRET)
        return cls("HS256", secret, (secret,))

    @classmethod
    def parse(cls, content: bytes) -> "TokenKeys":
        """Raises TokenKeyInvalid."""
        blocks = _PEM.findall(content)
        if not blocks:
            secret = content.strip()
            if b"-----BEGIN" in secret or len(secret) < _LEAST_SECRET:
                raise TokenKeyInvalid("neither Ed25519 private keys in PEM nor a secret of at least 32 bytes")
            return cls("HS256", secret, (secret,))
        keys = [_private(block) for block in blocks]
        return cls("EdDSA", keys[0], tuple(key.public_key() for key in keys))

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The token."""
        return jwt.encode(dict(claims), self._signing, self._algorithm)

    def claims(self, token: str) -> dict[str, Any]:
        """What a token says that is signed by one of the keys. Raises TokenRefused."""
        for key in self._proving:
            if (claims := signed_claims(token, key, self._algorithm)) is not None:
                return claims
        raise TokenRefused("its signature is not ours")


def _private(block: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(block, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise TokenKeyInvalid("a private key in it cannot be read, or has a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise TokenKeyInvalid("a private key in it is not one of Ed25519")
    return key

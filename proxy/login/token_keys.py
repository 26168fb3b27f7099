"""What our own tokens are signed with: an Ed25519 key in PEM (RFC 8410), or a shared secret for HMAC-SHA256."""

import base64
import re
import secrets
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxy.core.claims import TokenRefused
from proxy.login.key_sets import signed_claims

LARGEST = 64 << 10
"""Bytes of a file of keys."""
_LEAST_SECRET = 32  # bytes (RFC 7518 section 3.2)
_NONCE = 12  # bytes (NIST SP 800-38D section 8.2.2)
_PEM = re.compile(rb"-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----", re.DOTALL)


class TokenKeyInvalid(ValueError):
    """The sentence quotes nothing of the file."""


class TokenKeys:
    """The first key signs; each proves, so that a new one can be put in front of the old one while replicas learn of
    it."""

    def __init__(self, algorithm: str, signing: Any, proving: tuple[Any, ...], material: tuple[bytes, ...]) -> None:
        """``material`` has the bytes of each key, the one that signs first."""
        self._algorithm = algorithm
        self._signing = signing
        self._proving = proving
        self._seals = tuple(AESGCM(_derived(secret)) for secret in material)

    @classmethod
    def random(cls) -> "TokenKeys":
        """Known to nobody else, and gone with the process."""
        return cls._shared(secrets.token_bytes(_LEAST_SECRET))

    @classmethod
    def _shared(cls, secret: bytes) -> "TokenKeys":
        return cls("HS256", secret, (secret,), (secret,))

    @classmethod
    def parse(cls, content: bytes) -> "TokenKeys":
        """Raises TokenKeyInvalid."""
        blocks = _PEM.findall(content)
        if not blocks:
            secret = content.strip()
            if b"-----BEGIN" in secret or len(secret) < _LEAST_SECRET:
                raise TokenKeyInvalid("neither Ed25519 private keys in PEM nor a secret of at least 32 bytes")
            return cls._shared(secret)
        keys = [_private(block) for block in blocks]
        proving = tuple(key.public_key() for key in keys)
        return cls("EdDSA", keys[0], proving, tuple(key.private_bytes_raw() for key in keys))

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The token."""
        return jwt.encode(dict(claims), self._signing, self._algorithm)

    def claims(self, token: str) -> dict[str, Any]:
        """What a token says that is signed by one of the keys. Raises TokenRefused."""
        for key in self._proving:
            if (claims := signed_claims(token, key, self._algorithm)) is not None:
                return claims
        raise TokenRefused("its signature is not ours")

    def seal(self, secret: bytes) -> str:
        """So that nobody but who holds these keys reads it."""
        nonce = secrets.token_bytes(_NONCE)
        return base64.urlsafe_b64encode(nonce + self._seals[0].encrypt(nonce, secret, None)).decode()

    def unseal(self, sealed: str) -> bytes:
        """Raises TokenRefused for what none of the keys has sealed."""
        try:
            raw = base64.urlsafe_b64decode(sealed)
        except ValueError:
            raise TokenRefused("what is sealed in it cannot be read") from None
        for seal in self._seals:
            try:
                return seal.decrypt(raw[:_NONCE], raw[_NONCE:], None)
            except (InvalidTag, ValueError):
                continue
        raise TokenRefused("what is sealed in it is not ours")


def _derived(secret: bytes) -> bytes:
    """A key for nothing but seals (RFC 5869), so that what signs never encrypts."""
    return HKDF(SHA256(), 32, None, b"entrepot sealed login").derive(secret)


def _private(block: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(block, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise TokenKeyInvalid("a private key in it cannot be read, or has a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise TokenKeyInvalid("a private key in it is not one of Ed25519")
    return key

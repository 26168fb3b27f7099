"""The public keys of an issuer of tokens, as a JSON Web Key Set (RFC 7517), and signatures by them.

A key decides which algorithms count for it, and a token never does: so no public key is ever taken for a shared secret,
and nothing counts that is not signed (RFC 8725 sections 3.1 and 3.2). Keys that a token brings along are not looked at.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.core.claims import TokenRefused
from proxy.core.foreign_json import Bounds, JsonRefused, parse_json_object

LARGEST = 1 << 20
"""Bytes of a key set."""
_BOUNDS = Bounds(LARGEST, 50_000)
_MOST_KEYS = 100
_LEAST_RSA = 2048  # bits
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
_UNCHECKED = dict.fromkeys(
    ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti"), False
)
_NO_SIGNATURE = {**_UNCHECKED, "verify_signature": False}


class KeySetInvalid(ValueError):
    """Not a key set, or one that has no key to prove a signature with."""


class _Key:
    def __init__(self, given: jwt.PyJWK) -> None:
        self.name = given.key_id
        self.public = given.key
        known = _algorithms(given.key)
        said = given._jwk_data.get("alg") if isinstance(given._jwk_data, Mapping) else None
        self.algorithms = tuple(each for each in known if said in (None, each))
        self.mark = _mark(given.key)


class KeySet:
    """``marks`` names its keys by what they are."""

    def __init__(self, keys: tuple[_Key, ...]) -> None:
        self._keys = keys
        self.marks = frozenset(key.mark for key in keys)

    @classmethod
    def parse(cls, content: bytes) -> "KeySet":
        """Keys of kinds that are not known, or not for signatures, are passed over. Raises KeySetInvalid."""
        try:
            given = jwt.PyJWKSet.from_dict(parse_json_object(content, _BOUNDS))
        except (JsonRefused, jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
            raise KeySetInvalid("not a JSON Web Key Set with a key that can be used") from None
        keys = tuple(_Key(each) for each in given.keys[:_MOST_KEYS] if each.public_key_use in (None, "sig"))
        keys = tuple(key for key in keys if key.algorithms)
        if not keys:
            raise KeySetInvalid("a key set without a public key for signatures: RSA, EC or Ed25519 is needed")
        return cls(keys)

    def has(self, name: object) -> bool:
        """Whether it has a key of that ``kid``; without one any key may be meant."""
        return name is None or any(key.name == name for key in self._keys)

    def claims(self, token: str, header: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """What a token says that one of the keys has signed, and that key's mark. Raises TokenRefused."""
        if "crit" in header:
            raise TokenRefused("it demands what is not understood")
        name, algorithm = header.get("kid"), header.get("alg")
        meant = [key for key in self._keys if name is None or key.name == name]
        if not meant:
            raise TokenRefused("it is signed by a key that its issuer does not have")
        for key in meant:
            if algorithm in key.algorithms and (claims := signed_claims(token, key.public, algorithm)) is not None:
                return claims, key.mark
        raise TokenRefused("its signature is not right")


def signed_claims(token: str, key: Any, algorithm: str) -> dict[str, Any] | None:
    """What a token says, whatever that is, where its signature is by that key; None where it is not."""
    try:
        return jwt.decode(token, key, algorithms=[algorithm], options=_UNCHECKED)  # type: ignore[arg-type]  # as its typed dictionary
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


def unproven(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as they are written, whoever wrote them. Raises TokenRefused."""
    try:
        found = jwt.decode_complete(token, options=_NO_SIGNATURE)  # type: ignore[arg-type]  # as above
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise TokenRefused("it is no JSON Web Token") from None
    return found["header"], found["payload"]


def _algorithms(key: object) -> tuple[str, ...]:
    match key:
        case RSAPublicKey():
            return _RSA if key.key_size >= _LEAST_RSA else ()
        case EllipticCurvePublicKey():
            return _CURVES.get(key.curve.name, ())
        case Ed25519PublicKey():
            return ("EdDSA",)
    return ()


def _mark(key: Any) -> str:
    if not isinstance(key, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey):
        return ""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()[:16]

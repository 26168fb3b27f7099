"""Signatures of lists: Ed25519 (RFC 8032) with keys in PEM (RFC 5958, RFC 8410), as OpenSSL makes and checks them:

openssl genpkey -algorithm ed25519 -out key.pem
openssl pkey -in key.pem -pubout -out pub.pem
base64 -d < entrepot.json.sig > s && openssl pkeyutl -verify -rawin -pubin -inkey pub.pem -in entrepot.json -sigfile s
"""

import base64
import binascii
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from proxy.bundles.refusal import BundleRefused

PublicKey = Ed25519PublicKey
KEY_LIMIT = 64 << 10
"""Bytes of a key's file."""


def signed(content: bytes, key: bytes) -> bytes:
    """The signature, as text. ``key`` is the PEM of a private key. Raises ValueError where it is none."""
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
        raise ValueError("not the PEM of a private key without a password") from cause
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return base64.b64encode(private.sign(content)) + b"\n"


def public_key(pem: bytes) -> PublicKey:
    """Raises ValueError where it is none."""
    try:
        found = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise ValueError("not the PEM of a public key") from cause
    if not isinstance(found, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return found


def demand_signed(content: bytes | None, signature: bytes | None, keys: Sequence[PublicKey]) -> None:
    """Raises BundleRefused unless the content is there and one of the keys has signed it."""
    if content is None or signature is None:
        raise BundleRefused("it is not signed")
    try:
        raw = base64.b64decode(signature.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise BundleRefused("its signature cannot be read") from None
    for key in keys:
        try:
            key.verify(raw, content)
        except InvalidSignature:
            continue
        return
    raise BundleRefused("its signature is of no key that is trusted here")

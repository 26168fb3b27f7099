"""A certificate authority that nobody trusts."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def self_signed() -> bytes:
    """PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=36500)).sign(
        key, hashes.SHA256()
    )
    return certificate.public_bytes(serialization.Encoding.PEM)

"""A certificate authority of the test's own, which nobody else trusts."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """``ca_file`` (PEM) is what a client must trust. ``key`` is given where it signs more than certificates."""

    def __init__(self, folder: Path, key: Key | None = None) -> None:
        self._folder = folder
        self._key = key or _new_key()
        self._subject = _name("cast authority")
        authority = x509.BasicConstraints(ca=True, path_length=None)
        unsigned = self._builder(self._subject, self._key, days=30).add_extension(authority, critical=True)
        self._certificate = unsigned.sign(self._key, hashes.SHA256())
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def der(self) -> bytes:
        """The certificate of the authority itself."""
        return self._certificate.public_bytes(serialization.Encoding.DER)

    def server(self, address: str = "127.0.0.1", days: int = 30) -> ssl.SSLContext:
        """For a server at that IP address or of that name; negative ``days`` make a certificate that has expired."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files(address, days))
        return context

    def files(self, address: str = "127.0.0.1", days: int = 30) -> tuple[Path, Path]:
        """Certificate and key of such a server, which on loopback is ``localhost`` too; both PEM."""
        key = _new_key()
        names = _names(address)
        unsigned = self._builder(_name(address), key, days).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        return self._written(f"{address}{days:+}", unsigned, key)

    def client(self, name: str, groups: Sequence[str] = (), days: int = 30) -> tuple[Path, Path]:
        """Certificate and key of a client: its common name and organizational units."""
        units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, group) for group in groups]
        key = _new_key()
        unsigned = self._builder(x509.Name([*_name(name), *units]), key, days)
        return self._written(f"client-{name}{days:+}", unsigned, key)

    def _written(
        self, name: str, unsigned: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey
    ) -> tuple[Path, Path]:
        certificate = self._folder / f"{name}.pem"
        certificate.write_bytes(unsigned.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        secret = certificate.with_suffix(".key")
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, secret

    def _builder(self, subject: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
        end = datetime.now(UTC) + timedelta(days=days)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder(subject_name=subject, issuer_name=self._subject, public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - timedelta(days=60))
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer, critical=False)
        )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _names(address: str) -> list[x509.GeneralName]:
    try:
        ip = ip_address(address)
    except ValueError:
        return [x509.DNSName(address)]
    return [x509.IPAddress(ip), x509.DNSName("localhost")] if ip.is_loopback else [x509.IPAddress(ip)]


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

"""TLS of the pull listener: the files that it is made of, and what comes of them.

They are read again when they change. What is wrong with them is found here, before anything is put into force.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import model_validator

from proxy.config.files import FileRefused, read_file
from proxy.config.secrets import CertificateFile, SecretFile, demand_certificates
from proxy.config.section import Misfit, Section

_LARGEST = 4 << 20  # bytes of one file


class TlsFiles(NamedTuple):
    """Where they are. ``client_ca`` is None where clients are not asked for certificates; where they are, nobody comes
    in without one if ``demanded``."""

    certificate: Path
    key: Path
    client_ca: Path | None
    demanded: bool

    def read(self) -> "TlsMaterial":
        """Raises FileRefused. Blocks."""
        ca = read_file(self.client_ca, _LARGEST) if self.client_ca is not None else b""
        return TlsMaterial(self, read_file(self.certificate, _LARGEST), read_file(self.key, _LARGEST), ca)

    @property
    def all(self) -> tuple[Path, ...]:
        return tuple(file for file in (self.certificate, self.key, self.client_ca) if file is not None)


class TlsMaterial(NamedTuple):
    """What the files held, as PEM; ``client_ca`` is empty where there is none."""

    files: TlsFiles
    certificate: bytes
    key: bytes
    client_ca: bytes

    def context(self) -> ssl.SSLContext:
        """By the defaults of ``ssl`` for servers: TLS 1.2 and above. Raises Misfit. Blocks for a moment: for a
        thread."""
        self._check_certificates()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        with _in_memory(self.certificate) as certificate, _in_memory(self.key) as key:
            try:
                context.load_cert_chain(certificate, key, password=lambda: b"")
            except (ssl.SSLError, OSError, ValueError) as wrong:
                raise Misfit([(("key",), self._told(wrong))]) from None
        if self.client_ca:
            context.load_verify_locations(cadata=self.client_ca.decode("ascii", "ignore"))
            context.verify_mode = ssl.CERT_REQUIRED if self.files.demanded else ssl.CERT_OPTIONAL
        return context

    def _check_certificates(self) -> None:
        for key, file, pem in (
            ("certificate", self.files.certificate, self.certificate),
            ("client_ca", self.files.client_ca, self.client_ca),
        ):
            if pem or key == "certificate":
                try:
                    demand_certificates(pem)
                except ValueError:
                    raise Misfit([((key,), f"{file} holds no PEM certificates")]) from None

    def _told(self, wrong: Exception) -> str:
        if getattr(wrong, "reason", "") == "KEY_VALUES_MISMATCH":
            return f"{self.files.key} is not the key of the certificate in {self.files.certificate}"
        return f"{self.files.key} holds no private key that can be used: PEM, without a passphrase"


def expiry(material: TlsMaterial, context: ssl.SSLContext) -> float | None:
    """When our certificate ends, in seconds since the epoch; None where that is past, or it holds no server's name. By
    a handshake with ourselves, in memory: for a thread."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    asking.load_verify_locations(cadata=material.certificate.decode("ascii", "ignore"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for each in (client, server, client):
        try:
            each.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            return None
    certificate = client.getpeercert()
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"]))) if certificate else None


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """The name of a file that holds it and lies on no disk: ``ssl`` takes certificates and keys by name only, and what
    is loaded shall be what was read and checked."""
    descriptor = os.memfd_create("entrepot-tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


class TlsSettings(Section):
    """TLS on the pull listener, in place of plain HTTP. The files are read again when they change."""

    certificate: CertificateFile
    """PEM file with the listener's certificate, and those between it and its authority."""
    key: SecretFile
    """PEM file with its private key, without a passphrase."""
    client_ca: CertificateFile | None = None
    """PEM file of authorities whose certificates name clients, as clients.certificates says. Nobody comes in without
    one, unless there are other ways to be let in: anonymous: true."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        # A key that cannot be read was refused before, where it is needed.
        with suppress(FileRefused):
            self.files(demanded=True).read().context()
        return self

    def files(self, demanded: bool) -> TlsFiles:
        return TlsFiles(self.certificate, self.key, self.client_ca, demanded)

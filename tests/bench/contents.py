"""What is pulled: blobs and a manifest, pushed into a registry through its push API, and the keys of a test CA."""

import datetime
import hashlib
import http.client
import ipaddress
import json
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MIB = 1024 * 1024
REPOSITORY = "bench/image"
TAG = "latest"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Content(NamedTuple):
    path: str
    digest: str
    size: int


class Manifest(NamedTuple):
    by_digest: Content
    by_tag: Content


class EvictionClass:
    """Content of one registry, made when it is first asked for; the same number gives the same blob."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._blobs: dict[tuple[int, int], Content] = {}

    def blob(self, size: int, number: int) -> Content:
        if (size, number) not in self._blobs:
            self._blobs[size, number] = self._push(_bytes(size, number))
        return self._blobs[size, number]

    def manifest(self, layer: Content) -> Manifest:
        config = self._push(b"{}")
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": _descriptor("application/vnd.oci.empty.v1+json", config),
                "layers": [_descriptor("application/octet-stream", layer)],
            }
        ).encode()
        self._request("PUT", f"/v2/{REPOSITORY}/manifests/{TAG}", raw, MANIFEST_TYPE)
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        return Manifest(
            *(Content(f"/v2/{REPOSITORY}/manifests/{reference}", digest, len(raw)) for reference in (digest, TAG))
        )

    def _push(self, raw: bytes) -> Content:
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        location = urlsplit(self._request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"", ""))
        self._request("PUT", f"{location.path}?{location.query}&digest={digest}", raw, "application/octet-stream")
        return Content(f"/v2/{REPOSITORY}/blobs/{digest}", digest, len(raw))

    def _request(self, method: str, path: str, body: bytes, media_type: str) -> str:
        """The Location of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status not in (201, 202):
            raise RuntimeError(f"{method} {path}: {answer.status} {said!r}")
        return answer.getheader("Location", "")


def keys(folder: Path) -> tuple[Path, Path, Path]:
    """(CA certificate, server certificate, server key) as PEM files, for localhost and 127.0.0.1."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name.from_rfc4514_string("CN=bench CA")
    ca = _certificate(ca_name, ca_name, ca_key, ca_key).add_extension(x509.BasicConstraints(True, None), True)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = _certificate(x509.Name.from_rfc4514_string("CN=localhost"), ca_name, key, ca_key)
    pems = {
        "ca.pem": ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        "server.pem": leaf.add_extension(names, False)
        .sign(ca_key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM),
        "server.key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    for name, pem in pems.items():
        (folder / name).write_bytes(pem)
    return folder / "ca.pem", folder / "server.pem", folder / "server.key"


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(authority, False)
    )


def _descriptor(media_type: str, content: Content) -> dict[str, object]:
    return {"mediaType": media_type, "digest": content.digest, "size": content.size}


def _bytes(size: int, number: int) -> bytes:
    """Incompressible within a MiB, and different for each number."""
    block = Random(number).randbytes(min(size, MIB))
    return (block * -(-size // len(block)))[:size]

"""The files of TLS while the proxy runs: looked at each second, read again when they change, put into force when they
fit together. Files that do not change nothing, and are told."""

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple

from proxy.config import FileVersion, Settings, TlsFiles, TlsMaterial, expiry
from proxy.core.certificates import CertificateNames
from proxy.front.tls import Tls, TlsTerms
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.tls")

LOOKED_EVERY = 1.0  # seconds


class ReadTls(NamedTuple):
    """What TLS is made of, and what came of it. ``ends`` is when our certificate does, in seconds since the epoch of
    the world's clock; None where that is past."""

    material: TlsMaterial
    terms: TlsTerms
    ends: float | None


def read_tls(settings: Settings) -> ReadTls | None:
    """None where the listener is plain. Raises FileRefused, Misfit. Blocks."""
    files = settings.tls_files
    return _made(files.read(), settings.certificate_names) if files is not None else None


class TlsWatch:
    """``tls`` is what terms are put into force in. ``pool`` runs what blocks."""

    def __init__(self, first: ReadTls, tls: Tls, pool: Executor) -> None:
        self.counts: Counter[str] = Counter(taken=0, refused=0)
        self._now = first
        self.tls = tls
        self._pool = pool
        self._refused = ""
        self._looks: object = None  # as the files were at the last look

    @property
    def ends(self) -> float | None:
        """When our certificate does, in seconds since the epoch; None where that is past."""
        return self._now.ends

    async def look(self) -> None:
        """A job."""
        files = self._now.material.files
        looks = await off_loop(self._pool, partial(_looks, files))
        if looks == self._looks:
            return
        self._looks = looks
        try:
            material = await files.read_off_loop()
            if material == self._now.material:
                self._refused = ""
                return
            found = await off_loop(self._pool, partial(_made, material, self._now.terms.names))
        except ValueError as refused:  # FileRefused, Misfit
            self._refused = str(refused)
            self.counts["refused"] += 1
            log.error("the new files of TLS are refused, all stays as it was: %s", refused)
            return
        if files == self._now.material.files:  # and no reload has named others meanwhile
            self.configure(found)
            log.info("the files of TLS have changed: new connections are by the new ones")

    def configure(self, found: ReadTls) -> None:
        """Into force, for all handshakes that begin from now on."""
        if (found.material, found.terms.names) == (self._now.material, self._now.terms.names):
            return
        self._now, self._refused = found, ""
        self.counts["taken"] += 1
        self.tls.renew(found.terms)

    def troubles(self) -> Mapping[str, str]:
        """Of health."""
        if self._refused:
            return {"tls": f"{self._refused}; what was read before goes on to hold"}
        ends = self._now.ends
        if ends is None or ends < time.time():
            return {"tls": f"the certificate in {self._now.material.files.certificate} has ended: no client takes it"}
        return {}


def _made(material: TlsMaterial, names: CertificateNames) -> ReadTls:
    context = material.context()
    return ReadTls(material, TlsTerms(context, names, material.client_ca), expiry(material, context))


def _looks(files: TlsFiles) -> object:
    """Another value where a file may have changed."""
    found: list[FileVersion | int | None] = []
    for file in filter(None, (files.certificate, files.key, files.client_ca)):
        try:
            found.append(FileVersion.of(os.stat(file)))
        except OSError as error:
            found.append(error.errno)
    return found

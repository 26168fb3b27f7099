"""The files of TLS while the proxy runs: looked at each second, read again when they change, put into force when they
fit together. Files that do not change nothing, and are told."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple

from proxy.config import Settings, TlsMaterial, expiry
from proxy.core.certificates import CertificateNames
from proxy.core.file_versions import Look
from proxy.front.tls import Tls, TlsTerms
from proxy.tasks.file_looks import look_at
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
        self._look: Look | None = None  # before what is in force was read

    @property
    def ends(self) -> float | None:
        """When our certificate does, in seconds since the epoch; None where that is past."""
        return self._now.ends

    async def look(self) -> None:
        """A job."""
        before = self._now.material
        look = await off_loop(self._pool, partial(look_at, before.files.all))
        if look.shows_what(self._look):
            return
        try:
            found = await off_loop(self._pool, partial(_made_anew, before, self._now.terms.names))
        except ValueError as refused:  # FileRefused, Misfit
            if str(refused) != self._refused:
                self.counts["refused"] += 1
                log.error("the new files of TLS are refused, all stays as it was: %s", refused)
            self._refused = str(refused)
            return
        if before is not self._now.material:
            return  # a reload has read them meanwhile, or others
        if found is not None:
            self.configure(found)
            log.info("the files of TLS have changed: new connections are by the new ones")
        self._refused, self._look = "", look

    def configure(self, found: ReadTls) -> None:
        """Into force, for all handshakes that begin from now on."""
        if (found.material, found.terms.names) == (self._now.material, self._now.terms.names):
            return
        self._now, self._refused, self._look = found, "", None
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


def _made_anew(before: TlsMaterial, names: CertificateNames) -> ReadTls | None:
    """None where the files hold what they held. Raises FileRefused, Misfit. Blocks."""
    material = before.files.read()
    return _made(material, names) if material != before else None

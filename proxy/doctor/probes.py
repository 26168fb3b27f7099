"""The way to a host, bit by bit: asked where the whole did not work, to say which bit it was."""

import asyncio
import contextlib
import socket
import ssl
from typing import NamedTuple

from proxy.doctor.steps import Ailment


class Way(NamedTuple):
    """``tls`` is what certificates are checked against, None for plain HTTP; ``fix`` for what is not reached."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    fix: str

    async def resolves(self) -> str:
        """The addresses. Raises Ailment."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            fix = "check the spelling, and the DNS settings of this machine and of the VPC"
            raise Ailment(f"{self.host}: {error.strerror}", fix) from None
        return ", ".join(sorted({str(entry[4][0]) for entry in found}))

    async def connects(self) -> str:
        """Raises Ailment."""
        await self._open(None)
        return f"{self.host}:{self.port}"

    async def secures(self) -> str:
        """The version of TLS. Raises Ailment."""
        return await self._open(self.tls)

    async def _open(self, tls: ssl.SSLContext | None) -> str:
        try:
            _, writer = await asyncio.open_connection(
                self.host, self.port, ssl=tls, ssl_handshake_timeout=10 if tls else None
            )
        except ssl.SSLCertVerificationError as error:
            fix = "name the authority's certificate in ca_file of the upstream, if the connection may be intercepted"
            raise Ailment(error.verify_message, fix) from None
        except ssl.SSLError as error:
            raise Ailment(f"TLS failed: {error.reason}", "check that the url names an https port") from None
        except OSError as error:
            raise Ailment(f"{self.host}:{self.port}: {error.strerror or error}", self.fix) from None
        version = writer.get_extra_info("ssl_object").version() if tls else ""
        writer.close()
        with contextlib.suppress(OSError):  # a peer that resets what we close has been reached all the same
            await writer.wait_closed()
        return str(version)

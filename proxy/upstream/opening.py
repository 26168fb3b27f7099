"""Opening one blob request: connect or take an idle connection, send, read status and headers. Blocks.

``abandon`` may come from any thread; everything else belongs to the one that opens.
"""

import http.client
import ssl
import threading

from proxy import __version__
from proxy.core.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.connections import ConnectionPool, UpstreamConnection
from proxy.upstream.message import Request
from proxy.upstream.settings import RegistrySettings

USER_AGENT = f"entrepot/{__version__}"


class OpenedAnswer:
    """A connection with an answer on it, and the right to use it until ``release``."""

    def __init__(
        self, connection: UpstreamConnection, response: http.client.HTTPResponse, pool: ConnectionPool
    ) -> None:
        self.connection = connection
        self.response = response
        self._pool = pool

    def release(self) -> None:
        """The body was read to its end: another request may follow."""
        self.response.close()
        if self.response.will_close:
            self.connection.close()
        else:
            self._pool.give_back(self.connection)

    def discard(self) -> None:
        self.response.close()
        self.connection.close()


class Opening:
    def __init__(self, settings: RegistrySettings, pool: ConnectionPool, request: Request) -> None:
        self._settings = settings
        self._pool = pool
        self._request = request
        self._lock = threading.Lock()
        self._connection: UpstreamConnection | None = None
        self._abandoned = False

    def run(self) -> OpenedAnswer:
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        reused = self._pool.idle(self._request.target.origin)
        try:
            if reused is not None:
                try:
                    return self._ask(reused)
                except (ConnectionError, ssl.SSLError):
                    pass  # the other side had given it up meanwhile; a fresh one tells whether there is more to it
            return self._ask(self._connect())
        except (OSError, http.client.HTTPException, ValueError) as cause:
            raise self._fault(cause) from cause

    def abandon(self) -> None:
        """Nobody waits for the answer any more: wakes ``run``, which then fails."""
        with self._lock:
            self._abandoned = True
            if self._connection is not None:
                self._connection.interrupt()

    def _connect(self) -> UpstreamConnection:
        origin, name = self._request.target.origin, self._settings.name
        try:
            return self._pool.fresh(origin)
        except ssl.SSLCertVerificationError as cause:
            why = f"the certificate of {origin} is not valid: {cause.verify_message}"
            raise UpstreamUnreachable(name, why) from cause
        except TimeoutError as late:
            raise UpstreamUnreachable(name, f"no connection to {origin} in time") from late
        except (OSError, ValueError) as cause:
            reason = getattr(cause, "strerror", None) or cause
            raise UpstreamUnreachable(name, f"no connection to {origin}: {reason}") from cause

    def _ask(self, connection: UpstreamConnection) -> OpenedAnswer:
        try:
            with self._lock:
                self._connection = connection
                if self._abandoned:
                    connection.interrupt()
            headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **self._request.headers}
            response = connection.request(
                self._request.method, self._request.target.path, headers, self._settings.limits.first_byte
            )
            if len(set(response.headers.get_all("Content-Length", []))) > 1:
                response.close()
                raise http.client.HTTPException("two lengths")
        except BaseException:
            connection.close()
            raise
        return OpenedAnswer(connection, response, self._pool)

    def _fault(self, cause: Exception) -> UpstreamFault:
        name, target = self._settings.name, self._request.target
        if isinstance(cause, TimeoutError):
            return UpstreamTimeout(name, f"{target} did not answer in time")
        if isinstance(cause, OSError):
            return UpstreamUnreachable(name, f"{target} closed the connection without an answer")
        return UpstreamBroken(name, f"{target} did not answer in HTTP ({type(cause).__name__})")

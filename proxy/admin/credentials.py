"""Whether our own secrets can be read: a pull that needs one that cannot is our outage, and a person must hear of it
before a client does."""

from collections.abc import Mapping

from proxy.config import BasicAuth, FileRefused, LoginSource, Settings, read_login

CHECKED_EVERY = 30.0  # seconds


class OwnCredentials:
    """Reads what upstreams and the proxies on the way to them are signed in to with, and keeps nothing of it but what
    is wrong."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._logins: dict[str, LoginSource] = {}
        for name, upstream in settings.upstreams.items():
            if isinstance(upstream.auth, BasicAuth):
                self._logins[f"credentials of {name}"] = upstream.auth.login
            if upstream.egress.login is not None:
                self._logins[f"credentials for the proxy of {name}"] = upstream.egress.login
        self._environ = environ
        self._found: dict[str, str] = {}

    async def check(self) -> None:
        """A job."""
        found = {}
        for what, login in self._logins.items():
            try:
                await read_login(login, self._environ)
            except FileRefused as refused:
                found[what] = f"{refused}; what is held is served, nothing is fetched"
        self._found = found

    def troubles(self) -> Mapping[str, str]:
        """As of the last check."""
        return self._found

"""Whether our own secrets can be read: a pull that needs one that cannot is our outage, and a person must hear of it
before a client does."""

from collections.abc import Mapping

from proxy.config import BasicAuth, FileRefused, Settings, read_credentials

CHECKED_EVERY = 30.0  # seconds


class OwnCredentials:
    """Reads what upstreams sign in with, and keeps nothing of it but what is wrong."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._basic = {
            name: upstream.auth for name, upstream in settings.upstreams.items() if isinstance(upstream.auth, BasicAuth)
        }
        self._environ = environ
        self._found: dict[str, str] = {}

    async def check(self) -> None:
        """A job."""
        found = {}
        for name, auth in self._basic.items():
            try:
                await read_credentials(auth, self._environ)
            except FileRefused as refused:
                found[f"credentials of {name}"] = f"{refused}; what is held is served, nothing is fetched"
        self._found = found

    def troubles(self) -> Mapping[str, str]:
        """As of the last check."""
        return self._found

"""Whether our own secrets can be read: a pull that needs one that cannot is our outage, and a person must hear of it
before a client does."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from proxy.config import BasicAuth, FileRefused, LoginSource, Settings, read_login

CHECKED_EVERY = 30.0  # seconds


class OwnCredentials:
    """Reads what upstreams and the proxies on the way to them are signed in to with, and keeps nothing of it but what
    is wrong."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._uses: defaultdict[LoginSource, list[str]] = defaultdict(list)  # one may be shared by all upstreams
        for name, upstream in settings.upstreams.items():
            if isinstance(upstream.auth, BasicAuth):
                self._uses[upstream.auth.login].append(f"credentials of {name}")
            if upstream.egress.login is not None:
                self._uses[upstream.egress.login].append(f"credentials for the proxy of {name}")
        self._environ = environ
        self._found: dict[str, str] = {}

    async def check(self) -> None:
        """A job."""
        found = {}
        for login, uses in self._uses.items():
            try:
                await read_login(login, self._environ)
            except FileRefused as refused:
                found.update(dict.fromkeys(uses, f"{refused}; what is held is served, nothing is fetched"))
        self._found = found

    @property
    def logins(self) -> Collection[LoginSource]:
        """What is read at each check."""
        return self._uses.keys()

    def troubles(self) -> Mapping[str, str]:
        """As of the last check."""
        return self._found

"""Authorization as a registry's challenge asks for it: a bearer token, or user and password in each request."""

from typing import NamedTuple

from proxy.core.credentials import IdentityToken, Login, basic
from proxy.core.errors import Hint, UpstreamBroken, UpstreamRefused
from proxy.core.tables import BoundedTable, of_upstream
from proxy.upstream.authorization import CredentialSource, Refusal, no_credentials
from proxy.upstream.challenge import Challenge, pull_scope, realm_allowed, realm_may_be_asked
from proxy.upstream.network import Network
from proxy.upstream.target import TargetRefused, parse_target
from proxy.upstream.token_server import TokenServer
from proxy.upstream.tokens import TokenBook, TokenKey

MOST_BYTES = 8 << 20  # of what the repositories of all upstreams ask for
_BEARER = "Bearer "


class _Scheme(NamedTuple):
    """What a repository's last challenge asked for; Basic where there is no realm."""

    realm: str | None = None
    service: str | None = None
    scope: str | None = None


class ChallengeAuthorizer:
    """Anonymous until challenged; then it remembers for each repository what the challenge asked for, so that later
    requests are authorized at once. A repository that is new is expected to want what the last one wanted.

    Without credentials tokens are asked for anonymously. Credentials are only sent to token servers that
    ``realm_allowed`` trusts, and in Basic to the registry itself.
    """

    def __init__(self, network: Network, credentials: CredentialSource = no_credentials) -> None:
        self._network = network
        self._credentials = credentials
        self._book = TokenBook(
            network.settings.name, TokenServer(network).fetch, network.timing, network.jobs, network.tables
        )
        self._schemes: BoundedTable[tuple[str, str], _Scheme] = network.tables.table(
            "authorization schemes", MOST_BYTES, None, of_upstream
        )
        self._usual: _Scheme | None = None  # its scope is None where it is the repository's own

    async def authorization(self, name: str) -> str | None:
        scheme = self._scheme(name)
        if scheme is None:
            return None
        credentials = await self._credentials(name)
        if scheme.realm is None:
            return self._plain(credentials)
        self._check_realm(scheme.realm, credentials)
        return _BEARER + await self._book.token(_key(scheme, name, credentials))

    async def renew(self, name: str, refusal: Refusal, used: str | None) -> bool:
        """401 with a challenge; or 400, ECR Public's answer to a bearer token that has expired."""
        if refusal.status == 400:
            return refusal.code in ("DENIED", None) and await self._dropped(name, used)
        scheme = _chosen(refusal.challenges) if refusal.status == 401 else None
        if scheme is None:
            return refusal.status == 401 and await self._dropped(name, used)
        if scheme.realm is None:
            self._remember(name, scheme)
            return await self.authorization(name) not in (None, used)
        await self._dropped(name, used)
        self._remember(name, scheme)
        self._check_realm(scheme.realm, await self._credentials(name))
        return True

    async def identified(self, name: str) -> bool:
        return await self._credentials(name) is not None

    async def forget(self, name: str) -> bool:
        """No token that was given before serves the next request for it; False while nothing is known of it yet."""
        scheme = self._scheme(name)
        if scheme is not None and scheme.realm is not None:
            self._book.forget(_key(scheme, name, await self._credentials(name)))
        return scheme is not None

    def _remember(self, name: str, scheme: _Scheme) -> None:
        own = scheme._replace(scope=None) if scheme.scope == pull_scope(name) else scheme
        self._usual = own
        self._schemes.put((self._network.settings.name, name), own)

    def _scheme(self, name: str) -> _Scheme | None:
        return self._schemes.get((self._network.settings.name, name)) or self._usual

    async def _dropped(self, name: str, used: str | None) -> bool:
        """The bearer token that was refused is not to be used again; False where there was none."""
        scheme = self._scheme(name)
        if used is None or scheme is None or not used.startswith(_BEARER):
            return False
        self._book.drop(_key(scheme, name, await self._credentials(name)), used.removeprefix(_BEARER))
        return True

    def _plain(self, credentials: Login | None) -> str | None:
        if isinstance(credentials, IdentityToken):
            why = "its login is an identity token, and it has no token server to take it: log in with a password"
            raise UpstreamRefused(self._network.settings.name, why)
        return None if credentials is None else basic(credentials)

    def _check_realm(self, realm: str, credentials: Login | None) -> None:
        """Raises UpstreamBroken for a token server that must not be asked."""
        settings, home = self._network.settings, self._network.home.origin
        try:
            origin = parse_target(realm).origin
        except TargetRefused as refused:
            raise UpstreamBroken(settings.name, f"its challenge names no token server to ask: {refused}") from refused
        if not realm_may_be_asked(origin, home):
            raise UpstreamBroken(settings.name, f"its token server {origin} is not https")
        if credentials is not None and not realm_allowed(origin, home, settings.names_port, settings.realms):
            why = f"it wants credentials at {origin}, which is not trusted with them; 'realms' can list it"
            raise UpstreamBroken(settings.name, why, Hint.REALM_UNTRUSTED)


def _chosen(challenges: tuple[Challenge, ...]) -> _Scheme | None:
    """The first Bearer with a realm, else Basic."""
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.realm:
            return _Scheme(challenge.realm, challenge.service or None, challenge.scope or None)
    return _Scheme() if any(challenge.scheme == "basic" for challenge in challenges) else None


def _key(scheme: _Scheme, name: str, credentials: Login | None) -> TokenKey:
    """Without a name it is the registry itself that is asked, as by ``docker login``: no scope then."""
    scope = scheme.scope or (pull_scope(name) if name else None)
    return TokenKey(scheme.realm or "", scheme.service, scope, credentials)

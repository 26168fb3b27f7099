"""One question to a token server. No redirect is followed: the credentials are for this server."""

from proxy.core.credentials import Credentials, IdentityToken, Login
from proxy.core.errors import Hint, RateLimited, UpstreamFailed, UpstreamFault, UpstreamRefused
from proxy.upstream.challenge import realm_allowed
from proxy.upstream.headers import retry_after
from proxy.upstream.message import HostClass, Kind, Request
from proxy.upstream.network import Network
from proxy.upstream.settings import is_same_place
from proxy.upstream.target import Origin, Target, parse_target
from proxy.upstream.token_question import token_question
from proxy.upstream.tokens import Token, TokenKey, parse_token


class TokenServer:
    """Whether the realm may be asked, and with credentials, was decided before."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._upstream = network.settings.name

    async def fetch(self, key: TokenKey) -> Token:
        """Raises UpstreamUnreachable, UpstreamTimeout, UpstreamFailed, RateLimited, UpstreamRefused."""
        question = token_question(parse_target(key.realm), key)
        target = question.target
        limits = self._network.settings.limits
        answer = await self._network.buffered.send(
            Request(
                Kind.TOKEN,
                question.method,
                target,
                question.headers,
                self._host_class(target.origin),
                limits.token_total,
                question.body,
            )
        )
        try:
            if answer.status != 200:
                wait = retry_after(answer.header("Retry-After"), self._network.timing.wall())
                raise self._fault(answer.status, wait, target, key.credentials)
            body = await answer.read(limits.token)
        finally:
            await answer.close()
        token = parse_token(body) if len(body) <= limits.token else None
        if token is None:
            raise UpstreamFailed(self._upstream, f"the token server {target} gave no token", Hint.NO_TOKEN)
        return token

    def _host_class(self, origin: Origin) -> HostClass:
        settings, home = self._network.settings, self._network.home.origin
        if is_same_place(origin, home):
            return HostClass.HOME
        trusted = realm_allowed(origin, home, settings.names_port, settings.realms)
        return HostClass.LISTED if trusted else HostClass.AWAY

    def _fault(self, status: int, wait: float | None, target: Target, credentials: Login | None) -> UpstreamFault:
        if status in (401, 403) or (status == 400 and isinstance(credentials, IdentityToken)):
            whom = _whose(credentials)
            hint = Hint.LOGIN_REFUSED if credentials is not None else Hint.NO_TOKEN
            why = f"{whom} refused by the token server {target} ({status})"
            refused = UpstreamRefused(self._upstream, why, hint)
            refused.disbelieved = status == 401 and credentials is not None
            return refused
        if status == 429:
            return RateLimited(self._upstream, f"the token server {target} limits our requests", wait or 1.0)
        return UpstreamFailed(self._upstream, f"the token server {target} answered {status}", Hint.NO_TOKEN)


def _whose(credentials: Login | None) -> str:
    match credentials:
        case Credentials(username=username):
            return f"the credentials of {username!r} were"
        case IdentityToken():
            return "the identity token of the login was"
        case None:
            return "an anonymous token was"

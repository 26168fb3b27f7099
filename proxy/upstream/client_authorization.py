"""Authorization by what each client has sent for this registry, and by nothing that this cache has of its own."""

from proxy.core.credentials import BearerToken, Credentials
from proxy.tasks.hops import asker_of
from proxy.upstream.authorization import Refusal
from proxy.upstream.network import Network
from proxy.upstream.schemes import ChallengeAuthorizer


class ClientAuthorizer:
    """A password is sent as the registry's challenge asks for it; a bearer token as it is, to the registry itself.
    Whoever sent nothing is asked for anonymously, and so is what nobody has asked for."""

    def __init__(self, network: Network) -> None:
        self._upstream = network.settings.name
        self._challenged = ChallengeAuthorizer(network, self._password)

    async def authorization(self, name: str) -> str | None:
        """Where the right itself is asked for, by no token that was given before."""
        asker = asker_of(self._upstream)
        if asker is not None and isinstance(asker.login, BearerToken):
            return f"Bearer {asker.login.token}"
        if asker is not None and asker.anew:
            asker.anew = not await self._challenged.forget(name)
        return await self._challenged.authorization(name)

    async def renew(self, name: str, refusal: Refusal, used: str | None) -> bool:
        """There is no better bearer token than the one that the client sent."""
        asker = asker_of(self._upstream)
        if asker is not None and isinstance(asker.login, BearerToken):
            return False
        return await self._challenged.renew(name, refusal, used)

    async def identified(self, name: str) -> bool:
        asker = asker_of(self._upstream)
        return asker is not None and asker.login is not None

    async def _password(self, name: str) -> Credentials | None:
        asker = asker_of(self._upstream)
        return asker.login if asker is not None and isinstance(asker.login, Credentials) else None

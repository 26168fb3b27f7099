"""How requests to ECR are authorized, private and public."""

import base64
import binascii
import math

from proxy.core.credentials import Credentials
from proxy.core.errors import UpstreamFault
from proxy.upstream.authorization import CredentialSource, Refusal
from proxy.upstream.ecr_tokens import TokenKeeper
from proxy.upstream.network import Network
from proxy.upstream.tokens import UNSTATED_LIFE, Fetch, Token, TokenBook, TokenKey

_BASIC = "Basic "
_BEARER = "Bearer "
PUBLIC_LIFE = 1800.0  # seconds for a bearer of ECR Public that states none; it lives about an hour
PUBLIC_SPACING = 60.0  # seconds between two bearers that are given up for having been refused


class EcrAuthorizer:
    """Basic with the token of the region, on every request (ECR user guide, "Private registry authentication").

    ECR answers an unknown token with 401 and a challenge, but an expired one with 403 and none, which may also mean
    that the identity has no right to the repository. So after a 401 the token is done with, after a 403 it stays
    unless AWS has another. The keeper belongs to its book, which other upstreams share.
    """

    def __init__(self, upstream: str, keeper: TokenKeeper) -> None:
        self._upstream = upstream
        self._keeper = keeper

    async def authorization(self, name: str) -> str | None:
        return _BASIC + await self._keeper.token(self._upstream)

    async def renew(self, name: str, refusal: Refusal, used: str | None) -> bool:
        refused = (used or "").removeprefix(_BASIC)
        if refusal.status == 401:
            self._keeper.drop(refused)
            return await self._keeper.token(self._upstream) != refused
        if refusal.status == 403 and not refusal.challenges:
            return await self._keeper.successor(refused) is not None
        return False

    async def identified(self, name: str) -> bool:
        return True


def ecr_public_credentials(upstream: str, keeper: TokenKeeper) -> CredentialSource:
    """What ECR Public's token endpoint takes for its higher limits. Anonymous where AWS has nothing for us: all content
    there is public, so a pull need not fail with AWS."""

    async def credentials(name: str) -> Credentials | None:
        try:
            username, _, password = base64.b64decode(await keeper.token(upstream)).decode().partition(":")
        except (UpstreamFault, binascii.Error, UnicodeDecodeError):
            return None
        return Credentials(username, password) if password else None

    return credentials


class EcrPublicAuthorizer:
    """One bearer for all repositories, by the literal scope ``aws`` that ECR Public's challenge names.

    ECR Public takes no Basic outside its token server, and answers an expired bearer with 400 ``DENIED`` and no
    challenge. ``origin`` is the registry's URL without a path; ``fetch`` asks a token server.
    """

    def __init__(self, origin: str, credentials: CredentialSource, fetch: Fetch, network: Network) -> None:
        self._realm = f"{origin.rstrip('/')}/token/"
        self._credentials = credentials
        self._fetch = fetch
        self._now = network.timing.now
        self._dropped_at = -math.inf
        self._bearer: str | None = None  # the last one received, unless it was refused
        self._tokens = TokenBook(network.settings.name, self._fetched, network.timing, network.jobs, network.tables)

    async def authorization(self, name: str) -> str | None:
        return _BEARER + await self._tokens.token(await self._key())

    async def renew(self, name: str, refusal: Refusal, used: str | None) -> bool:
        denied = refusal.status == 400 and refusal.code in {"DENIED", None}  # an answer to HEAD has no code
        if not (denied or refusal.status == 401):
            return False
        key, refused = await self._key(), (used or "").removeprefix(_BEARER)
        if refused != self._bearer:
            return True  # others were refused with it before, and have another by now or are fetching it
        if self._now() - self._dropped_at < PUBLIC_SPACING:
            return False
        self._dropped_at, self._bearer = self._now(), None
        self._tokens.drop(key, refused)
        return True

    async def identified(self, name: str) -> bool:
        return await self._credentials("") is not None

    async def _key(self) -> TokenKey:
        return TokenKey(self._realm, "public.ecr.aws", "aws", await self._credentials(""))

    async def _fetched(self, key: TokenKey) -> Token:
        token = await self._fetch(key)
        self._bearer = token.text
        return token._replace(life=PUBLIC_LIFE) if token.life == UNSTATED_LIFE else token

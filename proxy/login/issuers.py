"""Tokens of the issuers that the configuration trusts, and our own: whom they name, and on what that rests."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from enum import StrEnum
from typing import Any

from proxy.core.claims import Expected, Named, TokenRefused, named_by
from proxy.core.htpasswd import proof_of
from proxy.login.key_sets import KeySet, unproven
from proxy.login.material import Material
from proxy.login.remote_keys import RemoteKeys
from proxy.login.rules import IssuerRules, LoginRules
from proxy.login.token_keys import TokenKeys
from proxy.tasks.flights import Flights

OURSELVES = "entrepot"
"""Issuer and audience of our own tokens, and the service that a challenge names."""


class Ground(StrEnum):
    """First words of what a caller's proof is."""

    HTPASSWD = "htpasswd"
    TOKEN = "token"
    CERTIFICATE = "certificate"
    UPSTREAM = "upstream"
    NOBODY = "anonymous"


OURS = Expected(OURSELVES, OURSELVES, "groups", leeway=0.0)
"""What a token of ours has to say."""


class Issuers:
    """Proves tokens by rules and files as they were when it was made; ``token_keys`` are our own. ``former`` is the one
    before it, whose fetched keys are kept."""

    def __init__(
        self,
        rules: LoginRules,
        material: Material,
        token_keys: TokenKeys,
        pool: Executor,
        flights: Flights[str, None],
        now: Callable[[], float],
        former: "Issuers | None" = None,
    ) -> None:
        self._rules = rules
        self._material = material
        self._token_keys = token_keys
        self.remote: dict[IssuerRules, RemoteKeys] = {}
        known = former.remote if former is not None else {}
        for issuer in rules.issuers:
            if isinstance(issuer.keys, str):
                self.remote[issuer] = known.get(issuer) or RemoteKeys(issuer.keys, issuer.ca_file, pool, flights, now)

    async def prove(self, token: str, now: float) -> tuple[Named, str]:
        """Whom a token names, and the ground of it; ``now`` in seconds since the epoch of the world's clock. Raises
        TokenRefused, LoginsUnproven."""
        header, said = unproven(token)
        if said.get("iss") == OURSELVES:
            return await self._prove_ours(token, now)
        refused = TokenRefused("no issuer that is trusted here has issued it")
        for number, issuer in enumerate(self._rules.issuers):
            if said.get("iss") != issuer.expected.issuer:
                continue
            try:
                return await self._prove(token, header, number, now)
            except TokenRefused as cause:
                refused = cause
        raise refused

    def knows(self, issuer: object) -> bool:
        """Whether tokens that name it are for this cache."""
        return issuer == OURSELVES or any(rules.expected.issuer == issuer for rules in self._rules.issuers)

    def marks(self) -> tuple[frozenset[str], ...]:
        """What keys are known of each issuer: what rests on one that is gone is over."""
        sets = (self._set_at_hand(number) for number in range(len(self._rules.issuers)))
        return tuple(each.marks if each is not None else frozenset() for each in sets)

    async def _prove(self, token: str, header: Mapping[str, Any], number: int, now: float) -> tuple[Named, str]:
        issuer = self._rules.issuers[number]
        claims, mark = (await self._set(number, header.get("kid"))).claims(token, header)
        named = named_by(claims, issuer.expected, now)
        if not named.name:
            raise TokenRefused("it names nobody")
        return named, f"{Ground.TOKEN} {mark} {issuer.expected.issuer}"

    async def _prove_ours(self, token: str, now: float) -> tuple[Named, str]:
        """A token of ours ends early where what it rests on does."""
        claims = self._token_keys.claims(token)
        named, ground = named_by(claims, OURS, now), str(claims.get("ground"))
        if not await self._stands(ground, named.name):
            raise TokenRefused("what it rests on holds no more")
        return named, ground

    async def _stands(self, ground: str, name: str) -> bool:
        kind, _, rest = ground.partition(" ")
        match kind:
            case Ground.HTPASSWD:
                return rest != "" and proof_of(self._material.users, name) == rest
            case Ground.TOKEN:
                mark, _, issuer = rest.partition(" ")
                for number, rules in enumerate(self._rules.issuers):
                    if rules.expected.issuer == issuer and mark in (await self._set(number, None)).marks:
                        return True
                return False
            case Ground.CERTIFICATE:
                return self._rules.certificates and name != ""
            case Ground.NOBODY | Ground.UPSTREAM:
                return name == ""
        return False

    async def _set(self, number: int, name: object) -> KeySet:
        found = self._material.key_sets[number]
        return found if found is not None else await self.remote[self._rules.issuers[number]].find(name)

    def _set_at_hand(self, number: int) -> KeySet | None:
        found = self._material.key_sets[number]
        return found if found is not None else self.remote[self._rules.issuers[number]].set

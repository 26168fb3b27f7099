"""How requests to a registry are authorized: the contract that every scheme keeps, and what a refusal tells.

The loop that asks registries knows no scheme: it puts in front what ``authorization`` says, and after a refusal asks
``renew`` once whether another try may help.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from proxy.core.credentials import Login
from proxy.upstream.challenge import Challenge

CredentialSource = Callable[[str], Awaitable[Login | None]]
"""For a repository, empty where the registry itself is asked. Asked before each use, so that a file may change under
us; it must be cheap, and None means anonymous."""


async def no_credentials(name: str = "") -> Login | None:
    """The source for upstreams that are asked anonymously."""
    return None


class Refusal(NamedTuple):
    """An answer of the registry itself, 400, 401 or 403, that better authorization may turn."""

    status: int
    challenges: tuple[Challenge, ...]
    code: str | None  # of the first error in a JSON body; None for an answer to HEAD


class Authorizer(Protocol):
    """One scheme for one upstream. What it returns is sent to the registry's own origin and nowhere else."""

    async def authorization(self, name: str) -> str | None:
        """The Authorization header for a request to repository ``name``; None for none.
        Raises Outage kinds, UpstreamRefused or UpstreamBroken when a token cannot be had."""

    async def renew(self, name: str, refusal: Refusal, used: str | None) -> bool:
        """After a refusal of a request that carried ``used``: may the next ``authorization`` do better?
        Called at most once for each request. Raises what ``authorization`` raises."""

    async def identified(self, name: str) -> bool:
        """Whether there are credentials for repository ``name``, so that what is sent is in somebody's name. Raises
        CredentialsFailed where they cannot be read."""

"""A registry client of ours in front of a cast upstream, with a clock that stands still."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from proxy.core.credentials import Credentials
from proxy.core.names import Digest
from proxy.core.transfer import Transfer
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream.address import Ourselves
from proxy.upstream.authorization import CredentialSource, no_credentials
from proxy.upstream.egress import DIRECT, WaysOut
from proxy.upstream.network import Network
from proxy.upstream.passage import Outward
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.schemes import ChallengeAuthorizer
from proxy.upstream.settings import ExchangeLimits, RegistrySettings, Timing
from tests.cast import FaultUpstream, ManualClock

NAME = "library/app"
LIMITS = ExchangeLimits()
HASTY = replace(LIMITS, first_byte=0.3, stall=0.3, total=1.0, token_total=0.5, connect=0.5)
SECRET = Credentials("me", "s3cret")


async def secret(name: str) -> Credentials | None:
    return SECRET


@asynccontextmanager
async def client_of(
    up: FaultUpstream | str,
    clock: ManualClock | None = None,
    limits: ExchangeLimits = LIMITS,
    credentials: CredentialSource = no_credentials,
    ourselves: Ourselves | None = None,
    ways: WaysOut = DIRECT,
    **settings: object,
) -> AsyncIterator[HttpRegistry]:
    """Of a registry, or of what is at a url."""
    clock = clock or ManualClock()
    url = up if isinstance(up, str) else up.url
    chosen = RegistrySettings(**{"name": "up", "url": url, "limits": limits, **settings})  # type: ignore[arg-type]
    async with task_group() as tasks:
        timing = Timing(now=clock, wall=clock, sleep=clock.sleep, jitter=lambda: 0.5)
        network = Network(chosen, Jobs(tasks), timing, Outward(ways=ways, ourselves=ourselves))
        registry = HttpRegistry(network, ChallengeAuthorizer(network, credentials))
        try:
            yield registry
        finally:
            await registry.close()


async def drained(transfer: Transfer, room: int = 1 << 20) -> bytes:
    """The body, read as a mover does, in a thread; the transfer is closed."""

    def pull() -> bytes:
        buffer, content = memoryview(bytearray(room)), bytearray()
        try:
            while count := transfer.readinto(buffer):
                content += buffer[:count]
        finally:
            transfer.close()
        return bytes(content)

    return await asyncio.to_thread(pull)


async def pulled(registry: HttpRegistry, digest: Digest, offset: int = 0) -> bytes:
    return await drained(await registry.blob(NAME, digest, offset))

"""The whole proxy in the scene's own loop: everything is real but the registry behind it and the clock.

``House`` is composed as ``proxy.app`` composes it, with limits that a scene can reach.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from proxy.cache.doubts import VerifyRules
from proxy.cache.engine import Cache, CacheRules, Upstreams
from proxy.cache.fills import FillRules
from proxy.cache.intake import IntakeRules
from proxy.cache.ledger import Ledger
from proxy.cache.lifecycle import PushTimes, no_push_times
from proxy.cache.permits import NO_PERMITS, PermitRules
from proxy.cache.sources import Source
from proxy.composition import Admissions, Collaborators, ServiceRules, compose, start_jobs
from proxy.config import read_file
from proxy.core.access import Gate
from proxy.core.backoff import Backoff
from proxy.core.budget import ByteLimits, FreeSpaceRule
from proxy.core.doors import HostNames
from proxy.core.errors import UpstreamUnknown
from proxy.core.freshness import TagRules
from proxy.core.ledger import Account
from proxy.core.names import Digest, Repository, UpstreamNames
from proxy.front.access_log import AccessLog, Hit, Line
from proxy.front.connection import Front
from proxy.front.connections import ConnectionRules
from proxy.front.handler import Handler
from proxy.front.proxied import Networks
from proxy.front.streams import SenderRules
from proxy.front.tls import Tls, TlsTerms
from proxy.login.material import LoginSecrets
from proxy.login.rules import NO_LOGINS, LoginRules
from proxy.storage.catalog import SqliteCatalog
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream.client_authorization import ClientAuthorizer
from proxy.upstream.network import Network
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.schemes import ChallengeAuthorizer
from proxy.upstream.settings import ExchangeLimits, RegistrySettings, Timing
from tests.cast import FaultUpstream, ManualClock
from tests.scenarios.client import Client, Reply

MiB = 1 << 20
NAME = "registry.test"
APP = "library/app"


AT_ONCE = IntakeRules(patience=0.0, pauses=Backoff(0.0, 0.0))


@dataclass(frozen=True)
class HouseRules:
    """Pauses between tries are left out: scenes wait for events, not for time."""

    soft: int = 256 * MiB
    free: FreeSpaceRule = FreeSpaceRule(0, 0.0)
    tags: TagRules = TagRules()
    fills: FillRules = FillRules(intake=AT_ONCE)
    sender: SenderRules = SenderRules(stall=20.0)
    connections: ConnectionRules = ConnectionRules()
    upstream: ExchangeLimits = field(default_factory=ExchangeLimits)
    gate: Gate | None = None
    logins: LoginRules = NO_LOGINS
    homes: Callable[[str], Sequence[Source]] = lambda _: ()
    verify: VerifyRules = field(default_factory=VerifyRules)
    hosts: HostNames | None = None
    trusted_proxies: Networks = ()
    tls: TlsTerms | None = None
    clients_tls: ssl.SSLContext | None = None  # by which clients connect
    trust: Callable[[str], str] = lambda upstream: upstream
    permits: PermitRules = NO_PERMITS


async def _at_once(_: float) -> None:
    await asyncio.sleep(0)


class House:
    """Lives in a task of its own, from ``start`` to ``stop``; what it holds on disk outlives it. ``shares``,
    ``push_times`` and, before a start, ``upstreams`` are the scene's to change."""

    cache: Cache
    catalog: SqliteCatalog
    access_log: AccessLog
    handler: Handler
    front: Front
    admissions: Admissions
    ledger: Ledger
    tls: Tls | None
    port: int

    def __init__(
        self,
        folder: Path,
        upstream: FaultUpstream,
        rules: HouseRules,
        clock: ManualClock,
    ) -> None:
        self.folder = folder
        self.upstreams = {NAME: upstream}
        self.rules = rules
        self.clock = clock
        self.shares: dict[str, ByteLimits] = {}  # budgets of upstreams
        self.push_times: PushTimes = no_push_times  # as upstream tells them
        self.lines: list[Line] = []  # of the access log
        self._life: asyncio.Task[None] | None = None
        self._end = asyncio.Event()
        self._clients: list[Client] = []

    async def start(self) -> None:
        begun = asyncio.get_running_loop().create_future()
        self._end = asyncio.Event()
        self._life = asyncio.create_task(self._live(begun))
        await asyncio.wait([begun, self._life], return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            self._life.result()

    async def stop(self) -> None:
        """Requests under way are cut. Raises what an unforeseen failure raised."""
        if self._life is not None:
            self._end.set()
            await self._life
            self._life = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    # ------------------------------------------------------------ clients

    def dismiss(self) -> None:
        """Every client leaves that has not left yet."""
        for client in self._clients:
            client.leave()

    async def connect(self, buffer: int | None = None, tls: ssl.SSLContext | None = None) -> Client:
        client = await Client.connect(self.port, buffer, tls or self.rules.clients_tls)
        self._clients.append(client)
        return client

    async def pull(self, path: str, headers: Mapping[str, str] | None = None, buffer: int | None = None) -> Client:
        """A client that has asked, and reads when the scene says so."""
        client = await self.connect(buffer)
        await client.ask(path, headers)
        return client

    async def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
        """One whole exchange, after which the connection must still be in step."""
        async with await self.connect() as client:
            await client.ask(path, headers, method)
            reply = await client.reply(method)
            if reply.headers.get("connection") != "close":
                await client.still_framed()
            return reply

    # ------------------------------------------------------------ what can be seen

    def outcomes(self) -> Counter[str]:
        """Of content requests that have been answered."""
        totals: Counter[str] = Counter()
        for (_, kind, outcome), count in self.access_log.requests().items():
            if kind != "ping" and count:
                totals[outcome] += count
        return totals

    async def quiet(self) -> None:
        """Nothing is under way any more: no request, no fill, no byte set aside, nothing half-born on disk."""
        budget = self.cache.holdings.budget
        ingest = self.folder / "ingest"
        async with asyncio.timeout(20):
            while self.handler.active or len(self.cache.fills) or budget.reserved or any(ingest.iterdir()):
                await asyncio.sleep(0.005)

    async def connected(self, count: int) -> None:
        """Until so many connections are open."""
        async with asyncio.timeout(20):
            while len(self.front.connections) != count:
                await asyncio.sleep(0.005)

    # ------------------------------------------------------------ composition

    async def _live(self, begun: "asyncio.Future[None]") -> None:
        async with AsyncExitStack() as stack:
            listener = await self._compose(stack)
            begun.set_result(None)
            await self._end.wait()
            listener.close()
            self.front.close_idle()
            self.front.abort()

    async def _compose(self, stack: AsyncExitStack) -> asyncio.Server:
        rules = self.rules
        jobs = Jobs(await stack.enter_async_context(task_group()))
        made = {name: self._registry(name, jobs) for name in self.upstreams}
        for registry in made.values():
            stack.push_async_callback(registry.close)

        def registries(name: str) -> HttpRegistry:
            if name not in made:
                raise UpstreamUnknown(name)
            return made[name]

        cache_rules = CacheRules(ByteLimits(rules.soft), rules.free, rules.tags, rules.fills, verify=rules.verify)
        upstreams = Upstreams(
            registries,
            lambda repository, tag: False,
            lambda name: None,
            self.shares.get,
            self._ask_push_times,
            rules.homes,
            trust=rules.trust,
            permits=rules.permits,
        )
        names = UpstreamNames.of(self.upstreams, None)
        around = Collaborators(upstreams, names, self.clock, self._note, gate=rules.gate, fetched=partial(_grown, made))
        logins = LoginSecrets.read(rules.logins, read_file)
        doors = rules.sender, rules.connections, rules.hosts, rules.trusted_proxies, logins, rules.tls
        service = await compose(stack, self.folder, ServiceRules(cache_rules, *doors), around)
        self.catalog, self.cache, self.access_log = service.catalog, service.cache, service.access_log
        self.handler, self.front, self.tls = service.handler, service.front, service.tls
        self.admissions, self.ledger = service.admissions, service.ledger
        listener = await asyncio.get_running_loop().create_server(service.entrance, "127.0.0.1", 0, backlog=1024)
        self.port = listener.sockets[0].getsockname()[1]
        start_jobs(service)
        return listener

    def _note(self, request: Hit | Line) -> None:
        self.lines.append(request if isinstance(request, Line) else Line.of(request))

    async def _ask_push_times(self, repository: Repository) -> Mapping[str, float]:
        return await self.push_times(repository)

    def _registry(self, name: str, jobs: Jobs) -> HttpRegistry:
        settings = RegistrySettings(name, self.upstreams[name].url, limits=self.rules.upstream)
        network = Network(settings, jobs, Timing(now=self.clock, wall=self.clock, sleep=_at_once, jitter=lambda: 0.0))
        by_client = self.rules.permits.governs(name)
        return HttpRegistry(network, ClientAuthorizer(network) if by_client else ChallengeAuthorizer(network))


def _grown(made: Mapping[str, HttpRegistry]) -> Mapping[Account, int]:
    return {
        Account(name, repository): count
        for name, registry in made.items()
        for repository, count in registry.stats.grown().items()
    }


def blob_path(digest: Digest, repository: str = APP, registry: str = NAME) -> str:
    return f"/v2/{registry}/{repository}/blobs/{digest}"


def manifest_path(reference: str, repository: str = APP, registry: str = NAME) -> str:
    return f"/v2/{registry}/{repository}/manifests/{reference}"

"""The registries behind us. Those that the configuration names are there from the start; a pattern may stand for many
hosts, and the tier for all others, which are made when first asked for."""

import logging
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any

from proxy.amazon import Amazon, ecr_host
from proxy.config import (
    BasicAuth,
    DockerConfigAuth,
    DockerCredentials,
    EcrAuth,
    EcrPublicAuth,
    EgressSettings,
    FileRefused,
    LoginSource,
    Settings,
    TimeoutSettings,
    UpstreamSettings,
    read_credentials,
    read_login,
)
from proxy.core.budget import ByteLimits
from proxy.core.credentials import Credentials, Login
from proxy.core.ecr_names import is_ecr_public, parse_ecr_host
from proxy.core.errors import CredentialsFailed, Fault, UpstreamUnknown, UpstreamUnreachable
from proxy.core.histogram import Histogram
from proxy.core.ledger import Account
from proxy.core.names import TIER, Repository, Tag, UpstreamNames
from proxy.core.patterns import fits
from proxy.core.tables import BoundedTable, Tables
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream.address import Ourselves
from proxy.upstream.ask_threads import AskThreads
from proxy.upstream.authorization import Authorizer, CredentialSource
from proxy.upstream.client_authorization import ClientAuthorizer
from proxy.upstream.contract import Registry
from proxy.upstream.egress import ProxyLogin, WayClosed, WaysOut
from proxy.upstream.figures import Figures, closed_off, first_bytes, grown, quotas, received, requests
from proxy.upstream.forwarding import Forward
from proxy.upstream.health import Stats, open_breakers
from proxy.upstream.lookups import Lookups
from proxy.upstream.network import Network
from proxy.upstream.offline import OfflineRegistry
from proxy.upstream.passage import Outward
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.schemes import ChallengeAuthorizer
from proxy.upstream.server import Server
from proxy.upstream.settings import ExchangeLimits, RegistrySettings, Timing, Trusts
from proxy.upstream.target import TargetRefused

log = logging.getLogger("entrepot")

_HOSTS = 32 << 20  # bytes of the registries that patterns bring; one that is forgotten is made again when asked for
_REGISTRY = 128 << 10  # bytes of one, with its sessions and idle connections


class Registries:
    """One registry per upstream name. What runs in the background belongs to ``jobs`` and its group. No address is
    looked up and no session or thread is made before a registry is used. ``pseudonym`` is who we are to other caches;
    without it nobody is told."""

    def __init__(self, settings: Settings, jobs: Jobs, timing: Timing | None = None, pseudonym: str = "") -> None:
        self._settings = settings
        self.jobs = jobs
        self._timing = timing or Timing()
        self._names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
        self._trusts = Trusts()
        self.ourselves = Ourselves(pseudonym)  # nowhere, until it is told where we listen
        self._ways: dict[EgressSettings, WaysOut] = {}
        self.tables = Tables(self._timing.now, self.label)
        self._named: dict[str, HttpRegistry] = {}
        self._tier: Server | None = None  # that all names of the tier are asked at
        self._of_patterns: BoundedTable[str, HttpRegistry] = self.tables.table(
            "registries of patterns", _HOSTS, None, str, lambda _: _REGISTRY
        )
        self._past: dict[str, Stats] = {}  # of registries that are forgotten, by the key that they were there by
        self._lookups = Lookups(jobs, self.tables)
        self._threads = AskThreads()
        self.amazon = Amazon(self._configured, self.ways, jobs, self._timing, self.tables)
        self._offline = settings.offline_upstreams()  # keys of the configuration
        for name in settings.upstreams:
            if not name.startswith(TIER) and name not in self._offline:
                self._make_early(name)

    def get(self, name: str) -> HttpRegistry:
        """Raises UpstreamUnknown for what is not configured; UpstreamUnreachable where its URL or ``ca_file`` is no
        good."""
        registry = self._named.get(name) or self._of_patterns.get(name)
        return registry if registry is not None else self._make(name)

    def registry(self, name: str) -> Registry:
        """As ``get``; of one that is offline, one that asks nobody."""
        if self._is_offline(name):
            return OfflineRegistry(name)
        return self.get(name)

    def offline(self) -> frozenset[str]:
        """Keys of the configuration, of upstreams that are not to be asked."""
        return self._offline

    def take_offline(self, keys: frozenset[str]) -> None:
        """Those and no others are offline from now on. What is under way ends, and is the last that is asked."""
        self._offline = keys & frozenset(self._settings.upstreams)
        for name in [name for name in self._named if name in self._offline]:
            self._retire(self._named.pop(name))
        if self._offline:
            self.amazon.rest()

    async def push_times(self, repository: Repository) -> Mapping[str, float]:
        """As Amazon tells them; nothing of what is offline."""
        if self._is_offline(repository.upstream):
            return {}
        return await self.amazon.push_times(repository)

    def settings_of(self, name: str) -> UpstreamSettings:
        """Raises UpstreamUnknown."""
        upstream = self._configured(name)
        if upstream is None:
            raise UpstreamUnknown(name)
        return upstream

    def ways(self, name: str) -> WaysOut:
        """The ways out of an upstream, and of all that have the same. Raises UpstreamUnknown."""
        egress = self.settings_of(name).egress
        if egress not in self._ways:
            login = _proxy_login(egress.login) if egress.login is not None else None
            ca_file = str(egress.ca_file) if egress.ca_file is not None else None
            self._ways[egress] = WaysOut(egress.rules, os.environ, login, ca_file)
        return self._ways[egress]

    def trust(self, name: str) -> ssl.SSLContext:
        """What an upstream's certificate is checked against. Raises UpstreamUnknown, OSError or ssl.SSLError."""
        return self._trusts.of(self._registry_settings(name, self.settings_of(name))).home

    def immutable(self, repository: Repository, tag: Tag) -> bool:
        """By the configuration's patterns, or because its ECR repository does not let the tag be overwritten."""
        written = f"{repository}:{tag}"
        by_pattern = any(fits(pattern, written) for pattern in self._settings.tags.immutable)
        return by_pattern or (not self._is_offline(repository.upstream) and self.amazon.immutable(repository, tag))

    def touch_period(self, upstream: str) -> float | None:
        """Seconds, None where upstream is not to be touched."""
        return self.settings_of(upstream).touch_upstream

    def access_ttl(self, upstream: str) -> float:
        """Seconds that its yes carries. Raises UpstreamUnknown."""
        return self.settings_of(upstream).access_ttl

    def is_by_client(self, upstream: str) -> bool:
        """Whether each client's own credential decides there; nothing is decided of what is no upstream."""
        configured = self._configured(upstream)
        return configured is not None and configured.by_client

    def access_stale(self, upstream: str) -> float:
        """Seconds that its yes is kept while it does not answer. Raises UpstreamUnknown."""
        return self.settings_of(upstream).access_stale

    def trust_domain(self, upstream: str) -> str:
        """What is no upstream any more is trusted by nobody else."""
        configured = self._configured(upstream)
        return configured.trust_domain(upstream) if configured is not None else upstream

    async def close(self) -> None:
        """Of all registries; transfers under way are their movers'."""
        for _, registry in self._made():
            await registry.close()
        if self._tier is not None:
            self._tier.close()
        self._lookups.close()
        self._threads.close()

    def requests(self) -> Figures:
        """By configured upstream, kind and status."""
        return requests(self._counted())

    def received(self) -> Figures:
        """Bytes by configured upstream."""
        return received(self._counted())

    def first_bytes(self) -> dict[tuple[str, ...], Histogram]:
        """Seconds until the head of an answer was there, by configured upstream and kind."""
        return first_bytes(self._counted())

    def quotas(self) -> tuple[Figures, Figures]:
        """As ``figures.quotas``, by configured upstream."""
        return quotas(self._counted())

    def breakers(self) -> Figures:
        """How many hosts and things are not asked now, by configured upstream and reach."""
        return closed_off(open_breakers(self.tables, self._timing.now()), self._settings.upstreams, self.label)

    def grown(self) -> Mapping[Account, int]:
        """Bytes that came since this was asked last."""
        return grown(self._counted())

    def status(self) -> dict[str, Any]:
        """By upstream, of what it was asked and sent since the start; a host of a pattern, since it was last made."""
        now = self._timing.now()
        closed = open_breakers(self.tables, now)
        silent = {name: {"requests": 0, "bytes": 0, "offline": True} for name in sorted(self._offline)}
        return silent | {
            name: {
                "requests": sum(registry.stats.requests.values()),
                "bytes": registry.stats.bytes_in,
                "rate_limit": registry.stats.rate_limit,
                "rate_limit_remaining": registry.stats.rate_limit_remaining,
                "last_fault": registry.stats.trouble,
                "last_fault_seconds_ago": now - registry.stats.troubled_at if registry.stats.trouble else None,
                "closed_off": closed[name, "host"] + closed[name, "thing"],
            }
            for name, registry in sorted(self._made(), key=itemgetter(0))
        }

    async def lifecycle_policy(self, wanted: str) -> str:
        """The lifecycle policy that ``REGISTRY/REPOSITORY`` has in ECR; the registry may be left out where only one is
        an upstream. Raises ValueError where no private ECR registry is meant, and AwsFault."""
        registry, _, name = wanted.partition("/")
        if parse_ecr_host(registry) is None:
            known = [upstream for upstream in self._settings.upstreams if parse_ecr_host(upstream) is not None]
            if len(known) != 1:
                raise ValueError(f"{wanted}: write REGISTRY/REPOSITORY; {len(known)} upstreams are private ECR")
            registry, name = known[0], wanted
        return await self.amazon.lifecycle_policy(registry, name)

    def share(self, name: str) -> ByteLimits | None:
        """The byte budget of an upstream of its own; of a pattern, each host that it stands for has one."""
        upstream = self._configured(name)
        size = upstream.max_size if upstream is not None else None
        return ByteLimits(size) if size is not None else None

    def label(self, name: str) -> str:
        """The key of the configuration that covers an upstream, which is what metrics count by."""
        return self._names.configured(name) or ""

    def _is_offline(self, name: str) -> bool:
        return bool(self._offline) and self.label(name) in self._offline

    def _configured(self, name: str) -> UpstreamSettings | None:
        key = self._names.configured(name)
        return self._settings.upstreams[key] if key is not None else None

    def _make_early(self, name: str) -> None:
        """One upstream that is no good keeps nobody from the others: the first who asks for it is told again."""
        try:
            self._make(name)
        except Fault as fault:
            log.error("the upstream %s cannot be used: %s", name, fault)

    def _make(self, name: str) -> HttpRegistry:
        upstream = self.settings_of(name)
        named = name in self._settings.upstreams
        settings = self._registry_settings(name, upstream)
        try:
            by_pattern = not named and upstream.name != TIER
            find = partial(self._lookups.find, name, self.ways(name), settings.home.origin) if by_pattern else None
            network = Network(
                settings, self.jobs, self._timing, self._outward(upstream, settings), self.tables, find, self._threads
            )
        except OSError as cause:  # ssl.SSLError is one
            raise UpstreamUnreachable(name, f"a ca_file of it cannot be used: {cause.strerror or cause}") from cause
        except TargetRefused as refused:
            raise UpstreamUnreachable(name, f"its url cannot be used: {refused}") from refused
        registry = HttpRegistry(network, self._authorizer(name, upstream, network))
        if named:
            self._named[name] = registry
        else:
            for forgotten in self._of_patterns.put(name, registry):
                self._retire(forgotten)
        return registry

    def _outward(self, upstream: UpstreamSettings, settings: RegistrySettings) -> Outward | Server:
        """Raises OSError, ssl.SSLError, TargetRefused."""
        outward = Outward(self._trusts.of(settings), self.ways(settings.name), self.ourselves)
        if upstream.name != TIER:
            return outward
        if self._tier is None:
            self._tier = Server(replace(settings, name=TIER), outward)
        return self._tier

    def _retire(self, registry: HttpRegistry) -> None:
        """It ends when what it does is done; what it was asked still counts."""
        self._past.setdefault(self.label(registry.name), Stats()).include(registry.stats)
        registry.retire()

    def _made(self) -> list[tuple[str, HttpRegistry]]:
        return [*self._named.items(), *self._of_patterns.items()]

    def _counted(self) -> Iterator[tuple[str, Stats]]:
        yield from self._past.items()
        for name, registry in self._made():
            yield self.label(name), registry.stats

    def _registry_settings(self, name: str, upstream: UpstreamSettings) -> RegistrySettings:
        return registry_settings(name, upstream, self._settings.limits.manifest_size)

    def _authorizer(self, name: str, upstream: UpstreamSettings, network: Network) -> Authorizer:
        if upstream.by_client:
            return ClientAuthorizer(network)
        match upstream.auth:
            case EcrAuth() as auth:
                return self.amazon.private(name, auth, network)
            case EcrPublicAuth() as auth:
                return self.amazon.public(name, auth, network)
            case BasicAuth() as auth:
                return ChallengeAuthorizer(network, _basic(name, auth))
            case DockerConfigAuth() as auth:
                at = network.home.origin.authority
                hosts = (name, at) if upstream.forwarding is None else (at,)  # a login is for whoever is asked
                return ChallengeAuthorizer(network, _docker(name, DockerCredentials(auth.file, hosts, os.environ)))
            case _ if is_ecr_public(name) and upstream.forwarding is None:
                return self.amazon.public(name, None, network)
            case _:
                return ChallengeAuthorizer(network)


@asynccontextmanager
async def open_registries(settings: Settings) -> AsyncIterator[Registries]:
    """For a command: they have a task group of their own, and are closed at the end."""
    async with task_group() as group:
        registries = Registries(settings, Jobs(group))
        try:
            yield registries
        finally:
            await registries.close()


def registry_settings(name: str, upstream: UpstreamSettings, manifest: int) -> RegistrySettings:
    """What is known of an upstream before it is asked; ``manifest`` in bytes, as below. ECR leads to its bucket of S3
    whatever name it is an upstream by."""
    ca_file = str(upstream.ca_file) if upstream.ca_file is not None else None
    egress_ca_file = str(upstream.egress.ca_file) if upstream.egress.ca_file is not None else None
    ecr = ecr_host(name, upstream)
    return RegistrySettings(
        name,
        upstream.base_url(name),
        ca_file,
        upstream.insecure,
        upstream.realms,
        exchange_limits(upstream.timeouts, manifest),
        egress_ca_file,
        (*upstream.redirects, ecr.layers) if ecr is not None else upstream.redirects,
        Forward(upstream.forwarding) if upstream.forwarding is not None else None,
    )


def exchange_limits(timeouts: TimeoutSettings, manifest: int) -> ExchangeLimits:
    """What an upstream with these settings may take; ``manifest`` in bytes."""
    return ExchangeLimits(
        connect=timeouts.connect,
        first_byte=timeouts.first_byte,
        stall=timeouts.stall,
        total=timeouts.total,
        token_total=timeouts.total,
        manifest=manifest,
    )


def _proxy_login(source: LoginSource) -> ProxyLogin:
    """Read at each use, as all secrets are."""

    async def login() -> Credentials:
        try:
            return await read_login(source, os.environ)
        except FileRefused as refused:
            raise WayClosed(f"user and password for the proxy cannot be read: {refused}") from None

    return login


def _basic(upstream: str, auth: BasicAuth) -> CredentialSource:
    """Read at each use, so that a rotated secret needs no restart."""

    async def credentials(name: str) -> Credentials:
        try:
            return await read_credentials(auth, os.environ)
        except FileRefused as refused:
            raise CredentialsFailed(upstream, f"its credentials cannot be read: {refused}") from None

    return credentials


def _docker(upstream: str, found: DockerCredentials) -> CredentialSource:
    async def credentials(name: str) -> Login | None:
        try:
            return await found.login(name)
        except FileRefused as refused:
            raise CredentialsFailed(upstream, f"its credentials cannot be read: {refused}") from None

    return credentials

"""The registries behind us, made when first asked for: a pattern of the configuration may stand for many hosts."""

import os
import ssl
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from proxy.config import (
    BasicAuth,
    DockerConfigAuth,
    DockerCredentials,
    EcrAuth,
    EcrPublicAuth,
    FileRefused,
    Settings,
    UpstreamSettings,
    read_credentials,
)
from proxy.core.budget import ByteLimits
from proxy.core.credentials import Credentials, IdentityToken
from proxy.core.ecr_names import EcrHost, is_ecr_public, looks_like_ecr, parse_ecr_host
from proxy.core.errors import UpstreamRefused, UpstreamUnknown
from proxy.core.names import Repository, Tag
from proxy.core.patterns import fits
from proxy.core.upstreams import UpstreamNames
from proxy.upstream.authorization import Authorizer, CredentialSource, no_credentials
from proxy.upstream.ecr_authorization import EcrAuthorizer, EcrPublicAuthorizer, ecr_public_credentials
from proxy.upstream.ecr_aws import Aws
from proxy.upstream.ecr_identity import AwsIdentity
from proxy.upstream.ecr_push_times import PushTimes
from proxy.upstream.ecr_repositories import EcrRepositories
from proxy.upstream.ecr_tokens import EcrTokenBook
from proxy.upstream.network import Network
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.schemes import ChallengeAuthorizer
from proxy.upstream.settings import ExchangeLimits, RegistrySettings, Timing, trust_of
from proxy.upstream.token_server import TokenServer

_HOSTS = 1000  # registries at once; more than a pattern should ever bring


class Registries:
    """One registry per upstream name; all share one book of ECR tokens."""

    def __init__(self, settings: Settings, timing: Timing | None = None) -> None:
        self._settings = settings
        self._timing = timing or Timing()
        self._names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
        self._made: dict[str, HttpRegistry] = {}
        self._ecr = EcrTokenBook(self._timing)
        self._repositories: dict[AwsIdentity, EcrRepositories] = {}
        self._push_times = PushTimes(self._timing.now)

    def get(self, name: str) -> HttpRegistry:
        """Raises UpstreamUnknown for what is not configured."""
        registry = self._made.get(name)
        if registry is None:
            if len(self._made) >= _HOSTS:
                raise UpstreamUnknown(name)
            registry = self._made[name] = self._make(name, self.settings_of(name))
        return registry

    def settings_of(self, name: str) -> UpstreamSettings:
        """Raises UpstreamUnknown."""
        key = self._names.configured(name)
        if key is None:
            raise UpstreamUnknown(name)
        return self._settings.upstreams[key]

    def aws(self, name: str) -> Aws | None:
        """The AWS side of an upstream that signs in with AWS credentials."""
        auth = self.settings_of(name).auth
        return (
            self._ecr.aws(_identity(auth, self._ecr_host(name))) if isinstance(auth, EcrAuth | EcrPublicAuth) else None
        )

    def trust(self, name: str) -> ssl.SSLContext:
        """What an upstream's certificate is checked against."""
        return trust_of(self._registry_settings(name, self.settings_of(name))).home

    def immutable(self, repository: Repository, tag: Tag) -> bool:
        """By the configuration's patterns, or because its ECR repository does not let the tag be overwritten."""
        written = f"{repository}:{tag}"
        if any(fits(pattern, written) for pattern in self._settings.tags.immutable):
            return True
        host = self._ecr_host(repository.upstream)
        auth = self.settings_of(repository.upstream).auth
        if host is None or not isinstance(auth, EcrAuth):
            return False
        identity = _identity(auth, host)
        if identity not in self._repositories:
            describe = self._ecr.aws(identity).describe_repository
            self._repositories[identity] = EcrRepositories(describe, self._timing.now)
        return self._repositories[identity].immutable(host.account, repository.name, tag) is True

    def touch_period(self, upstream: str) -> float | None:
        """Seconds, None where upstream is not to be touched."""
        return self.settings_of(upstream).touch_upstream

    async def close(self) -> None:
        for registry in self._made.values():
            await registry.close()
        for repositories in self._repositories.values():
            await repositories.close()
        await self._ecr.close()

    def requests(self) -> dict[tuple[str, ...], float]:
        """By configured upstream, kind and status."""
        totals: Counter[tuple[str, ...]] = Counter()
        for name, registry in self._made.items():
            for (kind, status), count in registry.stats.requests.items():
                totals[self.label(name), kind, status] += count
        return dict(totals)

    def received(self) -> dict[tuple[str, ...], float]:
        """Bytes by configured upstream."""
        totals: Counter[tuple[str, ...]] = Counter()
        for name, registry in self._made.items():
            totals[self.label(name),] += registry.stats.bytes_in
        return dict(totals)

    def status(self) -> dict[str, Any]:
        return {
            name: {
                "requests": sum(registry.stats.requests.values()),
                "bytes": registry.stats.bytes_in,
                "rate_limit_remaining": registry.stats.rate_limit_remaining,
            }
            for name, registry in sorted(self._made.items())
        }

    def tokens(self) -> dict[str, Any]:
        """AWS tokens by identity: how long they last, and what went wrong last."""
        return {name: stats._asdict() for name, stats in self._ecr.stats().items()}

    async def lifecycle_policy(self, wanted: str) -> str:
        """The lifecycle policy that ``REGISTRY/REPOSITORY`` has in ECR; the registry may be left out where only one is
        an upstream. Raises ValueError where no private ECR registry is meant, and AwsFault."""
        registry, _, name = wanted.partition("/")
        if parse_ecr_host(registry) is None:
            known = [upstream for upstream in self._settings.upstreams if parse_ecr_host(upstream) is not None]
            if len(known) != 1:
                raise ValueError(f"{wanted}: write REGISTRY/REPOSITORY; {len(known)} upstreams are private ECR")
            registry, name = known[0], wanted
        host, aws = parse_ecr_host(registry), None
        if self._names.configured(registry) is not None:
            aws = self.aws(registry)
        if host is None or aws is None or not name:
            raise ValueError(f"{wanted} is no repository of a private ECR registry that is an upstream")
        return await aws.lifecycle_policy(host.account, name)

    async def push_times(self, repository: Repository) -> Mapping[str, float]:
        """When upstream's images were pushed, by digest; empty where that is not asked for or not to be had."""
        name = repository.upstream  # of content that is held: it need not be configured any more
        host = self._ecr_host(name) if self._names.configured(name) is not None else None
        aws = self.aws(name) if host is not None and self.settings_of(name).push_times else None
        if host is None or aws is None:
            return {}
        return await self._push_times.of(repository, aws, host.account)

    def share(self, name: str) -> ByteLimits | None:
        """The byte budget of an upstream of its own; of a pattern, each host that it stands for has one."""
        key = self._names.configured(name)
        size = self._settings.upstreams[key].max_size if key is not None else None
        return ByteLimits(size) if size is not None else None

    def label(self, name: str) -> str:
        return self._names.configured(name) or ""

    def _make(self, name: str, upstream: UpstreamSettings) -> HttpRegistry:
        network = Network(self._registry_settings(name, upstream), self._timing)
        return HttpRegistry(network, self._authorizer(name, upstream, network))

    def _ecr_host(self, name: str) -> EcrHost | None:
        """The ECR registry that an upstream is, by its name or by where it is. Raises UpstreamUnknown."""
        return parse_ecr_host(name) or parse_ecr_host(urlsplit(self.settings_of(name).base_url(name)).hostname or "")

    def _registry_settings(self, name: str, upstream: UpstreamSettings) -> RegistrySettings:
        limits = ExchangeLimits(manifest=self._settings.limits.manifest_size)
        ca_file = str(upstream.ca_file) if upstream.ca_file is not None else None
        url = upstream.base_url(name)
        return RegistrySettings(name, url, ca_file, upstream.insecure, tuple(upstream.realms), limits)

    def _authorizer(self, name: str, upstream: UpstreamSettings, network: Network) -> Authorizer:
        match upstream.auth:
            case EcrAuth() as auth:
                host = parse_ecr_host(name) or parse_ecr_host(network.home.origin.host)
                if host is None and (auth.region is None or looks_like_ecr(name)):
                    # A host that a pattern matches and that is no ECR registry gets no AWS token.
                    raise UpstreamUnknown(name)
                return EcrAuthorizer(name, self._ecr.private(_identity(auth, host)))
            case EcrPublicAuth() as auth:
                maintenance = self._ecr.public(_identity(auth, None))
                return _public(network, ecr_public_credentials(name, maintenance))
            case BasicAuth() as auth:
                return ChallengeAuthorizer(network, _basic(name, auth))
            case DockerConfigAuth() as auth:
                hosts = (name, network.home.origin.authority)
                return ChallengeAuthorizer(network, _docker(name, DockerCredentials(auth.file, hosts, os.environ)))
            case _ if is_ecr_public(name):
                return _public(network, no_credentials)
            case _:
                return ChallengeAuthorizer(network)


def _identity(auth: EcrAuth | EcrPublicAuth, host: EcrHost | None) -> AwsIdentity:
    region = auth.region or (host.region if host is not None else "us-east-1")
    return AwsIdentity(
        region,
        auth.role_arn or "",
        auth.external_id or "",
        auth.profile or "",
        auth.endpoint_url or "",
        host.fips if host is not None else False,
        host.dual_stack if host is not None else False,
    )


def _public(network: Network, credentials: CredentialSource) -> EcrPublicAuthorizer:
    origin = str(network.home.origin)
    return EcrPublicAuthorizer(origin, credentials, TokenServer(network).fetch, network.timing)


def _basic(upstream: str, auth: BasicAuth) -> CredentialSource:
    """Read at each use, so that a rotated secret needs no restart."""

    async def credentials() -> Credentials:
        try:
            return await read_credentials(auth, os.environ)
        except FileRefused as refused:
            raise UpstreamRefused(upstream, f"its credentials cannot be read: {refused}") from None

    return credentials


def _docker(upstream: str, found: DockerCredentials) -> CredentialSource:
    async def credentials() -> Credentials | None:
        try:
            login = await found.login()
        except FileRefused as refused:
            raise UpstreamRefused(upstream, f"its credentials cannot be read: {refused}") from None
        if isinstance(login, IdentityToken):
            raise UpstreamRefused(upstream, "its login is an identity token, which is not sent yet: use a password")
        return login

    return credentials

"""The registries behind us, made when first asked for: a pattern of the configuration may stand for many hosts."""

import asyncio
import os
from collections import Counter
from typing import Any

from proxy.config import (
    BasicAuth,
    EcrAuth,
    EcrPublicAuth,
    FileRefused,
    Settings,
    UpstreamSettings,
    read_credentials,
)
from proxy.core.ecr_names import EcrHost, parse_ecr_host
from proxy.core.errors import UpstreamRefused, UpstreamUnknown
from proxy.core.upstreams import UpstreamNames
from proxy.upstream.authorization import Authorizer, Credentials, CredentialSource
from proxy.upstream.ecr_authorization import EcrAuthorizer, ecr_public_credentials
from proxy.upstream.ecr_identity import AwsIdentity
from proxy.upstream.ecr_tokens import EcrTokenBook
from proxy.upstream.network import Network
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.schemes import ChallengeAuthorizer
from proxy.upstream.settings import Limits, RegistrySettings

_HOSTS = 1000  # registries at once; more than a pattern should ever bring


class Registries:
    """One registry per upstream name; all share one book of ECR tokens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
        self._made: dict[str, HttpRegistry] = {}
        self._ecr = EcrTokenBook()

    def get(self, name: str) -> HttpRegistry:
        """Raises UpstreamUnknown for what is not configured."""
        registry = self._made.get(name)
        if registry is None:
            key = self._names.configured(name)
            if key is None or len(self._made) >= _HOSTS:
                raise UpstreamUnknown(name)
            registry = self._made[name] = self._make(name, self._settings.upstreams[key])
        return registry

    async def close(self) -> None:
        for registry in self._made.values():
            await registry.close()
        await self._ecr.close()

    def requests(self) -> dict[tuple[str, ...], float]:
        """By configured upstream, kind and status."""
        totals: Counter[tuple[str, ...]] = Counter()
        for name, registry in self._made.items():
            for (kind, status), count in registry.stats.requests.items():
                totals[self._label(name), kind, status] += count
        return dict(totals)

    def received(self) -> dict[tuple[str, ...], float]:
        """Bytes by configured upstream."""
        totals: Counter[tuple[str, ...]] = Counter()
        for name, registry in self._made.items():
            totals[self._label(name),] += registry.stats.bytes_in
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

    def _label(self, name: str) -> str:
        return self._names.configured(name) or ""

    def _make(self, name: str, upstream: UpstreamSettings) -> HttpRegistry:
        limits = Limits(manifest=self._settings.limits.manifest_size)
        ca_file = str(upstream.ca_file) if upstream.ca_file is not None else None
        url = upstream.base_url(name)
        network = Network(RegistrySettings(name, url, ca_file, upstream.insecure, tuple(upstream.realms), limits))
        return HttpRegistry(network, self._authorizer(name, upstream, network))

    def _authorizer(self, name: str, upstream: UpstreamSettings, network: Network) -> Authorizer:
        match upstream.auth:
            case EcrAuth() as auth:
                host = parse_ecr_host(name) or parse_ecr_host(network.home.origin.host)
                return EcrAuthorizer(name, self._ecr.private(_identity(auth, host)))
            case EcrPublicAuth() as auth:
                keeper = self._ecr.public(_identity(auth, None))
                return ChallengeAuthorizer(network, ecr_public_credentials(name, keeper))
            case BasicAuth() as auth:
                return ChallengeAuthorizer(network, _basic(name, auth))
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


def _basic(upstream: str, auth: BasicAuth) -> CredentialSource:
    """Read at each use, so that a rotated secret needs no restart."""

    async def credentials() -> Credentials:
        try:
            found = await asyncio.to_thread(read_credentials, auth, os.environ)
        except FileRefused as refused:
            raise UpstreamRefused(upstream, f"its credentials cannot be read: {refused}") from None
        return Credentials(found.username, found.password.get_secret_value())

    return credentials

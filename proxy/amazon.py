"""What is particular to Amazon's registries: whose name they are asked in, and what AWS knows besides the pulls."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from proxy.config import EcrAuth, EcrPublicAuth, UpstreamSettings
from proxy.core.ecr_names import EcrHost, looks_like_ecr, parse_ecr_host
from proxy.core.errors import UpstreamUnknown
from proxy.core.names import Repository, Tag
from proxy.core.tables import Tables
from proxy.tasks.jobs import Jobs
from proxy.upstream.authorization import CredentialSource, no_credentials
from proxy.upstream.ecr_authorization import EcrAuthorizer, EcrPublicAuthorizer, ecr_public_credentials
from proxy.upstream.ecr_aws import Aws
from proxy.upstream.ecr_identity import AwsIdentity
from proxy.upstream.ecr_repositories import EcrRepositories, PushTimes
from proxy.upstream.ecr_tokens import EcrTokenBook
from proxy.upstream.egress import WaysOut
from proxy.upstream.network import Network
from proxy.upstream.settings import Timing
from proxy.upstream.token_server import TokenServer

Configured = Callable[[str], UpstreamSettings | None]
"""The settings that an upstream's name has; None for what is not configured."""

Ways = Callable[[str], WaysOut]
"""The ways out of an upstream. Raises UpstreamUnknown."""


class Amazon:
    """All ECR upstreams share one book of tokens, by identity and region. Names are those of upstreams."""

    def __init__(self, configured: Configured, ways: Ways, jobs: Jobs, timing: Timing, tables: Tables) -> None:
        self._configured = configured
        self._ways = ways
        self._jobs = jobs
        self._tables = tables
        self._tokens = EcrTokenBook(jobs, timing)
        self._repositories: dict[AwsIdentity, EcrRepositories] = {}
        self._push_times = PushTimes(jobs, tables)

    def private(self, name: str, auth: EcrAuth, network: Network) -> EcrAuthorizer:
        """Raises UpstreamUnknown for a host that a pattern matches and that is no ECR registry: it gets no token."""
        own = parse_ecr_host(name) if network.settings.forward is None else None
        host = own or parse_ecr_host(network.home.origin.host)
        if host is None and (auth.region is None or looks_like_ecr(name)):
            raise UpstreamUnknown(name)
        return EcrAuthorizer(name, self._tokens.private(_identity(auth, host, self._ways(name))))

    def public(self, name: str, auth: EcrPublicAuth | None, network: Network) -> EcrPublicAuthorizer:
        """Anonymous without ``auth``."""
        credentials: CredentialSource = no_credentials
        if auth is not None:
            credentials = ecr_public_credentials(name, self._tokens.public(_identity(auth, None, self._ways(name))))
        origin = str(network.home.origin)
        return EcrPublicAuthorizer(origin, credentials, TokenServer(network).fetch, network)

    def aws(self, name: str) -> Aws | None:
        """The AWS side of an upstream that signs in with AWS credentials."""
        upstream = self._configured(name)
        if upstream is None or not isinstance(upstream.auth, EcrAuth | EcrPublicAuth):
            return None
        return self._tokens.aws(_identity(upstream.auth, ecr_host(name, upstream), self._ways(name)))

    def immutable(self, repository: Repository, tag: Tag) -> bool:
        """Whether its ECR repository does not let the tag be overwritten; False while that is not known."""
        upstream = self._configured(repository.upstream)
        host = _itself(repository.upstream, upstream)
        if upstream is None or host is None or not isinstance(upstream.auth, EcrAuth):
            return False
        identity = _identity(upstream.auth, host, self._ways(repository.upstream))
        if identity not in self._repositories:
            describe = self._tokens.aws(identity).describe_repository
            scope = str(len(self._repositories))
            self._repositories[identity] = EcrRepositories(describe, self._jobs, self._tables, scope)
        return self._repositories[identity].immutable(host.account, repository.name, tag) is True

    async def push_times(self, repository: Repository) -> Mapping[str, float]:
        """When upstream's images were pushed, in seconds since the epoch by digest; empty where that is not asked for
        or not to be had."""
        name = repository.upstream  # of content that is held: it need not be configured any more
        upstream, aws = self._configured(name), self.aws(name)
        host = _itself(name, upstream) if upstream is not None and upstream.push_times else None
        if host is None or aws is None:
            return {}
        return await self._push_times.of(repository, aws, host.account)

    async def lifecycle_policy(self, registry: str, name: str) -> str:
        """The lifecycle policy that the repository has in ECR. Raises ValueError where that is no private ECR registry
        that is an upstream, and AwsFault."""
        host, aws = parse_ecr_host(registry), self.aws(registry)
        if host is None or aws is None or not name:
            raise ValueError(f"{registry}/{name} is no repository of a private ECR registry that is an upstream")
        return await aws.lifecycle_policy(host.account, name)

    def rest(self) -> None:
        """Tokens are asked for when they are wanted, and not before."""
        self._tokens.rest()

    def tokens(self) -> dict[str, Any]:
        """AWS tokens by identity: how long they last, and what went wrong last."""
        return {name: stats._asdict() for name, stats in self._tokens.stats().items()}


def ecr_host(name: str, upstream: UpstreamSettings) -> EcrHost | None:
    """The ECR registry that is asked, by the name of the upstream or by where it is."""
    own = parse_ecr_host(name) if upstream.forwarding is None else None
    return own or parse_ecr_host(urlsplit(upstream.base_url(name)).hostname or "")


def _itself(name: str, upstream: UpstreamSettings | None) -> EcrHost | None:
    """The ECR registry that an upstream is: one that is asked in place of another knows nothing of its repositories."""
    return None if upstream is None or upstream.forwarding is not None else ecr_host(name, upstream)


def _identity(auth: EcrAuth | EcrPublicAuth, host: EcrHost | None, ways: WaysOut) -> AwsIdentity:
    region = auth.region or (host.region if host is not None else "us-east-1")
    return AwsIdentity(
        region,
        auth.role_arn or "",
        auth.external_id or "",
        auth.profile or "",
        auth.endpoint_url or "",
        host.fips if host is not None else False,
        host.dual_stack if host is not None else False,
        ways,
    )

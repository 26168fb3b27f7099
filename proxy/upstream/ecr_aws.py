"""Calls to AWS under one identity, by aiobotocore, which is imported with the first call.

It finds and refreshes the credentials (environment, profile, web identity, SSO, container endpoint, instance metadata),
signs, and names the endpoint. Whatever goes wrong leaves as an ``AwsFault``.
"""

import asyncio
import importlib
import logging
import os
from typing import Any, NamedTuple

from proxy.core.ecr_schedule import token_lifetime
from proxy.core.errors import RateLimited, UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.ecr_faults import AwsFault, NoCredentials, answered_at, aws_fault
from proxy.upstream.ecr_identity import AwsIdentity
from proxy.upstream.ecr_ways import endpoint_of, way_to

_IMAGES_ASKED = 1000  # in one call, the most that ECR gives
_IMAGE_PAGES = 100
CALL_LIMIT = 20.0  # seconds for a call with all that precedes it: clients wait 30 s for their first header
SESSION_NAME = "entrepot"
_PUBLIC_REGION = "us-east-1"  # ECR Public user guide: the API is there, whatever the region of the caller
_GET_TOKEN = "get_authorization_token"
_PASSING = (RateLimited, UpstreamTimeout, UpstreamUnreachable)


class Issued(NamedTuple):
    """A token fresh from AWS."""

    value: str  # base64 of "AWS:password"
    lifetime: float  # seconds from now

    def __repr__(self) -> str:
        return f"Issued(lifetime={self.lifetime})"


class StsCaller(NamedTuple):
    """Whom AWS takes us for, and which provider of the chain said so."""

    arn: str
    provider: str


class Aws:
    """AWS under one identity. Its calls raise AwsFault; any may be cancelled at any time."""

    def __init__(self, identity: AwsIdentity) -> None:
        self.identity = identity
        self._session: Any = None  # keeps credentials and API models; a client costs 5 ms then
        self._source: Any = None  # the session of the chain: the same one, or the one that assumes the role
        self._provider = ""  # of the chain, that the last credentials are from
        self._endpoints: dict[str, str] = {}  # by service
        self._opening = asyncio.Lock()

    async def ecr_token(self) -> Issued:
        """ECR GetAuthorizationToken. It is good for all registries of the region that the identity may read."""
        answer = await self._call("ecr", _GET_TOKEN)
        data = answer.get("authorizationData") or [{}]
        return _issued(data[0], answer)

    async def ecr_public_token(self) -> Issued:
        """ECR Public GetAuthorizationToken, of which the answer is one object."""
        answer = await self._call("ecr-public", _GET_TOKEN)
        return _issued(answer.get("authorizationData") or {}, answer)

    async def describe_repository(self, account: str, name: str) -> dict[str, Any]:
        """ECR DescribeRepositories for one name."""
        answer = await self._call("ecr", "describe_repositories", registryId=account, repositoryNames=[name])
        found: list[dict[str, Any]] = answer.get("repositories") or [{}]
        return found[0]

    async def push_times(self, account: str, name: str) -> dict[str, float]:
        """ECR DescribeImages: digests and when they were pushed, in seconds since the epoch; of the first 100,000
        images, which is ECR's own quota for a repository."""
        pushed: dict[str, float] = {}
        page: dict[str, Any] = {"registryId": account, "repositoryName": name, "maxResults": _IMAGES_ASKED}
        for _ in range(_IMAGE_PAGES):
            answer = await self._call("ecr", "describe_images", **page)
            for image in answer.get("imageDetails") or []:
                if (at := image.get("imagePushedAt")) is not None:
                    pushed[str(image.get("imageDigest"))] = at.timestamp()
            if not (following := answer.get("nextToken")):
                break
            page["nextToken"] = following
        return pushed

    async def lifecycle_policy(self, account: str, name: str) -> str:
        """ECR GetLifecyclePolicy: the text as it is there."""
        answer = await self._call("ecr", "get_lifecycle_policy", registryId=account, repositoryName=name)
        return str(answer.get("lifecyclePolicyText"))

    async def caller(self) -> StsCaller:
        """STS GetCallerIdentity."""
        answer = await self._call("sts", "get_caller_identity")
        return StsCaller(str(answer.get("Arn")), self._provider)

    async def _call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            async with asyncio.timeout(CALL_LIMIT):
                session, source = await self._opened()
                options = client_options(self.identity, service, **await self._way(source, service))
                async with session.create_client(service, **options) as client:
                    answer: dict[str, Any] = await getattr(client, operation)(**parameters)
                    return answer
        except TimeoutError as late:
            raise AwsFault(UpstreamTimeout, f"AWS did not answer {operation} within {CALL_LIMIT:.0f} s") from late
        except AwsFault:
            raise
        except Exception as error:
            fault = aws_fault(error, self.identity, operation)
            if operation == _GET_TOKEN and fault.kind not in _PASSING:
                # Credentials and settings may be mended until the next call: they are looked up anew then.
                self._session = None
            raise fault from error

    async def _opened(self) -> tuple[Any, Any]:
        """The session, and that of the chain, for one call: a failure of another may let go of both meanwhile."""
        async with self._opening:
            if self._session is None:
                await asyncio.to_thread(importlib.import_module, "aiobotocore.session")
                for library in ("botocore", "aiobotocore"):  # they write down requests, tokens and tracebacks
                    logging.getLogger(library).setLevel(logging.CRITICAL)
                self._source = _plain(self.identity)
                self._session = _assuming(self.identity, self._source) if self.identity.role_arn else self._source
            session, source = self._session, self._source
            await self._lead_the_chain(source)
            credentials = await session.get_credentials()
            if credentials is None:
                self._session = None
                raise NoCredentials
            self._provider = str(credentials.method)
            return session, source

    async def _lead_the_chain(self, source: Any) -> None:
        """The providers of the chain make clients of their own, for STS or SSO: they go the way that STS goes."""
        from aiobotocore.config import AioConfig  # type: ignore[import-untyped]  # noqa: PLC0415

        source.set_default_client_config(AioConfig(**await self._way(source, "sts")))

    async def _way(self, source: Any, service: str) -> dict[str, Any]:
        if service not in self._endpoints:
            options = client_options(self.identity, service)
            self._endpoints[service] = await endpoint_of(source, service, options)
        return await way_to(self._endpoints[service], self.identity.ways)


def _plain(identity: AwsIdentity) -> Any:
    from aiobotocore.session import AioSession  # type: ignore[import-untyped]  # noqa: PLC0415

    return AioSession(profile=identity.profile or None)


def _assuming(identity: AwsIdentity, source: Any) -> Any:
    """A session whose credentials are those of the role, assumed and renewed by botocore with those of the chain."""
    from aiobotocore.credentials import AioCredentialResolver  # type: ignore[import-untyped]  # noqa: PLC0415

    session = _plain(identity)
    role = _role_provider(source, identity)
    session.register_component("credential_provider", AioCredentialResolver(providers=[role]))
    return session


def _role_provider(source: Any, identity: AwsIdentity) -> Any:
    from aiobotocore.credentials import (  # noqa: PLC0415
        AioAssumeRoleCredentialFetcher,
        AioDeferredRefreshableCredentials,
    )

    class AssumedRole:
        METHOD = "assume-role"

        async def load(self) -> Any:
            credentials = await source.get_credentials()
            if credentials is None:
                return None
            external = {"ExternalId": identity.external_id} if identity.external_id else {}
            fetcher = AioAssumeRoleCredentialFetcher(
                client_creator=lambda name, **keys: source.create_client(
                    name, **client_options(identity, name), **keys
                ),
                source_credentials=credentials,
                role_arn=identity.role_arn,
                extra_args={"RoleSessionName": SESSION_NAME, **external},
            )
            return AioDeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method=self.METHOD)

    return AssumedRole()


def client_options(identity: AwsIdentity, service: str, **way: Any) -> dict[str, Any]:
    """What a client of the service is made with; ``way`` is of its config. The name of the registry decides only where
    ECR is asked."""
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    endpoint = identity.endpoint_url if service != "sts" else ""
    by_name = service == "ecr" and not endpoint
    config = AioConfig(
        connect_timeout=5,
        read_timeout=10,
        retries={"total_max_attempts": 1},  # the schedule of the caller is the only one that repeats
        use_fips_endpoint=(by_name and identity.fips) or None,
        use_dualstack_endpoint=(by_name and identity.dual_stack) or None,
        warm_up_loader_caches=True,  # reads the API models off the loop
        **way,
    )
    options = {"region_name": _region(identity, service), "config": config}
    return {**options, "endpoint_url": endpoint} if endpoint else options


def _region(identity: AwsIdentity, service: str) -> str:
    """STS is asked where we are, since its VPC endpoint is there; ECR where the registry is."""
    if service == "ecr-public":
        return _PUBLIC_REGION
    if service == "sts":
        return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or identity.region
    return identity.region


def _issued(data: dict[str, Any], answer: dict[str, Any]) -> Issued:
    value, expires_at = data.get("authorizationToken"), data.get("expiresAt")
    if not value:
        raise AwsFault(UpstreamFailed, "AWS answered GetAuthorizationToken without a token")
    lifetime = token_lifetime(expires_at.timestamp() if expires_at else 0.0, answered_at(answer))
    return Issued(str(value), lifetime)

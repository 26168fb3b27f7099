"""Looks, step by step, at everything that a pull from one upstream needs, and says what to do where a step fails.

It asks by the very code that pulls ask by, so what is well here is well there. No secret is in a detail.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urlsplit

from proxy.core.ecr_names import parse_ecr_host
from proxy.core.errors import Fault, UpstreamRefused
from proxy.core.manifests import DOCKER_LIST, OCI_INDEX
from proxy.core.names import parse_name, parse_reference
from proxy.doctor.advice import Advice, SignIn
from proxy.doctor.probes import Way
from proxy.doctor.steps import STEP_LIMIT, Ailment, NotNeeded, Plan, Step
from proxy.upstream.contract import FetchedManifest, PingResult
from proxy.upstream.ecr_aws import Aws
from proxy.upstream.ecr_faults import AwsFault
from proxy.upstream.egress import DIRECT, Proxy, WayClosed, WaysOut
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.target import TargetRefused, parse_target

CLOCK_TOLERANCE = 60.0  # seconds; AWS refuses signatures that are five minutes off


@dataclass(frozen=True, slots=True)
class Examinee:
    """An upstream to look at. ``registry`` is how pulls reach it; ``images`` are ``name:tag`` or ``name@digest`` below
    the upstream; ``aws`` is None where no AWS credentials are used; ``tls`` is the upstream's own trust, None for the
    system's; ``ways`` are its ways out."""

    name: str
    url: str
    registry: HttpRegistry
    images: tuple[str, ...] = ()
    sign_in: SignIn = SignIn.ANONYMOUS
    aws: Aws | None = None
    tls: ssl.SSLContext | None = None
    ways: WaysOut = DIRECT


async def examine_upstreams(upstreams: Sequence[Examinee], limit: float = STEP_LIMIT) -> list[Step]:
    """All steps of each upstream in the order given; ``limit`` seconds for each."""
    per_upstream = await asyncio.gather(*(_Examination(upstream, limit).run() for upstream in upstreams))
    return [step for steps in per_upstream for step in steps]


class _Examination:
    def __init__(self, upstream: Examinee, limit: float) -> None:
        address = urlsplit(upstream.url)
        host = address.hostname or ""
        self._upstream = upstream
        self._limit = limit
        self._advice = Advice(upstream.sign_in, parse_ecr_host(host) or parse_ecr_host(upstream.name))
        self._proxy, self._closed = _proxy_of(upstream)
        self._way = _way(upstream, self._proxy, self._advice.route())
        self._ping_result: PingResult | Fault | TimeoutError = TimeoutError()

    async def run(self) -> list[Step]:
        plan = Plan(self._upstream.name, self._advice.route(), self._limit)
        await self._ping()
        await plan.take("way out", (), self._way_out)
        await plan.take("name resolves", ("way out",), partial(self._probe, self._way.resolves))
        await plan.take("connects", ("name resolves",), partial(self._probe, self._way.connects))
        await plan.take("TLS", ("connects",), partial(self._probe, self._secured))
        await plan.take("AWS credentials", (), self._credentials)
        await plan.take("AWS token", ("AWS credentials",), self._token)
        await plan.take("/v2/ accepted", ("TLS",), self._accepted)
        await plan.take("signs in", ("/v2/ accepted", "AWS token"), self._signed_in)
        await plan.take("clock", ("/v2/ accepted",), self._clock)
        for image in self._upstream.images or ("",):
            await self._image(plan, image)
        return plan.steps

    async def _ping(self) -> None:
        try:
            async with asyncio.timeout(self._limit):
                self._ping_result = await self._upstream.registry.ping()
        except (Fault, TimeoutError) as fault:
            self._ping_result = fault

    async def _way_out(self) -> str:
        if self._closed:
            raise Ailment(self._closed, "correct the egress of the upstream, HTTPS_PROXY or HTTP_PROXY")
        return f"through {self._proxy}" if self._proxy is not None else "straight"

    async def _probe(self, look: Callable[[], Awaitable[str]]) -> str:
        """A bit of the way that does not work by itself is no trouble where the whole does: by a proxy, say."""
        try:
            return await look()
        except Ailment as ailment:
            if isinstance(self._ping_result, PingResult):
                raise NotNeeded(f"not directly ({ailment.detail}), but as pulls go it is reached") from None
            raise

    async def _secured(self) -> str:
        if self._proxy is not None and urlsplit(self._upstream.url).scheme == "https":
            raise NotNeeded("it is within the tunnel of the proxy: the next step tells")
        if self._way.tls is None:
            raise NotNeeded("plain http")
        return await self._way.secures()

    async def _credentials(self) -> str:
        if self._upstream.aws is None:
            raise NotNeeded("this upstream needs none")
        try:
            caller = await self._upstream.aws.caller()
        except AwsFault as fault:
            raise Ailment(fault.why, "see 'Permissions' in deploy/aws/README.md") from None
        return f"{caller.arn}, found by provider '{caller.provider}'"

    async def _token(self) -> str:
        aws = self._upstream.aws
        if aws is None:
            raise NotNeeded("this upstream needs none")
        public = self._upstream.sign_in is SignIn.ECR_PUBLIC
        try:
            issued = await (aws.ecr_public_token() if public else aws.ecr_token())
        except AwsFault as fault:
            raise Ailment(fault.why, "see 'Permissions' and 'Network' in deploy/aws/README.md") from None
        host = self._advice.ecr
        if host is not None and host.region != aws.identity.region:
            detail = f"the token is of {aws.identity.region}, the registry in {host.region}"
            raise Ailment(detail, "leave auth.region out: it follows from the name")
        return f"good for {issued.lifetime / 3600:.1f} h"

    def _answered(self) -> PingResult:
        if isinstance(self._ping_result, TimeoutError):
            raise self._ping_result
        if isinstance(self._ping_result, Fault):
            raise Ailment(str(self._ping_result), self._advice.route()) from None
        return self._ping_result

    async def _accepted(self) -> str:
        ping = self._answered()
        if ping.challenges and (ping.status < 400 or ping.status in (400, 401, 403)):
            return f"401, it asks for {ping.challenges[0].scheme.capitalize()}"
        if ping.status < 400:
            return str(ping.status)
        raise Ailment(f"status {ping.status}", "check the url: this does not answer as a registry")

    async def _signed_in(self) -> str:
        ping, wanted = self._answered(), self._upstream.sign_in is not SignIn.ANONYMOUS
        if ping.accepted:
            return f"with {self._upstream.sign_in.value} credentials"
        if ping.accepted is None and ping.challenges and ping.status < 400:
            return "with an anonymous token"
        if not wanted:
            raise NotNeeded("no credentials are configured: only what is public can be pulled")
        if ping.accepted is None:
            raise NotNeeded("it lets everybody in at /v2/: only an image tells whether the credentials are good")
        fix = self._advice.readable() if ping.unread else self._advice.let_in()
        raise Ailment(ping.why or "it takes none of our credentials", fix)

    async def _clock(self) -> str:
        try:
            ahead = time.time() - parsedate_to_datetime(self._answered().date or "").timestamp()
        except ValueError:
            raise NotNeeded("the registry does not say its time") from None
        if abs(ahead) > CLOCK_TOLERANCE:
            fix = "set the clock by NTP; in AWS by chrony with server 169.254.169.123"
            raise Ailment(f"ours is {ahead:+.0f} s from the registry's", fix)
        return f"within {CLOCK_TOLERANCE:.0f} s of the registry's"

    async def _image(self, plan: Plan, image: str) -> None:
        """Two steps: the manifest, and the first of its blobs."""
        asked = _Image(self._upstream.registry, image, self._advice)
        branch = plan.branch()
        await branch.take("manifest", ("signs in",), asked.manifest)
        await branch.take("blob", ("manifest",), asked.blob)
        plan.steps += branch.steps


class _Image:
    """One image, as a pull asks for it."""

    def __init__(self, registry: HttpRegistry, image: str, advice: Advice) -> None:
        self._registry = registry
        self._image = image
        self._advice = advice
        self._found: FetchedManifest | None = None

    async def manifest(self) -> str:
        if not self._image:
            raise NotNeeded("no image given")
        name, reference = _parts(self._image)
        try:
            digest, _ = await self._registry.manifest_digest(parse_name(name), parse_reference(reference))
            self._found = await self._registry.manifest(name, digest)
        except UpstreamRefused as fault:
            raise Ailment(str(fault), self._advice.refused()) from None
        except Fault as fault:
            raise Ailment(str(fault), self._advice.image()) from None
        return f"{self._image}: {digest}"

    async def blob(self) -> str:
        if self._found is None:
            raise NotNeeded("no image given")
        name, manifest = _parts(self._image)[0], self._found
        try:
            children = manifest.facts.children
            if children and manifest.facts.media_type in {OCI_INDEX, DOCKER_LIST}:
                children = (await self._registry.manifest(name, children[0])).facts.children
            if not children:
                raise NotNeeded("the image has no blobs")
            transfer = await self._registry.blob(name, children[0])
        except Fault as fault:
            raise Ailment(str(fault), self._advice.blob()) from None
        transfer.close()
        return f"{name}@{children[0]}"


def _proxy_of(upstream: Examinee) -> tuple[Proxy | None, str]:
    """By which the registry is asked, None for straight; or why there is no way to it."""
    try:
        return upstream.ways.known(parse_target(upstream.url).origin), ""
    except (WayClosed, TargetRefused) as closed:
        return None, str(closed)


def _way(upstream: Examinee, proxy: Proxy | None, fix: str) -> Way:
    """What is connected to: the proxy where there is one."""
    if proxy is not None:
        return Way(proxy.origin.host, proxy.origin.port, None, "check the address of the proxy, and that it runs")
    address = urlsplit(upstream.url)
    secure = address.scheme == "https"
    tls = (upstream.tls or ssl.create_default_context()) if secure else None
    return Way(address.hostname or "", address.port or (443 if secure else 80), tls, fix)


def _parts(image: str) -> tuple[str, str]:
    """Name and reference; the tag ``latest`` where there is none."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    name, colon, tag = image.rpartition(":")
    return (name, tag) if colon else (image, "latest")

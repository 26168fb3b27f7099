"""Looks, step by step, at everything that a pull through Entrepot needs, and says what to do where a step fails.

A step never raises and is bounded in time; one whose ground has failed is skipped, so the first failure is the cause.
No secret is in a detail.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp

from proxy.core.ecr_names import EcrHost, parse_ecr_host
from proxy.core.errors import Fault, UpstreamRefused
from proxy.core.manifests import DOCKER_LIST, OCI_INDEX, ManifestInvalid, read_manifest
from proxy.core.names import parse_name, parse_reference
from proxy.ops.doctor_host import Host, host_steps
from proxy.ops.doctor_steps import Step, Verdict
from proxy.upstream.contract import FetchedManifest, Registry
from proxy.upstream.ecr_aws import Aws
from proxy.upstream.ecr_faults import AwsFault

STEP_LIMIT = 30.0  # seconds; longer than any call inside has of its own
CLOCK_TOLERANCE = 60.0  # seconds; AWS refuses signatures that are five minutes off


@dataclass(frozen=True, slots=True)
class Examinee:
    """An upstream to look at. ``aws`` is None where no AWS credentials are used. ``image`` is ``name:tag`` or
    ``name@digest`` below the upstream, empty to leave manifest and blob out; ``registry`` is how pulls reach it."""

    name: str
    url: str
    registry: Registry
    image: str = ""
    aws: Aws | None = None
    public: bool = False  # ECR Public, whose token is another
    tls: ssl.SSLContext | None = None  # the upstream's own trust; None for the system's


async def examine(upstreams: Sequence[Examinee], host: Host) -> list[Step]:
    """All steps of the machine, then of each upstream in the order given."""
    per_upstream = await asyncio.gather(*(_Examination(upstream).run() for upstream in upstreams))
    of_host = await asyncio.to_thread(host_steps, host)
    return [*of_host, *(step for steps in per_upstream for step in steps)]


class _Ailment(Exception):
    """A step failed."""

    def __init__(self, detail: str, fix: str) -> None:
        self.detail = detail
        self.fix = fix


class _NotNeeded(Exception):
    """A step does not apply; the text says why, and what builds on it goes on."""


class _Examination:
    def __init__(self, upstream: Examinee) -> None:
        self._upstream = upstream
        self._address = urlsplit(upstream.url)
        self._host = self._address.hostname or ""
        self._secure = self._address.scheme == "https"
        self._port = self._address.port or (443 if self._secure else 80)
        self._authorization = ""
        self._date = ""
        self._manifest: FetchedManifest | None = None
        self._failed: set[str] = set()

    async def run(self) -> list[Step]:
        """The steps with the names of those they build on."""
        plan: list[tuple[str, tuple[str, ...], Callable[[], Awaitable[str]]]] = [
            ("name resolves", (), self._resolve),
            ("connects", ("name resolves",), self._connect),
            ("TLS", ("connects",), self._handshake),
            ("AWS credentials", (), self._credentials),
            ("AWS token", ("AWS credentials",), self._token),
            ("/v2/ accepted", ("TLS", "AWS token"), self._accepted),
            ("clock", ("/v2/ accepted",), self._clock),
            ("manifest", ("/v2/ accepted",), self._image),
            ("blob", ("manifest",), self._blob),
        ]
        return [await self._step(name, needs, look) for name, needs, look in plan]

    async def _step(self, name: str, needs: Sequence[str], look: Callable[[], Awaitable[str]]) -> Step:
        if missing := [need for need in needs if need in self._failed]:
            self._failed.add(name)
            return Step(self._upstream.name, name, Verdict.SKIPPED, f"not looked at, since '{missing[0]}' did not do")
        try:
            async with asyncio.timeout(STEP_LIMIT):
                return Step(self._upstream.name, name, Verdict.OK, await look())
        except _NotNeeded as reason:
            return Step(self._upstream.name, name, Verdict.SKIPPED, str(reason))
        except _Ailment as ailment:
            self._failed.add(name)
            return Step(self._upstream.name, name, Verdict.FAILED, ailment.detail, ailment.fix)
        except TimeoutError:
            self._failed.add(name)
            return Step(
                self._upstream.name, name, Verdict.FAILED, f"no answer in {STEP_LIMIT:.0f} s", self._route_fix()
            )

    async def _resolve(self) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            fix = "check the spelling, and the DNS settings of this machine and of the VPC"
            raise _Ailment(f"{self._host}: {error.strerror}", fix) from None
        return ", ".join(sorted({str(entry[4][0]) for entry in found}))

    async def _connect(self) -> str:
        await self._open(None)
        return f"{self._host}:{self._port}"

    async def _handshake(self) -> str:
        if not self._secure:
            raise _NotNeeded("plain http")
        return await self._open(self._upstream.tls or ssl.create_default_context())

    async def _open(self, tls: ssl.SSLContext | None) -> str:
        try:
            _, writer = await asyncio.open_connection(
                self._host, self._port, ssl=tls, ssl_handshake_timeout=10 if tls else None
            )
        except ssl.SSLCertVerificationError as error:
            fix = "name the authority's certificate in ca_file of the upstream, if the connection may be intercepted"
            raise _Ailment(error.verify_message, fix) from None
        except ssl.SSLError as error:
            raise _Ailment(f"TLS failed: {error.reason}", "check that the url names an https port") from None
        except OSError as error:
            raise _Ailment(f"{self._host}:{self._port}: {error.strerror or error}", self._route_fix()) from None
        version = writer.get_extra_info("ssl_object").version() if tls else ""
        writer.close()
        with contextlib.suppress(OSError):  # a peer that resets what we close has been reached all the same
            await writer.wait_closed()
        return version

    async def _credentials(self) -> str:
        if self._upstream.aws is None:
            raise _NotNeeded("this upstream needs none")
        try:
            caller = await self._upstream.aws.caller()
        except AwsFault as fault:
            raise _Ailment(fault.why, "see 'Permissions' in deploy/aws/README.md") from None
        return f"{caller.arn}, found by provider '{caller.provider}'"

    async def _token(self) -> str:
        aws = self._upstream.aws
        if aws is None:
            raise _NotNeeded("this upstream needs none")
        try:
            issued = await (aws.ecr_public_token() if self._upstream.public else aws.ecr_token())
        except AwsFault as fault:
            raise _Ailment(fault.why, "see 'Permissions' and 'Network' in deploy/aws/README.md") from None
        host = self._ecr_host()
        if host is not None and host.region != aws.identity.region:
            detail = f"the token is of {aws.identity.region}, the registry in {host.region}"
            raise _Ailment(detail, "leave auth.region out: it follows from the name")
        if not self._upstream.public:
            self._authorization = f"Basic {issued.value}"
        return f"good for {issued.lifetime / 3600:.1f} h"

    async def _accepted(self) -> str:
        headers = {"Authorization": self._authorization} if self._authorization else {}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session,
                session.get(
                    f"{self._upstream.url.rstrip('/')}/v2/",
                    headers=headers,
                    allow_redirects=False,
                    ssl=self._upstream.tls or True,
                ) as answer,
            ):
                self._date = answer.headers.get("Date", "")
                status, challenge = answer.status, answer.headers.get("WWW-Authenticate", "")
        except aiohttp.ClientError as error:
            raise _Ailment(f"no answer: {type(error).__name__}", self._route_fix()) from None
        if status == 200 or (status == 401 and challenge and not self._authorization):
            return "200" if status == 200 else f"401, it asks for {challenge.partition(' ')[0]}"
        if self._authorization and status in {401, 403}:
            fix = "check account and region in the name of the upstream, and its role_arn"
            raise _Ailment(f"status {status} with a fresh token", fix)
        raise _Ailment(f"status {status}", "check the url: this does not answer as a registry")

    async def _clock(self) -> str:
        try:
            ahead = time.time() - parsedate_to_datetime(self._date).timestamp()
        except ValueError:
            raise _NotNeeded("the registry does not say its time") from None
        if abs(ahead) > CLOCK_TOLERANCE:
            fix = "set the clock by NTP; in AWS by chrony with server 169.254.169.123"
            raise _Ailment(f"ours is {ahead:+.0f} s from the registry's", fix)
        return f"within {CLOCK_TOLERANCE:.0f} s of the registry's"

    async def _image(self) -> str:
        if not self._upstream.image:
            raise _NotNeeded("no image given")
        name, reference = self._image_parts()
        try:
            digest = await self._upstream.registry.manifest_digest(parse_name(name), parse_reference(reference))
            self._manifest = await self._upstream.registry.manifest(name, digest)
        except UpstreamRefused as fault:
            raise _Ailment(str(fault), "allow ecr:BatchGetImage, or give credentials that may pull this") from None
        except Fault as fault:
            raise _Ailment(str(fault), self._image_fix()) from None
        return str(digest)

    async def _blob(self) -> str:
        if self._manifest is None:
            raise _NotNeeded("no image given")
        name, _ = self._image_parts()
        registry, manifest = self._upstream.registry, self._manifest
        try:
            children = read_manifest(manifest.raw, manifest.media_type).children
            if children and manifest.media_type in {OCI_INDEX, DOCKER_LIST}:
                manifest = await registry.manifest(name, children[0])
                children = read_manifest(manifest.raw, manifest.media_type).children
            if not children:
                raise _NotNeeded("the image has no blobs")
            transfer = await registry.blob(name, children[0])
        except (Fault, ManifestInvalid) as fault:
            raise _Ailment(str(fault), self._blob_fix()) from None
        transfer.close()
        return str(children[0])

    def _image_parts(self) -> tuple[str, str]:
        image = self._upstream.image
        name, at, digest = image.partition("@")
        if at:
            return name, digest
        name, colon, tag = image.rpartition(":")
        return (name, tag) if colon else (image, "latest")

    def _route_fix(self) -> str:
        host = self._ecr_host()
        if host is None:
            return "check routes, firewall and NAT: the machine must reach this host"
        return (
            f"allow port 443 out in the security group, and have a NAT or the VPC endpoint "
            f"com.amazonaws.{host.region}.ecr.dkr with private DNS and port 443 in from here"
        )

    def _image_fix(self) -> str:
        host = self._ecr_host()
        if host is None:
            return "check the name of the image"
        return f"check the name of the image, and that account {host.account} has it in {host.region} and not archived"

    def _ecr_host(self) -> EcrHost | None:
        return parse_ecr_host(self._host) or parse_ecr_host(self._upstream.name)

    def _blob_fix(self) -> str:
        if self._ecr_host() is None:
            return "blobs are often redirected to a CDN: allow port 443 out to everywhere"
        return "ECR's layers come from S3: add the S3 gateway endpoint to the route table, and allow its prefix list"

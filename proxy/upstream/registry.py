"""``contract.Registry`` over HTTP: what each call asks, and what its answer must look like."""

from urllib.parse import urlencode

from proxy.core.errors import (
    BlobUnknown,
    DigestInvalid,
    NameUnknown,
    ReferrersUnsupported,
    UpstreamBroken,
    UpstreamFault,
)
from proxy.core.manifests import ACCEPT, OCI_INDEX, ManifestInvalid, parse_object, read_manifest
from proxy.core.names import Digest, Reference
from proxy.upstream.authorization import Authorizer, Refusal
from proxy.upstream.challenge import parse_challenges
from proxy.upstream.contract import FetchedManifest, Pong, ReferrersPage, TagsPage, Transfer
from proxy.upstream.exchange import Ask, Exchange, Follow
from proxy.upstream.links import last_of, next_query
from proxy.upstream.message import Answer, HostClass, Kind, Request
from proxy.upstream.network import Network
from proxy.upstream.stats import Stats
from proxy.upstream.streaming import StreamingAnswer
from proxy.upstream.transfer import HttpTransfer, parse_content_range


class HttpRegistry:
    """One configured upstream. Owns ``network`` and ``authorizer``, and closes both."""

    def __init__(self, network: Network, authorizer: Authorizer) -> None:
        self.name = network.settings.name
        self._network = network
        self._limits = network.settings.limits
        self._authorizer = authorizer
        self._exchange = Exchange(network, authorizer)

    @property
    def stats(self) -> Stats:
        return self._network.stats

    async def manifest(self, name: str, reference: Reference) -> FetchedManifest:
        ask = _manifest_ask(name, reference)
        answer = await self._exchange.ask(ask, self._network.small)
        raw = await self._whole(answer, ask.what, self._limits.manifest)
        if isinstance(reference, Digest) and not reference.matches(raw):
            raise UpstreamBroken(self.name, f"the bytes of {ask.what} do not match that digest")
        try:
            media_type = read_manifest(raw, answer.header("Content-Type") or "").media_type
        except ManifestInvalid as fault:
            raise UpstreamBroken(self.name, f"{ask.what} is not a manifest: {fault}") from fault
        digest = reference if isinstance(reference, Digest) else Digest.of(raw)
        return FetchedManifest(raw, digest, media_type)

    async def manifest_digest(self, name: str, reference: Reference) -> Digest:
        """Also a GET where HEAD itself is not to be had, as with storage whose URLs are signed for GET only."""
        try:
            answer = await self._exchange.ask(_manifest_ask(name, reference, "HEAD"), self._network.small)
        except UpstreamBroken:
            return (await self.manifest(name, reference)).digest
        header = answer.header("Docker-Content-Digest")
        await answer.close()
        if isinstance(reference, Digest):
            return reference
        try:
            return Digest.parse(header or "")
        except DigestInvalid:
            return (await self.manifest(name, reference)).digest

    async def blob(self, name: str, digest: Digest, offset: int = 0, end: int | None = None) -> Transfer:
        headers = {"Range": f"bytes={offset}-{'' if end is None else end - 1}"} if offset else {}
        ask = Ask(Kind.BLOB, name, _blob_path(name, digest), f"{name}@{digest}", headers)
        answer = await self._exchange.ask(ask, self._network.bulk)
        span = _span(answer, offset, end)
        if span is None:
            await answer.close()
            raise UpstreamBroken(
                self.name, f"it answered {answer.status} to {ask.what} from byte {offset} in a way that does not fit"
            )
        return HttpTransfer(self.name, answer.take(), span, self._limits, self._network.timing.now, self.stats.received)

    async def has_blob(self, name: str, digest: Digest) -> bool:
        try:
            answer = await self._exchange.ask(_byte_ask(name, digest, Follow.NOWHERE), self._network.small)
        except (BlobUnknown, NameUnknown):
            return False
        await self._exchange.finish(answer)
        return True

    async def blob_size(self, name: str, digest: Digest) -> int | None:
        answer = await self._exchange.ask(_byte_ask(name, digest, Follow.ANYWHERE), self._network.small)
        if answer.status == 206:
            span = parse_content_range(answer.header("Content-Range"))
            await self._exchange.finish(answer)
            return span.total if span is not None else None
        length = answer.header("Content-Length") or ""
        await answer.close()  # the whole blob is on its way, and nobody wants it
        return int(length) if length.isascii() and length.isdigit() else None

    async def tags(self, name: str, limit: int | None, last: str | None) -> TagsPage:
        asked = {"n": limit, "last": last}
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        ask = Ask(Kind.TAGS, name, f"/v2/{name}/tags/list{_question(query)}", f"the tags of {name}")
        answer = await self._exchange.ask(ask, self._network.small)
        raw = await self._whole(answer, ask.what, self._limits.listing)
        try:
            tags = parse_object(raw).get("tags") or []
        except ManifestInvalid as fault:
            raise UpstreamBroken(self.name, f"{ask.what} cannot be read: {fault}") from fault
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise UpstreamBroken(self.name, f"{ask.what} are not a list of names")
        onward = next_query(answer.headers("Link"))
        if onward is None:
            return TagsPage(tags, None)
        return TagsPage(tags, last_of(onward) or (tags[-1] if tags else None))

    async def referrers(self, name: str, digest: Digest, query: str) -> ReferrersPage:
        path = f"/v2/{name}/referrers/{digest}{_question(query)}"
        what = f"the referrers of {name}@{digest}"
        ask = Ask(Kind.REFERRERS, name, path, what, {"Accept": OCI_INDEX}, follow=Follow.AT_HOME)
        answer = await self._exchange.ask(ask, self._network.small)
        if answer.status != 200:
            await answer.close()
            raise ReferrersUnsupported(f"{self.name} has no referrers API")
        raw = await self._whole(answer, what, self._limits.listing)
        try:
            index = parse_object(raw)
        except ManifestInvalid as fault:
            raise ReferrersUnsupported(f"{self.name} has no referrers API") from fault
        if not isinstance(index.get("manifests"), list):
            raise ReferrersUnsupported(f"{self.name} has no referrers API")
        filtered = "artifacttype" in (answer.header("OCI-Filters-Applied") or "").lower()
        return ReferrersPage(raw, filtered, next_query(answer.headers("Link")))

    async def ping(self) -> Pong:
        """``/v2/`` without authorization and with it: that the way works, and that we are let in. Raises
        UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        first = await self._pinged(None)
        challenges = parse_challenges(first.headers("WWW-Authenticate"))
        scheme = challenges[0].scheme if challenges else ""
        date = first.header("Date") or ""
        if first.status != 401:
            return Pong(first.status, scheme, date, signed_in=False)
        try:
            used = await self._authorizer.authorization("")
            if used is None and await self._authorizer.renew("", Refusal(401, challenges, None), None):
                used = await self._authorizer.authorization("")
        except UpstreamFault as fault:
            return Pong(first.status, scheme, date, signed_in=False, why=str(fault))
        if used is None:
            return Pong(first.status, scheme, date, signed_in=False)
        second = await self._pinged(used)
        why = "" if second.status < 400 else f"it answers {second.status} with fresh authorization"
        return Pong(first.status, scheme, date, signed_in=second.status < 400, why=why)

    async def _pinged(self, authorization: str | None) -> Answer:
        home = self._network.home
        headers = {"Authorization": authorization} if authorization is not None else {}
        target = home._replace(path=f"{home.path}/v2/")
        request = Request("GET", target, headers, HostClass.HOME, self._limits.token_total)
        answer = await self._network.small(Kind.PING, request)
        await self._exchange.finish(answer)
        return answer

    async def close(self) -> None:
        await self._authorizer.close()
        await self._network.close()

    async def _whole(self, answer: Answer, what: str, limit: int) -> bytes:
        try:
            raw = await answer.read(limit)
        finally:
            await answer.close()
        self.stats.received(len(raw))
        if len(raw) > limit:
            raise UpstreamBroken(self.name, f"{what}: more than {limit} bytes")
        return raw


def _manifest_ask(name: str, reference: Reference, method: str = "GET") -> Ask:
    what = f"{name}@{reference}" if isinstance(reference, Digest) else f"{name}:{reference}"
    return Ask(Kind.MANIFEST, name, f"/v2/{name}/manifests/{reference}", what, {"Accept": ACCEPT}, method)


def _byte_ask(name: str, digest: Digest, follow: Follow) -> Ask:
    """For one byte, so that a registry which sends blobs itself does not send this one; an empty blob has none to ask
    for. Never a HEAD: ECR Public answers 401 to each, presigned URLs 403."""
    headers = {} if digest.matches(b"") else {"Range": "bytes=0-0"}
    return Ask(Kind.BLOB, name, _blob_path(name, digest), f"{name}@{digest}", headers, follow=follow)


def _blob_path(name: str, digest: Digest) -> str:
    return f"/v2/{name}/blobs/{digest}"


def _question(query: str) -> str:
    return f"?{query}" if query else ""


def _span(answer: StreamingAnswer, offset: int, end: int | None) -> tuple[int, int | None] | None:
    """Where the body stands in the blob, and the size of the blob; None for an answer that does not fit a request for
    everything from ``offset`` up to ``end``."""
    length = answer.length
    if answer.status == 200:
        return 0, length
    span = parse_content_range(answer.header("Content-Range"))
    if answer.status != 206 or span is None or span.start != offset or offset == 0:
        return None
    wanted = span.total if end is None else end
    if wanted is not None and span.last != wanted - 1:
        return None
    if length is not None and length != span.last + 1 - span.start:
        return None
    return offset, span.last + 1 if end is None else span.total

"""``contract.Registry`` over HTTP: what each call asks, and what its answer must look like."""

from urllib.parse import urlencode

from proxy.core.errors import (
    BlobUnknown,
    DigestInvalid,
    NameUnknown,
    ReferrersUnsupported,
    UpstreamBroken,
    UpstreamFault,
    WrongBytes,
)
from proxy.core.manifests import ACCEPT, OCI_INDEX, ManifestInvalid, parse_object, read_manifest
from proxy.core.names import Digest, Reference
from proxy.core.transfer import Transfer
from proxy.upstream.authorization import Authorizer
from proxy.upstream.contract import FetchedManifest, PingResult, ReferrersPage, TagsPage
from proxy.upstream.exchange import Ask, Exchange, Follow
from proxy.upstream.fault_table import Rejection
from proxy.upstream.headers import last_of, next_query, parse_content_range, parse_length
from proxy.upstream.message import Answer, Kind
from proxy.upstream.network import Network
from proxy.upstream.streaming import StreamingAnswer
from proxy.upstream.transfer import HttpTransfer

_PING = Ask(Kind.PING, "", "/v2/", "/v2/", follow=Follow.AT_HOME)


class HttpRegistry:
    """One configured upstream. Owns ``network``, and closes it."""

    def __init__(self, network: Network, authorizer: Authorizer) -> None:
        self.name = network.settings.name
        self.stats = network.stats
        self._network = network
        self._limits = network.settings.limits
        self._authorizer = authorizer
        self._exchange = Exchange(network, authorizer)

    async def manifest(self, name: str, reference: Reference) -> FetchedManifest:
        ask = _manifest_ask(name, reference)
        answer = await self._exchange.ask(ask, self._network.buffered.send)
        raw = await self._whole(answer, ask.what, self._limits.manifest)
        if isinstance(reference, Digest) and not reference.matches(raw):
            raise WrongBytes(self.name, f"the bytes of {ask.what} do not match that digest")
        try:
            media_type = read_manifest(raw, answer.header("Content-Type") or "").media_type
        except ManifestInvalid as fault:
            raise UpstreamBroken(self.name, f"{ask.what} is not a manifest: {fault}") from fault
        digest = reference if isinstance(reference, Digest) else Digest.of(raw)
        return FetchedManifest(raw, digest, media_type)

    async def manifest_digest(self, name: str, reference: Reference) -> Digest:
        """Also a GET where HEAD itself is not to be had, as with storage whose URLs are signed for GET only."""
        try:
            answer = await self._exchange.ask(_manifest_ask(name, reference, "HEAD"), self._network.buffered.send)
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
        ask = Ask(Kind.BLOB, name, f"/v2/{name}/blobs/{digest}", f"{name}@{digest}", headers)
        answer = await self._exchange.ask(ask, self._network.streaming.send)
        span = _span(answer, offset, end)
        if span is None:
            await answer.close()
            raise UpstreamBroken(
                self.name, f"it answered {answer.status} to {ask.what} from byte {offset} in a way that does not fit"
            )
        return HttpTransfer(self.name, answer, span, self._limits, self._network.timing.now, self.stats.received)

    async def has_blob(self, name: str, digest: Digest, size: int | None) -> bool:
        try:
            total = await self.blob_size(name, digest)
        except (BlobUnknown, NameUnknown):
            return False
        if total is None or (size is not None and total != size):
            raise UpstreamBroken(self.name, f"it says that {name}@{digest} has {total} bytes, and it has {size}")
        return True

    async def blob_size(self, name: str, digest: Digest) -> int | None:
        """One byte is asked for, so that a registry which sends blobs itself does not send this one; an empty blob has
        none to ask for."""
        headers = {} if digest.matches(b"") else {"Range": "bytes=0-0"}
        ask = Ask(Kind.BLOB, name, f"/v2/{name}/blobs/{digest}", f"{name}@{digest}", headers)
        answer = await self._exchange.ask(ask, self._network.buffered.send)
        if answer.status == 206:
            span = parse_content_range(answer.header("Content-Range"))
            await self._exchange.finish(answer)
            if span is None or span.start != 0:
                raise UpstreamBroken(self.name, f"it answered 206 to {ask.what} in a way that does not fit")
            return span.total
        await answer.close()  # the whole blob is on its way, and nobody wants it
        if answer.status != 200:
            raise UpstreamBroken(self.name, f"it answered {answer.status} to {ask.what}")
        return parse_length(answer.header("Content-Length"))

    async def tags(self, name: str, limit: int | None, last: str | None) -> TagsPage:
        asked = {"n": limit, "last": last}
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        ask = Ask(Kind.TAGS, name, f"/v2/{name}/tags/list{_question(query)}", f"the tags of {name}")
        answer = await self._exchange.ask(ask, self._network.buffered.send)
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
        answer = await self._exchange.ask(ask, self._network.buffered.send)
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

    async def ping(self) -> PingResult:
        bare = await self._exchange.bare(_PING, self._network.buffered.send)
        if bare.status not in (400, 401, 403):
            return PingResult(bare.status, bare.challenges, bare.date, None)
        try:
            outcome = await self._exchange.converse(_PING, self._network.buffered.send)
        except UpstreamFault as fault:
            return PingResult(bare.status, bare.challenges, bare.date, False, str(fault))
        identified = await self._authorizer.identified()
        if not isinstance(outcome, Rejection):
            await self._exchange.finish(outcome)
            return PingResult(outcome.status, bare.challenges, bare.date, True if identified else None)
        accepted = False if identified and outcome.status in (400, 401, 403) else None
        return PingResult(outcome.status, bare.challenges, bare.date, accepted, outcome.reason)

    async def close(self) -> None:
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

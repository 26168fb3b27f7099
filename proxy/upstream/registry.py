"""``contract.Registry`` over HTTP: what each call asks, and what its answer must look like."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from proxy.core.errors import (
    Absent,
    CredentialsFailed,
    DigestInvalid,
    Hint,
    ReferrersUnsupported,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamFault,
    UpstreamRefused,
    WrongBytes,
)
from proxy.core.foreign_json import Bounds
from proxy.core.manifests import (
    ACCEPT,
    OCI_INDEX,
    ManifestInvalid,
    ManifestTooMuch,
    digested,
    read_manifest,
    read_object,
)
from proxy.core.names import Digest, Reference, digest_of
from proxy.core.paging import without
from proxy.core.second_hand import NO_REMARKS, Remarks, quota, second_hand
from proxy.core.steps import Steps
from proxy.core.transfer import Transfer
from proxy.upstream.authorization import Authorizer
from proxy.upstream.client import HttpAnswer
from proxy.upstream.contract import FetchedManifest, PingResult, Pointed, ReferrersPage, TagsPage
from proxy.upstream.exchange import Ask, Exchange, Follow, is_page
from proxy.upstream.fault_table import Rejection, is_disbelieved
from proxy.upstream.headers import next_query, parse_content_range, parse_length
from proxy.upstream.message import Kind
from proxy.upstream.network import Network
from proxy.upstream.transfer import BytesTransfer, HttpTransfer

P = ParamSpec("P")
R = TypeVar("R")

LARGEST_PAGE = 4 << 20  # bytes of what may be a page for people in place of a blob
MOST_TAGS = 250_000  # in one answer, with what else is in it
_TAGS_STEP = 10_000
_PING = Ask(Kind.PING, "", "/v2/", "/v2/", follow=Follow.AT_HOME)


def _in_use(
    method: "Callable[Concatenate[HttpRegistry, P], Awaitable[R]]",
) -> "Callable[Concatenate[HttpRegistry, P], Coroutine[Any, Any, R]]":
    """A call that the network of its registry must outlast."""

    @wraps(method)
    async def call(self: "HttpRegistry", /, *args: P.args, **kwargs: P.kwargs) -> R:
        network = self._network
        network.users += 1
        try:
            return await method(self, *args, **kwargs)
        finally:
            network.users -= 1
            if network.retired:
                network.retire()

    return call


class HttpRegistry:
    """One configured upstream. Owns ``network``, and closes it."""

    def __init__(self, network: Network, authorizer: Authorizer) -> None:
        self.name = network.settings.name
        self.forwards = network.settings.forward is not None
        self.stats = network.stats
        self._named = network.settings.naming.repository if self.forwards else str
        self._network = network
        self._limits = network.settings.limits
        self._authorizer = authorizer
        self._exchange = Exchange(network, authorizer)

    @_in_use
    async def manifest(self, name: str, reference: Reference) -> FetchedManifest:
        ask = _manifest_ask(self._named(name), reference)
        understand = partial(self._fetched, reference, ask.what)
        return await self._exchange.read(ask, self._network.buffered.send, self._limits.manifest, understand)

    def _fetched(self, reference: Reference, what: str, answer: HttpAnswer, raw: bytes) -> Steps[FetchedManifest]:
        """What is no manifest at all was sent by something else in the registry's place; one that is too much is the
        registry's own, and is no better when it is asked for again."""
        algorithm = reference.algorithm if isinstance(reference, Digest) else "sha256"
        payload = yield from digested(raw)
        digest = whole = yield from digest_of(raw, algorithm)
        if payload is not raw and whole != reference:
            digest = yield from digest_of(payload, algorithm)
        proven = digest == reference
        stated = answer.header("Content-Type") or ""
        if isinstance(reference, Digest) and not (proven or is_page(stated) or raw[:1] in (b"", b"<")):
            raise WrongBytes(self.name, f"the bytes of {what} do not match that digest")
        try:
            facts = yield from read_manifest(raw, stated)
        except ManifestInvalid as fault:
            too_much = isinstance(fault, ManifestTooMuch)
            kind = UpstreamBroken if proven or too_much else UpstreamFailed
            hint = Hint.TOO_LARGE if too_much else Hint.NOT_A_MANIFEST
            raise kind(self.name, f"{what} is not a manifest: {fault}", hint) from fault
        if isinstance(reference, Digest) and not proven:
            raise UpstreamFailed(self.name, f"something else stands in place of {what}")
        says = answer.header("Cache-Status") or answer.header("RateLimit-Remaining")
        remarks = _remarks(answer) if says else NO_REMARKS
        return FetchedManifest(raw, digest, facts, is_signed=digest != whole, remarks=remarks)

    @_in_use
    async def manifest_digest(self, name: str, reference: Reference) -> Pointed:
        """Also a GET where HEAD itself is not to be had: storage whose URLs are signed for GET only, registries and
        middleboxes that refuse every HEAD. So no refusal of a HEAD is ever the answer."""
        try:
            ask = _manifest_ask(self._named(name), reference, "HEAD")
            answer = await self._exchange.ask(ask, self._network.buffered.send)
        except (Absent, UpstreamRefused, UpstreamBroken, UpstreamFailed):
            return await self._pointed(name, reference)
        header, remarks = answer.header("Docker-Content-Digest"), _remarks(answer)
        await answer.close()
        if isinstance(reference, Digest):
            return Pointed(reference, remarks)
        try:
            return Pointed(Digest.parse(header or ""), remarks)
        except DigestInvalid:
            return await self._pointed(name, reference)

    async def _pointed(self, name: str, reference: Reference) -> Pointed:
        fetched = await self.manifest(name, reference)
        return Pointed(fetched.digest, fetched.remarks)

    @_in_use
    async def blob(self, name: str, digest: Digest, offset: int = 0, end: int | None = None) -> Transfer:
        headers = {"Range": f"bytes={offset}-{'' if end is None else end - 1}"} if offset else {}
        ask = _blob_ask(self._named(name), digest, headers)
        answer = await self._exchange.ask(ask, self._network.streaming.send)
        if answer.status == 200 and is_page(answer.header("Content-Type")):
            return BytesTransfer(self.name, await self._no_page(answer, name, digest, ask.what))
        span = _span(answer, offset, end)
        if span is None:
            await answer.close()
            raise UpstreamBroken(
                self.name, f"it answered {answer.status} to {ask.what} from byte {offset} in a way that does not fit"
            )
        return HttpTransfer(
            self.name,
            answer,
            span,
            self._limits,
            self._network.timing.now,
            partial(self.stats.received, f"{self.name}/{name}"),
        )

    async def check_blob(self, name: str, digest: Digest, size: int | None) -> None:
        total = await self.blob_size(name, digest)
        if total is None or (size is not None and total != size):
            raise UpstreamBroken(self.name, f"it says that {name}@{digest} has {total} bytes, and it has {size}")

    @_in_use
    async def blob_size(self, name: str, digest: Digest) -> int | None:
        """One byte is asked for, so that a registry which sends blobs itself does not send this one; an empty blob has
        none to ask for."""
        headers = {} if digest.matches(b"") else {"Range": "bytes=0-0"}
        ask = _blob_ask(self._named(name), digest, headers)
        answer = await self._exchange.ask(ask, self._network.buffered.send)
        if answer.status == 206:
            span = parse_content_range(answer.header("Content-Range"))
            await self._exchange.finish(answer)
            if span is None or span.start != 0:
                raise UpstreamBroken(self.name, f"it answered 206 to {ask.what} in a way that does not fit")
            return span.total
        if answer.status == 200 and is_page(answer.header("Content-Type")):
            return len(await self._no_page(answer, name, digest, ask.what))
        await answer.close()  # the whole blob is on its way, and nobody wants it
        if answer.status != 200:
            raise UpstreamBroken(self.name, f"it answered {answer.status} to {ask.what}")
        return parse_length(answer.header("Content-Length"))

    async def _no_page(self, answer: HttpAnswer, name: str, digest: Digest, what: str) -> bytes:
        """The whole of a blob that is a page for people by its Content-Type, as artifacts may be. Raises UpstreamFailed
        where it is a page of somebody else's."""
        try:
            content = await answer.read(LARGEST_PAGE)
        finally:
            await answer.close()
        self.stats.received(f"{self.name}/{name}", len(content))
        if not digest.matches(content):
            raise UpstreamFailed(self.name, f"a page for people stands in place of {what}", Hint.PAGE)
        return content

    @_in_use
    async def tags(self, name: str, query: str) -> TagsPage:
        try:
            return await self._tags(name, query)
        except UpstreamBroken:  # some refuse an ``n`` that is too large for them
            if (unbounded := without(query, "n")) == query:
                raise
            return await self._tags(name, unbounded)

    async def _tags(self, name: str, query: str) -> TagsPage:
        name = self._named(name)
        ask = Ask(Kind.TAGS, name, f"/v2/{name}/tags/list{_question(query)}", f"the tags of {name}")
        understand = partial(self._listed, ask.what)
        return await self._exchange.read(ask, self._network.buffered.send, self._limits.listing, understand)

    def _listed(self, what: str, answer: HttpAnswer, raw: bytes) -> Steps[TagsPage]:
        try:
            tags = (yield from read_object(raw, Bounds(self._limits.listing, MOST_TAGS))).get("tags") or []
        except ManifestInvalid as fault:
            if isinstance(fault, ManifestTooMuch):
                raise UpstreamBroken(self.name, f"{what} cannot be read: {fault}", Hint.TOO_LARGE) from fault
            raise UpstreamFailed(self.name, f"{what} cannot be read: {fault}") from fault
        if not isinstance(tags, list) or not (yield from _are_names(tags)):
            raise UpstreamBroken(self.name, f"{what} are not a list of names")
        return TagsPage(tags, next_query(answer.headers("Link")), _remarks(answer).second_hand)

    @_in_use
    async def referrers(self, name: str, digest: Digest, query: str) -> ReferrersPage:
        name = self._named(name)
        path = f"/v2/{name}/referrers/{digest}{_question(query)}"
        what = f"the referrers of {name}@{digest}"
        ask = Ask(Kind.REFERRERS, name, path, what, {"Accept": OCI_INDEX}, follow=Follow.AT_HOME)
        return await self._exchange.read(ask, self._network.buffered.send, self._limits.referrers, self._referring)

    def _referring(self, answer: HttpAnswer, raw: bytes) -> Steps[ReferrersPage]:
        try:
            index = yield from read_object(raw)
        except ManifestInvalid as fault:
            raise ReferrersUnsupported(f"{self.name} has no referrers API") from fault
        if answer.status != 200 or not isinstance(index.get("manifests"), list):
            raise ReferrersUnsupported(f"{self.name} has no referrers API")
        filtered = "artifacttype" in (answer.header("OCI-Filters-Applied") or "").lower()
        return ReferrersPage(raw, filtered, next_query(answer.headers("Link")), _remarks(answer).second_hand)

    @_in_use
    async def ping(self) -> PingResult:
        bare = await self._exchange.bare(_PING, self._network.buffered.send)
        if bare.status not in (400, 401, 403):
            return PingResult(bare.status, bare.challenges, bare.date, None)
        try:
            outcome = await self._exchange.converse(_PING, self._network.buffered.send)
        except UpstreamFault as fault:
            unread = isinstance(fault, CredentialsFailed)
            wrong = isinstance(fault, UpstreamRefused) and fault.disbelieved
            return PingResult(bare.status, bare.challenges, bare.date, False, str(fault), unread, wrong)
        identified = await self._authorizer.identified(_PING.name)
        if not isinstance(outcome, Rejection):
            await self._exchange.finish(outcome)
            return PingResult(outcome.status, bare.challenges, bare.date, True if identified else None)
        accepted = False if identified and outcome.status in (400, 401, 403) else None
        wrong = identified and is_disbelieved(outcome)
        return PingResult(outcome.status, bare.challenges, bare.date, accepted, outcome.reason, disbelieved=wrong)

    def retire(self) -> None:
        """Nobody asks it anything new: it closes when what is under way is answered."""
        self._network.retire()

    def reconnect(self) -> None:
        self._network.streaming.reconnect()

    async def close(self) -> None:
        await self._network.close()


def _remarks(answer: HttpAnswer) -> Remarks:
    from_cache = second_hand(answer.headers("Cache-Status"), answer.header("Age"), answer.headers("Warning"))
    return Remarks(from_cache, quota(answer.header("RateLimit-Limit"), answer.header("RateLimit-Remaining")))


def _manifest_ask(name: str, reference: Reference, method: str = "GET") -> Ask:
    what = f"{name}@{reference}" if isinstance(reference, Digest) else f"{name}:{reference}"
    return Ask(Kind.MANIFEST, name, f"/v2/{name}/manifests/{reference}", what, {"Accept": ACCEPT}, method)


def _blob_ask(name: str, digest: Digest, headers: Mapping[str, str]) -> Ask:
    return Ask(Kind.BLOB, name, f"/v2/{name}/blobs/{digest}", f"{name}@{digest}", headers)


def _are_names(tags: list[Any]) -> Steps[bool]:
    for start in range(0, len(tags), _TAGS_STEP):
        if not all(isinstance(tag, str) for tag in tags[start : start + _TAGS_STEP]):
            return False
        yield
    return True


def _question(query: str) -> str:
    return f"?{query}" if query else ""


def _span(answer: HttpAnswer, offset: int, end: int | None) -> tuple[int, int | None] | None:
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

"""ECR's own ways: layers behind presigned S3 URLs, pages of a thousand, throttling, archived images, ECR Public."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cast import FaultUpstream, Line, roles
from tests.cast.aws import REGION, PublicRegistry, password_of
from tests.scenarios.ecr.stage import DAY, HOST, App, Clock, Ecr, denies, image, running, taking

MiB = 1 << 20
SIGNATURE = "canary-signature"
LAYER = bytes(range(256)) * (12 * 1024)  # 3 MiB
EXPIRED_URL = roles.answers(403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
SLOW_DOWN = roles.answers(503, b"<Error><Code>SlowDown</Code></Error>")
RATE_EXCEEDED = roles.answers(429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}')


@pytest.fixture
async def s3(nothing_stays: None) -> AsyncIterator[FaultUpstream]:
    """Where the registry keeps its layers; each URL is another."""
    async with FaultUpstream() as s3:
        yield s3


def behind_s3(ecr: Ecr, s3: FaultUpstream) -> str:
    """The path of a layer below the proxy, which ECR gives away as a presigned URL, a new one each time."""
    _, layer = image(ecr.up, "team/app", "v1", LAYER)
    s3.page("/layer", LAYER)
    signed = 0

    async def redirects(line: Line) -> None:
        nonlocal signed
        signed += 1
        query = f"X-Amz-Expires=3599&X-Amz-Security-Token=canary-session&X-Amz-Signature={SIGNATURE}-{signed}"
        await roles.redirects(f"{s3.url}/layer?{query}")(line)

    ecr.up.always("blob", taking(ecr.accepted, redirects))
    return f"/v2/{HOST}/team/app/blobs/{layer}"


async def test_a_layer_comes_from_s3_without_a_header_of_the_registrys(app: App, ecr: Ecr, s3: FaultUpstream) -> None:
    reply = await app.get(behind_s3(ecr, s3), {"Cookie": "mine", "Authorization": "Basic b3VyczpjYW5hcnk="})
    assert (reply.status, reply.body) == (200, LAYER)
    (seen,) = s3.ledger
    assert set(seen.headers) == {"host", "user-agent", "accept-encoding", "via"}, "all of them our own"
    assert seen.headers["accept-encoding"] == "identity"
    assert "authorization" in ecr.up.requests("blob")[0].headers
    assert "Y5hcnk" not in repr(ecr.up.ledger)  # nor goes the client's own credential anywhere
    said = await app.everything_said()
    assert SIGNATURE not in said
    assert "canary-session" not in said
    assert password_of() not in said


async def test_a_url_that_expired_while_the_layer_came_is_replaced_and_the_layer_goes_on(
    app: App, ecr: Ecr, s3: FaultUpstream
) -> None:
    path = behind_s3(ecr, s3)
    s3.plays("/layer", roles.vanishes(at=2 * MiB), EXPIRED_URL)
    assert (await app.get(path)).body == LAYER
    assert s3.unplayed == 0
    first, expired, resumed = s3.ledger
    assert "range" not in first.headers
    assert resumed.headers["range"] == expired.headers["range"]
    start = int(resumed.headers["range"].removeprefix("bytes=").partition("-")[0])
    assert 0 < start <= 2 * MiB
    assert resumed.sent == len(LAYER) - start
    assert len({seen.target for seen in s3.ledger}) == len(ecr.up.requests("blob")) == 3  # each by a URL of its own
    assert SIGNATURE not in await app.everything_said()


async def test_storage_that_refuses_every_url_is_told_without_the_url(app: App, ecr: Ecr, s3: FaultUpstream) -> None:
    path = behind_s3(ecr, s3)
    s3.always("/layer", EXPIRED_URL)
    reply = await app.get(path)
    assert reply.status == 502
    assert b"storage host" in reply.body
    assert SIGNATURE.encode() not in reply.body
    assert len(s3.ledger) == 2
    assert SIGNATURE not in await app.everything_said()


async def test_s3_that_asks_to_slow_down_is_asked_again(app: App, ecr: Ecr, s3: FaultUpstream) -> None:
    path = behind_s3(ecr, s3)
    s3.plays("/layer", SLOW_DOWN, SLOW_DOWN)
    assert (await app.get(path)).body == LAYER
    assert s3.unplayed == 0


async def test_no_page_of_more_than_a_thousand_tags_is_asked_for(app: App, ecr: Ecr) -> None:
    ecr.up.tags("team/app", ["v1", "v2"])
    assert b'"v2"' in (await app.get(f"/v2/{HOST}/team/app/tags/list?n=5000")).body
    assert [seen.target for seen in ecr.up.requests("tags")] == ["/v2/team/app/tags/list?n=1000"]


async def test_throttling_serves_a_known_tag_stale_and_tells_the_others_when_to_come_back(
    app: App, ecr: Ecr, ahead: Clock
) -> None:
    manifest, _ = image(ecr.up, "team/app", "v1", b"layer")
    image(ecr.up, "team/app", "v2", b"other")
    assert (await app.manifest("team/app:v1")).status == 200
    ahead.ahead = 3600
    ecr.up.plays("manifest", RATE_EXCEEDED)
    stale = await app.manifest("team/app:v1")
    assert (stale.status, stale.headers["cache-status"]) == (200, "entrepot; hit; detail=stale")
    assert stale.headers["docker-content-digest"] == manifest
    cold = await app.manifest("team/app:v2")
    assert (cold.status, b"TOOMANYREQUESTS" in cold.body) == (429, True)
    assert int(cold.headers["retry-after"]) >= 1
    assert ecr.up.unplayed == 0
    ahead.ahead += 60
    assert (await app.manifest("team/app:v2")).status == 200


async def test_an_archived_image_is_absent_and_a_forbidden_one_is_refused(app: App, ecr: Ecr, ahead: Clock) -> None:
    manifest, layer = image(ecr.up, "team/app", "v1", b"layer")
    assert (await app.manifest("team/app:v1")).status == 200
    ahead.ahead = 3600
    archived = roles.answers(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"Requested image not found"}]}')
    ecr.up.always("manifest", archived)
    ecr.up.always("blob", roles.answers(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"ARCHIVED"}]}'))
    gone = await app.manifest("team/app:v1")
    assert (gone.status, b"MANIFEST_UNKNOWN" in gone.body) == (404, True)
    gone = await app.get(f"/v2/{HOST}/team/app/blobs/{layer}")
    assert (gone.status, b"BLOB_UNKNOWN" in gone.body) == (404, True)
    ecr.up.always("manifest", denies("not authorized to perform: ecr:BatchGetImage"))
    refused = await app.manifest("team/secret:v1")
    assert (refused.status, b"DENIED" in refused.body) == (403, True)
    assert (await app.manifest(f"team/app@{manifest}")).status == 200  # held, and allowed before


async def test_no_blob_is_ever_asked_for_by_head(app: App, ecr: Ecr, s3: FaultUpstream) -> None:
    path = behind_s3(ecr, s3)
    reply = await app.get(path, method="HEAD")
    assert (reply.status, reply.headers["content-length"]) == (200, str(len(LAYER)))
    assert {seen.method for seen in [*ecr.up.requests("blob"), *s3.ledger]} == {"GET"}


# ---------------------------------------------------------------- ECR Public


class Public:
    """ECR Public's registry before its stand-in: the cast has the content, the stand-in knows the bearers."""

    def __init__(self, up: FaultUpstream, authority: PublicRegistry) -> None:
        self.up = up
        self.authority = authority
        up.always("manifest", self._guarded)
        up.always("blob", self._guarded)
        up.always("/token/", self._token)

    async def _guarded(self, line: Line) -> None:
        scheme, _, credential = line.seen.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and credential in self.authority.bearers:
            await roles.steady(line)
        elif scheme:
            await roles.refuses(400, "DENIED")(line)
        else:
            await roles.refuses(401, "UNAUTHORIZED", f'Bearer realm="{self.up.url}/token/",scope="aws"')(line)

    async def _token(self, line: Line) -> None:
        bearer = f"bearer-{len(self.up.ledger)}"
        self.authority.bearers[bearer] = "authorization" in line.seen.headers
        await line.answer(200, b'{"token":"%s"}' % bearer.encode())

    @property
    def tokens(self) -> int:
        return sum(seen.target.startswith("/token/") for seen in self.up.ledger)


@pytest.fixture
async def public(upstream: FaultUpstream, no_aws: None) -> AsyncIterator[Public]:
    async with PublicRegistry() as authority:
        yield Public(upstream, authority)


NAME = "public.ecr.aws"


@pytest.mark.parametrize("signed", [True, False], ids=["signed in", "anonymous"])
async def test_ecr_public_never_sees_basic_and_an_expired_bearer_is_nobodys_trouble(
    public: Public, ahead: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signed: bool
) -> None:
    upstream: dict[str, object] = {"url": public.up.url}
    if signed:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret-key")
        upstream["auth"] = {"type": "ecr-public", "region": REGION, "endpoint_url": public.authority.url}
    images = [image(public.up, "docker/library/app", f"n{n}", b"%d" % n) for n in range(100)]
    async with running(tmp_path / "app", {"upstreams": {NAME: upstream}}, ahead) as app:
        assert (await app.manifest("docker/library/app:n0", NAME)).status == 200
        assert list(public.authority.bearers.values()) == [signed]
        public.authority.forget_bearers()
        ahead.ahead = 61
        paths = [f"/v2/{NAME}/docker/library/app/manifests/{manifest}" for manifest, _ in images[1:]]
        paths += [f"/v2/{NAME}/docker/library/app/blobs/{layer}" for _, layer in images]
        replies = await asyncio.gather(*(app.get(path) for path in paths))
        assert {reply.status for reply in replies} == {200}
        assert public.tokens == 2
        assert public.authority.calls["api"] == (1 if signed else 0)
        said = await app.everything_said()
    assert "bearer-" not in said
    assert public.authority.aws_password not in said
    registry = [seen for seen in public.up.ledger if seen.target.startswith("/v2/")]
    assert all(seen.headers["authorization"].startswith("Bearer ") for seen in registry)
    assert not any(seen.method == "HEAD" for seen in public.up.requests("blob"))


async def test_a_bearer_that_is_never_taken_is_not_fetched_in_a_loop(
    public: Public, ahead: Clock, tmp_path: Path
) -> None:
    image(public.up, "docker/library/app", "v1", b"1")
    public.up.always("manifest", roles.refuses(400, "DENIED"))
    async with running(tmp_path / "app", {"upstreams": {NAME: {"url": public.up.url}}}, ahead) as app:
        for _ in range(10):
            assert (await app.manifest("docker/library/app:v1", NAME)).status == 502
        assert public.tokens == 2
        ahead.ahead = DAY
        assert (await app.manifest("docker/library/app:v1", NAME)).status == 502
        assert public.tokens <= 4

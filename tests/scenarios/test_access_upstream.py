"""The registry itself says who may have what, to each client's own credential; the bytes are here once, for all."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.core.manifests import OCI_INDEX
from tests.cast import FaultUpstream, roles
from tests.cast.members import Members
from tests.cast.visitors import htpasswd
from tests.scenarios.client import Client, request
from tests.scenarios.ecr.stage import App, Clock, running
from tests.scenarios.house import APP, NAME, blob_path, manifest_path
from tests.scenarios.questions import QUESTIONS, TELLS, Thing, absent

OTHER = "other.test"
HERS, HIS, OPEN = APP, "team/his", "library/open"
WORDS = {"alice": "canary-of-alice", "bob": "canary-of-bob"}
MiB = 1 << 20
TTL, STALE = 300.0, 3600.0
Bytes = Callable[[int], bytes]
ABSENT = absent(HERS)


def basic(user: str, word: str | None = None) -> dict[str, str]:
    pair = f"{user}:{WORDS[user] if word is None else word}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def raw(mark: str) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": {}, "layers": [], "annotations": {"of": mark}}).encode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["by token", "by password"])
def members(request: pytest.FixtureRequest, upstream: FaultUpstream) -> Members:
    rights = {"alice": {HERS}, "bob": {HIS}, "": set[str]()}
    return upstream.members(Members(dict(WORDS), rights, tokens=request.param == "by token"))


by_token = pytest.mark.parametrize("members", ["by token"], indirect=True)


def document(upstream: FaultUpstream, **more: Any) -> dict[str, Any]:
    return {"upstreams": {NAME: {"url": upstream.url, "access": "upstream"}}, **more}


@pytest.fixture
async def proxy(tmp_path: Path, upstream: FaultUpstream, members: Members, clock: Clock) -> AsyncIterator[App]:
    async with running(tmp_path / "app", document(upstream), clock) as app:
        yield app


async def token(app: App, login: Mapping[str, str] | None = None, query: str = "service=entrepot") -> str:
    reply = await app.get(f"/token?{query}", login)
    assert reply.status == 200, reply.body
    granted: str = json.loads(reply.body)["token"]
    return granted


def put(upstream: FaultUpstream, content: bytes) -> Thing:
    thing = Thing(HERS, upstream.blob(HERS, content), upstream.manifest(HERS, "v1", raw("hers")), "v1")
    upstream.tags(HERS, ["v1"])
    index = {"schemaVersion": 2, "manifests": []}
    page = json.dumps(index).encode()
    upstream.page(f"/v2/{HERS}/referrers/{thing.digest}", page, {"Content-Type": OCI_INDEX})
    return thing


@asynccontextmanager
async def held(app: App, upstream: FaultUpstream, some_bytes: Bytes) -> AsyncIterator[Thing]:
    thing = put(upstream, some_bytes(500))
    for _ in range(3):
        for kind in ("blob", "tag", "digest", "tags", "referrers"):
            assert (await app.get(thing.path(kind), basic("alice"))).status == 200, kind
    yield thing


@asynccontextmanager
async def arriving(app: App, upstream: FaultUpstream, some_bytes: Bytes) -> AsyncIterator[Thing]:
    thing = put(upstream, content := some_bytes(2 * MiB))
    going_on = asyncio.Event()
    assert (await app.get(thing.path("tags"), basic("alice"))).status == 200  # her right is known
    upstream.always("blob", roles.holds(MiB, going_on))
    async with await Client.connect(app.port) as first:
        await first.ask(thing.path("blob"), basic("alice"))
        head = await first.head()
        upstream.forget_always()
        yield thing
        going_on.set()
        assert await first.rest(head) == content


@pytest.mark.parametrize("login", [basic("bob"), {}, basic("alice", "wrong")], ids=["bob", "nobody", "wrong"])
@pytest.mark.parametrize("standing", [held, arriving])
async def test_who_may_not_learns_nothing_wherever_it_is(
    proxy: App, upstream: FaultUpstream, some_bytes: Bytes, standing: Any, login: dict[str, str]
) -> None:
    async with standing(proxy, upstream, some_bytes) as thing:
        for method, headers, kind in QUESTIONS:
            real = await proxy.get(thing.path(kind), {**headers, **login}, method)
            none = await proxy.get(ABSENT.path(kind), {**headers, **login}, method)
            assert real.status == (404 if login == basic("bob") else 401), (method, kind)
            assert ("www-authenticate" in real.headers) is (real.status == 401)
            assert not TELLS & set(real.headers)
            assert thing.told(real) == ABSENT.told(none), (method, kind)


async def test_who_may_gets_all_of_it_and_the_bytes_come_once(
    proxy: App, upstream: FaultUpstream, members: Members, some_bytes: Bytes
) -> None:
    members.rights["bob"].add(HERS)
    async with held(proxy, upstream, some_bytes) as thing:
        fetched = [seen for seen in upstream.requests("blob") if seen.sent > 1]
        for method, headers, kind in QUESTIONS:
            reply = await proxy.get(thing.path(kind), {**headers, **basic("bob")}, method)
            assert reply.status in {200, 206, 304}, (method, kind, reply.body)
        assert [seen for seen in upstream.requests("blob") if seen.sent > 1] == fetched


async def test_what_arrives_for_one_client_is_joined_by_another_who_may(
    proxy: App, upstream: FaultUpstream, members: Members, some_bytes: Bytes
) -> None:
    members.rights["bob"].add(HERS)
    async with arriving(proxy, upstream, some_bytes) as thing, await Client.connect(proxy.port) as second:
        await second.ask(thing.path("blob"), basic("bob"))
        head = await second.head()
        assert head.headers["cache-status"] == "entrepot; fwd=miss; collapsed"
    assert len([seen for seen in upstream.requests("blob") if seen.sent > 1]) == 1


async def test_one_question_is_enough_for_a_repository(proxy: App, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    async with held(proxy, upstream, some_bytes) as thing:
        asked = len(upstream.ledger)
        for _ in range(5):
            for kind in ("blob", "tag", "digest"):
                assert (await proxy.get(thing.path(kind), basic("alice"))).status == 200
        assert len(upstream.ledger) == asked, "what is held and allowed is answered from memory"


async def test_a_right_that_ends_upstream_ends_here_for_its_owner_and_nobody_else(
    proxy: App, upstream: FaultUpstream, members: Members, clock: Clock, some_bytes: Bytes
) -> None:
    members.rights["bob"].add(HERS)
    async with held(proxy, upstream, some_bytes) as thing:
        for user in ("alice", "bob"):
            assert (await proxy.get(thing.path("blob"), basic(user))).status == 200
        members.rights["alice"].clear()
        assert (await proxy.get(thing.path("blob"), basic("alice"))).status == 200  # as long as her yes carries
        clock.ahead += TTL + 1
        for method, headers, kind in QUESTIONS:
            gone = await proxy.get(thing.path(kind), {**headers, **basic("alice")}, method)
            assert gone.status == 404, (method, kind)
            assert not TELLS & set(gone.headers)
        assert (await proxy.get(thing.path("blob"), basic("bob"))).status == 200
        assert (await proxy.get(thing.path("tag"), basic("bob"))).status == 200
        members.rights["alice"].add(HERS)
        clock.ahead += 11
        assert (await proxy.get(thing.path("blob"), basic("alice"))).status == 200


async def test_a_refusal_within_the_time_of_a_yes_ends_it_at_once(
    proxy: App, upstream: FaultUpstream, members: Members, some_bytes: Bytes
) -> None:
    """Where upstream is asked anyhow, for what is not held."""
    members.rights["bob"].add(HERS)
    async with held(proxy, upstream, some_bytes) as thing:
        assert (await proxy.get(thing.path("blob"), basic("bob"))).status == 200
        members.rights["alice"].clear()
        members.given.clear()
        fresh = upstream.blob(HERS, b"fresh")
        assert (await proxy.get(blob_path(fresh), basic("alice"))).status == 404
        assert (await proxy.get(thing.path("blob"), basic("alice"))).status == 404
        assert (await proxy.get(blob_path(fresh), basic("bob"))).status == 200


async def test_an_outage_keeps_what_was_granted_and_grants_nothing(
    proxy: App, upstream: FaultUpstream, members: Members, clock: Clock, some_bytes: Bytes
) -> None:
    members.rights["bob"].add(HERS)
    async with held(proxy, upstream, some_bytes) as thing:
        await upstream.vanish()
        clock.ahead += TTL + 1
        assert (await proxy.get(thing.path("blob"), basic("alice"))).status == 200
        for kind in ("blob", "digest", "tag"):
            for login in (basic("bob"), basic("alice", "wrong"), {}):
                refused = await proxy.get(thing.path(kind), login)
                assert refused.status >= 500
                assert not TELLS & set(refused.headers)
        clock.ahead += STALE
        assert (await proxy.get(thing.path("blob"), basic("alice"))).status >= 500


async def test_an_absence_that_one_is_told_says_nothing_to_another(
    proxy: App, upstream: FaultUpstream, members: Members
) -> None:
    upstream.manifest(HERS, "v1", raw("hers"))
    assert (await proxy.get(manifest_path("v1"), basic("bob"))).status == 404
    assert (await proxy.get(manifest_path("v1"), {})).status == 401
    assert (await proxy.get(manifest_path("v1"), basic("alice"))).body == raw("hers")


@by_token
async def test_whoever_sends_nothing_is_asked_for_anonymously(
    proxy: App, upstream: FaultUpstream, members: Members
) -> None:
    upstream.manifest(OPEN, "v1", raw("open"))
    members.rights[""].add(OPEN)
    for login in ({}, bearer(await token(proxy)), basic("bob")):
        assert (await proxy.get(manifest_path("v1", OPEN), login)).body == raw("open")
    assert (await proxy.get(manifest_path("v1"), bearer(await token(proxy)))).status == 401


async def test_a_token_of_ours_carries_the_login_for_the_registry(
    proxy: App, upstream: FaultUpstream, clock: Clock, tmp_path: Path
) -> None:
    upstream.manifest(HERS, "v1", raw("hers"))
    ping = await proxy.get("/v2/")
    assert ping.status == 401
    assert ping.headers["www-authenticate"].startswith('Bearer realm="http://localhost/token",service="entrepot"')
    challenged = await proxy.get(manifest_path("v1"))
    assert f'scope="repository:{NAME}/{HERS}:pull"' in challenged.headers["www-authenticate"]
    for query in (f"scope=repository:{NAME}/{HERS}:pull&service=entrepot", "service=entrepot"):
        hers = bearer(await token(proxy, basic("alice"), query))
        assert WORDS["alice"] not in str(hers)
        for _ in range(3):
            assert (await proxy.get("/v2/", hers)).status == 200
            assert (await proxy.get(manifest_path("v1"), hers)).body == raw("hers")
        his = bearer(await token(proxy, basic("bob"), query))
        assert (await proxy.get(manifest_path("v1"), his)).status == 404
    clock.ahead += 301
    over = await proxy.get(manifest_path("v1"), hers)
    assert over.status == 401
    assert 'error="invalid_token"' in over.headers["www-authenticate"]


async def test_a_mirror_that_names_its_registry_aside_is_told_a_scope_that_does(
    proxy: App, upstream: FaultUpstream
) -> None:
    upstream.manifest(HERS, "v1", raw("hers"))
    path = f"/v2/{HERS}/manifests/v1?ns={NAME}"
    challenged = await proxy.get(path)
    assert f'scope="repository:{NAME}/{HERS}:pull"' in challenged.headers["www-authenticate"]
    assert (await proxy.get(path, basic("alice"))).body == raw("hers")
    assert (await proxy.get(path, basic("bob"))).status == 404


@by_token
async def test_a_token_of_the_registrys_own_goes_to_it_as_it_is(
    proxy: App, upstream: FaultUpstream, members: Members
) -> None:
    upstream.manifest(HERS, "v1", raw("hers"))
    members.given["brought-along"] = frozenset({HERS, ""})
    assert (await proxy.get(manifest_path("v1"), bearer("brought-along"))).body == raw("hers")
    assert (await proxy.get(manifest_path("v1"), bearer("made-up"))).status in {401, 404}
    assert not [seen for seen in upstream.requests("token") if "brought" in str(seen)]


async def test_a_catalog_lists_what_its_reader_has_been_given(proxy: App, upstream: FaultUpstream) -> None:
    upstream.manifest(HERS, "v1", raw("hers"))
    upstream.manifest(HIS, "v1", raw("his"))
    assert (await proxy.get(manifest_path("v1"), basic("alice"))).status == 200
    assert (await proxy.get(manifest_path("v1", HIS), basic("bob"))).status == 200

    async def listed(login: Mapping[str, str]) -> list[str]:
        names: list[str] = json.loads((await proxy.get("/v2/_catalog", login)).body)["repositories"]
        return names

    assert await listed(basic("alice")) == [f"{NAME}/{HERS}"]
    assert await listed(basic("bob")) == [f"{NAME}/{HIS}"]
    assert await listed({}) == []


@pytest.fixture
async def elsewhere() -> AsyncIterator[FaultUpstream]:
    """A storage host, and a registry that is somebody else's."""
    async with FaultUpstream(host="127.0.0.2") as up:
        yield up


async def test_the_login_is_sent_to_its_registry_and_nowhere_else(
    tmp_path: Path, upstream: FaultUpstream, elsewhere: FaultUpstream, members: Members, clock: Clock
) -> None:
    """Neither to the storage that it redirects to, nor to a registry whose content is another's business, nor to disk,
    log, metrics and status."""
    content = b"kept elsewhere"
    digest = upstream.blob(HERS, content)
    elsewhere.page("/store", content)
    upstream.always("blob", _redirecting(members, f"{elsewhere.url}/store"))
    elsewhere.manifest(OPEN, "v1", raw("open"))
    both = document(upstream)["upstreams"] | {OTHER: {"url": elsewhere.url}}
    both[NAME]["redirects"] = [f"127.0.0.2:{elsewhere.port}"]
    async with running(tmp_path / "app", {"upstreams": both, "log": {"level": "debug"}}, clock) as proxy:
        assert (await proxy.get(manifest_path("v1", OPEN, OTHER))).status == 200  # what is for everybody needs no login
        hers = bearer(await token(proxy, basic("alice")))
        for login in (basic("alice"), hers, basic("alice", "canary-of-a-guess"), basic("bob")):
            await proxy.get(blob_path(digest), login)
            await proxy.get(manifest_path("v1"), login)
            assert (await proxy.get(manifest_path("v1", OPEN, OTHER), login)).body == raw("open")
        said = await proxy.everything_said()
        assert (await proxy.get(blob_path(digest), basic("alice"))).body == content
    assert elsewhere.requests()
    assert upstream.requests("blob")
    for seen in elsewhere.requests():
        assert "authorization" not in seen.headers
    secrets = [*WORDS.values(), "canary-of-a-guess", hers["Authorization"][7:]]
    secrets += [basic(user)["Authorization"][6:] for user in WORDS]
    written = b"".join(file.read_bytes() for file in (tmp_path / "app").rglob("*") if file.is_file())
    for secret in secrets:
        assert secret not in said
        assert secret.encode() not in written


def _redirecting(members: Members, place: str) -> Any:
    async def act(line: Any) -> None:
        if members.admits(line):
            await line.answer(307, b"", {"Location": place})
        elif members.knows(line):
            await line.answer(403)
        else:
            challenge = members.challenge(f"http://{line.seen.headers['host']}/token", HERS)
            await line.answer(401, b"", {"WWW-Authenticate": challenge})

    return act


async def test_replicas_that_share_their_key_take_each_others_tokens_and_a_restart_forgets_none(
    tmp_path: Path, upstream: FaultUpstream, members: Members, clock: Clock
) -> None:
    upstream.manifest(HERS, "v1", raw("hers"))
    key = tmp_path / "key"
    key.write_text("a secret of more than thirty-two bytes")
    key.chmod(0o600)
    shared = document(upstream, token_key_file=str(key))
    async with running(tmp_path / "one", shared, clock) as one:
        hers = bearer(await token(one, basic("alice")))
    async with running(tmp_path / "two", shared, clock) as two:
        assert (await two.get(manifest_path("v1"), hers)).body == raw("hers")
    async with running(tmp_path / "three", document(upstream), clock) as three:
        assert (await three.get(manifest_path("v1"), hers)).status == 401


async def test_beside_clients_each_repository_says_whose_login_is_meant(
    tmp_path: Path, upstream: FaultUpstream, elsewhere: FaultUpstream, members: Members, clock: Clock
) -> None:
    """A login of this cache's own is not shown to a registry, whose users need none here."""
    upstream.manifest(HERS, "v1", raw("hers"))
    elsewhere.manifest(OPEN, "v1", raw("open"))
    users = htpasswd(tmp_path / "htpasswd", {"carol": "canary-of-carol"})
    both = document(upstream)["upstreams"] | {OTHER: {"url": elsewhere.url}}
    settings = {"upstreams": both, "clients": {"htpasswd": str(users)}}
    carol = basic("carol", "canary-of-carol")
    async with running(tmp_path / "app", settings, clock) as proxy:
        assert (await proxy.get(manifest_path("v1", OPEN, OTHER), carol)).body == raw("open")
        assert (await proxy.get(manifest_path("v1", OPEN, OTHER), basic("alice"))).status == 401
        assert (await proxy.get(manifest_path("v1", OPEN, OTHER))).status == 401
        assert (await proxy.get(manifest_path("v1"), basic("alice"))).body == raw("hers")
        hers = bearer(await token(proxy, basic("alice")))
        assert (await proxy.get(manifest_path("v1"), hers)).body == raw("hers")
        assert (await proxy.get(manifest_path("v1", OPEN, OTHER), hers)).status == 401
        carols = bearer(await token(proxy, carol))
        assert (await proxy.get(manifest_path("v1", OPEN, OTHER), carols)).body == raw("open")
        assert (await proxy.get(manifest_path("v1"), carols)).status == 401
        wrong = await proxy.get(f"/token?scope=repository:{OTHER}/{OPEN}:pull", basic("carol", "wrong"))
        assert wrong.status == 401
    assert not [seen for seen in upstream.requests() if "carol" in str(seen.headers)]


async def test_a_password_that_the_registry_does_not_take_is_told_where_a_token_is_asked_for(
    proxy: App, upstream: FaultUpstream, members: Members, clock: Clock
) -> None:
    for query in ("service=entrepot", f"scope=repository:{NAME}/{HERS}:pull"):
        refused = await proxy.get(f"/token?{query}", basic("alice", "wrong"))
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == 'Basic realm="entrepot"'
    asked = len(upstream.ledger)
    assert (await proxy.get("/token", basic("alice", "wrong"))).status == 401
    assert len(upstream.ledger) == asked, "a no is remembered for a while"
    members.passwords["alice"] = "wrong"
    clock.ahead += 11
    assert (await proxy.get("/token", basic("alice", "wrong"))).status == 200
    await upstream.vanish()
    assert (await proxy.get("/token", basic("bob"))).status == 200  # nobody has said that it is wrong


@by_token
async def test_on_one_connection_each_request_is_its_own_callers(
    tmp_path: Path, upstream: FaultUpstream, elsewhere: FaultUpstream, members: Members, clock: Clock
) -> None:
    """Also where they come one behind the other without a pause, for registries that both decide."""
    there = elsewhere.members(Members({"carol": "canary-of-carol"}, {"carol": {HERS}}))
    for up in (upstream, elsewhere):
        for number in range(4):
            up.manifest(HERS, f"v{number}", raw(f"{up.port} {number}"))
    both = {
        NAME: {"url": upstream.url, "access": "upstream"},
        OTHER: {"url": elsewhere.url, "access": "upstream"},
    }
    asks = [
        (NAME, basic("alice"), 200),
        (OTHER, basic("carol", there.passwords["carol"]), 200),
        (NAME, basic("bob"), 404),
        (NAME, {}, 401),
        (OTHER, {}, 401),
    ]
    async with (
        running(tmp_path / "app", {"upstreams": both}, clock) as proxy,
        await Client.connect(proxy.port) as client,
    ):
        for number in range(4):
            blocks = [request(manifest_path(f"v{number}", HERS, name), login) for name, login, _ in asks]
            await client.send(b"".join(blocks))
            for name, _, status in asks:
                reply = await client.reply()
                assert reply.status == status
                port = upstream.port if name == NAME else elsewhere.port
                assert status != 200 or reply.body == raw(f"{port} {number}")
    for up, users in ((upstream, {"alice", "bob"}), (elsewhere, {"carol"})):
        sent = {seen.headers.get("authorization", "") for seen in up.requests()}
        pairs = {base64.b64decode(each[6:]).decode() for each in sent if each.startswith("Basic ")}
        assert {pair.partition(":")[0] for pair in pairs} == users

"""Tables that strangers fill: each is filled with far more than it holds; and a list of whatever else can grow, with
the reason why it does not."""

import ast
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cache.engine import CacheRules, Upstreams
from proxy.cache.fills import FillRules
from proxy.composition import Collaborators, ServiceRules, compose
from proxy.config import load
from proxy.core.access import Caller
from proxy.core.budget import ByteLimits, FreeSpaceRule
from proxy.core.credentials import Credentials
from proxy.core.errors import CredentialsFailed, ManifestUnknown, UpstreamUnreachable
from proxy.core.freshness import TagRules
from proxy.core.names import Digest, Repository, Tag, UpstreamNames
from proxy.core.tables import BoundedTable
from proxy.registries import Registries
from proxy.storage.contract import Content, Held, MembershipRecord, RepositoryRecord, TagRecord
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream.ecr_repositories import EcrRepositories
from proxy.upstream.tokens import TokenKey
from tests.source import rooms

ENTRIES = 50_000  # more than any of them holds
FILLS = 2  # times that it is filled with what it holds
PORTION = 500  # entries
MIB = 1 << 20
SLACK = 24 * MIB  # of the process, beside what is accounted
ALL_TABLES = 400 * MIB


def repository(number: int) -> Repository:
    return Repository(f"h{number}.wild.test", f"team/app{number}")


def digest(number: int) -> Digest:
    return Digest(f"sha256:{number:064x}")


def of_blob(number: int) -> tuple[Any, ...]:
    return repository(number), digest(number)


def of_tag(number: int) -> tuple[Any, ...]:
    return repository(number), Tag(f"v{number}")


def fault(number: int) -> Exception:
    return UpstreamUnreachable("up", f"no connection to https://h{number}.wild.test: it is not there")


def held(number: int) -> dict[Repository, Held]:
    content = Content(digest(number), 1, "application/vnd.oci.image.manifest.v1+json", 1.0, 1.0, "up")
    return {repository(number): Held(content, MembershipRecord("", 1.0))}


Entry = Callable[[int], tuple[Any, Any]]

TABLES: dict[str, Entry] = {
    "AWS APIs that are out": lambda n: ((f"h{n}.test",), True),
    "absent blobs": lambda n: (of_blob(n), True),
    "absent manifests": lambda n: (of_tag(n), ManifestUnknown(f"up does not have app{n}")),
    "authorization schemes": lambda n: (("up", f"app{n}"), (f"https://auth.test/{n}" * 10, None, None)),
    "bytes of what is held": lambda n: (digest(n), bytes(4000)),
    "failed logins": lambda n: (f"fd00:{n % 65536:x}:{n >> 16:x}::/64", 3),
    "held": lambda n: (digest(n), held(n)),
    "grants asked again": lambda n: (repository(n), True),
    "hosts found": lambda n: (f"h{n}.wild.test", True),
    "hosts not found": lambda n: (f"h{n}.wild.test", fault(n)),
    "immutable tags that moved": lambda n: (of_tag(n), digest(n)),
    "judged": lambda n: (repository(n), CredentialsFailed(f"h{n}.wild.test", "it refuses our credentials")),
    "logins": lambda n: (b"%032d" % n, Caller(f"user{n}", frozenset({"ci"}), 1.0, f"token {n}")),
    "logins for upstreams": lambda n: ((b"%032d" % n, 1), Caller("", login=Credentials(f"user{n}", "p" * 20))),
    "outages": lambda n: (("up", "thing", f"app:{n}"), None),
    "permits": lambda n: ((repository(n), b"%032d" % n), (1.0, 2.0)),
    "proven": lambda n: (digest(n), float(n)),
    "referrers": lambda n: ((*of_blob(n), f"artifactType={n}{'a' * 7000}"), None),
    "refused logins": lambda n: (b"%032d" % n, "there is no such user"),
    "refused permits": lambda n: ((repository(n), b"%032d" % n, ""), fault(n)),
    "registries of patterns": lambda n: (f"h{n}.wild.test", None),
    "sizes of blobs": lambda n: (of_blob(n), n),
    "standings": lambda n: (repository(n), (RepositoryRecord(1.0), 1.0)),
    "tag audits": lambda n: (of_tag(n), True),
    "tag mutability": lambda n: (("0", "123456789012", f"app{n}"), None),
    "tags": lambda n: (of_tag(n), (n, TagRecord(digest(n), 1.0))),
    "tags not written": lambda n: (of_tag(n), TagRecord(digest(n), 1.0)),
    "tokens": lambda n: (("up", TokenKey("https://auth.test", None, f"app{n}", None)), f"{n}" + "t" * 8000),
    "touched": lambda n: (of_blob(n), float(n)),
    "upstreams that limit": lambda n: (f"h{n}.test", True),
    "warnings of AWS APIs": lambda n: ((f"h{n}.test", UpstreamUnreachable), True),
    "wrong bytes": lambda n: ((f"h{n}.test", digest(n)), (n, 1.0)),
}
"""By the name that its metric has: what one entry is, as a stranger would make it."""

UNNAMED = {
    "core.seldom.Seldom._said",
    "front.access_log.LogLines._endings",
    "front.fairness.Fairness._shares",
    "front.fast_path.FastPath._prepared",
    "front.groups.GroupTallies._known",
    "front.requests.Requests._blocks",
    "front.requests.Requests._remainders",
    "login.gate.AllowGate._known",
}
"""Tables of the same kind that no metric shows."""

GROWS = {
    "admin.connections.AdminConnections._held": "64 connections",
    "admin.credentials.OwnCredentials._uses": "configured upstreams",
    "admin.credentials.OwnCredentials._found": "configured upstreams",
    "admin.reload.Reload.counts": "a closed set",
    "admin.tls_files.TlsWatch.counts": "a closed set",
    "amazon.Amazon._repositories": "configured identities",
    "cache.blobs.Blobs._opener": "pulls under way",
    "cache.deserted.Deserted._going": "fills under way",
    "cache.deserted.Deserted._timers": "fills under way",
    "cache.deserted.Deserted.slow": "fills under way",
    "cache.doubts.Doubts._waiting": "10,000 contents that are held",
    "cache.fill.Fill.origins": "the sources of one fill",
    "cache.fill.Fill._waiting": "clients of one fill",
    "cache.fills.Fills.durations": "how a fill may end",
    "cache.holdings.Holdings._used": "contents that are held, written down every 10 s",
    "cache.holdings.Holdings._readers": "contents that are being read",
    "cache.lifecycle.Lifecycle.runs": "a closed set",
    "cache.lifecycle.Lifecycle.actions": "a closed set",
    "cache.pass_through.PassThroughs.under_way": "pulls under way",
    "cache.pass_through.PassThrough.positions": "clients of one blob",
    "cache.pass_through.PassThrough._marks": "one for each MiB of one blob",
    "cache.pass_through.PassThrough._window": "8 MiB",
    "cache.pass_through.PassThroughBody._owed": "transfers of one pull",
    "cache.pins.Pins._added": "what operators pin",
    "cache.pins.Pins._patterns": "what operators pin",
    "cache.space.Space._crowded": "upstreams with content that is held",
    "cache.tombstones.Tombstones._removing": "contents on their way out",
    "cache.tombstones.Tombstones._committing": "contents on their way in",
    "cache.tombstones.Tombstones._counted": "bytes that are still on the disk",
    "cache.touches.Touches._pending": "10,000 contents that are held",
    "cache.verifier.InOrderVerifier._pending": "pieces of one fill that are to be hashed",
    "cache.ledger.Ledger._changed": "10,000 accounts of a day, and one for each upstream",
    "cache.ledger.Ledger._totals": "10,000 accounts of a day, and one for each upstream",
    "cache.warm_ledger.WarmLedger._arriving": "12 blobs of all warmings",
    "cache.warm_ledger.WarmLedger._wanted": "200,000 contents of one warming",
    "cache.warm_ledger.WarmLedger.results": "10,000 images, and as many names as one order has",
    "cache.warm_schedule.WarmSchedule.images": "a closed set",
    "core.budget.Budget.committed_by": "upstreams with content that is held",
    "core.budget.Budget.reserved_by": "upstreams of fills under way",
    "core.budget.Budget.beside": "a closed set",
    "core.fair_shares.FairShares._held": "places that are taken",
    "core.lifecycle.documents.Members.repeated": "one policy",
    "core.tables.BoundedTable._values": "its limit",
    "core.tables.BoundedTable._places": "its limit",
    "core.tables.BoundedTable._taken": "its limit",
    "core.tables.Tables.made": "the tables of the program",
    "core.transfer_plan.Parts._returned": "parts of one blob",
    "front.access_log.AccessLog.tallies": "configured upstreams and 4,096 more, by closed sets",
    "front.connection.Front.connections": "connections that are open",
    "front.connection.Front._by_network": "connections that are open",
    "front.groups.GroupTallies.tallies": "256 groups that rules name",
    "front.handler.Handler.live": "requests under way",
    "front.requests.HeadParser._fields": "one header block",
    "front.requests.Requests._asked": "what the tables of the front keep alive",
    "front.slow_clients.SlowClients._readers": "connections that are open",
    "login.issuers.Issuers.remote": "configured issuers",
    "login.logins.Logins.counts": "a closed set",
    "front.tls.Tls.connections": "connections that are open",
    "front.tls.Tls.handshakes": "a closed set",
    "front.tls_sender.SealedFile._buffer": "112 KiB",
    "logs.LogWriter._made": "8 MiB of lines",
    "logs.LogWriter._pending": "a batch of 128",
    "registries.Registries._ways": "configured upstreams",
    "registries.Registries._named": "configured upstreams",
    "registries.Registries._past": "configured upstreams",
    "service_manager.ServiceManager._owed": "32 words",
    "storage.disk.DiskStore._arriving": "ingests under way",
    "storage.health.StorageHealth.trouble": "a closed set",
    "tasks.flights.Flights._aloft": "runs under way",
    "tasks.jobs.Jobs.states": "a closed set",
    "tasks.lag.LoopLag._samples": "600 numbers",
    "tasks.places.Places._waiting": "pulls under way",
    "warm.lists._Found._seen": "one list, in the process of a command",
    "warm.lists._Found.images": "one list, in the process of a command",
    "warm.lists._Found.passed_over": "one list, in the process of a command",
    "upstream.address.Ourselves._listening": "our own listeners",
    "upstream.client.HttpClient._aloft": "requests under way",
    "upstream.connections.ConnectionPool._idle": "32 connections",
    "upstream.ecr_aws.Aws._endpoints": "a closed set",
    "upstream.ecr_tokens.EcrTokenBook._aws": "configured identities",
    "upstream.ecr_tokens.EcrTokenBook._private": "configured identities",
    "upstream.ecr_tokens.EcrTokenBook._public": "configured identities",
    "upstream.health.Breaker._members": "three repositories",
    "upstream.health.Stats._grown": "4,096 repositories, in five seconds",
    "upstream.health.Stats.first_bytes": "kinds",
    "upstream.health.Stats.requests": "kinds, by the hundreds of a status",
    "upstream.passage.Passages._passages": "a closed set",
    "upstream.settings.Trusts._made": "configured upstreams",
    "upstream.http1.ChunkDecoder._line": "4 KiB",
    "upstream.http1.HeadReader._block": "64 KiB",
}
"""What else can grow while the program runs, and what bounds it."""

CONTAINERS = {"dict", "set", "list", "bytearray", "Counter", "deque", "defaultdict", "OrderedDict"}
WEAK = {"WeakValueDictionary", "WeakKeyDictionary", "WeakSet"}
BRIEF = {"commands", "config", "doctor", "cli"}
"""Rooms of what runs once."""


@pytest.fixture
async def tables(tmp_path: Path) -> AsyncIterator[dict[str, BoundedTable[Any, Any]]]:
    """Those of the program as it is put together."""
    config = tmp_path / "entrepot.yaml"
    upstreams = {"up": {"url": "http://127.0.0.1:9"}, "*.wild.test": {}}
    config.write_text(yaml.safe_dump({"cache": {"path": str(tmp_path / "cache")}, "upstreams": upstreams}))
    async with AsyncExitStack() as stack:
        jobs = Jobs(await stack.enter_async_context(task_group()))
        registries = Registries(load(config, {}).settings, jobs)
        stack.push_async_callback(registries.close)
        EcrRepositories(nobody, jobs, registries.tables)
        asked = Upstreams(registries.get, registries.immutable, registries.touch_period, label=registries.label)
        rules = CacheRules(ByteLimits(MIB), FreeSpaceRule(0, 0), TagRules(), FillRules())
        around = Collaborators(asked, UpstreamNames.of({"up"}, None), lambda: 1.7e9)
        service = await compose(stack, tmp_path / "cache", ServiceRules(rules), around)
        yield {**service.cache.holdings.tables.made, **registries.tables.made}


async def nobody(account: str, name: str) -> dict[str, Any]:
    return {}


@pytest.mark.timeout(600)  # half a minute of computing, on a machine that may have others at work
async def test_every_table_keeps_within_its_bytes_whatever_strangers_name(
    tables: dict[str, BoundedTable[Any, Any]],
) -> None:
    assert set(tables) == set(TABLES)
    assert sum(table.limit for table in tables.values()) <= ALL_TABLES
    for name, entry in TABLES.items():
        table, before = tables[name], resident()
        put = 0
        while put < ENTRIES and put <= FILLS * len(table):
            for number in range(put, put + PORTION):
                table.put(*entry(number))
            put += PORTION
        assert 0 < table.total <= table.limit, name
        assert len(table) < put, name
        assert resident() - before <= table.limit + SLACK, name
        for key, _ in table.items():
            table.pop(key)
        assert table.total == 0
        gc.collect()


def test_whatever_can_grow_is_a_table_or_has_a_reason_not_to() -> None:
    found = {name for room in rooms() if room.floor not in BRIEF for name in _containers(room.name, room.tree)}
    assert found == set(GROWS), found ^ set(GROWS)


def test_every_table_is_known_by_its_name_or_listed() -> None:
    found = {name for room in rooms() if room.floor != "core" or room.name == "core.seldom" for name in
             _assigned(room.name, room.tree, {"BoundedTable"})}  # fmt: skip
    assert found == UNNAMED


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _containers(room: str, tree: ast.Module) -> set[str]:
    return _assigned(room, tree, CONTAINERS | WEAK)


def _assigned(room: str, tree: ast.Module, makers: set[str]) -> set[str]:
    """``room.Class.attribute`` of what begins as an empty or new one of these."""
    found = set()
    for owner in [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]:
        for node in ast.walk(owner):
            match node:
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)], value=value):
                    pass
                case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name), value=value):
                    pass
                case _:
                    continue
            if value is not None and _maker(value) in makers:
                found.add(f"{room}.{owner.name}.{name}")
    return found


def _maker(value: ast.expr) -> str:
    match value:
        case ast.Dict():
            return "dict"
        case ast.List(elts=[]):
            return "list"
        case ast.Call(func=ast.Name(id=name)):
            return name
    return ""

"""How the rooms are put together, for the program and for scenes alike: built bottom-up on an exit stack, each given
what it works with."""

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from proxy.cache.engine import Cache, CacheRules, Upstreams, start_cache
from proxy.cache.ledger import WRITTEN_EVERY, Counted, Ledger
from proxy.cache.threads import start_threads
from proxy.cache.timekeeping import Timekeeper
from proxy.cache.upkeep import forgiving
from proxy.core.access import Gate
from proxy.core.doors import HostNames
from proxy.core.ledger import Account
from proxy.core.names import UpstreamNames
from proxy.front.access_log import AccessLog, Hit, Line, Lines
from proxy.front.connection import Front
from proxy.front.connections import ConnectionRules
from proxy.front.date import DateHeader
from proxy.front.door import Door
from proxy.front.fairness import Fairness
from proxy.front.fast_path import FastPath
from proxy.front.groups import GroupTallies
from proxy.front.handler import Handler
from proxy.front.plain_sender import PlainSender
from proxy.front.proxied import Networks, entrance
from proxy.front.requests import Requests
from proxy.front.sender import Sender, Senders
from proxy.front.slow_clients import slow_clients
from proxy.front.streams import SenderRules, SendSlowly, Streams
from proxy.front.tls import Tls, TlsTerms
from proxy.front.tls_sender import TlsSender
from proxy.login.gate import AllowGate
from proxy.login.logins import LOOKED_EVERY, Logins
from proxy.login.material import NO_SECRETS, LoginSecrets, ReadFile
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.disk import DiskStore
from proxy.storage.folder import cache_folder
from proxy.storage.health import StorageHealth
from proxy.storage.quarantine import BYTES_LIMIT
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs

_SENDERS = 16  # threads
_LOGINS = 4  # threads; passwords take two of them at most
_SHAKERS = 2  # threads for the handshakes of TLS
_QUARANTINE_SHARE = 20  # of the budget: at most one part of so many


Entrance = Callable[[], asyncio.Protocol]


@dataclass(frozen=True, slots=True)
class ServiceRules:
    cache: CacheRules
    sender: SenderRules = field(default_factory=SenderRules)
    connections: ConnectionRules = field(default_factory=ConnectionRules)
    hosts: HostNames | None = None  # that pulls may be asked by, None for any
    trusted_proxies: Networks = ()  # that say whom they speak for
    logins: LoginSecrets = NO_SECRETS
    tls: TlsTerms | None = None  # of the listener, None where it is plain
    loopback_hosts: HostNames | None = None  # that pulls are asked by on the plain listener beside it, None without one


@dataclass(frozen=True, slots=True)
class Service:
    """What answers pulls: ``entrance`` makes the protocol of each connection, ``loopback`` that of those to the plain
    listener beside it, where there is one; ``front`` keeps them."""

    catalog: SqliteCatalog
    storage: StorageHealth
    cache: Cache
    access_log: AccessLog
    handler: Handler
    front: Front
    entrance: Entrance
    loopback: Entrance | None
    tls: Tls | None
    jobs: Jobs
    admissions: "Admissions"
    ledger: Ledger


class Admissions(NamedTuple):
    """Who may pull: what a changed configuration changes."""

    logins: Logins
    gate: AllowGate
    groups: GroupTallies

    def configure(self, secrets: LoginSecrets) -> None:
        """Holds for the next request on, whatever is remembered."""
        self.gate.configure(secrets.rules.allow)
        self.groups.configure(secrets.rules.allow)
        self.logins.configure(secrets)


class Collaborators(NamedTuple):
    """What the service is put into. ``jobs`` makes the jobs of its task group."""

    upstreams: Upstreams
    names: UpstreamNames
    now: Callable[[], float]  # seconds since the epoch, that no step of the machine's clock moves
    write_line: Callable[[Hit | Line], None] | None = None  # of the access log
    lines: Lines = Lines.ALL
    gate: Gate | None = None  # instead of the one that the rules make
    jobs: Callable[[asyncio.TaskGroup], Jobs] = Jobs
    wall: Callable[[], float] | None = None  # the machine's clock
    read_file: ReadFile = lambda path, limit: path.read_bytes()
    pseudonym: str = ""  # ours among caches
    fetched: Callable[[], Mapping[Account, int]] = dict  # bytes that came since this was asked last


async def compose(stack: AsyncExitStack, folder: Path, rules: ServiceRules, around: Collaborators) -> Service:
    """Everything that is opened is closed by ``stack``, in reverse: first what is under way ends, then what it works
    with. Raises FolderRefused, StoreFailed."""
    fills = rules.cache.fills
    held = stack.enter_context(cache_folder(folder))
    health = StorageHealth()
    quarantine_limit = min(BYTES_LIMIT, rules.cache.limits.soft // _QUARANTINE_SHARE)
    store = DiskStore(held.path, health, around.now, held.claim, quarantine_limit)
    stack.callback(store.close)
    catalog = SqliteCatalog(held.path, health, held.claim)
    stack.push_async_callback(catalog.close)
    threads = stack.enter_context(start_threads(fills.at_once, fills.intake.transfers.most))
    senders = stack.enter_context(ThreadPoolExecutor(_SENDERS, thread_name_prefix="sender"))
    hashing = stack.enter_context(ThreadPoolExecutor(_LOGINS, thread_name_prefix="logins"))
    slow = stack.enter_context(slow_clients())
    last = await stack.enter_async_context(AsyncExitStack())  # ends when nothing is under way any more
    jobs = around.jobs(await stack.enter_async_context(task_group()))
    times = Timekeeper(catalog, around.now, around.wall or around.now, rules.cache.earliest)
    cache = await start_cache(store, catalog, around.upstreams, rules.cache, threads, jobs, times)
    stack.push_async_callback(cache.settle)
    access_log = AccessLog(around.names, around.write_line, around.lines)
    logins = Logins(hashing, cache.holdings.tables, jobs, around.now, around.wall or around.now, around.read_file)
    permits = cache.permits
    governs = permits.governs if permits.any else None
    admissions = Admissions(logins, AllowGate(governs=governs, holds=permits.holds), access_log.groups)
    admissions.configure(rules.logins)
    gate, date = around.gate or admissions.gate, DateHeader()
    door = Door(gate, logins, permits, around.names, admissions.gate.limiting_rule, Fairness(cache.blobs))
    sender: Sender = PlainSender(Streams(senders, _SENDERS, slow.send, rules.sender))
    if rules.tls is not None:
        sender = Senders(sender, _tls_sender(stack, slow.send, rules.sender))
    handler = Handler(cache, door, sender, access_log, date, around.now)
    requests = Requests(around.names, rules.connections.head, rules.hosts, around.pseudonym, door.recall)
    fast_path = FastPath(cache, gate, access_log, date, door.takes)
    ledger = Ledger(catalog.ledger, Counted(partial(_served, access_log, fast_path), around.fetched), around.now)
    last.push_async_callback(forgiving(ledger.flush))
    front = Front(rules.connections, requests, fast_path.reply, handler, jobs.group, date, around.now)
    loopback: Entrance | None = None
    if rules.loopback_hosts is not None:
        beside = Requests(around.names, rules.connections.head, rules.loopback_hosts, around.pseudonym, door.recall)
        loopback = partial(front.protocol, requests=beside)
    tls = _tls(stack, front, rules.tls) if rules.tls is not None else None
    outer = entrance(front, tls.protocol if tls is not None else front.protocol, rules.trusted_proxies)
    return Service(catalog, health, cache, access_log, handler, front, outer, loopback, tls, jobs, admissions, ledger)


def _served(access_log: AccessLog, fast_path: FastPath) -> Mapping[Account, int]:
    """Bytes that clients were sent since this was asked last."""
    grown = access_log.grown()
    if access_log.is_full:
        access_log.begin_anew()
        fast_path.forget()
    return grown


def _tls_sender(stack: AsyncExitStack, send_slowly: SendSlowly, rules: SenderRules) -> TlsSender:
    """Its threads compute: more of them than cores would only take turns, and the loop would wait for its own."""
    count = os.cpu_count() or 1
    threads = stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="sealer"))
    return TlsSender(Streams(threads, count, send_slowly, rules))


def _tls(stack: AsyncExitStack, front: Front, terms: TlsTerms) -> Tls:
    threads = stack.enter_context(ThreadPoolExecutor(_SHAKERS, thread_name_prefix="handshake"))
    return Tls(front, threads, terms)


def start_jobs(service: Service) -> None:
    """What goes on behind pulls. Needs a running loop."""
    service.cache.start_jobs(service.jobs, lambda: service.storage.trouble)
    service.jobs.keep("silent clients", service.front.keep)
    service.jobs.every("ledger", WRITTEN_EVERY, forgiving(service.ledger.flush))
    service.jobs.every("logins", LOOKED_EVERY, service.admissions.logins.look)
    if service.tls is not None:
        service.jobs.keep("clients' certificates", service.tls.keep)

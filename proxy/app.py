"""The running process: what it is made of by its configuration, how it listens, and how it stops."""

import asyncio
import gc
import logging
import os
import resource
import secrets
import signal
import time
from collections import ChainMap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from aiohttp import web

from proxy.activation import NONE_PASSED, Passed, passed
from proxy.admin.bundling import Bundling
from proxy.admin.connections import AdminConnectionRules, AdminConnections
from proxy.admin.contents import ContentDoor
from proxy.admin.credentials import CHECKED_EVERY, OwnCredentials
from proxy.admin.families import families_of
from proxy.admin.gate import AdminGate, OperatorGate
from proxy.admin.health import Health, Stage, catalog_troubles, job_troubles
from proxy.admin.inventory import InventoryOperations
from proxy.admin.listener import AdminApi, admin_app
from proxy.admin.live import LiveOperation
from proxy.admin.metrics import Metrics
from proxy.admin.operations import Operations
from proxy.admin.page.pages import PageSources, StatusPages
from proxy.admin.reload import Reload, Taken, savings_rules
from proxy.admin.savings import SavingsOperation
from proxy.admin.status import status_of
from proxy.admin.telemetry import Telemetry
from proxy.admin.tls_files import LOOKED_EVERY, TlsWatch, read_tls
from proxy.admin.warming import WarmOperation
from proxy.cache.engine import Upstreams
from proxy.cache.permits import PermitRules
from proxy.clock import steady_clock, wall_clock
from proxy.composition import Collaborators, Service, ServiceRules, compose, start_jobs
from proxy.config import Address, Loaded, Settings, read_admin_token, read_file
from proxy.core.descriptors import connections_within, descriptors_for
from proxy.core.names import UpstreamNames
from proxy.core.via import pseudonym
from proxy.front.access_log import Lines, Logged, LogLines
from proxy.listening import Listeners, Listening, listen
from proxy.logs import LogHandler, LogWriter, as_json, as_text
from proxy.registries import Registries
from proxy.rules import admin_hosts, service_rules
from proxy.service_manager import ServiceManager, status_words
from proxy.signals import hangups_held, on_hangup
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.tasks.lag import LoopLag
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot")

Logs = LogWriter[Logged]
T = TypeVar("T")
MakeJobs = Callable[[asyncio.TaskGroup], Jobs]


class Stop:
    """The request to stop: once politely, twice at once."""

    def __init__(self) -> None:
        self.politely = asyncio.Event()
        self.at_once = asyncio.Event()
        self.hurried = False  # a person at the terminal: no load balancer has to notice first

    def ask(self, number: int) -> None:
        """As a signal of that number does."""
        self.hurried = self.hurried or number == signal.SIGINT
        if self.politely.is_set():
            self.at_once.set()
        self.politely.set()


@dataclass(frozen=True, slots=True)
class Around:
    """What a process is started in. ``most``: connections that fit; ``manager`` is told of it, and has opened
    ``passed``."""

    logs: Logs
    most: int
    make_jobs: MakeJobs = Jobs
    manager: ServiceManager = field(default_factory=lambda: ServiceManager({}))
    passed: Passed = NONE_PASSED


async def serve(loaded: Loaded, announce: Callable[[Listening], None], make_jobs: MakeJobs = Jobs) -> None:
    """Runs until SIGTERM or SIGINT. Raises FolderRefused, OSError when an address cannot be bound, StoreFailed."""
    settings = loaded.settings
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask, number)
    with hangups_held(), _logs(settings) as logs:
        for warning in loaded.warnings:
            log.warning("%s", warning)
        most = _raise_descriptor_limit(settings.limits.connections)
        async with AsyncExitStack() as stack:
            around = Around(logs, most, make_jobs, ServiceManager(os.environ), passed(os.environ, settings))
            service, listeners, health = await _start(loaded, around, stack)
            health.stage = Stage.READY
            _tell_of(health, listeners.at, around.manager, service.jobs)
            announce(listeners.at)
            await stop.politely.wait()
            health.stage = Stage.STOPPING
            around.manager.stopping(f"stopping, {service.handler.active} requests under way")
            await _drain(settings, stop, listeners, service)


async def attend(loaded: Loaded, work: Callable[[str], T]) -> T:
    """What ``work`` gives, in a thread, for the address of an admin API to the cache of this configuration, which no
    running proxy has; nobody else is told an address. Raises FolderRefused, StoreFailed, and what ``work`` raises."""
    alone = Address("127.0.0.1", 0)
    quiet = loaded.settings.log.model_copy(update={"level": "warning"})
    changed = {"listen": alone, "loopback": None, "tls": None, "admin": alone, "admin_socket": None, "log": quiet}
    settings = loaded.settings.model_copy(update=changed)
    loaded = loaded._replace(settings=settings)
    async with AsyncExitStack() as stack:
        logs = stack.enter_context(_logs(settings))
        around = Around(logs, settings.limits.connections)
        service, listeners, _ = await _start(loaded, around, stack)
        try:
            return await asyncio.to_thread(work, listeners.at.admin)
        finally:
            listeners.close()
            service.front.close_idle()


def _tell_of(health: Health, listening: Listening, manager: ServiceManager, jobs: Jobs) -> None:
    """The service manager, from now on. A loop that stands gives no sign of life."""
    serves = f"serves pulls on {listening.pull}, admin on {listening.admin}"
    manager.ready(serves)

    async def pulse() -> None:
        while health.stage is Stage.READY:
            manager.pulse(status_words(serves, health.degraded))
            await asyncio.sleep(manager.pulse_every)

    if manager.listens:
        jobs.keep("service manager", pulse)


async def _start(loaded: Loaded, around: Around, stack: AsyncExitStack) -> tuple[Service, Listeners, Health]:
    settings, logs, make_jobs = loaded.settings, around.logs, around.make_jobs
    now, began = steady_clock(), time.monotonic()
    files = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="files"))
    # A group of its own: what the registries do ends after those who ask them.
    own = pseudonym(secrets.token_bytes(8))
    registries = Registries(settings, make_jobs(await stack.enter_async_context(task_group())), pseudonym=own)
    stack.push_async_callback(registries.close)
    read = await off_loop(files, partial(read_tls, settings))
    rules = service_rules(settings, around.most, read.terms if read is not None else None)
    service = await _compose(settings, rules, registries, logs, now, stack, make_jobs)
    jobs, lag = service.jobs, LoopLag()
    tls = TlsWatch(read, service.tls, files) if read is not None and service.tls is not None else None
    credentials = OwnCredentials(settings, os.environ)
    gate = OperatorGate(read_admin_token, settings.admin_token_file)
    savings = SavingsOperation(service.ledger, savings_rules(settings), jobs.turns)
    taken = _taken(service, registries, gate, savings, tls)
    reload = Reload(loaded, taken, files, now, around.manager.reloading)
    states = ChainMap(jobs.states, registries.jobs.states)
    recovered = lambda: service.catalog.recovered.value  # noqa: E731
    telemetry = Telemetry(
        service.cache,
        service.access_log,
        service.front,
        registries,
        logs,
        lag,
        states,
        reload,
        recovered,
        lambda: time.monotonic() - began,
        lambda: service.handler.active,
        service.admissions.logins,
        tls,
    )
    health = _health(service, telemetry, credentials)
    stack.enter_context(on_hangup(asyncio.get_running_loop(), lambda: jobs.once("reload", reload.on_hangup)))
    admins = _admin_connections(settings)
    live = _live(service, registries)
    admin = _admin(settings, telemetry, health, gate, admins, savings, live)
    listeners = await listen(settings, service, (admin, admins), around.passed, stack)
    for address, port in listeners.ends:
        registries.ourselves.listen_at(address, port)
    start_jobs(service)
    jobs.keep("silent admin clients", admins.keep)
    jobs.keep("loop lag", lag.run)
    jobs.every("credentials", CHECKED_EVERY, credentials.check)
    if tls is not None:
        jobs.every("files of TLS", LOOKED_EVERY, tls.look)
    # What was built lives as long as the process: the collector need not walk through it time and again.
    gc.collect()
    gc.freeze()
    return service, listeners, health


def _taken(
    service: Service, registries: Registries, gate: OperatorGate, savings: SavingsOperation, tls: TlsWatch | None
) -> Taken:
    """Those who take a changed configuration."""
    cache, take_tls = service.cache, tls.configure if tls is not None else None
    take_logins = service.admissions.configure
    at_once = cache.maintenance, registries.take_offline, cache.warm_schedule, take_logins, gate.configure
    return Taken(*at_once, savings.configure, _take_log_level, take_tls)


def _live(service: Service, registries: Registries) -> LiveOperation:
    def received() -> int:
        return int(sum(registries.received().values()))

    return LiveOperation(service.cache, service.front, service.handler, service.access_log, received)


def _health(service: Service, telemetry: Telemetry, credentials: OwnCredentials) -> Health:
    """All that can be wrong while pulls go on."""
    cache, tls = service.cache, telemetry.tls
    catalog = catalog_troubles(telemetry.recovered, lambda: cache.compared)
    storage = lambda: service.storage.trouble  # noqa: E731
    of_cache = [catalog, storage, cache.space.troubles, cache.times.troubles]
    of_files = [credentials.troubles, telemetry.logins.troubles, *([tls.troubles] if tls is not None else [])]
    return Health([*of_cache, job_troubles(telemetry.jobs), *of_files])


async def _compose(
    settings: Settings,
    rules: ServiceRules,
    registries: Registries,
    logs: Logs,
    now: Callable[[], float],
    stack: AsyncExitStack,
    make_jobs: MakeJobs,
) -> Service:
    upstreams = Upstreams(
        registries.registry,
        registries.immutable,
        registries.touch_period,
        registries.share,
        registries.push_times,
        label=registries.label,
        access_ttl=registries.access_ttl,
        trust=registries.trust_domain,
        permits=_permit_rules(settings, registries),
    )
    names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
    lines = Lines(settings.log.access)
    own, fetched = registries.ourselves.pseudonym, registries.grown
    around = Collaborators(
        upstreams, names, now, logs.write, lines, None, make_jobs, wall_clock, read_file, own, fetched
    )
    return await compose(stack, settings.cache.path, rules, around)


def _permit_rules(settings: Settings, registries: Registries) -> PermitRules:
    """A login without further words is for the only registry that takes any."""
    by_client = [name for name, upstream in settings.upstreams.items() if upstream.by_client]
    only = by_client[0] if len(by_client) == 1 and "*" not in by_client[0] else None
    return PermitRules(
        registries.is_by_client, registries.access_ttl, registries.access_stale, any=bool(by_client), only=only
    )


def _admin(
    settings: Settings,
    telemetry: Telemetry,
    health: Health,
    gate: AdminGate,
    connections: AdminConnections,
    savings: SavingsOperation,
    live: LiveOperation,
) -> web.Application:
    """The admin listener's routes."""
    cache = telemetry.cache
    bundling = Bundling(cache, settings.imports.public_keys, settings.imports.require_signature)
    operations, status = InventoryOperations(cache), partial(status_of, telemetry, health)
    shown = PageSources(status, live, telemetry.held_by_registry, operations)
    api = AdminApi(
        admin_hosts(settings),
        gate,
        health,
        Metrics(families_of(telemetry, health)),
        status,
        (
            *Operations(cache.maintenance, telemetry.reload).offers(),
            *bundling.offers(),
            *WarmOperation(cache).offers(),
            *operations.offers(),
            savings.offer,
            live.offer,
        ),
        ContentDoor(cache),
        StatusPages(shown, cache.holdings.threads.behind),
    )
    return admin_app(api, connections)


def _admin_connections(settings: Settings) -> AdminConnections:
    limits = settings.limits
    rules = AdminConnectionRules(
        header_timeout=limits.header_timeout, idle_timeout=limits.idle_timeout, write_stall=limits.write_stall
    )
    return AdminConnections(rules, time.monotonic)


async def _drain(settings: Settings, stop: Stop, listeners: Listeners, service: Service) -> None:
    """Not ready first, so that load balancers turn away; then no new connections; then the pulls under way end."""
    if not stop.hurried:
        await _until(stop.at_once, settings.drain.delay)
    handler = service.handler
    log.info("stopping: %d requests under way", handler.active)
    listeners.close()
    service.front.close_idle()
    deadline = time.monotonic() + settings.drain.timeout
    while handler.active and time.monotonic() < deadline and not stop.at_once.is_set():
        await _until(stop.at_once, 0.05)
    if handler.active:
        log.warning("%d requests are cut off", handler.active)
    service.front.abort()


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _logs(settings: Settings) -> Logs:
    writer: Logs = LogWriter(2, LogLines(as_json if settings.log.format == "json" else as_text))
    root = logging.getLogger()
    root.handlers[:] = [LogHandler(writer)]
    _take_log_level(settings.log.level)
    return writer


def _take_log_level(level: str) -> None:
    logging.getLogger().setLevel(level.upper())


def _raise_descriptor_limit(connections: int) -> int:
    """The hard limit is ours to take. Returns how many connections there may be at a time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        log.info("process %d, no limit on open files", os.getpid())
        return connections_within(None, connections)
    log.info("process %d, at most %d open files", os.getpid(), hard)
    needed = descriptors_for(connections)
    if hard < needed:
        log.warning("the limit of %d open files is low for %d connections: raise it to %d (ulimit -n, LimitNOFILE=)",
                    hard, connections, needed)  # fmt: skip
    return connections_within(hard, connections)

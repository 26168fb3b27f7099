"""The running process: what it is made of by its configuration, how it listens, and how it stops."""

import asyncio
import gc
import logging
import os
import resource
import signal
import time
from collections import ChainMap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

from aiohttp import web

from proxy.admin.credentials import CHECKED_EVERY, OwnCredentials
from proxy.admin.families import families_of
from proxy.admin.gate import NoForeignPages
from proxy.admin.health import Health, Stage, catalog_troubles, job_troubles
from proxy.admin.listener import AdminApi, admin_app
from proxy.admin.metrics import Metrics
from proxy.admin.operations import Operations
from proxy.admin.reload import Reload, Running
from proxy.admin.status import status_of
from proxy.admin.telemetry import Telemetry
from proxy.cache.engine import Upstreams
from proxy.clock import steady_clock, wall_clock
from proxy.composition import Collaborators, Service, ServiceRules, compose, start_jobs
from proxy.config import Loaded, Settings
from proxy.core.authorities import format_authority
from proxy.core.names import UpstreamNames
from proxy.front.access_log import Lines, Logged, lines_of
from proxy.logs import LogHandler, LogWriter, as_json, as_text
from proxy.registries import Registries
from proxy.rules import service_rules
from proxy.signals import hangups_held, on_hangup
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.tasks.lag import LoopLag

log = logging.getLogger("entrepot")

_BACKLOG = 1024
_DESCRIPTORS = 4  # of one connection: itself, its file, its registry, and one to spare
_OWN_DESCRIPTORS = 96  # of the process itself

Logs = LogWriter[Logged]
MakeJobs = Callable[[asyncio.TaskGroup], Jobs]


@dataclass(frozen=True, slots=True)
class Listening:
    """Where it really listens, ports chosen by the kernel included."""

    pull: str
    admin: str


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
            service, listener, health, listening = await _start(loaded, logs, make_jobs, most, stack)
            health.stage = Stage.READY
            announce(listening)
            await stop.politely.wait()
            health.stage = Stage.STOPPING
            await _drain(settings, stop, listener, service)


async def _start(
    loaded: Loaded, logs: Logs, make_jobs: MakeJobs, most: int, stack: AsyncExitStack
) -> tuple[Service, asyncio.Server, Health, Listening]:
    settings = loaded.settings
    now, began = steady_clock(), time.monotonic()
    files = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="files"))
    # A group of its own: what the registries do ends after those who ask them.
    registries = Registries(settings, make_jobs(await stack.enter_async_context(task_group())))
    stack.push_async_callback(registries.close)
    rules = service_rules(settings)
    rules = replace(rules, connections=replace(rules.connections, connections=most))
    service = await _compose(settings, rules, registries, logs, now, stack, make_jobs)
    jobs, lag = service.jobs, LoopLag()
    credentials = OwnCredentials(settings, os.environ)
    reload = Reload(Running(loaded.source, settings), service.cache.maintenance, files, now)
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
    )
    storage = lambda: service.storage.trouble  # noqa: E731
    catalog = catalog_troubles(recovered, lambda: service.cache.compared)
    health = Health([catalog, job_troubles(states), credentials.troubles, storage, service.cache.times.troubles])
    stack.enter_context(on_hangup(asyncio.get_running_loop(), lambda: jobs.once("reload", reload.on_hangup)))
    listener, listening = await _listen(settings, service, _admin(telemetry, health), stack)
    start_jobs(service)
    jobs.keep("loop lag", lag.run)
    jobs.every("credentials", CHECKED_EVERY, credentials.check)
    # What was built lives as long as the process: the collector need not walk through it time and again.
    gc.collect()
    gc.freeze()
    return service, listener, health, listening


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
        registries.get,
        registries.immutable,
        registries.touch_period,
        registries.share,
        registries.amazon.push_times,
        access_ttl=registries.access_ttl,
        trust=registries.trust_domain,
    )
    names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
    lines = Lines(settings.log.access)
    around = Collaborators(upstreams, names, now, logs.write, lines, jobs=make_jobs, wall=wall_clock)
    return await compose(stack, settings.cache.path, rules, around)


def _admin(telemetry: Telemetry, health: Health) -> web.Application:
    """The admin listener's routes."""
    return admin_app(
        AdminApi(
            NoForeignPages(),
            health,
            Metrics(families_of(telemetry, health)),
            partial(status_of, telemetry, health),
            Operations(telemetry.cache.maintenance, telemetry.reload).offers(),
        )
    )


async def _listen(
    settings: Settings, service: Service, admin: web.Application, stack: AsyncExitStack
) -> tuple[asyncio.Server, Listening]:
    runner = web.AppRunner(admin, access_log=None, keepalive_timeout=75, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, settings.admin.host, settings.admin.port)
    await site.start()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        service.front.protocol, settings.listen.host, settings.listen.port, backlog=_BACKLOG
    )
    return listener, Listening(_address(listener.sockets[0].getsockname()), _address(runner.addresses[0]))


def _address(name: tuple[str, int]) -> str:
    return format_authority(*name[:2])


async def _drain(settings: Settings, stop: Stop, listener: asyncio.Server, service: Service) -> None:
    """Not ready first, so that load balancers turn away; then no new connections; then the pulls under way end."""
    if not stop.hurried:
        await _until(stop.at_once, settings.drain.delay)
    handler = service.handler
    log.info("stopping: %d requests under way", handler.active)
    listener.close()
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
    writer: Logs = LogWriter(2, lines_of(as_json if settings.log.format == "json" else as_text))
    root = logging.getLogger()
    root.handlers[:] = [LogHandler(writer)]
    root.setLevel(settings.log.level.upper())
    return writer


def _raise_descriptor_limit(connections: int) -> int:
    """Each connection may need a few descriptors; the hard limit is ours to take. Returns how many connections there
    may be at a time: so many that held content can still be opened, and one more be told that it is too many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    log.info("process %d, at most %d open files", os.getpid(), hard)
    if hard == resource.RLIM_INFINITY:
        return connections
    if hard < _DESCRIPTORS * connections:
        log.warning("the limit of %d open files is low for %d connections: raise it to %d (ulimit -n, LimitNOFILE=)",
                    hard, connections, _DESCRIPTORS * connections)  # fmt: skip
    return max(1, min(connections, (hard - _OWN_DESCRIPTORS) // _DESCRIPTORS))

"""The composition: built bottom-up on an exit stack, run under one owner of tasks, stopped top-down."""

import asyncio
import gc
import logging
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiohttp import web

from proxy.admin_api import AdminApi
from proxy.cache.engine import CacheRules, Upstreams
from proxy.cache.fills import FillRules
from proxy.cache.intake import IntakeRules
from proxy.clock import steady_clock
from proxy.composition import Collaborators, Service, ServiceRules, compose, start_jobs
from proxy.config import Loaded, Settings
from proxy.core.authorities import format_authority
from proxy.core.budget import ByteLimits
from proxy.core.freshness import TagRules
from proxy.core.transfer_plan import TransferRules
from proxy.core.upstreams import UpstreamNames
from proxy.front.access_log import Line
from proxy.front.connection import Front
from proxy.front.connections import ConnectionRules
from proxy.front.sender import SenderRules
from proxy.ops.admin import Readiness, admin_app
from proxy.ops.lag import LoopLag
from proxy.ops.logs import LogHandler, LogWriter, as_json, as_text
from proxy.ops.metrics import Metrics
from proxy.registries import Registries
from proxy.reload import Reload, lifecycle_rules
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.telemetry import Telemetry

log = logging.getLogger("entrepot")

_BACKLOG = 1024


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
        self.hurried = self.hurried or number == signal.SIGINT
        if self.politely.is_set():
            self.at_once.set()
        self.politely.set()


async def serve(loaded: Loaded, announce: Callable[[Listening], None]) -> None:
    """Runs until SIGTERM or SIGINT. Raises FolderRefused, OSError when an address cannot be bound, StoreFailed."""
    settings = loaded.settings
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask, number)
    with _logs(settings) as logs:
        for warning in loaded.warnings:
            log.warning("configuration: %s", warning)
        _raise_descriptor_limit(settings.limits.connections)
        async with AsyncExitStack() as stack:
            await _run(loaded, logs, stop, announce, stack)


async def _run(
    loaded: Loaded, logs: LogWriter, stop: Stop, announce: Callable[[Listening], None], stack: AsyncExitStack
) -> None:
    settings = loaded.settings
    now, started = steady_clock(), time.monotonic()
    # A group of its own: what the registries do ends after those who ask them.
    registries = Registries(settings, Jobs(await stack.enter_async_context(task_group())))
    stack.push_async_callback(registries.close)
    upstreams = Upstreams(
        registries.get, registries.immutable, registries.touch_period, registries.share, registries.amazon.push_times
    )
    names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
    write_line = _access_log(logs) if log.isEnabledFor(logging.INFO) else None
    around = Collaborators(upstreams, names, now, write_line)
    service = await compose(stack, settings.cache.path, service_rules(settings), around)
    lag = LoopLag()
    telemetry = Telemetry(service.cache, service.access_log, service.connections, registries, logs, lag)
    readiness = Readiness()
    status = lambda: telemetry.status(service.handler, time.monotonic() - started)  # noqa: E731
    operations = AdminApi(service.cache.maintenance).operations()
    admin = admin_app(readiness, Metrics(telemetry.families()), status, operations)
    _reload_on_hangup(Reload(loaded.source, service.cache.maintenance), service.jobs, stack)
    listening = await _listen(settings, service.front, admin, stack)
    start_jobs(service)
    service.jobs.keep("loop lag", lag.run)
    # What was built lives as long as the process: the collector need not walk through it time and again.
    gc.collect()
    gc.freeze()
    readiness.ready = True
    announce(listening[1])
    await stop.politely.wait()
    readiness.ready = False
    await _drain(settings, stop, listening[0], service)


def _reload_on_hangup(reload: Reload, jobs: Jobs, stack: AsyncExitStack) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: jobs.once("reload", reload))
    stack.callback(loop.remove_signal_handler, signal.SIGHUP)


async def _listen(
    settings: Settings, front: Front, admin: web.Application, stack: AsyncExitStack
) -> tuple[asyncio.Server, Listening]:
    runner = web.AppRunner(admin, access_log=None, keepalive_timeout=75, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, settings.admin.host, settings.admin.port)
    await site.start()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(front, settings.listen.host, settings.listen.port, backlog=_BACKLOG)
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


def service_rules(settings: Settings) -> ServiceRules:
    """The rules of the rooms, as the configuration has them. Raises FileRefused, PolicyInvalid. Reads files: blocks."""
    tags, limits = settings.tags, settings.limits
    transfers = TransferRules(settings.transfers.per_blob)
    cache = CacheRules(
        ByteLimits(settings.cache.max_size),
        settings.cache.min_free,
        TagRules(tags.ttl, tags.stale_if_error, tags.negative_ttl, tags.revalidate_timeout),
        FillRules(limits.fills, limits.fill_queue, limits.blob_size, intake=IntakeRules(transfers=transfers)),
        lifecycle_rules(settings),
        settings.pins,
    )
    connections = ConnectionRules(
        limits.connections, limits.connections_per_address, limits.header_timeout, limits.idle_timeout
    )
    return ServiceRules(cache, SenderRules(limits.write_stall), connections)


def _logs(settings: Settings) -> LogWriter:
    writer = LogWriter(2, as_json if settings.log.format == "json" else as_text)
    root = logging.getLogger()
    root.handlers[:] = [LogHandler(writer)]
    root.setLevel(settings.log.level.upper())
    return writer


def _access_log(logs: LogWriter) -> Callable[[Line], None]:
    def write(line: Line) -> None:
        fields = {"message": "request", **line._asdict()}
        logs.write((fields.pop("at"), "info", fields))

    return write


def _raise_descriptor_limit(connections: int) -> None:
    """Each connection may need a few descriptors; the hard limit is ours to take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < 4 * connections:
        log.warning("the limit of %d open files is low for %d connections: raise it to %d (ulimit -n, LimitNOFILE=)",
                    hard, connections, 4 * connections)  # fmt: skip
    log.info("process %d, at most %d open files", os.getpid(), hard)

"""The composition: built bottom-up on an exit stack, run under one owner of tasks, stopped top-down."""

import asyncio
import gc
import logging
import os
import resource
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiohttp import web

from proxy.admin_api import AdminApi
from proxy.cache.engine import CacheRules, Upstreams, start_cache
from proxy.cache.fills import FillRules
from proxy.cache.intake import IntakeRules
from proxy.cache.space import FreeSpaceRule
from proxy.cache.threads import start_threads
from proxy.clock import steady_clock
from proxy.config import Loaded, Settings
from proxy.core.access import OpenGate
from proxy.core.budget import ByteLimits
from proxy.core.freshness import TagRules
from proxy.core.transfer_plan import TransferRules
from proxy.core.upstreams import UpstreamNames
from proxy.front.access_log import AccessLog, Line
from proxy.front.connection import Front
from proxy.front.connections import ClientConnections, ConnectionRules
from proxy.front.date import DateHeader
from proxy.front.fast_path import FastPath
from proxy.front.handler import Handler
from proxy.front.plain_sender import PlainSender
from proxy.front.requests import Requests
from proxy.front.sender import SenderRules
from proxy.front.slow_clients import slow_clients
from proxy.ops.admin import Readiness, admin_app
from proxy.ops.lag import LoopLag
from proxy.ops.logs import LogHandler, LogWriter, as_json, as_text
from proxy.ops.metrics import Metrics
from proxy.registries import Registries
from proxy.reload import Reload, lifecycle_rules
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.disk import DiskStore
from proxy.storage.folder import cache_folder
from proxy.tasks.group import task_group
from proxy.telemetry import Telemetry

log = logging.getLogger("entrepot")

_SENDERS = 16
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
        for name in loaded.ignored_variables:
            log.warning("the environment variable %s matches no setting", name)
        _raise_descriptor_limit(settings.limits.connections)
        async with AsyncExitStack() as stack:
            await _run(loaded, logs, stop, announce, stack)


async def _run(
    loaded: Loaded, logs: LogWriter, stop: Stop, announce: Callable[[Listening], None], stack: AsyncExitStack
) -> None:
    settings = loaded.settings
    now, started = steady_clock(), time.monotonic()
    folder = stack.enter_context(cache_folder(settings.cache.path))
    store = DiskStore(folder)
    stack.callback(store.close)
    catalog = SqliteCatalog(folder)
    stack.push_async_callback(catalog.close)
    threads = stack.enter_context(start_threads(settings.limits.fills, settings.transfers.per_blob))
    senders = stack.enter_context(ThreadPoolExecutor(_SENDERS, thread_name_prefix="sender"))
    slow = stack.enter_context(slow_clients())
    registries = Registries(settings)
    stack.push_async_callback(registries.close)
    tasks = await stack.enter_async_context(task_group())
    upstreams = Upstreams(
        registries.get, registries.immutable, registries.touch_period, registries.share, registries.push_times
    )
    cache = await start_cache(store, catalog, upstreams, _cache_rules(settings), threads, tasks, now)
    stack.push_async_callback(cache.settle)
    names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
    access_log = AccessLog(names, _access_log(logs) if log.isEnabledFor(logging.INFO) else None)
    places, date, gate = ClientConnections(_connection_rules(settings)), DateHeader(), OpenGate()
    sender = PlainSender(senders, slow, SenderRules(settings.limits.write_stall))
    handler = Handler(cache, gate, sender, access_log, date, now)
    requests, fast_path = Requests(names, places.rules.head), FastPath(cache, gate, access_log, date)
    front = Front(places, requests, fast_path.reply, handler, tasks, date, now)
    lag = LoopLag()
    observed = Telemetry(cache, access_log, places, registries, logs, lag)
    health = Readiness()
    status = lambda: observed.status(handler, time.monotonic() - started)  # noqa: E731
    admin = admin_app(health, Metrics(observed.families()), status, AdminApi(cache.maintenance).operations())
    _reload_on_hangup(Reload(loaded.source, cache.maintenance), tasks, stack)
    listening = await _listen(settings, front, admin, stack)
    tasks.create_task(cache.keep_house(now))
    tasks.create_task(front.keep())
    tasks.create_task(lag.run())
    # What was built lives as long as the process: the collector need not walk through it time and again.
    gc.collect()
    gc.freeze()
    health.ready = True
    announce(listening[1])
    await stop.politely.wait()
    health.ready = False
    await _drain(settings, stop, listening[0], front, handler)


def _reload_on_hangup(reload: Reload, tasks: asyncio.TaskGroup, stack: AsyncExitStack) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(reload()))
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
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _drain(settings: Settings, stop: Stop, listener: asyncio.Server, front: Front, handler: Handler) -> None:
    """Not ready first, so that load balancers turn away; then no new connections; then the pulls under way end."""
    if not stop.hurried:
        await _until(stop.at_once, settings.drain.delay)
    log.info("stopping: %d requests under way", handler.active)
    listener.close()
    front.close_idle()
    deadline = time.monotonic() + settings.drain.timeout
    while handler.active and time.monotonic() < deadline and not stop.at_once.is_set():
        await _until(stop.at_once, 0.05)
    if handler.active:
        log.warning("%d requests are cut off", handler.active)
    front.abort()


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _cache_rules(settings: Settings) -> CacheRules:
    tags, limits, free = settings.tags, settings.limits, settings.cache.min_free
    transfers = TransferRules(settings.transfers.per_blob)
    return CacheRules(
        ByteLimits(settings.cache.max_size),
        FreeSpaceRule(free.size, free.percent / 100),
        TagRules(tags.ttl, tags.stale_if_error, tags.negative_ttl, tags.revalidate_timeout),
        FillRules(limits.fills, limits.fill_queue, limits.blob_size, intake=IntakeRules(transfers=transfers)),
        lifecycle_rules(settings),
        settings.pins,
    )


def _connection_rules(settings: Settings) -> ConnectionRules:
    limits = settings.limits
    return ConnectionRules(
        limits.connections, limits.connections_per_address, limits.header_timeout, limits.idle_timeout
    )


def _logs(settings: Settings) -> LogWriter:
    writer = LogWriter(2, as_json if settings.log.format == "json" else as_text)
    root = logging.getLogger()
    root.handlers[:] = [LogHandler(writer)]
    root.setLevel(settings.log.level.upper())
    return writer


def _access_log(logs: LogWriter) -> Callable[[Line], None]:
    def write(line: Line) -> None:
        logs.write((line.at, "info", line.fields))

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

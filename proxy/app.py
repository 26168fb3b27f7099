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
from functools import partial

from aiohttp import web

from proxy.admin.credentials import CHECKED_EVERY, OwnCredentials
from proxy.admin.families import families_of
from proxy.admin.gate import OpenGate
from proxy.admin.health import Health, Stage, catalog_troubles, job_troubles
from proxy.admin.listener import AdminApi, admin_app
from proxy.admin.metrics import Metrics
from proxy.admin.operations import Operations
from proxy.admin.reload import Reload, Running, lifecycle_rules
from proxy.admin.status import status_of
from proxy.admin.telemetry import Telemetry
from proxy.cache.engine import CacheRules, Upstreams, start_cache
from proxy.cache.fills import FillRules
from proxy.cache.intake import IntakeRules
from proxy.cache.space import FreeSpaceRule
from proxy.cache.threads import start_threads
from proxy.clock import steady_clock
from proxy.config import Loaded, Settings
from proxy.core.budget import ByteLimits
from proxy.core.freshness import TagRules
from proxy.core.transfer_plan import TransferRules
from proxy.core.upstreams import UpstreamNames
from proxy.front.access_log import AccessLog, Line
from proxy.front.client import SenderRules
from proxy.front.connections import ClientConnections, ConnectionRules, Server
from proxy.front.fast_path import FastPath
from proxy.front.handler import Handler
from proxy.front.sender import PlainSender
from proxy.front.slow_clients import slow_clients
from proxy.logs import LogHandler, LogWriter, as_json, as_text
from proxy.registries import Registries
from proxy.signals import hangups_held, on_hangup
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.disk import DiskStore
from proxy.storage.folder import cache_folder
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.tasks.lag import LoopLag

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
    with hangups_held(), _logs(settings) as logs:
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
    held = any(folder.glob("blobs/*/*/*"))
    catalog = SqliteCatalog(folder)
    stack.push_async_callback(catalog.close)
    threads = stack.enter_context(start_threads(settings.limits.fills, settings.transfers.per_blob))
    senders = stack.enter_context(ThreadPoolExecutor(_SENDERS, thread_name_prefix="sender"))
    files = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="files"))
    slow = stack.enter_context(slow_clients())
    registries = Registries(settings)
    stack.push_async_callback(registries.close)
    tasks = await stack.enter_async_context(task_group())
    upstreams = Upstreams(
        registries.get, registries.immutable, registries.touch_period, registries.share, registries.push_times
    )
    cache = await start_cache(store, catalog, upstreams, _cache_rules(settings), threads, tasks, now)
    stack.push_async_callback(cache.settle)
    access_log = AccessLog(_access_log(logs) if log.isEnabledFor(logging.INFO) else None)
    places = ClientConnections(_connection_rules(settings))
    names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
    handler = Handler(
        cache, names, PlainSender(senders, slow, SenderRules(settings.limits.write_stall)), access_log, now
    )
    server = Server(handler, places)
    lag, jobs = LoopLag(), Jobs(tasks)
    how = catalog.recovered.value if held else "new"
    reload = Reload(Running(loaded.source, settings), cache.maintenance, files, now)
    credentials = OwnCredentials(settings, os.environ, files)
    telemetry = Telemetry(cache, access_log, places, registries, logs, lag, jobs, reload, how,
                          lambda: time.monotonic() - started, lambda: handler.active)  # fmt: skip
    health = Health([catalog_troubles(how), job_troubles(jobs.states), credentials.troubles])
    admin = _admin(telemetry, health)
    stack.enter_context(on_hangup(asyncio.get_running_loop(), lambda: jobs.once("reload", reload.on_hangup)))
    fast_path = FastPath(cache, names, access_log, server, now)
    listening = await _listen(settings, fast_path, admin, stack)
    tasks.create_task(cache.keep_house(now))
    tasks.create_task(fast_path.sweep_silent())
    jobs.keep("loop lag", lag.run)
    jobs.every("credentials", CHECKED_EVERY, credentials.check)
    # What was built lives as long as the process: the collector need not walk through it time and again.
    gc.collect()
    gc.freeze()
    health.stage = Stage.READY
    announce(listening[1])
    await stop.politely.wait()
    health.stage = Stage.STOPPING
    await _drain(settings, stop, listening[0], fast_path, handler)


def _admin(telemetry: Telemetry, health: Health) -> web.Application:
    """The admin listener's routes."""
    return admin_app(
        AdminApi(
            OpenGate(),
            health,
            Metrics(families_of(telemetry, health)),
            partial(status_of, telemetry, health),
            Operations(telemetry.cache.maintenance, telemetry.reload).offers(),
        )
    )


async def _listen(
    settings: Settings, fast_path: FastPath, admin: web.Application, stack: AsyncExitStack
) -> tuple[asyncio.Server, Listening]:
    runner = web.AppRunner(admin, access_log=None, keepalive_timeout=75, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, settings.admin.host, settings.admin.port)
    await site.start()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(fast_path, settings.listen.host, settings.listen.port, backlog=_BACKLOG)
    return listener, Listening(_address(listener.sockets[0].getsockname()), _address(runner.addresses[0]))


def _address(name: tuple[str, int]) -> str:
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _drain(
    settings: Settings, stop: Stop, listener: asyncio.Server, fast_path: FastPath, handler: Handler
) -> None:
    """Not ready first, so that load balancers turn away; then no new connections; then the pulls under way end."""
    if not stop.hurried:
        await _until(stop.at_once, settings.drain.delay)
    log.info("stopping: %d requests under way", handler.active)
    listener.close()
    fast_path.close_idle()
    deadline = time.monotonic() + settings.drain.timeout
    while handler.active and time.monotonic() < deadline and not stop.at_once.is_set():
        await _until(stop.at_once, 0.05)
    if handler.active:
        log.warning("%d requests are cut off", handler.active)
    await fast_path.server.shutdown(0.1)


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

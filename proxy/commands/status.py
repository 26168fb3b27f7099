"""``entrepot status``: how the running proxy does, on one screen, trouble first."""

import json
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from proxy.admin.client import AdminClient
from proxy.admin.report import Status, WarmReport
from proxy.admin.troubles import troubles_of
from proxy.commands import shown
from proxy.commands.screen import Interval, watched
from proxy.commands.session import WRONG, AdminUrl, AsJson, ConfigFile, answered, running_proxy, stop


def status(
    config: ConfigFile = None,
    admin: AdminUrl = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again and again, until stopped.")] = False,
    interval: Interval = 2.0,
) -> None:
    """How the running proxy does: first what is wrong and what to do, then what it holds and does."""
    proxy = running_proxy(admin, config)
    if watch:
        if as_json:
            stop(WRONG, "--watch or --json, not both")
        watched(lambda: list(_screen(proxy)), interval)
        return
    with answered():
        found = proxy.status()
    if as_json:
        troubles = [each._asdict() for each in troubles_of(found, time.time())]
        print(json.dumps({**found.model_dump(mode="json"), "troubles": troubles}, indent=2))
        return
    for line in _lines(found):
        print(line)


def _screen(proxy: AdminClient) -> Iterator[str]:
    return _lines(proxy.status())


def _lines(found: Status) -> Iterator[str]:
    yield f"entrepot {found.version} is {found.condition}, up {shown.lasting(found.uptime_seconds)}"
    for what, words, advice in troubles_of(found, time.time()):
        yield f"  ! {shown.printable(f'{what}: {words}')}"
        if advice:
            yield f"    → {shown.printable(advice)}"
    yield ""
    yield from (f"{name:<12}{shown.printable(text)}" for name, text in _facts(found))
    if found.upstreams:
        yield ""
        yield from shown.table_lines(["UPSTREAM", "REQUESTS", "RECEIVED", "QUOTA LEFT", ""], _upstreams(found))


def _end(moment: float | None) -> str:
    return "has ended" if moment is None else f"ends in {shown.lasting(max(0.0, moment - time.time()))}"


def _facts(found: Status) -> Iterator[tuple[str, str]]:
    cache = found.cache
    share = 100 * cache.committed_bytes / max(1, cache.soft_limit_bytes)
    arriving = f", {shown.size(cache.reserved_bytes)} set aside for what arrives" if cache.reserved_bytes else ""
    yield (
        "cache",
        f"{shown.size(cache.committed_bytes)} of {shown.size(cache.soft_limit_bytes)}, {share:.0f} %{arriving}",
    )
    yield "pulls", f"{found.requests_active} under way on {shown.counted(found.connections, 'connection')}"
    total = sum(found.outcomes.values())
    if total:
        each = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(found.outcomes.items()) if count)
        held = (
            f", {100 * found.hit_ratio:.0f} % of the content from what is held" if found.hit_ratio is not None else ""
        )
        yield "answered", f"{shown.counted(total, 'request')}{held} ({each})"
    fills = {name: count for name, count in found.fills.items() if count or name == "arriving"}
    yield "fills", ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in fills.items())
    yield "let go", f"{shown.size(found.evicted_bytes)} for space; {_lifecycle(found)}"
    scrub = found.scrub
    yield "checked", f"{shown.counted(scrub.contents, 'content')}, {shown.size(scrub.size)}, {scrub.bad} bad"
    yield "pins", str(found.pins)
    if found.tls is not None:
        done = found.tls.handshakes
        counts = f"{done['full']:,} full, {done['resumed']:,} resumed, {done['failed']:,} failed"
        yield "TLS", f"certificate {_end(found.tls.certificate_ends_at)}; handshakes: {counts}"
    if found.imports.last_at is not None:
        images = shown.counted(found.imports.images, "image")
        yield "imported", f"{images} by order, the last {shown.ago(found.imports.last_at)}"
    if found.warm.began_at is not None or found.warm.due_at is not None:
        yield "warmed", _warm(found.warm)
    failing = sum(1 for job in found.jobs.values() if job.trouble)
    yield "jobs", f"{len(found.jobs)}, {failing} failing"
    if found.reload is not None and not found.reload.refused:
        yield "reload", f"{shown.ago(found.reload.at)}: {found.reload.told}"
    for name, token in found.aws_tokens.items():
        good = f"good for {shown.lasting(token.expires_in)}" if token.expires_in is not None else "not fetched yet"
        yield "AWS token", f"{name}: {good}"


def _lifecycle(found: Status) -> str:
    last = found.lifecycle
    if last.began_at is None:
        return "the lifecycle policies have not been applied yet"
    return (
        f"by policy {last.expired:,} of {shown.counted(last.images, 'image')}, {shown.size(last.freed_bytes)}, "
        f"{shown.ago(last.began_at)}"
    )


def _warm(warm: WarmReport) -> str:
    words = "not yet"
    if warm.began_at is not None:
        failed = f", {warm.failed:,} not" if warm.failed else ""
        held = shown.counted(warm.images - warm.failed, "image")
        words = f"{held}{failed}, {shown.size(warm.fetched_bytes)} fetched, {shown.ago(warm.began_at)}"
    words += "; under way" if warm.running else ""
    return words if warm.due_at is None else f"{words}; next {shown.day(warm.due_at)} UTC"


def _upstreams(found: Status) -> Iterator[tuple[str, str, str, str, str]]:
    for name, upstream in found.upstreams.items():
        left = "-" if upstream.rate_limit_remaining is None else str(upstream.rate_limit_remaining)
        left = "offline" if upstream.offline else left
        state = f"{upstream.closed_off} closed off" if upstream.closed_off else ""
        yield name, f"{upstream.requests:,}", shown.size(upstream.bytes), left, state

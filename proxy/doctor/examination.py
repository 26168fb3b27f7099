"""One visit to the doctor, as a person asks for it: the machine, the running proxy, the upstreams, a node's files."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from proxy.admin.client import AdminClient
from proxy.clients.configured import question_of
from proxy.clients.setups import ProxyAddress
from proxy.config import EcrAuth, EcrPublicAuth, Settings
from proxy.core.errors import UpstreamFault, UpstreamUnknown
from proxy.core.names import UpstreamNames
from proxy.doctor.advice import SignIn
from proxy.doctor.host import Host, held_below, host_steps
from proxy.doctor.node import node_steps
from proxy.doctor.running import look_at_proxy
from proxy.doctor.steps import Step, Verdict
from proxy.doctor.upstream import Examinee, examine_upstreams
from proxy.registries import Registries, open_registries


class Scope(NamedTuple):
    """``images`` are references like ``registry/name:tag``. ``upstreams`` are the only ones to look at, all of them
    where empty. ``root`` is a node's file system, None to leave its files out; ``here`` is where its clients reach the
    proxy, None for where the configuration listens. ``absent`` is the verdict on a proxy that does not run."""

    images: Sequence[str] = ()
    upstreams: Sequence[str] = ()
    root: Path | None = None
    here: ProxyAddress | None = None
    absent: Verdict = Verdict.SKIPPED


async def examine(settings: Settings, client: AdminClient, scope: Scope) -> list[Step]:
    """Raises ValueError for an image or a name of no upstream."""
    async with open_registries(settings) as registries:
        try:
            examinees, unusable = _examinees(settings, registries, scope)
        except UpstreamUnknown as unknown:
            raise ValueError(str(unknown)) from None
        running = await asyncio.to_thread(look_at_proxy, client, scope.absent)
        upstreams = await examine_upstreams(examinees)
        held = running.status.cache.committed_bytes if running.status is not None else None
        of_machine = await asyncio.to_thread(_machine, settings, held)
        of_node = await asyncio.to_thread(_node, settings, scope)
        return [*of_machine, *running.steps, *unusable, *upstreams, *of_node]


def _machine(settings: Settings, held: int | None) -> list[Step]:
    path = settings.cache.path
    if held is None:
        held = held_below(path)
    return host_steps(Host(path, settings.cache.max_size, held, settings.limits.connections))


def _node(settings: Settings, scope: Scope) -> list[Step]:
    if scope.root is None:
        return []
    return node_steps(scope.root, question_of(settings, scope.here, scope.upstreams))


def _examinees(settings: Settings, registries: Registries, scope: Scope) -> tuple[list[Examinee], list[Step]]:
    """With a step for each upstream that cannot even be asked. Raises UpstreamUnknown, ValueError."""
    wanted = _by_upstream(settings, scope.images)
    if scope.upstreams:
        if stray := [name for name in wanted if name not in scope.upstreams]:
            raise ValueError(f"an image of {stray[0]} is given, which is not one of the upstreams asked for")
        names = list(scope.upstreams)
    else:
        names = [name for name in settings.upstreams if not name.startswith("*")]
        names += [name for name in wanted if name not in names]
    examinees, unusable = [], []
    for name in names:
        try:
            examinees.append(_examinee(registries, name, wanted.get(name, ())))
        except (UpstreamFault, OSError) as fault:
            unusable.append(
                Step(name, "settings", Verdict.FAILED, str(fault), "correct url and ca_file of the upstream")
            )
    return examinees, unusable


def _by_upstream(settings: Settings, images: Sequence[str]) -> Mapping[str, Sequence[str]]:
    names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
    wanted: dict[str, list[str]] = {}
    for image in images:
        registry, _, rest = image.partition("/")
        upstream = names.find(registry)
        if upstream is None or not rest:
            raise ValueError(f"{image} does not begin with the name of an upstream")
        wanted.setdefault(upstream, []).append(rest)
    return wanted


def _examinee(registries: Registries, name: str, images: Sequence[str]) -> Examinee:
    upstream = registries.settings_of(name)
    signed = isinstance(upstream.auth, EcrAuth | EcrPublicAuth)
    return Examinee(
        name,
        upstream.base_url(name),
        registries.get(name),
        tuple(images),
        SignIn(upstream.auth.type),
        registries.amazon.aws(name) if signed else None,
        registries.trust(name),
        registries.ways(name),
    )

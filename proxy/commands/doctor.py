"""``entrepot doctor``: what a pull needs, step by step, with the fix where a step fails."""

import asyncio
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from proxy.config import EcrAuth, EcrPublicAuth, Settings
from proxy.core.errors import UpstreamUnknown
from proxy.core.upstreams import UpstreamNames
from proxy.ops.doctor import Examinee, examine
from proxy.ops.doctor_host import Host
from proxy.ops.doctor_steps import Step
from proxy.registries import Registries
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs

_COLOURS = {"ok": "green", "failed": "bold red", "skipped": "yellow"}


def look(settings: Settings, images: Sequence[str]) -> list[Step]:
    """``images`` are references like ``registry/name:tag``; of each upstream at most the last one is used."""
    return asyncio.run(_look(settings, images))


async def _look(settings: Settings, images: Sequence[str]) -> list[Step]:
    async with task_group() as tasks:
        registries = Registries(settings, Jobs(tasks))
        try:
            wanted = _by_upstream(settings, images)
            hosts = [name for name in settings.upstreams if not name.startswith("*.")]
            hosts += [name for name in wanted if name not in hosts]
            host = Host(settings.cache.path, settings.cache.max_size)
            return await examine([_examinee(settings, registries, name, wanted.get(name, "")) for name in hosts], host)
        except UpstreamUnknown as unknown:
            raise ValueError(str(unknown)) from None
        finally:
            await registries.close()


def _by_upstream(settings: Settings, images: Sequence[str]) -> dict[str, str]:
    """Raises ValueError for an image of no configured upstream."""
    names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
    wanted = {}
    for image in images:
        registry, _, rest = image.partition("/")
        upstream = names.find(registry)
        if upstream is None or not rest:
            raise ValueError(f"{image} does not begin with the name of an upstream")
        wanted[upstream] = rest
    return wanted


def _examinee(settings: Settings, registries: Registries, name: str, image: str) -> Examinee:
    upstream = registries.settings_of(name)
    signed = isinstance(upstream.auth, EcrAuth | EcrPublicAuth)
    return Examinee(
        name,
        upstream.base_url(name),
        registries.get(name),
        image,
        registries.amazon.aws(name) if signed else None,
        isinstance(upstream.auth, EcrPublicAuth),
        registries.trust(name),
    )


def table(steps: Sequence[Step]) -> None:
    """To the terminal."""
    shown = Table("upstream", "step", "verdict", box=None, pad_edge=False)
    shown.columns[0].overflow = "fold"
    shown.add_column("what was found", overflow="fold")
    for step in steps:
        colour = _COLOURS[step.verdict.value]
        shown.add_row(escape(step.subject), step.name, f"[{colour}]{step.verdict.value}[/]", escape(step.detail))
    console = Console()
    console.print(shown)
    for step in steps:
        if step.fix:
            console.print(f"\n[bold]{escape(step.subject)}, {step.name}[/]: {escape(step.fix)}")

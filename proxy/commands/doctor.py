"""``entrepot doctor``: what a pull needs, step by step, with the fix where a step fails."""

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from proxy.commands.session import (
    FAILED,
    WRONG,
    AdminUrl,
    AsJson,
    ConfigFile,
    address_or_stop,
    load_or_stop,
    running_proxy,
    stop,
)
from proxy.config import load_without_secrets
from proxy.doctor.steps import Step, Verdict, healthy

_COLOURS = {Verdict.OK: "green", Verdict.FAILED: "bold red", Verdict.SKIPPED: "yellow"}


def doctor(
    config: ConfigFile = None,
    admin: AdminUrl = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", help="An image to ask for, as registry/name:tag; may be repeated.")
    ] = None,
    upstream: Annotated[
        list[str] | None, typer.Option("--upstream", help="Look at this upstream only; may be repeated.")
    ] = None,
    node: Annotated[
        Path | None,
        typer.Option("--node", help="Root of a node, / for this one: do its client files point here?", file_okay=False),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Where nodes reach the proxy; without it where it listens.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look, step by step, at all that a pull needs, and say what to do where a step fails."""
    from proxy.doctor.examination import Scope, examine  # noqa: PLC0415 - brings the whole upstream floor

    logging.getLogger().addHandler(logging.NullHandler())  # the steps say all that there is to say
    # A secret that cannot be read is for the examination to tell, not the end of it.
    settings, client = load_or_stop(config, load_without_secrets).settings, running_proxy(admin, config)
    here = address_or_stop(address) if address is not None else None
    absent = Verdict.FAILED if admin else Verdict.SKIPPED
    scope = Scope(image or (), upstream or (), node, here, absent)
    try:
        steps = asyncio.run(examine(settings, client, scope))
    except ValueError as cause:
        stop(WRONG, f"--image, --upstream: {cause}")
    if as_json:
        print(json.dumps([step._asdict() for step in steps], indent=2))
    else:
        _print(steps)
    if not healthy(steps):
        raise typer.Exit(FAILED)


def _print(steps: Sequence[Step]) -> None:
    shown = Table("upstream", "step", "verdict", box=None, pad_edge=False)
    shown.columns[0].overflow = "fold"
    shown.add_column("what was found", overflow="fold")
    for step in steps:
        colour = _COLOURS[step.verdict]
        shown.add_row(escape(step.subject), step.name, f"[{colour}]{step.verdict.value}[/]", escape(step.detail))
    console = Console()
    console.print(shown)
    for step in steps:
        if step.fix:
            console.print(f"\n[bold]{escape(step.subject)}, {step.name}[/]: {escape(step.fix)}")

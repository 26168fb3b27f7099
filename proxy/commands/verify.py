"""``entrepot verify``: all that is held, read again."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn

from proxy.admin.client import AdminClient
from proxy.admin.messages import VERIFY, BadContent, VerifyEnd, VerifyRequest, VerifySummary
from proxy.commands import shown
from proxy.commands.session import FAILED, WRONG, AdminUrl, AsJson, ConfigFile, answered, running_proxy, stop
from proxy.core.rates import parse_rate


def verify(
    config: ConfigFile = None,
    admin: AdminUrl = None,
    rate: Annotated[str, typer.Option(help="Most to read in a second: 100MB, 20MiB/s, 1Gbit/s.")] = "100MB",
    as_json: AsJson = False,
) -> None:
    """Read all that is held again. Bad content goes into quarantine and is fetched anew with the next pull."""
    try:
        speed = parse_rate(rate)
    except ValueError as wrong:
        stop(WRONG, f"rate: {wrong}")
    with answered():
        bad, summary = _carry_out(running_proxy(admin, config), speed)
    if as_json:
        found = [each.model_dump() for each in bad]
        print(json.dumps({"bad": found, "summary": summary.model_dump()}, indent=2))
    else:
        for each in bad:
            print(f"bad: {each.bad} ({shown.size(each.size)}), now in quarantine")
        print(f"{summary.contents} contents, {shown.size(summary.bytes)} read, {summary.bad} bad")
    if bad:
        raise typer.Exit(FAILED)


def _carry_out(proxy: AdminClient, speed: int) -> tuple[list[BadContent], VerifySummary]:
    """With a bar on a terminal, of bytes."""
    bad: list[BadContent] = []
    summary = VerifySummary(contents=0, bytes=0, bad=0)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("verifying", total=proxy.status().cache.committed_bytes)
        for line in proxy.operate(VERIFY, VerifyRequest(rate=speed)):
            if isinstance(line, BadContent):
                bad.append(line)
            elif isinstance(line, VerifyEnd):
                summary = line.summary
            else:
                progress.update(task, completed=line.progress.bytes)
        progress.update(task, total=summary.bytes, completed=summary.bytes)
    return bad, summary

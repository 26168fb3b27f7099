"""``entrepot purge``, ``pin``, ``unpin`` and ``verify``: operations on the running cache about single contents."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn

from proxy.commands import shown
from proxy.commands.session import (
    FAILED,
    WRONG,
    AsJson,
    ConfigFile,
    Event,
    admin_json,
    load_or_stop,
    operate,
    stop,
    working,
)
from proxy.config import Loaded

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def purge(
    target: Annotated[str, typer.Argument(help="A digest, REGISTRY/REPOSITORY:TAG, …@DIGEST, or a pattern with *.")],
    config: ConfigFile = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let content go now; the next pull fetches it anew. Pinned content and what is being read stays."""
    loaded = load_or_stop(config)
    if not yes:
        _confirm(loaded, target)
    with working("purging"):
        events = list(operate(loaded, "purge", {"target": target}))
    summary = events.pop()["summary"]
    gone = [each for event in events for each in event["purged"]]
    if as_json:
        print(json.dumps({"purged": gone, "summary": summary}, indent=2))
    elif not gone:
        print(f"nothing held matches {target}")
    else:
        _show(gone)
        print(f"{summary['purged']} purged, {shown.size(summary['freedBytes'])} freed" + _stay(summary))
    if not gone or summary["stays"]:
        raise typer.Exit(FAILED)


def _confirm(loaded: Loaded, target: str) -> None:
    events = list(operate(loaded, "purge", {"target": target, "preview": True}))
    summary = events.pop()["summary"]
    gone = [each for event in events for each in event["purged"]]
    if not gone:
        return
    if not sys.stdin.isatty():
        stop(WRONG, f"{len(gone)} matches for {target}: say --yes to purge without being asked")
    _show(gone)
    typer.confirm(f"Purge these, {shown.size(summary['freedBytes'])}?", abort=True, err=True)


def _show(gone: list[dict[str, Any]]) -> None:
    shown.table(
        ["REPOSITORY", "DIGEST", "TAGS", ""],
        (
            (
                each["repositoryName"] or "(everywhere)",
                shown.short(each["imageDigest"]),
                " ".join(each["imageTags"]) or "-",
                "stays" if each["stays"] else "",
            )
            for each in gone
        ),
    )


def _stay(summary: dict[str, Any]) -> str:
    return f"; {summary['stays']} stay: pinned, in use, or part of an index that stays" if summary["stays"] else ""


def pin(
    pattern: Annotated[
        str | None, typer.Argument(help="REGISTRY/REPOSITORY, …:TAG or …@DIGEST; * and ? allowed.")
    ] = None,
    config: ConfigFile = None,
    listed: Annotated[bool, typer.Option("--list", "-l", help="Show what is pinned.")] = False,
    as_json: AsJson = False,
) -> None:
    """Never let this content go, whatever the policies and the budget say."""
    if pattern is None and not listed:
        stop(WRONG, "say what to pin, or --list")
    request = {"pin": pattern} if pattern is not None else {}
    _pins(load_or_stop(config), request, as_json, show=listed)


def unpin(pattern: str, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Take a pin back, as it was written."""
    answer = _pins(load_or_stop(config), {"unpin": pattern}, as_json, show=False)
    if not answer["known"]:
        stop(FAILED, f"{pattern} is not pinned by command (pins of the configuration go with the configuration)")


def _pins(loaded: Loaded, request: dict[str, Any], as_json: bool, *, show: bool) -> dict[str, Any]:
    [answer] = operate(loaded, "pins", request)
    if as_json:
        print(json.dumps(answer["pins"], indent=2))
    elif show and not answer["pins"]:
        print("nothing is pinned")
    elif show:
        shown.table(["PATTERN", "BY"], ((each["pattern"], each["origin"]) for each in answer["pins"]))
    return answer


def verify(
    config: ConfigFile = None,
    rate: Annotated[str, typer.Option(help="Most bytes per second to read.")] = "100MB",
    as_json: AsJson = False,
) -> None:
    """Read all that is held again. Bad content goes into quarantine and is fetched anew with the next pull."""
    loaded = load_or_stop(config)
    total = admin_json(loaded, "/api/v1/status")["cache"]["committed_bytes"]
    bad: list[Event] = []
    summary: Event = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("verifying", total=total)
        for event in operate(loaded, "verify", {"rate": rate}):
            summary = event.get("summary", summary)
            if "bad" in event:
                bad.append(event)
            if "progress" in event:
                progress.update(task, completed=event["progress"]["bytes"])
        progress.update(task, total=summary["bytes"], completed=summary["bytes"])
    if as_json:
        print(json.dumps({"bad": bad, "summary": summary}, indent=2))
    else:
        for each in bad:
            print(f"bad: {each['bad']} ({shown.size(each['size'])}), now in quarantine")
        print(f"{summary['contents']} contents, {shown.size(summary['bytes'])} read, {summary['bad']} bad")
    if bad:
        raise typer.Exit(FAILED)

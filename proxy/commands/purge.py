"""``entrepot purge``: content goes now, by order."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from proxy.admin.client import AdminClient
from proxy.admin.messages import PURGE, PurgedContent, PurgeEnd, PurgeRequest, PurgeSummary
from proxy.commands import shown
from proxy.commands.session import FAILED, WRONG, AdminUrl, AsJson, ConfigFile, answered, running_proxy, stop, working


class _Purged(NamedTuple):
    contents: Sequence[PurgedContent]
    summary: PurgeSummary


def purge(
    target: Annotated[str, typer.Argument(help="A digest, REGISTRY/REPOSITORY:TAG, …@DIGEST, or a pattern with *.")],
    config: ConfigFile = None,
    admin: AdminUrl = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Pinned content too. Its pin stays.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let content go now; the next pull fetches it anew. Pinned content and what is being read stays."""
    proxy = running_proxy(admin, config)
    if not yes:
        _confirm(proxy, PurgeRequest(target=target, force=force, preview=True))
    done = _carry_out(proxy, PurgeRequest(target=target, force=force))
    if as_json:
        contents = [each.model_dump(by_alias=True) for each in done.contents]
        print(json.dumps({"purged": contents, "summary": done.summary.model_dump(by_alias=True)}, indent=2))
    elif not done.contents:
        print(f"nothing held matches {target}")
    else:
        _table(done.contents)
        print(_told(done))
    if not done.contents or done.summary.stays:
        raise typer.Exit(FAILED)


def _carry_out(proxy: AdminClient, request: PurgeRequest) -> _Purged:
    contents: list[PurgedContent] = []
    summary = PurgeSummary(purged=0, stays=0, freed_bytes=0)
    with answered(), working("purging"):
        for line in proxy.operate(PURGE, request):
            if isinstance(line, PurgeEnd):
                summary = line.summary
            else:
                contents += line.purged
    return _Purged(contents, summary)


def _confirm(proxy: AdminClient, request: PurgeRequest) -> None:
    meant = _carry_out(proxy, request)
    if meant.summary.purged == 0:
        return  # there is nothing to be asked about; the purge itself says why
    if not sys.stdin.isatty():
        stop(WRONG, f"{len(meant.contents)} matches for {request.target}: say --yes to purge without being asked")
    _table(meant.contents)
    typer.confirm(f"Purge these, {shown.size(meant.summary.freed_bytes)}?", abort=True, err=True)


def _table(contents: Sequence[PurgedContent]) -> None:
    shown.table(
        ["REPOSITORY", "DIGEST", "TAGS", ""],
        (
            (
                each.repository_name or "(everywhere)",
                shown.short(each.image_digest),
                " ".join(each.image_tags) or "-",
                _fate(each),
            )
            for each in contents
        ),
    )


def _fate(content: PurgedContent) -> str:
    if not content.stays:
        return ""
    return f"stays, pinned by {content.pinned_by}" if content.pinned_by else "stays, in use"


def _told(done: _Purged) -> str:
    summary = done.summary
    said = f"{summary.purged} purged, {shown.size(summary.freed_bytes)} freed"
    if summary.stays:
        said += f"; {summary.stays} stay: pinned, in use, or part of an index that stays"
    if summary.pinned:
        said += f"\nnot purged because pinned: {summary.pinned}; --force purges that too, or unpin it first"
    return said

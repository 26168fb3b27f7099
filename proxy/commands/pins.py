"""``entrepot pin`` and ``unpin``: content that is never let go."""

import json
from typing import Annotated

import typer

from proxy.admin.client import AdminClient
from proxy.admin.messages import PINS, PinsRequest, PinsResult
from proxy.commands import shown
from proxy.commands.session import FAILED, WRONG, AdminUrl, AsJson, ConfigFile, answered, running_proxy, stop


def pin(
    pattern: Annotated[
        str | None, typer.Argument(help="REGISTRY/REPOSITORY, …:TAG or …@DIGEST; * and ? allowed.")
    ] = None,
    config: ConfigFile = None,
    admin: AdminUrl = None,
    listed: Annotated[bool, typer.Option("--list", "-l", help="Show what is pinned.")] = False,
    as_json: AsJson = False,
) -> None:
    """Never let this content go, whatever the policies and the budget say."""
    if pattern is None and not listed:
        stop(WRONG, "say what to pin, or --list")
    result = _ask(running_proxy(admin, config), PinsRequest(pin=pattern))
    if as_json:
        _print_json(result)
        return
    if pattern is not None:
        print(_told(pattern, result))
    if listed and not result.pins:
        print("nothing is pinned")
    elif listed:
        shown.table(["PATTERN", "BY"], ((each.pattern, each.origin) for each in result.pins))


def unpin(pattern: str, config: ConfigFile = None, admin: AdminUrl = None, as_json: AsJson = False) -> None:
    """Take a pin back, as it was written."""
    result = _ask(running_proxy(admin, config), PinsRequest(unpin=pattern))
    if not result.known:
        stop(FAILED, f"{pattern} is not pinned by command (pins of the configuration go with the configuration)")
    if as_json:
        _print_json(result)
    else:
        print(f"unpinned {pattern}: policies and budget may let it go again")


def _ask(proxy: AdminClient, request: PinsRequest) -> PinsResult:
    with answered():
        [result] = proxy.operate(PINS, request)
    return result


def _print_json(result: PinsResult) -> None:
    print(json.dumps([each.model_dump() for each in result.pins], indent=2))


def _told(pattern: str, result: PinsResult) -> str:
    if not result.matches:
        return f"pinned {pattern}; nothing held matches it yet: it keeps what is pulled from now on"
    size = shown.size(result.matched_bytes or 0)
    return f"pinned {pattern}: it keeps {shown.counted(result.matches, 'image')} held now, {size}"

"""``entrepot clients``: what container clients must be told of the proxy, and what a node's files come to."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.clients.chains import Chain, ProxyCondition, outcome
from proxy.clients.configured import question_of, registries_of
from proxy.clients.disk import Deed, WriteRefused, as_written, read_certificates, read_node, remove, write
from proxy.clients.kinds import SETUPS, chains
from proxy.clients.setups import Fallback, ProxyAddress, Setup, Wish
from proxy.commands import shown
from proxy.commands.session import FAILED, WRONG, AsJson, ConfigFile, address_or_stop, load_or_stop, stop
from proxy.config import Settings, load_without_secrets

app = typer.Typer(no_args_is_help=True, help="Point container clients at the proxy, or see where a node's point.")

_Address = Annotated[str, typer.Option("--address", metavar="URL", help="Where nodes reach the proxy.")]
_Root = Annotated[
    Path | None,
    typer.Option("--write", metavar="ROOT", file_okay=False, exists=True, help="Write below it; / for this machine."),
]
_Undo = Annotated[
    Path | None,
    typer.Option("--remove", metavar="ROOT", file_okay=False, exists=True, help="Remove what was written below it."),
]
_Ca = Annotated[
    Path | None,
    typer.Option("--ca", dir_okay=False, exists=True, help="Certificates that the proxy's is signed by, as PEM."),
]
_Fallback = Annotated[
    Fallback, typer.Option("--fallback", help="When the proxy is dead: may the client ask the registry itself?")
]


@app.command()
def check(
    root: Annotated[Path, typer.Argument(help="Root of a node, / for this machine.", file_okay=False, exists=True)],
    config: ConfigFile = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="URL", help="Where nodes reach the proxy; without it where it listens."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say for each client with files there what a pull does while the proxy is up, slow or dead, and what is wrong."""
    settings = _settings(config)
    here = address_or_stop(address) if address is not None else None
    try:
        files = read_node(root)
    except OSError as cause:
        stop(WRONG, f"{root}: {cause.strerror}")
    found = list(chains(files, question_of(settings, here)))
    if not found:
        stop(FAILED, f"no client has files below {root}: `entrepot clients --help` tells which are looked for")
    if as_json:
        print(json.dumps([_as_json(chain) for chain in found], indent=2))
    else:
        _print(found)
    if any(chain.troubles for chain in found):
        raise typer.Exit(FAILED)


def _told(kind: str) -> Callable[..., None]:
    """The command of one kind of client."""

    def tell(
        address: _Address,
        config: ConfigFile = None,
        root: _Root = None,
        undo: _Undo = None,
        fallback: _Fallback = Fallback.YES,
        ca: _Ca = None,
        as_json: AsJson = False,
    ) -> None:
        settings, proxy = _settings(config), address_or_stop(address)
        wish = Wish(proxy, registries_of(settings), settings.default_upstream, fallback, _certificates(ca, proxy))
        setup = SETUPS[kind](wish)
        if undo is not None:
            _remove(undo, setup)
            return
        if root is not None:
            _write(root, setup)
        elif as_json:
            files = [{"path": f"/{file.path}", "text": as_written(file)} for file in setup.files]
            print(json.dumps({"files": files, "notes": setup.notes}, indent=2))
            return
        else:
            print("\n".join(f"==> /{file.path} <==\n{as_written(file)}" for file in setup.files), end="")
        print("".join(f"\n{note}\n" for note in setup.notes), end="", file=sys.stderr)

    tell.__doc__ = f"Print the files that point {kind} at the proxy, or write them."
    return tell


for _kind in SETUPS:
    app.command(_kind)(_told(_kind))


def _settings(config: Path | None) -> Settings:
    """Clients are told no secret of the proxy's, so none need be readable."""
    return load_or_stop(config, load_without_secrets).settings


def _certificates(ca: Path | None, proxy: ProxyAddress) -> str | None:
    if ca is None:
        return None
    if not proxy.secure:
        stop(WRONG, "--ca: certificates are of use for an --address of https only")
    try:
        return read_certificates(ca)
    except (OSError, ValueError) as cause:
        stop(WRONG, f"--ca {ca}: {cause}")


def _write(root: Path, setup: Setup) -> None:
    try:
        deeds = write(root, setup.files)
    except WriteRefused as refused:
        lines = [f"/{each.path} {each.why}" for each in refused.refusals]
        advice = (
            "Nothing was written. Compare with what is printed without --write, and either move the file away, or put "
            "into it by hand what it lacks; `entrepot clients check` says whether that does."
        )
        stop(FAILED, "\n".join([*lines, advice]))
    except OSError as cause:
        stop(FAILED, f"{cause.filename or root}: {cause.strerror}")
    _tell(root, deeds)


def _remove(root: Path, setup: Setup) -> None:
    try:
        _tell(root, remove(root, setup.files))
    except OSError as cause:
        stop(FAILED, f"{cause.filename or root}: {cause.strerror}")


def _tell(root: Path, deeds: Sequence[Deed]) -> None:
    for deed in deeds:
        print(f"{deed.done.value} {root / deed.path}")


# ---------------------------------------------------------------- what check tells


def _print(found: Sequence[Chain]) -> None:
    rows = [(chain, [outcome(chain, condition) for condition in ProxyCondition]) for chain in found]
    shown.table(
        ("CLIENT", "REGISTRY", *(f"PROXY {condition.value.upper()}" for condition in ProxyCondition), "DECIDED BY"),
        (
            (
                chain.client,
                chain.registry,
                *map(str, outcomes),
                ", ".join(dict.fromkeys(str(o.place) for o in outcomes)),
            )
            for chain, outcomes in rows
        ),
    )
    for trouble in dict.fromkeys(trouble for chain in found for trouble in chain.troubles):
        print(f"\n{shown.printable(f'{trouble.place}: {trouble.what}')}\n  {shown.printable(trouble.fix)}")


def _as_json(chain: Chain) -> dict[str, Any]:
    outcomes = {condition.value: outcome(chain, condition) for condition in ProxyCondition}
    return {
        "client": chain.client,
        "registry": chain.registry,
        "proxy": {
            condition: {"goes": found.goes.value, "detail": found.detail, "decided_by": str(found.place)}
            for condition, found in outcomes.items()
        },
        "troubles": [
            {"place": str(trouble.place), "what": trouble.what, "fix": trouble.fix} for trouble in chain.troubles
        ],
    }

"""``entrepot config``: a configuration checked and shown; without a running proxy, unless it is compared with one."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from proxy.admin.client import AdminClient
from proxy.admin.compare_messages import COMPARE, CompareRequest, Comparison
from proxy.commands import shown
from proxy.commands.session import WRONG, AdminUrl, AsJson, answered, load_or_stop, running_proxy, stop
from proxy.config import SIZE_LIMIT, effective, json_schema, read_file

_LONGEST = 80  # characters of a value

app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)


@app.command()
def check(
    file: Path,
    against_running: Annotated[
        bool,
        typer.Option(
            "--against-running",
            help="Let the running proxy read it, and tell what a reload and a restart would change.",
        ),
    ] = False,
    admin: AdminUrl = None,
    as_json: AsJson = False,
) -> None:
    """Every fault of a configuration file at once, with key and line. Warns of what is likely a mistake."""
    if against_running:
        _compare(file, running_proxy(admin, file), as_json)
        return
    loaded = load_or_stop(file)
    for warning in loaded.warnings:
        print(f"{file}: warning: {warning}", file=sys.stderr)
    print(f"{file}: good; {len(loaded.settings.upstreams)} upstreams")


def _compare(file: Path, running: AdminClient, as_json: bool) -> None:
    try:
        content = read_file(file, SIZE_LIMIT).decode()
    except ValueError as refused:  # FileRefused, or not UTF-8
        stop(WRONG, str(refused))
    with answered():
        [found] = running.operate(COMPARE, CompareRequest(content=content, file=str(file.absolute())))
    if as_json:
        print(found.model_dump_json(indent=2, by_alias=True))
    if found.refused:
        stop(WRONG, found.refused)
    for warning in found.warnings:
        print(f"{file}: warning: {warning}", file=sys.stderr)
    if not as_json:
        _tell(file, found)


def _tell(file: Path, found: Comparison) -> None:
    if not found.differences:
        print(f"{file}: good; the running proxy goes by it")
        return
    print(f"{file}: good; against the running proxy {shown.counted(len(found.differences), 'setting')} would change")
    for each in found.differences:
        how = "needs a restart" if each.restart else "by reload"
        values = (
            f" {_short(each.running)} -> {_short(each.written)}" if each.running != each.written else " other contents"
        )
        print(shown.printable(f"  {each.setting}:{values} ({how})"))


def _short(value: object) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@app.command()
def show(file: Annotated[Path | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """The effective settings, secrets redacted."""
    found = effective(load_or_stop(file).settings)
    print(json.dumps(found, indent=2) if as_json else yaml.safe_dump(found, sort_keys=False).rstrip())


@app.command()
def schema() -> None:
    """JSON Schema of the configuration, for editors."""
    print(json.dumps(json_schema(), indent=2))

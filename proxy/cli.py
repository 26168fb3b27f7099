"""The command line. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
import yaml
from rich.console import Console
from rich.table import Table

from proxy import __version__
from proxy.commands import keeping, lifecycle
from proxy.commands.session import FAILED, WRONG, AsJson, ConfigFile, admin_json, load_or_stop, stop
from proxy.config import effective, json_schema
from proxy.storage.folder import FolderRefused

app = typer.Typer(
    help="OCI registry pull-through cache: every byte is fetched once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")

app.add_typer(lifecycle.app, name="lifecycle")
for command in (keeping.purge, keeping.pin, keeping.unpin, keeping.verify):
    app.command()(command)


def main() -> None:
    app()


@app.command()
def serve(config: ConfigFile = None) -> None:
    """Run the proxy. Without a file: loopback, embedded store, the well-known public registries."""
    from proxy import app as server  # noqa: PLC0415 - the other commands start without all of it

    loaded = load_or_stop(config)

    def announce(listening: server.Listening) -> None:
        print(f"entrepot {__version__} serves pulls on {listening.pull}, admin on {listening.admin}", flush=True)

    try:
        uvloop.run(server.serve(loaded, announce))
    except FolderRefused as refused:
        stop(WRONG, f"cache.path: {refused}")
    except OSError as cause:
        stop(FAILED, f"cannot listen on {loaded.settings.listen} and {loaded.settings.admin}: {cause}")


@config_app.command("check")
def config_check(file: Path) -> None:
    """Every fault of a configuration file at once, with key and line. Warns of what is likely a mistake."""
    loaded = load_or_stop(file)
    for warning in loaded.warnings:
        print(f"{file}: warning: {warning}", file=sys.stderr)
    print(f"{file}: good; {len(loaded.settings.upstreams)} upstreams")


@config_app.command("show")
def config_show(file: Annotated[Path | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """The effective settings, secrets redacted."""
    shown = effective(load_or_stop(file).settings)
    print(json.dumps(shown, indent=2) if as_json else yaml.safe_dump(shown, sort_keys=False).rstrip())


@config_app.command("schema")
def config_schema() -> None:
    """JSON Schema of the configuration, for editors."""
    print(json.dumps(json_schema(), indent=2))


@app.command()
def status(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """How the running proxy does."""
    found = admin_json(load_or_stop(config), "/api/v1/status")
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in _flat(found):
        table.add_row(key, str(value))
    Console().print(table)


@app.command()
def doctor(
    config: ConfigFile = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", help="An image to ask for, as registry/name:tag; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look, step by step, at all that a pull needs, and say what to do where a step fails."""
    from proxy.commands import doctor as examination  # noqa: PLC0415 - brings the whole upstream floor
    from proxy.ops.doctor_steps import healthy  # noqa: PLC0415

    try:
        steps = examination.look(load_or_stop(config).settings, image or [])
    except ValueError as cause:
        stop(WRONG, f"--image: {cause}")
    if as_json:
        print(json.dumps([step._asdict() for step in steps], indent=2))
    else:
        examination.table(steps)
    if not healthy(steps):
        raise typer.Exit(FAILED)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path} {key}".strip())
    else:
        yield path, value

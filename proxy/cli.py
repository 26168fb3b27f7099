"""The command line. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import uvloop
import yaml
from rich.console import Console
from rich.table import Table

from proxy import __version__
from proxy.config import ConfigInvalid, Loaded, effective, json_schema, load
from proxy.storage.folder import FolderRefused

FAILED, WRONG = 1, 2

app = typer.Typer(
    help="OCI registry pull-through cache: every byte is fetched once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="The configuration file (YAML).")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def main() -> None:
    app()


@app.command()
def serve(config: ConfigFile = None) -> None:
    """Run the proxy. Without a file: loopback, embedded store, the well-known public registries."""
    from proxy import app as server  # noqa: PLC0415 - the other commands start without all of it

    loaded = _load(config)

    def announce(listening: server.Listening) -> None:
        print(f"entrepot {__version__} serves pulls on {listening.pull}, admin on {listening.admin}", flush=True)

    try:
        uvloop.run(server.serve(loaded, announce))
    except FolderRefused as refused:
        _stop(WRONG, f"cache.path: {refused}")
    except OSError as cause:
        _stop(FAILED, f"cannot listen on {loaded.settings.listen} and {loaded.settings.admin}: {cause}")


@config_app.command("check")
def config_check(file: Path) -> None:
    """Every fault of a configuration file at once, with key and line."""
    loaded = _load(file)
    print(f"{file}: good; {len(loaded.settings.upstreams)} upstreams")


@config_app.command("show")
def config_show(file: Annotated[Path | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """The effective settings, secrets redacted."""
    shown = effective(_load(file).settings)
    print(json.dumps(shown, indent=2) if as_json else yaml.safe_dump(shown, sort_keys=False).rstrip())


@config_app.command("schema")
def config_schema() -> None:
    """JSON Schema of the configuration, for editors."""
    print(json.dumps(json_schema(), indent=2))


@app.command()
def status(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """How the running proxy does."""
    found = _admin(_load(config), "/api/v1/status")
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
        steps = examination.look(_load(config).settings, image or [])
    except ValueError as cause:
        _stop(WRONG, f"--image: {cause}")
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


def _admin(loaded: Loaded, path: str) -> Any:
    """JSON of the running proxy's admin listener; exits with words where there is none."""
    address = loaded.settings.admin
    connection = HTTPConnection(address.host, address.port, timeout=10)
    try:
        with _closing(connection):
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError) as cause:
        _stop(FAILED, f"no entrepot answers on {address} ({cause}); is it running with this configuration?")


@contextmanager
def _closing(connection: HTTPConnection) -> Iterator[None]:
    try:
        yield
    finally:
        connection.close()


def _load(config: Path | None) -> Loaded:
    try:
        return load(config, os.environ)
    except ConfigInvalid as invalid:
        _stop(WRONG, str(invalid))


def _stop(code: int, words: str) -> NoReturn:
    print(words, file=sys.stderr)
    raise typer.Exit(code)

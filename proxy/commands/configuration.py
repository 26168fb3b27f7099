"""``entrepot config``: a configuration checked and shown, without a running proxy."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from proxy.commands.session import AsJson, load_or_stop
from proxy.config import effective, json_schema

app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)


@app.command()
def check(file: Path) -> None:
    """Every fault of a configuration file at once, with key and line. Warns of what is likely a mistake."""
    loaded = load_or_stop(file)
    for warning in loaded.warnings:
        print(f"{file}: warning: {warning}", file=sys.stderr)
    print(f"{file}: good; {len(loaded.settings.upstreams)} upstreams")


@app.command()
def show(file: Annotated[Path | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """The effective settings, secrets redacted."""
    shown = effective(load_or_stop(file).settings)
    print(json.dumps(shown, indent=2) if as_json else yaml.safe_dump(shown, sort_keys=False).rstrip())


@app.command()
def schema() -> None:
    """JSON Schema of the configuration, for editors."""
    print(json.dumps(json_schema(), indent=2))

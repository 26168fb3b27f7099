"""What the commands share: the configuration, the running proxy's admin listener, and how a command ends.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from proxy.config import ConfigInvalid, Loaded, load

FAILED, WRONG = 1, 2
_PATIENCE = 60.0  # seconds without a line from an order that is being carried out, which has one every ten

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="The configuration file (YAML).")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]

Event = dict[str, Any]


def load_or_stop(config: Path | None) -> Loaded:
    try:
        return load(config, os.environ)
    except ConfigInvalid as invalid:
        stop(WRONG, str(invalid))


def stop(code: int, words: str) -> NoReturn:
    print(words, file=sys.stderr)
    raise typer.Exit(code)


def admin_json(loaded: Loaded, path: str) -> Any:
    """JSON of the running proxy's admin listener; exits with words where there is none."""
    with _talk(loaded, 10) as connection:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())


def operate(loaded: Loaded, name: str, request: Event) -> Iterator[Event]:
    """What the running proxy says while it carries the order out; exits with words where it does not."""
    with _talk(loaded, _PATIENCE) as connection:
        body = json.dumps(request)
        connection.request("POST", f"/api/v1/{name}", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            stop(WRONG if answer.status == 400 else FAILED, _refusal(answer))
        finished = False
        for line in answer:
            event = json.loads(line)
            if "error" in event:
                stop(FAILED, str(event["error"]))
            if event:
                finished = True
                yield event
        if not finished:
            stop(FAILED, "the running entrepot gave no answer")


def _refusal(answer: HTTPResponse) -> str:
    text = answer.read().decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the running entrepot answered {answer.status}; is it of the same version?"


@contextmanager
def _talk(loaded: Loaded, timeout: float) -> Iterator[HTTPConnection]:
    address = loaded.settings.admin
    connection = HTTPConnection(address.host, address.port, timeout=timeout)
    try:
        yield connection
    except (OSError, HTTPException, ValueError) as cause:
        stop(FAILED, f"no entrepot answers on {address} ({cause}); is it running with this configuration?")
    finally:
        connection.close()


@contextmanager
def working(words: str) -> Iterator[None]:
    """A sign of life on a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(words):
        yield

"""What the commands share: the configuration, the running proxy, and how a command ends.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 stopped by a person.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from proxy.admin.client import AdminClient, AdminFailed, AdminRefused
from proxy.clients.setups import ProxyAddress
from proxy.config import (
    ADMIN_TOKEN_VARIABLE,
    ADMIN_VARIABLE,
    AdminAddress,
    ConfigInvalid,
    FileRefused,
    Loaded,
    admin_address,
    admin_token,
    load,
)

FAILED, WRONG, STOPPED = 1, 2, 130

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="The configuration file (YAML).")]
AdminUrl = Annotated[
    str | None,
    typer.Option(
        "--admin",
        envvar=ADMIN_VARIABLE,
        metavar="URL",
        help="Admin listener of the running proxy. Without it the configuration says where it is. From another machine "
        f"it wants the token in the file that {ADMIN_TOKEN_VARIABLE} names.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def load_or_stop(config: Path | None, read: Callable[[Path | None, Mapping[str, str]], Loaded] = load) -> Loaded:
    """The configuration; ends the command with all its faults where it has any."""
    try:
        return read(config, os.environ)
    except ConfigInvalid as invalid:
        stop(WRONG, str(invalid))


def address_or_stop(written: str) -> ProxyAddress:
    """Where nodes reach the proxy, as ``--address`` says."""
    try:
        return ProxyAddress.parse(written)
    except ValueError as cause:
        stop(WRONG, f"--address: {cause}")


def stop(code: int, words: str) -> NoReturn:
    """Ends the command, with words on standard error."""
    print(words, file=sys.stderr)
    raise typer.Exit(code)


def running_proxy(admin: str | None, config: Path | None) -> AdminClient:
    """Found by option, then environment, then configuration, of which nothing but the address need be good. A token
    goes where it was told to go: one of the configuration to no other address. Asks nothing yet."""
    try:
        place = AdminAddress(admin, None) if admin else admin_address(config, os.environ)
        return AdminClient(place.url, _token(os.environ.get(ADMIN_TOKEN_VARIABLE), place))
    except ConfigInvalid as invalid:
        stop(WRONG, str(invalid))
    except FileRefused as refused:
        stop(WRONG, f"{ADMIN_TOKEN_VARIABLE}: {refused}")
    except ValueError as wrong:
        stop(WRONG, f"--admin: {wrong}")


def _token(told: str | None, place: AdminAddress) -> str:
    """Empty without any. Raises FileRefused where the file that was told cannot be read."""
    if told:
        return admin_token(Path(told)).get_secret_value()
    if place.token_file is None:
        return ""
    try:
        return admin_token(place.token_file).get_secret_value()
    except FileRefused:  # it is the proxy's, and on its machine no token is needed
        return ""


@contextmanager
def answered() -> Iterator[None]:
    """Ends the command with words where the running proxy does not do what is asked of it inside, or a person stops
    it."""
    try:
        yield
    except AdminRefused as refused:
        stop(WRONG, str(refused))
    except AdminFailed as failed:
        stop(FAILED, str(failed))
    except KeyboardInterrupt:
        stop(STOPPED, "stopped; what was done until now stays done")


@contextmanager
def working(words: str) -> Iterator[None]:
    """A sign of life on a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(words):
        yield

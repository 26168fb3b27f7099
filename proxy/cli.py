"""The command line. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 stopped by a person."""

import os
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

import typer

from proxy import __version__
from proxy.commands import (
    access,
    clients,
    completion,
    configuration,
    doctor,
    exports,
    imports,
    inventory,
    lifecycle,
    metrics,
    pins,
    purge,
    reload,
    savings,
    status,
    top,
    verify,
    warm,
)
from proxy.commands.session import FAILED, WRONG, ConfigFile, load_or_stop, stop
from proxy.config import Loaded

T = TypeVar("T")

app = typer.Typer(
    help="OCI registry pull-through cache: every byte is fetched once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(configuration.app, name="config")
app.add_typer(lifecycle.app, name="lifecycle")
app.add_typer(clients.app, name="clients")
app.add_typer(access.app, name="access")
for command in (
    status.status,
    top.top,
    inventory.ls,
    inventory.inspect,
    doctor.doctor,
    pins.pin,
    pins.unpin,
    purge.purge,
    verify.verify,
    reload.reload,
    exports.export,
    warm.warm,
    savings.savings,
    metrics.metrics,
    completion.completion,
):
    app.command()(command)


def _run(process: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The cache is for this user alone, what libraries write into it too."""
    import uvloop  # noqa: PLC0415 - the other commands start without all of it

    from proxy.storage.folder import FolderRefused  # noqa: PLC0415

    os.umask(0o077)
    try:
        return uvloop.run(process())
    except FolderRefused as refused:
        stop(WRONG, f"cache.path: {refused}")


def _attended(loaded: Loaded, work: Callable[[str], T]) -> T:
    from proxy import app as server  # noqa: PLC0415 - as above

    return _run(lambda: server.attend(loaded, work))


app.command("import")(imports.importing(_attended))


def main() -> None:
    app()


def _version(asked: bool) -> None:
    if asked:
        print(f"entrepot {__version__}")
        raise typer.Exit


@app.callback()
def entrepot(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """OCI registry pull-through cache: every byte is fetched once."""


@app.command()
def serve(config: ConfigFile = None) -> None:
    """Run the proxy. Without a file: loopback, embedded store, the well-known public registries."""
    from proxy import app as server  # noqa: PLC0415 - as above
    from proxy.listening import Listening  # noqa: PLC0415

    loaded = load_or_stop(config)

    def announce(listening: Listening) -> None:
        beside = f", plain pulls on {listening.loopback}" if listening.loopback is not None else ""
        print(
            f"entrepot {__version__} serves pulls on {listening.pull}, admin on {listening.admin}{beside}", flush=True
        )

    try:
        _run(lambda: server.serve(loaded, announce))
    except OSError as cause:
        settings = loaded.settings
        listeners = (settings.listen, settings.loopback, settings.admin, settings.admin_socket)
        where = [str(each) for each in listeners if each is not None]
        stop(FAILED, f"cannot listen on {', '.join(where)}: {cause}")

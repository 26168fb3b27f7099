"""``entrepot reload``: the running proxy reads its configuration again."""

import typer

from proxy.admin.messages import RELOAD, NothingMore
from proxy.commands.session import WRONG, AdminUrl, AsJson, ConfigFile, answered, running_proxy, stop


def reload(config: ConfigFile = None, admin: AdminUrl = None, as_json: AsJson = False) -> None:
    """Read the configuration again, and say what has changed, what holds at once and what needs a restart."""
    with answered():
        [result] = running_proxy(admin, config).operate(RELOAD, NothingMore())
    if as_json:
        print(result.model_dump_json(indent=2, by_alias=True))
        if result.refused:
            raise typer.Exit(WRONG)
    elif result.refused:
        stop(WRONG, result.told)
    else:
        print(result.told)

"""``entrepot completion``: what teaches a shell the words of the command line."""

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined] # not in its ``__all__``

_PROGRAM = "entrepot"
_VARIABLE = f"_{_PROGRAM.upper()}_COMPLETE"  # as typer itself listens to


class CompletionShell(StrEnum):
    """Those that completion is made for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[CompletionShell, typer.Argument(help="Whose words are printed.")]) -> None:
    """Print the script that completes commands, options and their values, for packages and for shells that
    --install-completion does not find. In bash: source <(entrepot completion bash)."""
    print(get_completion_script(prog_name=_PROGRAM, complete_var=_VARIABLE, shell=shell.value))

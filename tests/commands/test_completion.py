"""The words of the command line, as shells ask for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import PROXY

BIN = Path(sys.executable).parent  # where ``entrepot`` is
ASK = 'source <("$@"); COMP_WORDS=(entrepot sav); COMP_CWORD=1; _entrepot_completion entrepot; echo "${COMPREPLY[@]}"'


def said(*argv: str, **env: str) -> str:
    around = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **env}
    done = subprocess.run(argv, capture_output=True, text=True, env=around, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bash_completes_what_the_script_has_taught_it() -> None:
    assert said("bash", "-c", ASK, "bash", *PROXY, "completion", "bash") == "savings\n"


@pytest.mark.parametrize(
    ("shell", "line"), [("zsh", "#compdef entrepot"), ("fish", "complete --command entrepot --no-files")]
)
def test_scripts_of_other_shells_ask_the_program_for_its_words(shell: str, line: str) -> None:
    script = said(*PROXY, "completion", shell)
    assert line in script
    assert f"_ENTREPOT_COMPLETE=complete_{shell}" in script
    asked = {"_ENTREPOT_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    words = said(str(BIN / "entrepot"), _TYPER_COMPLETE_ARGS="entrepot savings --by mo", **asked)
    assert "month" in words
    assert "upstream" not in words

"""Commands of README, run as they stand there."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(heading: str) -> list[str]:
    """The lines of all blocks of shell below ``## heading``, comments included."""
    [section] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README.read_text(), re.DOTALL | re.MULTILINE)
    return [line for block in _BLOCK.findall(section) for line in block.splitlines() if line]


def typed(line: str, folder: Path, env: Mapping[str, str]) -> str:
    """What a shell in ``folder`` prints for it, in which ``entrepot`` is ours and further programs are in ``folder``'s
    ``bin``. A pipe fails with each of its commands."""
    programs = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": programs, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout

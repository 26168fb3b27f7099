"""The systemd unit is one that systemd understands, and a wrong configuration is not tried again."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy.commands.session import WRONG

UNIT = Path(__file__).parents[2] / "deploy" / "entrepot.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_configuration_is_not_tried_again() -> None:
    assert f"RestartPreventExitStatus={WRONG}\n" in UNIT.read_text()

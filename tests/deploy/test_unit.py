"""The systemd unit is one that systemd understands, and a wrong configuration is not tried again."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy.activation import Passed
from proxy.commands.session import WRONG

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT, SOCKET = DEPLOY / "entrepot.service", DEPLOY / "entrepot.socket"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    units = [tmp_path / UNIT.name, tmp_path / SOCKET.name]
    units[0].write_text(re.sub(r"(?m)^(Exec\w+=)\S+", r"\1/bin/true", UNIT.read_text()))
    units[1].write_text(SOCKET.read_text())
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_socket_is_called_is_what_it_is_taken_for() -> None:
    [name] = re.findall(r"(?m)^FileDescriptorName=(.+)$", SOCKET.read_text())
    assert name in Passed._fields
    assert f"Service={UNIT.name}\n" in SOCKET.read_text()


def test_a_wrong_configuration_is_not_tried_again() -> None:
    assert f"RestartPreventExitStatus={WRONG}\n" in UNIT.read_text()

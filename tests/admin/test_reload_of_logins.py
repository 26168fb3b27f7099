"""Who may pull what, changed while the proxy runs: whole and at once, or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cast.visitors import basic, htpasswd
from tests.process import Entrepot, get, proxying

PING, GUESS = "/v2/", "canary of a guess"


@pytest.fixture
def entrepot(tmp_path: Path) -> Iterator[Entrepot]:
    """Open to everybody, as it starts."""
    with proxying(tmp_path / "entrepot", {"registry.test": {"url": "http://127.0.0.1:9"}}) as running:
        yield running


def rewritten(entrepot: Entrepot, **changes: Any) -> dict[str, Any]:
    """What a reload tells of the file with these changes."""
    document = yaml.safe_load(entrepot.config.read_text())
    entrepot.config.write_text(yaml.safe_dump({**document, **changes}))
    told: dict[str, Any] = json.loads(entrepot.command("reload", "--json").stdout)
    return told


def statuses(entrepot: Entrepot) -> list[int]:
    """Of nobody, Alice, and Bob with a wrong password."""
    logins = [{}, basic("alice"), basic("bob", GUESS)]
    return [entrepot.get(PING, login).status for login in logins for _ in range(3)][::3]


def test_logins_come_and_go_with_a_reload(entrepot: Entrepot, tmp_path: Path) -> None:
    assert statuses(entrepot) == [200, 200, 200]
    file = str(htpasswd(tmp_path / "htpasswd"))
    told = rewritten(entrepot, clients={"htpasswd": file})
    assert (told["applied"], told["needsRestart"]) == (["clients.htpasswd"], [])
    assert statuses(entrepot) == [401, 200, 401]
    told = rewritten(entrepot, clients={})
    assert told["applied"] == ["clients.htpasswd"]
    assert statuses(entrepot) == [200, 200, 200]


def test_a_file_of_users_that_is_no_good_changes_nothing(entrepot: Entrepot, tmp_path: Path) -> None:
    file = htpasswd(tmp_path / "htpasswd")
    rewritten(entrepot, clients={"htpasswd": str(file)})
    other = tmp_path / "other"
    other.write_text("alice:open sesame\n")
    told = rewritten(entrepot, clients={"htpasswd": str(other)}, allow=[{"who": ["anonymous"], "pull": ["*"]}])
    assert "clients.htpasswd" in told["refused"]
    assert "open sesame" not in json.dumps(told)
    assert entrepot.command("reload").returncode == 2
    assert statuses(entrepot) == [401, 200, 401]
    path = "/v2/registry.test/a/tags/list"
    assert entrepot.get(path).status == 401


def test_nobodys_secret_is_in_status_metrics_or_log(entrepot: Entrepot, tmp_path: Path) -> None:
    rewritten(entrepot, clients={"htpasswd": str(htpasswd(tmp_path / "htpasswd"))})
    assert statuses(entrepot) == [401, 200, 401]
    told = entrepot.command("status", "--json").stdout + entrepot.command("config", "show").stdout
    told += entrepot.log.read_text()
    metrics = get(entrepot.admin, "/metrics").body.decode()
    for secret in ("open sesame", GUESS, basic("alice")["Authorization"][6:], "$2b$"):
        assert secret not in told + metrics
    assert 'entrepot_logins_total{result="right"} 1.0' in metrics
    assert "alice" not in metrics

"""``entrepot access explain``: who may pull what, without a proxy that runs."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cast.authority import Authority
from tests.process import PROXY

RULES = [
    {"who": ["anonymous"], "pull": ["docker.io/library/*"]},
    {"who": ["user:alice", "group:ci"], "pull": ["ghcr.io/team-a/*"]},
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "entrepot.yaml"
    file.write_text(yaml.safe_dump({"cache": {"path": str(tmp_path / "cache")}, "allow": RULES}))
    return file


def explain(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [*PROXY, "access", "explain", *words, "--config", str(config)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_it_says_which_rule_decides(config: Path) -> None:
    told = explain(config, "anonymous", "docker.io/redis:7").stdout
    assert told == ("anonymous may pull docker.io/library/redis: allow[0] allows docker.io/library/* to anonymous\n")
    told = explain(config, "bob", "ghcr.io/team-a/app").stdout
    assert told == (
        "bob may not pull ghcr.io/team-a/app: no rule allows it\n"
        "  allow[0]: its pull (docker.io/library/*) does not cover ghcr.io/team-a/app\n"
        "  allow[1]: it is for user:alice, group:ci\n"
    )
    found = json.loads(explain(config, "bob", "ghcr.io/team-a/app", "--group", "ci", "--json").stdout)
    assert (found["allowed"], found["rule"]) == (True, 1)


def test_what_cannot_be_asked_for_is_wrong_usage(config: Path) -> None:
    assert explain(config, "bob", "elsewhere.test/x").returncode == 2


def test_certificates_are_logins_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.files()
    tls = {"certificate": str(certificate), "key": str(key), "client_ca": str(authority.ca_file)}
    file = tmp_path / "entrepot.yaml"
    file.write_text(yaml.safe_dump({"cache": {"path": str(tmp_path / "cache")}, "tls": tls}))
    why = "there are no rules, so every login pulls everything, and nobody else anything\n"
    assert explain(file, "alice", "docker.io/redis").stdout == f"alice may pull docker.io/library/redis: {why}"
    assert (
        explain(file, "anonymous", "docker.io/redis").stdout == f"anonymous may not pull docker.io/library/redis: {why}"
    )


def test_it_says_where_the_registry_itself_decides(tmp_path: Path) -> None:
    file = tmp_path / "entrepot.yaml"
    upstreams = {"ghcr.io": {"access": "upstream"}, "docker.io": {}}
    file.write_text(yaml.safe_dump({"cache": {"path": str(tmp_path / "cache")}, "upstreams": upstreams}))
    told = explain(file, "alice", "ghcr.io/team-a/app").stdout
    assert told.startswith("whether alice may pull ghcr.io/team-a/app: ghcr.io itself decides")
    assert json.loads(explain(file, "alice", "ghcr.io/team-a/app", "--json").stdout)["allowed"] is None
    assert "alice may pull docker.io/library/redis" in explain(file, "alice", "docker.io/redis").stdout

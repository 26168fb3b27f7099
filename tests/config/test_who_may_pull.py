"""Who may pull, as it is configured: what is open by accident is refused, and what is wrong is named by its key."""

import json
from pathlib import Path

import pytest

from proxy.admin.reload import login_rules
from proxy.config import ConfigInvalid, load
from proxy.core.allow import AllowRules
from tests.cast.issuer import Issuer
from tests.config.cast import Write

HOME = {"HOME": "/home/me"}
HASH = "$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW"


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    file.write_text(f"alice:{HASH}\n")
    return file


def faults(write: Write, text: str) -> str:
    with pytest.raises(ConfigInvalid) as invalid:
        load(write(text), HOME)
    return str(invalid.value)


def test_a_listener_that_others_reach_is_open_on_purpose_or_knows_its_clients(write: Write, users: Path) -> None:
    assert "anonymous: true" in faults(write, "listen: 0.0.0.0:5000\n")
    assert "anonymous: true" in faults(write, "listen: 0.0.0.0:5000\nclients: {}\n")
    assert load(write("listen: 0.0.0.0:5000\nanonymous: true\n"), HOME)
    assert load(write(f"listen: 0.0.0.0:5000\nclients: {{htpasswd: {users}}}\n"), HOME)


def test_without_rules_it_is_for_logins_where_there_are_any(write: Write, users: Path) -> None:
    def rules(text: str) -> AllowRules:
        return login_rules(load(write(text), HOME).settings).allow

    assert [rule.who for rule in rules("log: {}\n").rules] == [("anonymous",)]
    assert [rule.who for rule in rules(f"clients: {{htpasswd: {users}}}\n").rules] == [("user:*",)]
    assert [rule.who for rule in rules(f"anonymous: true\nclients: {{htpasswd: {users}}}\n").rules] == [("anonymous",)]
    assert rules(f"clients: {{htpasswd: {users}}}\n").logins
    assert not rules("log: {}\n").logins


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("allow: [{who: [alice], pull: ['*']}]", "allow[0].who[0]: not somebody"),
        ("allow: [{who: ['user:'], pull: ['*']}]", "allow[0].who[0]: not somebody"),
        ("allow: [{who: [], pull: ['*']}]", "allow[0].who: must not be empty"),
        ("allow: [{who: [anonymous]}]", "allow[0].pull: is needed"),
        ("allow: [{who: [anonymous], pull: [docker.io]}]", "allow[0].pull[0]: not a pattern"),
        ("allow: [{who: [anonymous], pull: ['docker.io/a:v1']}]", "allow[0].pull[0]: not a pattern"),
        ("allow: [{who: [anonymous], pull: ['*'], rate: fast}]", "allow[0].rate: not a rate"),
        ("allow: [{who: [anonymous], pull: ['*'], fills: 0}]", "allow[0].fills: must be at least 1"),
        ("clients: {tokens: [{issuer: i, audience: a, jwks: 'http://i.test/keys'}]}", "tokens[0].jwks: keys that came"),
        ("clients: {tokens: [{issuer: i, audience: a}]}", "clients.tokens[0].jwks: is needed"),
        ("clients: {htpasswd: /nowhere}", "clients.htpasswd: cannot read"),
        ("token_key_file: /nowhere", "token_key_file: cannot read"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(write: Write, text: str, said: str) -> None:
    assert said in faults(write, f"{text}\n")


def test_files_are_looked_at_and_not_quoted(write: Write, tmp_path: Path) -> None:
    (tmp_path / "users").write_text("alice:secret\n")
    (tmp_path / "key").write_text("secret")
    (tmp_path / "jwks").write_text('{"keys": ["secret"]}')
    told = faults(
        write,
        f"clients: {{htpasswd: {tmp_path}/users, tokens: [{{issuer: i, audience: a, jwks: {tmp_path}/jwks}}]}}\n"
        f"token_key_file: {tmp_path}/key\n",
    )
    assert "secret" not in told.replace("a secret of at least", "")
    for key in ("clients.htpasswd", "clients.tokens[0].jwks", "token_key_file"):
        assert key in told


def test_keys_stand_in_a_file_or_at_a_url(write: Write, tmp_path: Path) -> None:
    (tmp_path / "jwks").write_text(json.dumps(Issuer("EdDSA").key_set()))
    for keys in (f"{tmp_path}/jwks", "https://issuer.test/keys", "http://127.0.0.1:9/keys"):
        text = f"clients: {{tokens: [{{issuer: i, audience: a, jwks: '{keys}', groups: roles}}]}}\n"
        [issuer] = login_rules(load(write(text), HOME).settings).issuers
        assert str(issuer.keys) == keys
        assert issuer.expected.groups == "roles"

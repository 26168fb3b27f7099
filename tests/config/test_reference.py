"""The reference configuration is whole, true and usable."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from proxy.config import Settings, effective, json_schema, load
from proxy.config.section import Section
from tests.cast.authority import Authority
from tests.config.cast import PUBLIC_KEY, REFERENCE, Write, with_examples

ENVIRON = {
    "HOME": "/home/me",
    "ARTIFACTS_USER": "me",
    "ARTIFACTS_PASSWORD": "s3cret",
    "PROXY_USER": "me",
    "PROXY_PASSWORD": "s3cret",
}
POLICY = """{"rules": [{"rulePriority": 1, "action": {"type": "expire"}, "selection":
    {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 7}}]}"""
HTPASSWD = "me:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"


@pytest.fixture
def uncommented(write: Write, tmp_path: Path) -> Path:
    for name in ("registry-password", "gitlab-user", "gitlab-password", "proxy-user", "proxy-password"):
        (tmp_path / name).write_text("hidden\n")
    authority = Authority(tmp_path)
    for made, named in zip((*authority.files(), authority.ca_file), ("tls.crt", "tls.key", "clients.crt"), strict=True):
        (tmp_path / named).write_bytes(made.read_bytes())
    authority.ca_file.rename(tmp_path / "registry-ca.pem")
    (tmp_path / "config.json").write_text('{"auths": {"harbor.example.com": {"username": "me", "password": "hidden"}}}')
    (tmp_path / "bundles.pub.pem").write_text(PUBLIC_KEY)
    (tmp_path / "lifecycle.json").write_text(POLICY)
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    (tmp_path / "admin-token").write_text("hidden-token-of-the-operator")
    (tmp_path / "token-key.pem").write_text("hidden secret of more than 32 bytes")
    return write(with_examples(REFERENCE.read_text()).replace("/run/secrets", str(tmp_path)))


def test_it_says_what_happens_without_a_file() -> None:
    assert load(REFERENCE, ENVIRON).settings == load(None, ENVIRON).settings


def test_its_examples_load(uncommented: Path) -> None:
    settings = load(uncommented, ENVIRON).settings
    assert str(settings.admin_socket) == "/run/entrepot/admin.sock"
    assert settings.upstreams["*.dkr.ecr.us-east-1.amazonaws.com"].auth.type == "ecr"
    assert len(settings.upstreams) == 19
    assert [each.rule.rate for each in settings.allow] == [None, 100_000_000]
    assert [len(each.parsed.rules) for each in settings.lifecycle] == [1, 1]


def given(section: Section) -> Iterator[tuple[str, str]]:
    """(section, key) of everything that was written in the file."""
    for key in section.model_fields_set:
        yield type(section).__name__, type(section).model_fields[key].alias or key
        value = getattr(section, key)
        parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)
        for part in parts:
            if isinstance(part, Section):
                yield from given(part)


def test_every_key_of_the_schema_stands_in_it(uncommented: Path) -> None:
    schema = json_schema()
    keys = {(name, key) for name, part in schema["$defs"].items() for key in part.get("properties", {})}
    keys |= {("Settings", key) for key in schema["properties"]}
    assert keys - set(given(load(uncommented, ENVIRON).settings)) == set()


@pytest.mark.parametrize("examples", [False, True])
def test_the_schema_accepts_it(examples: bool) -> None:
    text = REFERENCE.read_text()
    jsonschema.validate(yaml.safe_load(with_examples(text) if examples else text), json_schema())


def test_every_key_of_the_schema_is_described() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in (schema, *schema["$defs"].values()):
        for key, value in part["properties"].items():
            assert value.get("description"), key


@pytest.mark.parametrize(
    "bad",
    [
        "listen: 5000",
        "unknown: 1",
        "tags: {ttl: 60}",
        "tags: {ttl: 1 week}",
        "cache: {max_size: 5G}",
        "log: {level: loud}",
        "upstreams: {ghcr.io: {auth: {type: basic, password: x}}}",
        "upstreams: {ghcr.io: {url: 'https://me:secret@ghcr.io'}}",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(bad: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(bad), json_schema())


def test_the_schema_shows_defaults_as_they_are_written() -> None:
    definitions = json_schema()["$defs"]

    def default(section: str, key: str) -> Any:
        return definitions[section]["properties"][key]["default"]

    assert default("TagSettings", "ttl") == "1m"
    assert default("CacheSettings", "max_size") == "50GiB"
    assert default("CacheSettings", "min_free") == "max(5%, 5GiB)"
    assert default("CacheSettings", "path") == "~/.cache/entrepot"


def test_what_is_shown_loads_again(uncommented: Path, tmp_path: Path) -> None:
    settings = load(uncommented, ENVIRON).settings
    shown = tmp_path / "shown.yaml"
    shown.write_text(yaml.safe_dump(effective(settings)))
    assert load(shown, ENVIRON).settings == settings


def test_what_is_shown_holds_no_secret(uncommented: Path) -> None:
    settings = load(uncommented, ENVIRON).settings
    for text in (yaml.safe_dump(effective(settings)), repr(settings), settings.model_dump_json()):
        assert "hidden" not in text
        assert "s3cret" not in text
        assert "ARTIFACTS_PASSWORD" in text


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.tags.ttl = 1.0  # type: ignore[misc]  # what is tested

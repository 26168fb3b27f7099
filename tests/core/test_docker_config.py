"""Which entry of a Docker config.json is for which repository, and what it holds."""

import base64
import json
from typing import Any

import pytest

from proxy.core.credentials import Credentials, IdentityToken, Login
from proxy.core.docker_config import (
    DockerConfigInvalid,
    helper_server,
    parse_docker_config,
    parse_helper_answer,
)


def basic(username: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:s3:cret".encode()).decode()}


def login(auths: dict[str, Any], host: str, repository: str = "team/app") -> Login | None:
    return parse_docker_config(json.dumps({"auths": auths}).encode()).login([host], repository)


@pytest.mark.parametrize(
    "key",
    [
        "a.io",
        "A.io",
        "https://a.io",
        "http://a.io",
        "https://a.io/",
        "https://a.io/v1/",
        "https://a.io/v2/",
        "a.io/v2",
        "a.io:443",
        "a.io/team",
        "a.io/team/app",
        "*.io",
        " a.io ",
    ],
)
def test_a_key_is_for_its_registry(key: str) -> None:
    assert login({key: basic("me")}, "a.io") == Credentials("me", "s3:cret")


@pytest.mark.parametrize("key", ["b.io", "a.io:5000", "a.io/tea", "a.io/team/app/more", "*.a.io", "*", "a.io:port", ""])
def test_a_key_is_for_no_other(key: str) -> None:
    assert login({key: basic("me")}, "a.io") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"])
def test_docker_hub_has_many_names(key: str) -> None:
    assert login({key: basic("me")}, "docker.io", "library/alpine") == Credentials("me", "s3:cret")


def test_the_longest_path_holds_then_a_host_without_stars_then_the_first_one_with_any_content() -> None:
    auths = {
        "*.io": basic("star"),
        "https://a.io": {},
        "a.io": basic("whole"),
        "a.io:443": basic("late"),
        "a.io/team": basic("team"),
        "a.io/team/app": basic("app"),
    }
    found = [login(auths, "a.io", name) for name in ("team/app", "team/other", "teams/app", "")]
    assert [each.username for each in found if isinstance(each, Credentials)] == ["app", "team", "whole", "whole"]
    assert login(auths, "b.io") == Credentials("star", "s3:cret")


def test_a_port_is_part_of_the_name() -> None:
    assert login({"[::1]:5000": basic("me"), "a.io": basic("other")}, "[::1]:5000") == Credentials("me", "s3:cret")
    assert login({"a.io:5000": basic("me")}, "a.io:5000") == Credentials("me", "s3:cret")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"username": "me", "password": "it"}, Credentials("me", "it")),
        ({"username": "me", "password": "it", **basic("you")}, Credentials("you", "s3:cret")),
        ({"identitytoken": "refresh", **basic("you")}, IdentityToken("refresh")),
        ({"auth": base64.b64encode(b"me:it\0\0").decode()}, Credentials("me", "it")),
        ({"auth": base64.b64encode("mé:ü".encode()).decode()}, Credentials("mé", "ü")),
        ({"auth": base64.b64encode(b"me:").decode()}, Credentials("me", "")),
        ({"email": "me@a.io"}, None),
        ({"auth": None}, None),
    ],
)
def test_what_an_entry_holds(entry: dict[str, Any], expected: Login | None) -> None:
    assert login({"a.io": entry}, "a.io") == expected


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"auth": "hunter2"}, "not USER:PASSWORD in base64"),
        ({"auth": base64.b64encode(b"hunter2").decode()}, "not USER:PASSWORD in base64"),
        ({"auth": base64.b64encode(b":hunter2").decode()}, "not USER:PASSWORD in base64"),
        ({"auth": base64.b64encode(b"\xff:hunter2").decode()}, "not USER:PASSWORD in base64"),
        ({"auth": 7}, "auth must be text"),
        ({"password": "hunter2"}, "go together"),
        ({"registrytoken": "hunter2"}, "log in again"),
    ],
)
def test_a_bad_entry_is_told_and_hurts_only_its_own_registry(entry: dict[str, Any], sentence: str) -> None:
    config = parse_docker_config(json.dumps({"auths": {"a.io": entry, "b.io": basic("me")}}).encode())
    with pytest.raises(DockerConfigInvalid, match=sentence) as caught:
        config.login(["a.io"], "x")
    assert "hunter2" not in str(caught.value)
    assert list(config.faults()) == [str(caught.value)]
    assert config.login(["b.io"], "x") == Credentials("me", "s3:cret")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "not a Docker config.json"),
        ("[]", "not a JSON object"),
        ("{}", "none of auths"),
        ('{"auths": []}', "auths: must be an object"),
        ('{"auths": {"a.io": "hunter2"}}', "each entry must be an object"),
        ('{"auths": {}, "auths": {}}', "twice"),
        ('{"credHelpers": {"a.io": 1}}', "must be text"),
        ('{"credsStore": ["x"]}', "must be text"),
    ],
)
def test_what_is_no_such_file(content: str, sentence: str) -> None:
    with pytest.raises(DockerConfigInvalid, match=sentence) as caught:
        parse_docker_config(content.encode())
    assert "hunter2" not in str(caught.value)


def test_helpers_are_found_by_the_registrys_own_name_and_the_store_is_for_the_rest() -> None:
    config = parse_docker_config(
        b'{"credHelpers": {"https://a.io": "ecr-login", "docker.io": "hub"}, "credsStore": "x"}'
    )
    assert config.helper(["a.io"]) == "ecr-login"
    assert config.helper(["mirror.test", "registry-1.docker.io"]) == "hub"
    assert config.helper(["b.io"]) is None
    assert config.store == "x"
    assert [helper_server(host) for host in ("docker.io", "a.io:5000")] == ["https://index.docker.io/v1/", "a.io:5000"]


def test_what_a_helper_says() -> None:
    assert parse_helper_answer(b'{"ServerURL": "a", "Username": "me", "Secret": "it"}') == Credentials("me", "it")
    assert parse_helper_answer(b'{"Username": "<token>", "Secret": "refresh"}') == IdentityToken("refresh")
    assert parse_helper_answer(b"credentials not found in native keychain\n") is None
    for output in (b"hunter2", b"{}", b'{"Username": "me", "Secret": ""}', b'{"Username": 1, "Secret": "hunter2"}'):
        with pytest.raises(DockerConfigInvalid, match="its answer") as caught:
            parse_helper_answer(output)
        assert "hunter2" not in str(caught.value)


def test_no_secret_is_shown() -> None:
    assert "it" not in repr((Credentials("me", "it"), IdentityToken("it"))).replace("IdentityToken", "")

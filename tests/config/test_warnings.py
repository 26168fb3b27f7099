"""What is allowed in a configuration and yet is likely a mistake is said, and changes nothing else."""

import pytest

from proxy.commands.configuration import check as config_check
from proxy.config import ConfigInvalid, load
from tests.config.cast import Write

HOME = {"HOME": "/home/me"}


def warnings(text: str, write: Write, **environ: str) -> list[str]:
    return list(load(write(text), HOME | environ).warnings)


def test_nothing_is_said_of_what_is_right(write: Write) -> None:
    environ = {
        "ENTREPOT_CONFIG": "x",
        "ENTREPOT_ADMIN_URL": "http://127.0.0.1:5001",
        "ENTREPOT_TAGS_TTL": "5m",
        "HTTPS_PROXY": "http://proxy.test",
    }
    assert warnings("upstreams: {a.io: {url: 'https://a.io/artifactory/v2docker'}}\n", write, **environ) == []


def test_a_variable_that_matches_nothing_is_told_with_the_one_that_may_be_meant(write: Write) -> None:
    (said,) = warnings("log: {}\n", write, ENTREPOT_TAGS_TTLL="5m")
    assert said == "ENTREPOT_TAGS_TTLL: the environment variable matches no setting; is ENTREPOT_TAGS_TTL meant?"


def test_what_kubernetes_sets_for_a_service_is_told_once(write: Write) -> None:
    injected = {
        "ENTREPOT_PORT": "tcp://10.0.0.1:5000",
        "ENTREPOT_SERVICE_HOST": "10.0.0.1",
        "ENTREPOT_SERVICE_PORT_PULL": "5000",
        "ENTREPOT_PORT_5000_TCP_ADDR": "10.0.0.1",
    }
    (said,) = warnings("log: {}\n", write, **injected)
    assert "enableServiceLinks: false" in said
    assert all(name in said for name in injected)


def test_a_variable_that_holds_a_secret_is_known(write: Write) -> None:
    text = """\
egress: {proxy: "http://proxy.test", username: me, password_env: ENTREPOT_PROXY_WORD}
upstreams:
  a.io: {auth: {type: basic, username: me, password_env: ENTREPOT_HUB_WORD}}
  b.io: {egress: {proxy: "http://own.test", username_env: ENTREPOT_B_NAME, password_env: ENTREPOT_B_WORD}}
"""
    known = dict.fromkeys(("ENTREPOT_PROXY_WORD", "ENTREPOT_HUB_WORD", "ENTREPOT_B_NAME", "ENTREPOT_B_WORD"), "x")
    assert warnings(text, write, **known) == []


@pytest.mark.parametrize("path", ["/v2/", "/v2", "/v2/team", "/artifactory/v2", "/v1/"])
def test_the_path_of_the_api_in_a_url_is_told(path: str, write: Write) -> None:
    (said,) = warnings(f"upstreams: {{a.io: {{url: 'https://a.io{path}'}}}}\n", write)
    assert said.startswith("upstreams.a.io.url: leave /v")


def test_what_can_never_be_warmed_is_told(write: Write) -> None:
    text = """\
upstreams: {a.io: {}, "*.b.io": {}}
warm: {images: [a.io/x, x.b.io/y, alpine, {repository: c.io/z, tags: {glob: "*"}}], schedule: "0 3 * * *"}
"""
    assert warnings(text, write) == [
        "warm.images[2]: docker.io is not one of the upstreams",
        "warm.images[3]: c.io is not one of the upstreams",
    ]
    assert warnings("warm: {schedule: '0 3 * * *'}", write) == [
        "warm.schedule: there are no images that it could be for"
    ]


@pytest.mark.parametrize(
    ("warm", "fault"),
    [
        ("images: [Alpine]", "warm.images[0]: 'library/Alpine' is not a repository name"),
        ("images: [{repository: a, tags: {}}]", "warm.images[0].tags: needs a glob or a semver range"),
        ("images: [{repository: X, tags: {glob: a}}]", "warm.images[0].repository: 'library/X' is not"),
        ("images: [{repository: a, tags: {semver: nonsense}}]", "warm.images[0].tags: not a range of versions"),
        ("images: [7]", "warm.images[0]: must be"),
        ("platforms: [amd64]", "warm.platforms[0]: not a platform"),
        ("schedule: daily", "warm.schedule: not a schedule"),
    ],
)
def test_what_cannot_be_warmed_is_a_fault(warm: str, fault: str, write: Write) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(write(f"warm: {{{warm}}}"), HOME)
    assert fault in str(caught.value)


def test_a_secret_that_everybody_may_read_is_told_of_whatever_kind_it_is(write: Write) -> None:
    folder = write("").parent
    kinds = {"user": "me", "word": "x", "proxy-word": "x", "config.json": '{"auths": {}}', "private": "x"}
    for name, content in kinds.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o604 if name != "private" else 0o640)
    text = """\
egress: {proxy: "http://proxy.test", username: me, password_file: proxy-word}
upstreams:
  a.io: {auth: {type: basic, username_file: user, password_file: word}}
  b.io: {auth: {type: dockerconfig, file: config.json}}
  c.io: {auth: {type: basic, username: me, password_file: private}}
"""
    told = [line.partition(" holds a secret and may be read by everybody")[0] for line in warnings(text, write)]
    assert told == sorted(str(folder / name) for name in kinds if name != "private")


def test_a_certificate_that_is_not_verified_is_told_with_where(write: Write) -> None:
    said = warnings("upstreams: {a.io: {insecure: true}, b.io: {url: 'https://c.io:8443', insecure: true}}\n", write)
    assert [line.partition(": who is")[0] for line in said] == [
        "upstreams.a.io.insecure: the certificate of https://a.io is not verified",
        "upstreams.b.io.insecure: the certificate of https://c.io:8443 is not verified",
    ]


def test_what_the_environment_overrides_is_told_with_the_line(write: Write) -> None:
    text = "log: {level: debug}\ncache:\n  path: /data\n"
    (said,) = warnings(text, write, ENTREPOT_CACHE_PATH="/var/cache/entrepot", ENTREPOT_LOG_LEVEL="debug")
    assert said == "cache.path: ENTREPOT_CACHE_PATH of the environment holds, not what the file says in line 3"


def test_a_proxy_of_the_environment_that_cannot_be_used_is_told_where_it_would_be(write: Write) -> None:
    (said,) = warnings("log: {}\n", write, HTTPS_PROXY="socks5://me:hunter2@proxy.test", HTTP_PROXY="ftp://x")
    assert "HTTPS_PROXY names a proxy of the kind" in said
    assert "hunter2" not in said
    assert warnings("egress: {proxy: 'http://a.io'}\n", write, HTTPS_PROXY="socks5://proxy.test") == []


def test_config_check_warns_on_standard_error_and_is_content(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENTREPOT_LISTENS", "x")
    config_check(write("log: {}\n"))
    out, err = capsys.readouterr()
    assert "good; 9 upstreams" in out
    assert "warning: ENTREPOT_LISTENS" in err
    assert "warning" not in out

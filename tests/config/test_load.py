"""From files and environments to settings."""

from pathlib import Path

import pytest

from proxy.bundles.signatures import public_key
from proxy.config import (
    Address,
    BasicAuth,
    ConfigInvalid,
    FileRefused,
    SecretSource,
    admin_address,
    effective,
    load,
    read_credentials,
    read_login,
    read_secret,
)
from proxy.config.overrides import variables
from proxy.config.timeouts import TimeoutSettings
from proxy.core.credentials import Credentials
from proxy.core.egress import Egress
from tests.config.cast import PUBLIC_KEY, Write

HOME = {"HOME": "/home/me"}


def test_the_environment_may_name_the_file(write: Write) -> None:
    file = write("tags: {ttl: 7s}\n")
    assert load(None, HOME | {"ENTREPOT_CONFIG": str(file)}) == load(file, HOME)
    with pytest.raises(ConfigInvalid, match="No such file"):
        load(file.with_name("none"), HOME)
    with pytest.raises(ConfigInvalid, match=r"entrepot\.yaml:1: tags\.ttl"):
        load(write("tags: {ttl: 7}\n"), HOME)


def test_without_a_file_it_is_closed_to_others_and_knows_the_public_registries() -> None:
    loaded = load(None, HOME)
    assert loaded.source is None
    assert loaded.settings.listen.is_loopback
    assert loaded.settings.admin.is_loopback
    assert loaded.settings.cache.path == Path("/home/me/.cache/entrepot")
    assert loaded.settings.upstreams["docker.io"].url == "https://registry-1.docker.io"
    assert loaded.settings.upstreams["ghcr.io"].url == "https://ghcr.io"
    assert loaded.settings.default_upstream == "docker.io"


def test_the_cache_is_where_xdg_says_unless_that_is_relative() -> None:
    assert load(None, HOME | {"XDG_CACHE_HOME": "/x"}).settings.cache.path == Path("/x/entrepot")
    assert load(None, HOME | {"XDG_CACHE_HOME": "x"}).settings.cache.path == Path("/home/me/.cache/entrepot")


def test_a_variable_names_the_file(write: Write) -> None:
    file = write("tags: {ttl: 7s}\n")
    loaded = load(None, HOME | {"ENTREPOT_CONFIG": str(file)})
    assert (loaded.source, loaded.settings.tags.ttl) == (file, 7)


def test_the_environment_stands_above_the_file(write: Write) -> None:
    file = write("tags: {ttl: 7s}\nlog: {level: debug}\n")
    environ = {
        "ENTREPOT_TAGS_TTL": "5m",
        "ENTREPOT_LISTEN": "[::]:5000",
        "ENTREPOT_ANONYMOUS": "true",
        "ENTREPOT_LIMITS_FILLS": "7",
        "ENTREPOT_CACHE_MAX_SIZE": "1.5GB",
        "ENTREPOT_PINS": "docker.io/*, quay.io/a/b:v1",
    }
    settings = load(file, HOME | environ).settings
    assert settings.tags.ttl == 300
    assert settings.log.level == "debug"
    assert settings.listen == Address("::", 5000)
    assert settings.limits.fills == 7
    assert settings.cache.max_size == 1_500_000_000
    assert settings.pins == ("docker.io/*", "quay.io/a/b:v1")


def test_a_good_override_mends_a_bad_file(write: Write) -> None:
    assert load(write("tags: {ttl: 60}\n"), HOME | {"ENTREPOT_TAGS_TTL": "60s"}).settings.tags.ttl == 60


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("ENTREPOT_TAGS_TTL", "60", "tags.ttl"),
        ("ENTREPOT_TAGS_TTL", "", "tags.ttl"),
        ("ENTREPOT_LISTEN", "0.0.0.0:5000", "listen"),
        ("ENTREPOT_LIMITS_FILLS", "9" * 5000, "limits.fills"),
        ("ENTREPOT_DEFAULT_UPSTREAM", "nowhere.test", "default_upstream"),
    ],
)
def test_a_fault_in_an_override_names_the_variable(variable: str, value: str, key: str) -> None:
    with pytest.raises(ConfigInvalid, match=variable) as caught:
        load(None, HOME | {variable: value})
    (fault,) = caught.value.faults
    assert (fault.variable, fault.key, fault.line) == (variable, key, None)


def test_an_override_cannot_hide_what_is_wrong_round_it(write: Write) -> None:
    with pytest.raises(ConfigInvalid, match="tags: must be a mapping"):
        load(write("tags: 5\n"), HOME | {"ENTREPOT_TAGS_TTL": "60s"})


def test_every_setting_with_a_fixed_path_has_its_variable() -> None:
    known = variables()
    assert known["ENTREPOT_TAGS_STALE_IF_ERROR"] == ("tags", "stale_if_error")
    assert known["ENTREPOT_CACHE_PATH"] == ("cache", "path")
    assert known["ENTREPOT_DEFAULT_UPSTREAM"] == ("default_upstream",)
    assert len(set(known.values())) == len(known) == 69
    assert not {"ENTREPOT_UPSTREAMS", "ENTREPOT_LIFECYCLE", "ENTREPOT_CACHE"} & known.keys()


def test_what_all_upstreams_share_is_refined_by_each(write: Write) -> None:
    text = """\
timeouts: {first_byte: 30s, stall: 20s}
egress: {proxy: "http://proxy.test:3128"}
upstreams:
  a.io:
  b.io: {timeouts: {first_byte: 5m}, egress: {no_proxy: ["*"]}}
"""
    upstreams = load(write(text), HOME).settings.upstreams
    assert upstreams["a.io"].timeouts == TimeoutSettings(first_byte="30s", stall="20s")  # type: ignore[arg-type]
    assert upstreams["b.io"].timeouts == TimeoutSettings(first_byte="5m", stall="20s")  # type: ignore[arg-type]
    assert upstreams["a.io"].egress.rules == Egress("http://proxy.test:3128")
    assert upstreams["b.io"].egress.rules == Egress(None, ("*",))
    by_default = load(None, HOME | {"ENTREPOT_TIMEOUTS_CONNECT": "1s", "ENTREPOT_EGRESS_NO_PROXY": "a.io, 10.0.0.0/8"})
    docker = by_default.settings.upstreams["docker.io"]
    assert (docker.timeouts.connect, docker.egress.no_proxy) == (1, ("a.io", "10.0.0.0/8"))


async def test_a_proxy_may_ask_for_a_user_and_a_password(write: Write, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("s3cret\n")
    text = 'egress: {proxy: "http://proxy.test", username: me, password_file: word}\n'
    egress = load(write(text), HOME).settings.egress
    assert egress.login is not None
    assert await read_login(egress.login, {}) == Credentials("me", "s3cret")
    assert load(None, HOME).settings.egress.login is None


def test_how_content_is_proven_again(write: Write) -> None:
    assert load(None, HOME).settings.verify.max_age == 86400
    assert load(write("verify: {max_age: off, on_read: true}\n"), HOME).settings.verify.max_age is None


def test_names_are_compared_in_their_canonical_form(write: Write) -> None:
    file = write("upstreams:\n  Index.Docker.IO:\n  BÜCHER.example:8443:\n  faß.de:\n")
    settings = load(file, HOME).settings
    assert list(settings.upstreams) == ["docker.io", "xn--bcher-kva.example:8443", "xn--fa-hia.de"]
    assert settings.upstreams["xn--bcher-kva.example:8443"].url == "https://xn--bcher-kva.example:8443"
    assert settings.default_upstream == "docker.io"


def test_without_docker_hub_bare_paths_mean_nothing(write: Write) -> None:
    assert load(write("upstreams:\n  ghcr.io:\n"), HOME).settings.default_upstream is None
    chosen = load(write("upstreams:\n  ghcr.io:\ndefault_upstream: ghcr.io\n"), HOME).settings
    assert chosen.default_upstream == "ghcr.io"
    assert load(write("default_upstream: null\n"), HOME).settings.default_upstream is None


def test_an_ecr_name_needs_nothing_else(write: Write) -> None:
    account, all_of_a_region = "123456789012.dkr.ecr.eu-west-1.amazonaws.com", "*.dkr-ecr-fips.us-east-1.on.aws"
    upstreams = load(write(f"upstreams:\n  {account}:\n  '{all_of_a_region}': {{}}\n"), HOME).settings.upstreams
    assert upstreams[account].auth.type == "ecr"
    assert upstreams[all_of_a_region].auth.type == "ecr"
    assert upstreams[all_of_a_region].url is None
    assert upstreams[all_of_a_region].base_url("1.test") == "https://1.test"


def test_an_ecr_registry_may_stand_behind_another_name(write: Write) -> None:
    endpoint = "https://vpce-01.dkr.ecr.eu-west-1.vpce.amazonaws.com"
    file = write(f"upstreams: {{a.io: {{url: '{endpoint}/', auth: {{type: ecr, region: eu-west-1}}}}}}\n")
    assert load(file, HOME).settings.upstreams["a.io"].url == endpoint


def test_redirects_are_hosts_with_or_without_a_port(write: Write) -> None:
    file = write("upstreams: {a.io: {redirects: [Minio.A.io, '10.0.0.1:9000', '[FD12::0:1]:9000']}}\n")
    redirects = load(file, HOME).settings.upstreams["a.io"].redirects
    assert redirects == ("minio.a.io", "10.0.0.1:9000", "[fd12::1]:9000")


def test_realms_are_hosts_and_keep_their_scheme(write: Write) -> None:
    file = write("upstreams: {a.io: {realms: [Auth.A.io, 'http://10.0.0.1:5011', registry-1.docker.io]}}\n")
    realms = load(file, HOME).settings.upstreams["a.io"].realms
    assert realms == ("auth.a.io", "http://10.0.0.1:5011", "registry-1.docker.io")


def test_off_is_off_and_a_duration_is_one(write: Write) -> None:
    file = write(
        "upstreams: {a.io: {touch_upstream: off}, b.io: {touch_upstream: 'off'}, c.io: {touch_upstream: 1d}}\n"
    )
    upstreams = load(file, HOME).settings.upstreams
    assert [upstream.touch_upstream for upstream in upstreams.values()] == [None, None, 86400]


def test_a_byte_order_mark_is_passed_over(write: Write) -> None:
    assert load(write(b"\xef\xbb\xbflog: {level: debug}\n"), HOME).settings.log.level == "debug"


def test_anchors_spare_writing_the_same_twice(write: Write) -> None:
    text = """\
upstreams:
  a.io: &slow
    timeouts: &patient {first_byte: 5m, total: 10m}
    insecure: true
  b.io: *slow
  c.io:
    <<: *slow
    insecure: false
  d.io:
    timeouts: {<<: [{stall: 9s, total: 1m}, *patient], connect: 1s}
"""
    upstreams = load(write(text), HOME).settings.upstreams
    assert [(each.timeouts.first_byte, each.insecure) for each in upstreams.values()] == [
        (300, True),
        (300, True),
        (300, False),
        (300, False),
    ]
    own = upstreams["d.io"].timeouts
    assert (own.connect, own.stall, own.total) == (1, 9, 60)


async def test_a_rotated_secret_is_seen_at_the_next_use(write: Write, tmp_path: Path) -> None:
    file = write("upstreams: {a.io: {auth: {type: basic, username_env: WHO, password_file: token}}}\n")
    token = tmp_path / "token"
    token.write_text("first\r\n")
    auth = load(file, HOME | {"WHO": "me"}).settings.upstreams["a.io"].auth
    assert isinstance(auth, BasicAuth)
    credentials = await read_credentials(auth, {"WHO": "me"})
    assert credentials == ("me", "first")
    assert "first" not in repr(credentials)
    token.write_text(" second ")
    assert (await read_credentials(auth, {"WHO": "me"})).password == " second "


def test_a_key_of_an_import_is_read_once(write: Write, tmp_path: Path) -> None:
    file, pem = write("import: {keys: [bundles.pem]}\n"), tmp_path / "bundles.pem"
    pem.write_text(PUBLIC_KEY)
    settings = load(file, HOME).settings
    pem.unlink()
    assert settings.imports.public_keys == (public_key(PUBLIC_KEY.encode()),)
    assert effective(settings)["import"]["keys"] == [str(pem)]


async def test_a_secret_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x")
    token.chmod(0o602)
    with pytest.raises(FileRefused, match="chmod o-w"):
        await read_secret(SecretSource(token, None), {})


async def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("\n")
    with pytest.raises(FileRefused, match="holds nothing"):
        await read_secret(SecretSource(token, None), {})


def test_the_names_and_networks_of_those_in_front_have_one_form(write: Write) -> None:
    path = write(
        "host_names: [Mirror.Example.com, 'b\u00fccher.example', '[2001:DB8:0::1]', 192.0.2.7]\n"
        "trusted_proxies: [10.0.0.0/28, 192.0.2.9, 'FD00::/8']\n"
    )
    settings = load(path, {}).settings
    assert settings.host_names == ("mirror.example.com", "xn--bcher-kva.example", "2001:db8::1", "192.0.2.7")
    assert effective(settings)["trusted_proxies"] == ["10.0.0.0/28", "192.0.2.9/32", "fd00::/8"]
    overridden = load(path, {"ENTREPOT_HOST_NAMES": "a.test, b.test", "ENTREPOT_TRUSTED_PROXIES": "::1"}).settings
    assert overridden.host_names == ("a.test", "b.test")
    assert list(map(str, overridden.trusted_proxies)) == ["::1/128"]


def test_commands_are_led_to_the_socket_whatever_else_is_wrong(write: Write) -> None:
    path = write("admin_socket: run/admin.sock\ntags: {ttl: never}\n")
    assert admin_address(path, {}).url == f"unix:{path.parent}/run/admin.sock"
    assert admin_address(path, {"ENTREPOT_ADMIN_SOCKET": "/run/other.sock"}).url == "unix:/run/other.sock"
    assert admin_address(None, {}).url == "127.0.0.1:5001"


def test_a_token_opens_admin_to_others_and_commands_are_told_where_it_is(write: Write, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-the-operator\n" * 2)
    with pytest.raises(ConfigInvalid, match="holds no token"):
        load(path := write("admin: 10.0.0.1:5001\nadmin_token_file: token\n"), {"HOME": "/home/me"})
    (tmp_path / "token").write_text("of-the-operator-alone")
    assert load(path, {"HOME": "/home/me"}).settings.admin_token_file == tmp_path / "token"
    (tmp_path / "token").unlink()  # nobody else can read it
    assert admin_address(path, {}) == ("10.0.0.1:5001", tmp_path / "token")

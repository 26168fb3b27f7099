"""Every bad file is refused with the key, the line and a sentence that helps."""

from pathlib import Path
from typing import NamedTuple

import pytest

from proxy.config import ConfigFault, ConfigInvalid, load
from tests.cast.authority import Authority
from tests.config.cast import Write


class Bad(NamedTuple):
    what: str
    text: str | bytes
    key: str
    line: int | None
    sentence: str


ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
DEEP = "a: " + "[" * 40 + "]" * 40
BOMB = "pins:\n  - &a0 [x, x]\n" + "".join(f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))


def upstream(name: str, rest: str) -> str:
    return f"listen: 127.0.0.1:5000\nupstreams:\n  {name}:\n    {rest}\n"


def entry(what: str, rest: str, key: str, sentence: str) -> Bad:
    """A fault of one key of an upstream."""
    return Bad(what, upstream("a.io", rest), f"upstreams.a.io.{key}", 4, sentence)


def auth(what: str, rest: str, key: str, sentence: str, name: str = "a.io") -> Bad:
    return Bad(what, upstream(name, f"auth: {{{rest}}}"), f"upstreams.{name}.auth{key}", 4, sentence)


def rule(what: str, rest: str, key: str, line: int, sentence: str) -> Bad:
    """A fault of one lifecycle policy."""
    return Bad(what, f"lifecycle:\n  - {rest}\n", f"lifecycle[0]{key}", line, sentence)


TIER = "upstreams:\n  '*':\n    "
LOOKALIKE = "12345678901.dkr.ecr.us-east-1.amazonaws.com"
BAD = [
    # a tier
    Bad("a tier without a url", f"{TIER}forward: ns\n", "upstreams.*.url", 2, "where all other names are asked"),
    Bad("a way to forward that is none", f"{TIER}forward: host\n", "upstreams.*.forward", 3, "ns"),
    entry("a name that goes on to nowhere", "forward: ns", "forward", "only to a url that is given"),
    # who decides
    entry("nobody that decides", "access: nobody", "access", "cache"),
    entry(
        "clients' credentials in clear",
        "{access: upstream, url: 'http://a.io'}",
        "url",
        "open to whoever is on the way",
    ),
    entry("clients' credentials to anybody", "{access: upstream, insecure: true}", "insecure", "ca_file"),
    entry("a realm in clear", "{access: upstream, realms: ['http://b.io']}", "realms", "leave http:// out"),
    entry(
        "clients' credentials to a proxy on the way",
        "{access: upstream, url: 'http://127.0.0.1:5050', egress: {proxy: 'http://p.test:3128'}}",
        "egress",
        "no_proxy",
    ),
    entry(
        "a credential beside those of clients",
        "{access: upstream, auth: {type: ecr, region: us-east-1}}",
        "auth",
        "each client's own",
    ),
    Bad(
        "another cache that decides",
        f"{TIER}{{url: 'https://b.io', access: upstream}}\n",
        "upstreams.*.access",
        3,
        "no other cache",
    ),
    # the file
    Bad("an empty file", "", "", 1, "the file is empty"),
    Bad("a file of comments", "# nothing\n", "", 1, "the file is empty"),
    Bad("a list", "- listen\n", "", 1, "must be a mapping"),
    Bad("a word", "\nlisten\n", "", 2, "must be a mapping"),
    Bad("not UTF-8", b"listen: 127.0.0.1:5000\nlog: \xff\n", "", 2, "not UTF-8"),
    Bad("a control character", "listen: 127.0.0.1:5000\nlog: \x01\n", "", 2, "a character that YAML does not allow"),
    Bad("not YAML", "listen: [127.0.0.1\nlog: {}\n", "", 2, "not YAML"),
    Bad("a tab as indentation", "log:\n\tformat: json\n", "", 2, "not YAML"),
    Bad("two documents", "listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2\n", "", 2, "not YAML"),
    Bad("a bomb of aliases", BOMB, "", 2, "more than 50000"),
    Bad("an alias inside its own anchor", "pins: &a\n  - *a\n", "", 1, "alias stand inside its own anchor"),
    Bad("an alias of nothing", "pins: *a\n", "", 1, "undefined alias"),
    Bad("a mapping merged into itself", "tags: &a\n  ttl: 1s\n  <<: *a\n", "", 1, "the mapping that it stands in"),
    Bad("a merged list", "tags:\n  <<: [1]\n", "tags", 2, "takes in a mapping"),
    Bad("a merged word", "tags:\n  ttl: 1s\n  <<: x\n", "tags", 3, "takes in a mapping"),
    Bad("deep nesting", DEEP, "", 1, "nested deeper than 32"),
    Bad("a crowd of values", "pins: [" + "a," * 50_001 + "]", "", 1, "more than 50000"),
    Bad("more than 1 MiB", b"#" * (1024 * 1024 + 1), "", None, "larger than 1048576"),
    Bad("a tag", "log: {}\npins: !!python/name:os.system\n", "pins", 2, "tags are not supported"),
    Bad("a number without end", f"limits:\n  fills: {'9' * 5000}\n", "limits.fills", 2, "cannot be read"),
    # keys
    Bad(
        "an unknown key", "log: {}\nlisten_on: x\n", "listen_on", 2, "is not a key that is known here; is listen meant?"
    ),
    Bad("an unknown key inside", "tags:\n  ttl: 60s\n  tttl: 1s\n", "tags.tttl", 3, "is ttl meant?"),
    Bad("a key twice", "admin: 127.0.0.1:1\nlog: {}\nadmin: 127.0.0.1:2\n", "admin", 3, "already given in line 1"),
    Bad("a key twice inside", "tags:\n  ttl: 1s\n  ttl: 1s\n", "tags.ttl", 3, "already given in line 2"),
    Bad("a key twice in what is merged", "tags:\n  <<: {ttl: 1s, ttl: 2s}\n", "tags.ttl", 2, "already given"),
    Bad("a number as key", "upstreams:\n  5000: {}\n  docker.io:\n", "upstreams", 2, "not text"),
    Bad("a list as key", "log: {}\n? [a]\n: 1\n", "", 2, "not text"),
    # addresses
    Bad("a port alone", "listen: 5000\n", "listen", 1, "write host:port"),
    Bad("no host", 'listen: ":5000"\n', "listen", 1, "write host:port"),
    Bad("no port", "listen: localhost\n", "listen", 1, "write host:port"),
    Bad("a high port", "listen: 127.0.0.1:65536\n", "listen", 1, "at most 65535"),
    Bad("IPv6 without brackets", 'listen: "::1:5000"\n', "listen", 1, "write host:port"),
    Bad("no IPv6 in brackets", 'listen: "[1:2]:5000"\n', "listen", 1, "not an IPv6 address"),
    Bad("open to all", "\nlisten: 0.0.0.0:5000\n", "listen", 2, "set anonymous: true"),
    Bad("open to all by IPv6", 'listen: "[::]:5000"\nanonymous: false\n', "listen", 1, "set anonymous: true"),
    Bad("open by a name", "listen: proxy.internal:5000\n", "listen", 1, "set anonymous: true"),
    Bad("a host name with a port", "host_names: [mirror.test:443]\n", "host_names[0]", 1, "without a port"),
    Bad("a host name with a star", 'host_names: ["*.test"]\n', "host_names[0]", 1, "a star has no place here"),
    Bad("a URL as host name", 'host_names: ["https://mirror.test"]\n', "host_names[0]", 1, "without a port"),
    Bad("one host name", "host_names: mirror.test\n", "host_names", 1, "list"),
    Bad("a name as network", "trusted_proxies: [lb.test]\n", "trusted_proxies[0]", 1, "not a network"),
    Bad(
        "bits behind a prefix", "trusted_proxies: [10.0.0.1/8]\n", "trusted_proxies[0]", 1, "no bits behind its prefix"
    ),
    Bad("a long socket", f"admin_socket: /{'a' * 107}\n", "admin_socket", 1, "at most 107 bytes"),
    Bad("a socket for all", "admin_socket_access: all\n", "admin_socket_access", 1, "user"),
    Bad("admin open", "anonymous: true\nadmin: 10.0.0.1:5001\n", "admin", 2, "admin_token_file"),
    Bad(
        "one address for both", "listen: 127.0.0.1:5001\nadmin: 127.0.0.1:5001\n", "admin", 2, "same address as listen"
    ),
    # values
    Bad("a word for a switch", "anonymous: sometimes\n", "anonymous", 1, "must be true or false"),
    Bad("a text for a switch", 'anonymous: "true"\n', "anonymous", 1, "must be true or false"),
    Bad("a text for a section", "tags: 60s\n", "tags", 1, "must be a mapping"),
    Bad("nothing for a section", "tags:\n", "tags", 1, "must be a mapping"),
    Bad("a list for a section", "tags:\n  - ttl: 60s\n", "tags", 1, "must be a mapping"),
    Bad("a duration without unit", "tags:\n  ttl: 60\n", "tags.ttl", 2, "needs a unit, such as 60s"),
    Bad("a duration of base 60", "tags:\n  ttl: 1:30\n", "tags.ttl", 2, "needs a unit"),
    Bad("a duration in weeks", "tags:\n  ttl: 1w\n", "tags.ttl", 2, "not a duration"),
    Bad("a duration below zero", "tags:\n  ttl: -1s\n", "tags.ttl", 2, "not a duration"),
    Bad("a switch for a duration", "tags:\n  ttl: no\n", "tags.ttl", 2, "not a duration"),
    Bad("a duration of a century", "tags:\n  ttl: 40000d\n", "tags.ttl", 2, "at most 3650d"),
    Bad("no time at all", "limits:\n  write_stall: 0\n", "limits.write_stall", 2, "at least 1ms"),
    Bad("a size with half a unit", "cache:\n  max_size: 200G\n", "cache.max_size", 2, "such as 512MiB"),
    Bad("a size below zero", "cache:\n  max_size: -1\n", "cache.max_size", 2, "not a size"),
    Bad("no size at all", "cache:\n  max_size: 0\n", "cache.max_size", 2, "at least 1B"),
    Bad("a size beyond all disks", "cache:\n  max_size: 9999PiB\n", "cache.max_size", 2, "below 8192PiB"),
    Bad("more than the whole disk free", "cache:\n  min_free: 150%\n", "cache.min_free", 2, "max(5%, 5GiB)"),
    Bad("a path that is none", "cache:\n  path: []\n", "cache.path", 2, "not a file name"),
    Bad("a manifest too large", "limits:\n  manifest_size: 17MiB\n", "limits.manifest_size", 2, "at most 16MiB"),
    Bad("half a connection", "limits:\n  connections: 0.5\n", "limits.connections", 2, "whole number"),
    Bad("no connection", "limits:\n  connections: 0\n", "limits.connections", 2, "at least 1"),
    Bad("a crowd of transfers", "transfers:\n  per_blob: 100\n", "transfers.per_blob", 2, "at most 32"),
    Bad("an unknown format", "log:\n  format: xml\n", "log.format", 2, "must be 'text' or 'json'"),
    Bad("a pattern alone", "pins: docker.io/*\n", "pins", 1, "must be a list"),
    Bad("a bad pattern", "pins:\n  - docker.io/*\n  - a b\n", "pins[1]", 3, "not a pattern"),
    Bad("a date for a pattern", "tags:\n  immutable: [2020-01-01]\n", "tags.immutable[0]", 2, "put quotes round it"),
    # upstreams
    Bad("no upstream", "upstreams: {}\n", "upstreams", 1, "must not be empty"),
    Bad("nothing for upstreams", "upstreams:\n", "upstreams", 1, "must be a mapping"),
    Bad("a text for an upstream", "upstreams:\n  ghcr.io: yes please\n", "upstreams.ghcr.io", 2, "must be a mapping"),
    Bad(
        "a name with a scheme",
        upstream('"https://ghcr.io"', "url: https://ghcr.io"),
        "upstreams.https://ghcr.io",
        3,
        "no scheme",
    ),
    Bad("a name with a path", upstream("ghcr.io/me", "url: https://ghcr.io"), "upstreams.ghcr.io/me", 3, "no path"),
    Bad("a dot at the end", upstream("ghcr.io.", "url: https://ghcr.io"), "upstreams.ghcr.io.", 3, "without the dot"),
    Bad("a star in the middle", upstream("'a.*.io'", "insecure: false"), "upstreams.a.*.io", 3, "not a registry name"),
    Bad(
        "a star with a url", upstream("'*.a.io'", "url: https://a.io"), "upstreams.*.a.io.url", 4, "a name with a star"
    ),
    Bad("a bad international name", upstream("'a\u2488.io'", "insecure: false"), "upstreams.a\\u2488.io", 3, "not a"),
    Bad(
        "one registry twice",
        "upstreams:\n  docker.io:\n  index.docker.io:\n",
        "upstreams.index.docker.io",
        3,
        "same registry as docker.io",
    ),
    Bad(
        "one registry in two cases",
        "upstreams:\n  ghcr.io:\n  GHCR.io:\n",
        "upstreams.GHCR.io",
        3,
        "same registry as ghcr.io",
    ),
    entry("a url with a password", "url: https://me:hunter2@a.io", "url", "no user or password"),
    entry("a url with a query", "url: https://a.io/?x=1", "url", "no query"),
    entry("a url of another kind", "url: ftp://a.io", "url", "not a URL"),
    entry("a url without host", "url: https://", "url", "not a URL"),
    entry("a url with a bad port", "url: https://a.io:x", "url", "not a URL"),
    Bad(
        "an unknown default",
        "upstreams:\n  ghcr.io:\ndefault_upstream: quay.io\n",
        "default_upstream",
        3,
        "quay.io is not one",
    ),
    entry("a missing CA file", "ca_file: none.pem", "ca_file", "No such file"),
    entry("a CA file without certificate", "ca_file: entrepot.yaml", "ca_file", "no PEM"),
    entry("a realm of another kind", "realms: ['ftp://b.io']", "realms[0]", "http:// or https://"),
    entry("a realm with a path", "realms: [b.io/token]", "realms[0]", "no path"),
    entry("a redirect with a scheme", "redirects: ['http://b.io']", "redirects[0]", "without a scheme"),
    entry("a redirect to everyone", "redirects: ['*.io']", "redirects[0]", "no place here"),
    entry("a realm for everyone", "realms: ['*.io']", "realms[0]", "no place here"),
    entry("never touching", "touch_upstream: 0", "touch_upstream", "or off"),
    Bad("a proxy of another kind", "egress: {proxy: 'socks5://a.io'}\n", "egress.proxy", 1, "not a URL"),
    Bad("a proxy with a password", "egress: {proxy: 'http://me:hunter2@a.io'}\n", "egress.proxy", 1, "password_file"),
    Bad("an exception that is none", "egress: {no_proxy: [a.io/x]}\n", "egress.no_proxy[0]", 1, "10.0.0.0/8"),
    Bad("half a login", "egress: {proxy: 'http://a.io', username: me}\n", "egress", 1, "with one of password_file"),
    Bad(
        "a login for no proxy",
        "egress: {username: me, password_env: PASSWORD}\n",
        "egress",
        1,
        "no effect without proxy",
    ),
    entry("a proxy of its own", "egress: {ca_file: none}", "egress.ca_file", "No such file"),
    entry("no time to begin", "timeouts: {first_byte: 0}", "timeouts.first_byte", "at least 1ms"),
    Bad("no time to connect", "timeouts: {connect: 0}\n", "timeouts.connect", 1, "at least 1ms"),
    Bad("an unknown choice", "log: {access: some}\n", "log.access", 1, "must be 'all', 'errors' or 'none'"),
    Bad("never proving", "verify: {max_age: 0}\n", "verify.max_age", 1, "or off"),
    auth("no such login file", "type: dockerconfig, file: none", ".file", "No such file"),
    auth("no login file", "type: dockerconfig", ".file", "is needed"),
    auth("a login file of another kind", "type: dockerconfig, file: entrepot.yaml", ".file", "not a Docker config"),
    Bad("half an IPv6 address", upstream("'[::1'", "insecure: false"), "upstreams.[::1", 3, "not a registry name"),
    # signing in
    auth("ECR Public elsewhere", "type: ecr-public", ".type", "only for public.ecr.aws"),
    auth("an unknown way in", "type: magic", ".type", "anonymous, basic"),
    auth("no way in", "", ".type", "is needed"),
    entry("a word as way in", "auth: basic", "auth", "must be a mapping"),
    Bad(
        "a password in the file",
        upstream("a.io", "auth: {type: basic, username: me, password: hunter2, password_env: PASSWORD}"),
        "upstreams.a.io.auth.password",
        4,
        "password_file",
    ),
    auth("no password", "type: basic, username: me", "", "exactly one of password_file"),
    auth("no user", "type: basic, password_env: PASSWORD", "", "exactly one of username"),
    auth("a number as user", "type: basic, username: 7, password_env: PASSWORD", ".username", "quotes"),
    auth("no such secret file", "type: basic, username: me, password_file: none", ".password_file", "No such file"),
    auth(
        "a folder as secret file", "type: basic, username: me, password_file: .", ".password_file", "not a regular file"
    ),
    auth("an unset variable", "type: basic, username: me, password_env: NONE", ".password_env", "NONE holds nothing"),
    auth("a malformed role", "type: ecr, role_arn: my-role", ".role_arn", "not the ARN", ECR),
    auth(
        "an ARN of a user", "type: ecr, role_arn: 'arn:aws:iam::123456789012:user/me'", ".role_arn", "not the ARN", ECR
    ),
    auth("an external id alone", "type: ecr, external_id: abc", ".external_id", "without role_arn", ECR),
    auth("a bad region", "type: ecr, region: Frankfurt", ".region", "not a region", ECR),
    auth("a region that nobody knows", "type: ecr", ".region", "is needed"),
    Bad(
        "a name that resembles ECR",
        f"upstreams:\n  {ECR}.evil.test:\n",
        f"upstreams.{ECR}.evil.test",
        2,
        "looks like an ECR registry",
    ),
    Bad(
        "a star that resembles ECR",
        "upstreams:\n  '*.dkr.ecr.a-b-1.amazonaws.com.evil.test':\n",
        "upstreams.*.dkr.ecr.a-b-1.amazonaws.com.evil.test",
        2,
        "looks like an ECR",
    ),
    Bad("eleven digits", upstream(LOOKALIKE, "auth: {type: ecr}"), f"upstreams.{LOOKALIKE}", 3, "looks like an ECR"),
    Bad(
        "a url that resembles ECR",
        upstream("a.io", f"{{url: 'https://{ECR}.evil.test', auth: {{type: ecr}}}}"),
        "upstreams.a.io.url",
        4,
        "looks like an ECR",
    ),
    # lifecycle
    rule("a rule without repositories", "policy: {rules: []}", ".repositories", 2, "is needed"),
    rule("a rule for nothing", "policy: {rules: []}\n    repositories: []", ".repositories", 3, "must not be empty"),
    rule("no policy", "repositories: [a/b]", "", 2, "exactly one of policy_file and policy"),
    rule("no such policy file", "repositories: [a/b]\n    policy_file: none.json", ".policy_file", 3, "No such file"),
    rule(
        "no JSON",
        "{repositories: [a/b], policy_file: entrepot.yaml, extensions: true}",
        ".policy_file",
        2,
        "policy string",
    ),
    rule(
        "no rules",
        "{repositories: [a/b], extensions: true, policy: {rules: []}}",
        ".policy",
        2,
        "rules: array is too short",
    ),
    # import
    Bad("no such key", "import:\n  keys: [none.pem]\n", "import.keys[0]", 2, "none.pem: No such file"),
    Bad(
        "no key", "import:\n  keys:\n  - entrepot.yaml\n", "import.keys[0]", 3, "yaml holds not the PEM of a public key"
    ),
    Bad("no name of a key", "import:\n  keys: ['']\n", "import.keys[0]", 2, "not a file name"),
    Bad(
        "nobody whose signature counts",
        "import:\n  require_signature: true\n",
        "import.require_signature",
        2,
        "keys names none",
    ),
    # TLS, and who asks
    Bad("a plain listener for others", "loopback: 0.0.0.0:5002\n", "loopback", 1, "stays on loopback"),
    Bad("one address twice", "loopback: 127.0.0.1:5000\n", "loopback", 1, "the same address as listen"),
    Bad(
        "one port twice",
        "anonymous: true\nlisten: 0.0.0.0:5\nloopback: 127.0.0.1:5\n",
        "loopback",
        3,
        "the same address",
    ),
    Bad("pulls where the admin API is", "loopback: 127.0.0.1:9\nadmin: 127.0.0.1:9\n", "admin", 2, "never share one"),
    Bad(
        "certificates of nobody's authority",
        "clients:\n  certificates: {name: cn}\n",
        "clients.certificates",
        2,
        "name its authority in tls.client_ca",
    ),
    Bad("another attribute", "clients: {certificates: {name: dn}}\n", "clients.certificates.name", 1, "cn"),
]


def faults(file: Path) -> list[ConfigFault]:
    with pytest.raises(ConfigInvalid) as caught:
        load(file, {"HOME": "/home/me", "PASSWORD": "hunter2"})
    assert "hunter2" not in str(caught.value)
    return caught.value.faults


@pytest.mark.parametrize("bad", BAD, ids=[bad.what for bad in BAD])
def test_a_bad_file_is_refused(bad: Bad, write: Write) -> None:
    file = write(bad.text)
    (fault,) = faults(file)
    assert (fault.key, fault.line) == (bad.key, bad.line)
    assert bad.sentence in fault.sentence


def test_a_key_of_another_certificate_is_refused(write: Write, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (certificate, _), (_, key) = authority.files(), authority.files(days=20)
    (fault,) = faults(write(f"tls:\n  certificate: {certificate}\n  key: {key}\n"))
    assert (fault.key, fault.line) == ("tls.key", 3)
    assert "is not the key of the certificate" in fault.sentence


def test_tls_alone_opens_no_listener_and_demanded_certificates_do(write: Write, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.files()
    tls = f"listen: 0.0.0.0:5443\ntls:\n  certificate: {certificate}\n  key: {key}\n"
    (fault,) = faults(write(tls))
    assert (fault.key, fault.line) == ("listen", 1)
    files = load(write(f"{tls}  client_ca: {authority.ca_file}\n"), {"HOME": "/home/me"}).settings.tls_files
    assert files is not None
    assert files.demanded


def test_all_faults_are_reported_at_once_in_the_order_of_lines(write: Write) -> None:
    text = """\
limits: {fills: none}
listen: 0.0.0.0:5000
tags:
  ttl: 60
  tll: 60s
  ttl: 1s
upstreams:
  ghcr.io/x:
  a.io: {auth: {type: basic, password: x}}
lifecycle:
  - repositories: [a/b]
    policy_file: none.json
import:
  keys: [none.pem, entrepot.yaml]
  require_signature: 1
"""
    assert [(fault.line, fault.key) for fault in faults(write(text))] == [
        (1, "limits.fills"),
        (2, "listen"),
        (4, "tags.ttl"),
        (5, "tags.tll"),
        (6, "tags.ttl"),
        (8, "upstreams.ghcr.io/x"),
        (9, "upstreams.a.io.auth.password"),
        (12, "lifecycle[0].policy_file"),
        (14, "import.keys[0]"),
        (14, "import.keys[1]"),
        (15, "import.require_signature"),
    ]


def test_every_fault_of_a_policy_is_reported(write: Write) -> None:
    text = """\
lifecycle:
  - repositories: [a/b]
    policy:
      rules:
        - {rulePriority: 0, selection: {tagStatus: any, countType: imageCountMoreThan, countNumber: 0}}
"""
    found = faults(write(text))
    assert {(fault.line, fault.key) for fault in found} == {(3, "lifecycle[0].policy")}
    assert [word for word in ("rulePriority", "countNumber", "action") if any(word in str(each) for each in found)] == [
        "rulePriority",
        "countNumber",
        "action",
    ]


def test_a_fault_is_shown_with_file_line_and_key(write: Write) -> None:
    file = write("tags:\n  ttl: 60\n")
    with pytest.raises(ConfigInvalid, match=r"entrepot\.yaml:2: tags\.ttl: a duration needs a unit"):
        load(file, {})


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path / "none.yaml")
    assert "No such file" in fault.sentence


def test_a_file_that_everybody_may_write_is_refused(write: Write) -> None:
    file = write("log: {}\n")
    file.chmod(0o666)
    (fault,) = faults(file)
    assert "may be written by everybody" in fault.sentence


def test_a_hostile_key_cannot_forge_a_line(write: Write) -> None:
    (fault,) = faults(write('"a\\nentrepot.yaml:1: \\e[31m": 1\n'))
    assert fault.key == r"a\nentrepot.yaml:1: \x1b[31m"

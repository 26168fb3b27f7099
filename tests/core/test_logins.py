"""What htpasswd files, tokens and scopes say."""

from typing import Any

import pytest

from proxy.core.claims import Expected, Named, TokenRefused, named_by
from proxy.core.failed_logins import pause
from proxy.core.htpasswd import HtpasswdInvalid, parse_htpasswd, proof_of
from proxy.core.token_scopes import granted

HASH = b"$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW"
NOW = 1_700_000_000.0
EXPECTED = Expected("https://issuer.test", "entrepot", "groups")
GOOD: dict[str, Any] = {
    "iss": "https://issuer.test",
    "aud": ["other", "entrepot"],
    "sub": "system:serviceaccount:ci:builder",
    "exp": NOW + 600,
    "nbf": NOW - 5,
    "groups": ["ci", 7, "ops"],
}


def test_users_are_read_with_comments_and_blank_lines_left_out() -> None:
    users = parse_htpasswd(b"# who\n\nalice:" + HASH + b"\r\nb\xc3\xb6b:" + HASH + b"\n")
    assert list(users) == ["alice", "böb"]
    assert proof_of(users, "alice") != proof_of(users, "böb")
    assert proof_of(users, "eve") == ""
    assert HASH.decode() not in proof_of(users, "alice")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"alice:$apr1$x$y", "hash of bcrypt"),
        (b"alice:{SHA}x", "hash of bcrypt"),
        (b"alice:secret", "hash of bcrypt"),
        (b"alice", "hash of bcrypt"),
        (b"alice:" + HASH[:-1], "hash of bcrypt"),
        (b"alice:" + HASH.replace(b"$05$", b"$31$"), "cost"),
        (b":" + HASH, "no user"),
        (b"\xff:" + HASH, "UTF-8"),
        (b"bob:" + HASH, "stands above"),
    ],
)
def test_what_is_no_user_is_told_by_its_line_and_not_quoted(line: bytes, said: str) -> None:
    with pytest.raises(HtpasswdInvalid, match=f"line 2 .*{said}") as told:
        parse_htpasswd(b"bob:" + HASH + b"\n" + line + b"\n")
    assert "secret" not in str(told.value)


def test_a_good_token_names_its_caller() -> None:
    name = "system:serviceaccount:ci:builder"
    assert named_by(GOOD, EXPECTED, NOW) == Named(name, frozenset({"ci", "ops"}), NOW + 630)
    assert named_by({**GOOD, "groups": "ci"}, EXPECTED, NOW).groups == {"ci"}
    assert named_by(GOOD, EXPECTED._replace(groups=None), NOW).groups == frozenset()
    assert named_by({**GOOD, "aud": "entrepot"}, EXPECTED, NOW).name == name


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "https://issuer.test/"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "entrepots"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"exp": None}, "no end"),
        ({"exp": NOW - 31}, "is over"),
        ({"exp": "soon"}, "no time"),
        ({"exp": True}, "no time"),
        ({"exp": float("inf")}, "no time"),
        ({"exp": float("nan")}, "no time"),
        ({"nbf": NOW + 60}, "has not begun"),
        ({"iat": NOW + 60}, "has not begun"),
        ({"sub": 7}, "names nobody"),
        ({"sub": "a\nb"}, "names nobody"),
        ({"sub": "a" * 2000}, "names nobody"),
    ],
)
def test_a_token_that_does_not_count_here_and_now_is_refused(claims: dict[str, Any], said: str) -> None:
    with pytest.raises(TokenRefused, match=said):
        named_by({**GOOD, **claims}, EXPECTED, NOW)


def test_scopes_are_granted_as_far_as_they_are_pulls_that_are_allowed() -> None:
    asked = ("repository:a/b:pull,push repository(plugin):host:5000/c:*", "registry:catalog:*", "nonsense")
    assert granted(asked, lambda name: name != "a/x") == [
        {"type": "repository", "name": "a/b", "actions": ["pull"]},
        {"type": "repository", "name": "host:5000/c", "actions": ["pull"]},
        {"type": "registry", "name": "catalog", "actions": []},
        {"type": "nonsense", "name": "", "actions": []},
    ]
    assert granted(("repository:a/x:pull",), lambda name: name != "a/x")[0]["actions"] == []
    assert len(granted(("repository:a:pull " * 500,), lambda name: True)) == 32


def test_the_answer_to_a_failed_login_waits_a_second_at_most() -> None:
    pauses = [pause(failures) for failures in range(1, 1000)]
    assert pauses[0] < 0.1
    assert pauses == sorted(pauses)
    assert max(pauses) == 1.0

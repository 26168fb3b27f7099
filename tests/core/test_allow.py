"""Who may pull what, by the rules."""

import pytest

from proxy.core.access import ANONYMOUS, Admission, Caller
from proxy.core.allow import AllowRule, AllowRules, admission, covers, deciding_rule, names_group
from proxy.core.names import Repository, Tag
from proxy.core.operations import CatalogList, ManifestPull, Ping, TagList, TokenGrant

ALICE = Caller("alice", frozenset({"ci"}), ground="htpasswd x")
BOB = Caller("bob", ground="htpasswd y")
NOBODY_IN_PARTICULAR = Caller("", ground="anonymous")
ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
HUB = Repository("docker.io", "library/redis")
PRIVATE = Repository(ECR, "team-a/app")


@pytest.mark.parametrize(
    ("pattern", "repository", "covered"),
    [
        ("docker.io/library/*", "docker.io/library/redis", True),
        ("docker.io/library/*", "docker.io/library/redis/sub", True),
        ("docker.io/library/*", "docker.io/library", False),
        ("docker.io/library/*", "docker.io/librarian/redis", False),
        ("docker.io/*", "docker.io/a/b/c", True),
        ("docker.io/*/redis", "docker.io/library/redis", True),
        ("docker.io/*/redis", "docker.io/a/b/redis", False),
        ("*.dkr.ecr.*/team-a/*", f"{ECR}/team-a/x", True),
        ("*.dkr.ecr.*/team-a/*", f"{ECR}/team-b/team-a/x", False),
        ("*.dkr.ecr.*/team-a/*", f"{ECR}/team-a", False),
        ("*/team-a/*", f"{ECR}/team-b/team-a/x", False),
        ("ghcr.io/org/app", "ghcr.io/org/app", True),
        ("ghcr.io/org/app", "ghcr.io/org/app/x", False),
        ("ghcr.io/org/app-?", "ghcr.io/org/app-1", True),
        ("ghcr.io/org/ap*", "ghcr.io/org/app", True),
        ("ghcr.io/org/ap*", "ghcr.io/org/app/x", False),
        ("*", "ghcr.io/org/app/x", True),
        ("*/*", "ghcr.io/org/app/x", True),
    ],
)
def test_a_star_stays_within_a_part_of_the_path_and_a_final_one_means_all_below(
    pattern: str, repository: str, covered: bool
) -> None:
    assert covers(pattern, repository) is covered


RULES = AllowRules.of(
    [
        AllowRule(("anonymous",), ("docker.io/library/*",)),
        AllowRule(("user:alice", "group:ops"), ("*.dkr.ecr.*/team-a/*",), rate=1),
        AllowRule(("user:*",), ("ghcr.io/*",)),
    ],
    logins=True,
    anonymous=True,
)


def test_the_first_rule_that_fits_decides() -> None:
    assert deciding_rule(RULES, ANONYMOUS, HUB) == 0
    assert deciding_rule(RULES, ALICE, HUB) == 0
    assert deciding_rule(RULES, ALICE, PRIVATE) == 1
    assert deciding_rule(RULES, BOB, PRIVATE) is None
    assert deciding_rule(RULES, Caller("eve", frozenset({"ops"})), PRIVATE) == 1
    assert deciding_rule(RULES, BOB, Repository("ghcr.io", "a")) == 2
    assert deciding_rule(RULES, NOBODY_IN_PARTICULAR, Repository("ghcr.io", "a")) is None


def test_once_there_is_a_rule_whatever_none_allows_is_denied() -> None:
    pull = ManifestPull(Repository("quay.io", "x/y"), Tag("1"), None)
    assert admission(RULES, ALICE, pull) is Admission.HIDDEN
    assert admission(RULES, ANONYMOUS, pull) is Admission.CHALLENGED
    assert admission(RULES, NOBODY_IN_PARTICULAR, pull) is Admission.CHALLENGED


def test_without_a_rule_every_login_pulls_everything() -> None:
    closed = AllowRules.of([], logins=True, anonymous=False)
    assert admission(closed, BOB, TagList(PRIVATE, None, "")) is Admission.ADMITTED
    assert admission(closed, ANONYMOUS, TagList(PRIVATE, None, "")) is Admission.CHALLENGED
    half = AllowRules.of([], logins=True, anonymous=True)
    assert admission(half, ANONYMOUS, TagList(PRIVATE, None, "")) is Admission.ADMITTED
    unasked = AllowRules.of([], logins=False, anonymous=False)
    assert admission(unasked, ANONYMOUS, TagList(PRIVATE, None, "")) is Admission.ADMITTED


def test_rules_without_logins_hide_and_ask_nobody() -> None:
    rules = AllowRules.of([AllowRule(("anonymous",), ("docker.io/*",))], logins=False, anonymous=False)
    assert admission(rules, ANONYMOUS, Ping()) is Admission.ADMITTED
    assert admission(rules, ANONYMOUS, TagList(HUB, None, "")) is Admission.ADMITTED
    assert admission(rules, ANONYMOUS, TagList(PRIVATE, None, "")) is Admission.HIDDEN


def test_the_ping_asks_whoever_has_shown_nothing_who_he_is() -> None:
    assert admission(RULES, ANONYMOUS, Ping()) is Admission.CHALLENGED
    assert admission(RULES, NOBODY_IN_PARTICULAR, Ping()) is Admission.ADMITTED
    assert admission(RULES, Caller("by certificate"), Ping()) is Admission.ADMITTED


def test_a_catalog_is_for_whom_any_rule_means() -> None:
    assert admission(RULES, ANONYMOUS, CatalogList(None, None)) is Admission.ADMITTED
    closed = AllowRules.of([], logins=True, anonymous=False)
    assert admission(closed, ANONYMOUS, CatalogList(None, None)) is Admission.CHALLENGED
    assert admission(closed, ANONYMOUS, TokenGrant(())) is Admission.ADMITTED


def test_a_group_counts_where_a_rule_names_it() -> None:
    assert names_group(RULES, "ops")
    assert not names_group(RULES, "ci")

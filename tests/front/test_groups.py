"""What is taken is counted by groups that the rules name, and by nobody's name."""

from proxy.core.access import ANONYMOUS, Caller
from proxy.core.allow import AllowRule, AllowRules
from proxy.front.groups import GroupTallies

RULES = AllowRules(
    (
        AllowRule(("user:alice", "group:ci"), ("*",)),
        AllowRule(("group:team-*", "group:ci", "anonymous"), ("*",)),
    ),
    logins=True,
)


def asked(groups: GroupTallies, caller: Caller, sent: int = 0) -> None:
    tally = groups.of(caller)
    tally.requests += 1
    tally.sent += sent


def test_a_caller_counts_for_the_first_group_that_rules_name() -> None:
    groups = GroupTallies()
    groups.configure(RULES)
    asked(groups, Caller("bob", frozenset({"team-a", "ci"})), 10)
    asked(groups, Caller("carol", frozenset({"team-b", "secret"})), 20)
    asked(groups, Caller("dave", frozenset({"team-c"})), 1)
    asked(groups, Caller("alice", frozenset({"secret"})), 3)
    asked(groups, ANONYMOUS)
    assert groups.requests() == {("ci",): 1, ("team-*",): 2, ("other",): 1, ("anonymous",): 1}
    assert groups.sent() == {("ci",): 10, ("team-*",): 21, ("other",): 3, ("anonymous",): 0}


def test_groups_change_with_the_rules_and_counters_stay() -> None:
    groups = GroupTallies()
    groups.configure(RULES)
    asked(groups, bob := Caller("bob", frozenset({"ci", "ops"})))
    groups.configure(AllowRules((AllowRule(("group:ops",), ("*",)),), logins=True))
    asked(groups, bob)
    assert groups.requests() == {("ci",): 1, ("ops",): 1}


def test_the_groups_of_many_reloads_are_bounded() -> None:
    groups = GroupTallies()
    for number in range(1000):
        groups.configure(AllowRules((AllowRule((f"group:g{number}",), ("*",)),), logins=True))
        asked(groups, Caller("bob", frozenset({f"g{number}"})))
    assert len(groups.requests()) == 257
    assert sum(groups.requests().values()) == 1000
    assert groups.requests()[("other",)] == 744


def test_where_nobody_can_log_in_there_is_nothing_to_tell_apart() -> None:
    assert not GroupTallies().wanted

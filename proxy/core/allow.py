"""Who may pull what: the rules of the configuration, and what follows from them. Pure.

The first rule that means the caller and covers the repository allows it; where there are rules, whatever none of them
allows is denied. Patterns are over ``REGISTRY/REPOSITORY``: a star stays within one component of the path, so that a
rule for ``*/team-a/*`` never opens ``…/team-b/team-a/x``; only a final ``/*`` means everything below.
"""

from collections.abc import Iterable
from typing import NamedTuple

from proxy.core.access import Admission, Caller
from proxy.core.names import Repository
from proxy.core.operations import CatalogList, Operation, Ping, TokenGrant
from proxy.core.patterns import fits

EVERYBODY = "anonymous"
ANY_LOGIN = "user:*"
EVERYTHING = "*"


class AllowRule(NamedTuple):
    """Whom it means, and what they may pull. ``rate`` in bytes per second and ``fills`` bound each of them."""

    who: tuple[str, ...]  # ``anonymous``, ``user:NAME``, ``group:NAME``
    pull: tuple[str, ...]
    rate: int | None = None
    fills: int | None = None


class AllowRules(NamedTuple):
    """``logins``: there is a way to log in, so whoever has not is asked to."""

    rules: tuple[AllowRule, ...]
    logins: bool

    @classmethod
    def of(cls, rules: Iterable[AllowRule], logins: bool, anonymous: bool) -> "AllowRules":
        """Where no rule is written: every login pulls everything; without logins, or with ``anonymous``, everybody."""
        written = tuple(rules)
        who = EVERYBODY if anonymous or not logins else ANY_LOGIN
        return cls(written or (AllowRule((who,), (EVERYTHING,)),), logins)


OPEN = AllowRules.of((), logins=False, anonymous=True)
"""Everybody may pull everything."""


def deciding_rule(allow: AllowRules, caller: Caller, repository: Repository) -> int | None:
    """Which rule allows it, from 0; None where none does."""
    written = str(repository)
    for number, rule in enumerate(allow.rules):
        if _means(rule, caller) and any(covers(pattern, written) for pattern in rule.pull):
            return number
    return None


class Explanation(NamedTuple):
    """``rule`` is the one that allows it, from 0, None where none does. ``passed_over`` are those before it, each with
    why it does not fit."""

    rule: int | None
    told: str
    passed_over: tuple[str, ...]


def explained(allow: AllowRules, caller: Caller, repository: Repository) -> Explanation:
    """As ``deciding_rule``, in words."""
    decides = deciding_rule(allow, caller, repository)
    passed = []
    for number, rule in enumerate(allow.rules[:decides]):
        meant = _means(rule, caller)
        who, pull = ", ".join(rule.who), ", ".join(rule.pull)
        why = f"its pull ({pull}) does not cover {repository}" if meant else f"it is for {who}"
        passed.append(f"allow[{number}]: {why}")
    if decides is None:
        return Explanation(None, "no rule allows it", tuple(passed))
    rule = allow.rules[decides]
    told = f"allow[{decides}] allows {', '.join(rule.pull)} to {', '.join(rule.who)}"
    return Explanation(decides, told, tuple(passed))


def admission(allow: AllowRules, caller: Caller, operation: Operation) -> Admission:
    """What is to become of a request. Whoever has a name is not told that there is something that is not for him;
    whoever has none is asked for one, whether there is something or not."""
    match operation:
        case Ping():  # clients choose their login by its answer, so it never passes over that there are logins
            allowed = bool(caller.name or caller.ground) or not allow.logins
        case TokenGrant():
            allowed = True  # asks who somebody is
        case CatalogList():
            allowed = bool(caller.name) or may_pull_something(allow, caller)
        case _:
            allowed = deciding_rule(allow, caller, operation.repository) is not None
    if allowed:
        return Admission.ADMITTED
    return Admission.CHALLENGED if allow.logins and not caller.name else Admission.HIDDEN


def may_pull_something(allow: AllowRules, caller: Caller) -> bool:
    """Whether any rule means him."""
    return any(_means(rule, caller) for rule in allow.rules)


def names_group(allow: AllowRules, group: str) -> bool:
    """Whether any rule means that group."""
    member = Caller("", frozenset({group}))
    return any(_is(who, member) for rule in allow.rules for who in rule.who if who.startswith("group:"))


def named_groups(allow: AllowRules) -> tuple[str, ...]:
    """Those that rules name, as they are written, in their order."""
    found = (who.removeprefix("group:") for rule in allow.rules for who in rule.who if who.startswith("group:"))
    return tuple(dict.fromkeys(found))


def first_group(named: Iterable[str], caller: Caller) -> str | None:
    """The first of ``named``, which may be patterns, that he belongs to."""
    return next((name for name in named if any(fits(name, group) for group in caller.groups)), None)


def covers(pattern: str, repository: str) -> bool:
    """``repository`` is ``REGISTRY/REPOSITORY``. A star alone covers everything."""
    if pattern == EVERYTHING:
        return True
    parts, names = pattern.split("/"), repository.split("/")
    if parts[-1] == "*":
        parts.pop()
        fitting = len(names) > len(parts)
    else:
        fitting = len(names) == len(parts)
    return fitting and all(fits(part, name) for part, name in zip(parts, names, strict=False))


def _means(rule: AllowRule, caller: Caller) -> bool:
    return any(who == EVERYBODY or _is(who, caller) for who in rule.who)


def _is(who: str, caller: Caller) -> bool:
    kind, _, name = who.partition(":")
    if kind == "user":
        return bool(caller.name) and fits(name, caller.name)
    return any(fits(name, group) for group in caller.groups)

"""``entrepot access``: which rule decides who may pull what, by the configuration alone."""

import json
from typing import Annotated

import typer

from proxy.admin.reload import login_rules
from proxy.commands.session import WRONG, AsJson, ConfigFile, load_or_stop, stop
from proxy.config import Settings, load_without_secrets
from proxy.core.access import Caller
from proxy.core.allow import EVERYBODY, AllowRules, Explanation, explained
from proxy.core.errors import Fault
from proxy.core.names import Repository, UpstreamNames

app = typer.Typer(help="Who may pull what, by the rules of the configuration.", no_args_is_help=True)

User = Annotated[str, typer.Argument(metavar="USER", help="Who asks: a name, or anonymous.")]
Wanted = Annotated[str, typer.Argument(metavar="REFERENCE", help="What is asked for: REGISTRY/REPOSITORY[:TAG].")]
Groups = Annotated[list[str] | None, typer.Option("--group", help="A group that the caller is in; more than once.")]


@app.callback()
def access() -> None:
    """Who may pull what, by the rules of the configuration."""


@app.command()
def explain(
    user: User, reference: Wanted, group: Groups = None, config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """Say which rule decides whether somebody may pull something. The rules of a running proxy are those of the file as
    it was last read."""
    settings = load_or_stop(config, load_without_secrets).settings
    repository = _repository(settings, reference)
    if settings.upstreams[_key(settings, repository)].by_client:
        _told_upstream(user, repository, as_json)
        return
    name = "" if user == EVERYBODY else user.removeprefix("user:")
    rules = login_rules(settings).allow
    found = explained(rules, Caller(name, frozenset(group or ())), repository)
    if as_json:
        said = {"allowed": found.rule is not None, "rule": found.rule if settings.allow else None, "told": found.told}
        print(json.dumps({"user": user, "repository": str(repository), **said}, indent=2))
        return
    print(f"{user} {'may' if found.rule is not None else 'may not'} pull {repository}: {_why(settings, rules, found)}")
    for line in found.passed_over if settings.allow else ():
        print(f"  {line}")


def _told_upstream(user: str, repository: Repository, as_json: bool) -> None:
    """Of what no rule decides, and nobody knows who does not ask."""
    told = (
        f"{repository.upstream} itself decides, asked with the client's own credential (access: upstream); neither "
        "clients nor allow counts"
    )
    if as_json:
        said = {"user": user, "repository": str(repository), "allowed": None, "rule": None, "told": told}
        print(json.dumps(said, indent=2))
    else:
        print(f"whether {user} may pull {repository}: {told}")


def _key(settings: Settings, repository: Repository) -> str:
    """Of the configuration, which covers the repository's registry."""
    key = UpstreamNames.of(settings.upstreams, settings.default_upstream).configured(repository.upstream)
    assert key is not None
    return key


def _why(settings: Settings, rules: AllowRules, found: Explanation) -> str:
    if settings.allow:
        return found.told
    if not rules.logins:
        return "there are no rules and no logins, so everybody pulls everything"
    if settings.anonymous:
        return "there are no rules, and anonymous is true, so everybody pulls everything"
    return "there are no rules, so every login pulls everything, and nobody else anything"


def _repository(settings: Settings, written: str) -> Repository:
    """As clients name it, whichever form they use."""
    path, slash, last = written.partition("@")[0].rpartition("/")
    try:
        names = UpstreamNames.of(settings.upstreams, settings.default_upstream)
        return names.repository(f"{path}{slash}{last.partition(':')[0]}", None)
    except Fault as fault:
        stop(WRONG, str(fault))

"""What is allowed in a configuration and yet is likely a mistake: said by ``config check`` and at the start."""

import difflib
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from proxy.config.auth import BasicAuth
from proxy.config.overrides import ADMIN_VARIABLE, CONFIG_VARIABLE, PREFIX, variables
from proxy.config.secrets import LoginSource
from proxy.config.settings import Settings
from proxy.config.upstreams import UpstreamSettings
from proxy.core.allow import EVERYBODY
from proxy.core.egress import EgressInvalid, proxy_of_environment
from proxy.core.names import UpstreamNames

# Kubernetes, "Service: environment variables": what every pod beside a Service named entrepot is given.
_OF_A_SERVICE = re.compile(r"ENTREPOT_(SERVICE_(HOST|PORT)|PORT)(_[A-Z0-9_]+)?", re.ASCII)
_API = re.compile(r"/v[12](/|$)")


def doubts(settings: Settings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences, each with the variable or key that it is about."""
    of_upstreams = (*_of_urls(settings), *_of_trust(settings))
    of_keys = (*of_upstreams, *_of_warm(settings), *_of_logins(settings), *_of_admin(settings))
    return (*_of_variables(settings, environ), *_of_proxies(settings, environ), *of_keys)


def exposed(secret_files: Iterable[Path]) -> Iterator[str]:
    """Sentences on those that everybody on the machine may read, as far as their own rights go. Blocks."""
    for file in sorted(secret_files):
        with suppress(OSError):  # one that cannot be looked at is told elsewhere
            if file.stat().st_mode & stat.S_IROTH:
                yield (
                    f"{file} holds a secret and may be read by everybody on this machine: chmod o-r (in Kubernetes: "
                    "defaultMode: 0440 and an fsGroup)"
                )


def _of_variables(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    known = variables().keys() | set(_secret_variables(settings)) | {CONFIG_VARIABLE, ADMIN_VARIABLE}
    strange = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    injected = [name for name in strange if _OF_A_SERVICE.fullmatch(name)]
    if injected:
        yield (
            f"{', '.join(injected)}: environment variables that match no setting; Kubernetes sets them for a Service "
            "named entrepot (enableServiceLinks: false turns that off)"
        )
    for name in strange:
        if name not in injected:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"; is {near[0]} meant?" if near else ""
            yield f"{name}: the environment variable matches no setting{meant}"


def _of_proxies(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """A proxy of the environment that cannot be used, where one is looked for."""
    upstreams = [each for each in settings.upstreams.values() if each.egress.proxy is None]
    for scheme in sorted({(each.url or "https:").partition(":")[0] for each in upstreams}):
        try:
            proxy_of_environment(environ, scheme)
        except EgressInvalid as invalid:
            yield str(invalid)


def _of_urls(settings: Settings) -> Iterator[str]:
    for name, upstream in settings.upstreams.items():
        found = _API.search((upstream.url or "").partition("://")[2])
        if found is not None:
            written = found[0].rstrip("/")
            yield f"upstreams.{name}.url: leave {written}/ out of the url: the path of the API is put behind it"


def _of_trust(settings: Settings) -> Iterator[str]:
    for name, upstream in settings.upstreams.items():
        if upstream.insecure:
            yield (
                f"upstreams.{name}.insecure: the certificate of {upstream.base_url(name)} is not verified: who is on "
                "the way can read its credentials and send other content; ca_file can name its authority"
            )


def _of_logins(settings: Settings) -> Iterator[str]:
    safe = settings.tls is not None or (settings.public_url or "").startswith("https://")
    asked = "clients" if settings.clients.given else "upstreams" if settings.asks_with_clients_logins else None
    if asked is not None and not settings.listen.is_loopback and not safe:
        yield (
            f"{asked}: logins reach {settings.listen} in clear: give it tls, or put it behind a TLS terminator "
            "and name that as public_url: https://…"
        )
    for place, rule in enumerate(settings.allow):
        of = {pattern.partition("/")[0] for pattern in rule.pull}
        for name in sorted(of & {name for name, upstream in settings.upstreams.items() if upstream.by_client}):
            yield f"allow[{place}].pull: {name} decides itself who pulls of it (access: upstream): no rule counts there"
    named = {who.partition(":")[0] for each in settings.allow for who in each.who} - {EVERYBODY}
    if named and not settings.clients.given and not settings.names_clients_by_certificate:
        yield "allow: names users or groups, but there is no way to log in: clients says how"


def _of_admin(settings: Settings) -> Iterator[str]:
    if not settings.admin.is_loopback and settings.admin_token_file is None:
        yield (
            f"admin: whoever reaches {settings.admin} has health and metrics; for all else from other machines name a "
            "token in admin_token_file"
        )


def _of_warm(settings: Settings) -> Iterator[str]:
    names = UpstreamNames.of(settings.upstreams, None)
    for place, wanted in enumerate(settings.warm.wanted()):
        if names.find(wanted.repository.upstream) is None:
            yield f"warm.images[{place}]: {wanted.repository.upstream} is not one of the upstreams"
    if settings.warm.schedule is not None and not settings.warm.images:
        yield "warm.schedule: there are no images that it could be for"


def _secret_variables(settings: Settings) -> Iterator[str]:
    sources = [settings.egress.login, *map(_login, settings.upstreams.values())]
    sources += [upstream.egress.login for upstream in settings.upstreams.values()]
    for source in filter(None, sources):
        yield from filter(None, (source.username_env, source.password_env))


def _login(upstream: UpstreamSettings) -> LoginSource | None:
    return upstream.auth.login if isinstance(upstream.auth, BasicAuth) else None

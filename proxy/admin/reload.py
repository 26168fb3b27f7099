"""A changed configuration, taken without a restart: who may pull what, the files of TLS, lifecycle policies, pins, what
is offline, what is warmed, what bytes cost, how much is logged. What else has changed is named, and waits for the next
start. One that is wrong is refused whole."""

import asyncio
import logging
import os
import platform
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import filterfalse
from pathlib import Path
from typing import Any, NamedTuple

from proxy.admin.compare_messages import Comparison, Difference
from proxy.admin.messages import ReloadResult
from proxy.admin.tls_files import ReadTls, read_tls
from proxy.cache.lifecycle import LifecycleRules
from proxy.cache.maintenance import Maintenance
from proxy.cache.warm_schedule import WarmRules, WarmSchedule
from proxy.config import ConfigInvalid, Loaded, Settings, effective, host_of, load, load_content, read_file
from proxy.core.allow import AllowRules
from proxy.core.claims import Expected
from proxy.core.platforms import Platform
from proxy.core.policies import Assignment
from proxy.core.savings import SavingsRules, usual_path
from proxy.login.material import LoginSecrets
from proxy.login.rules import IssuerRules, LoginRules
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.reload")

_WHO = frozenset({"allow", "anonymous", "clients", "public_url", "token_key_file"})
_TAKEN = _WHO | {"admin_token_file", "lifecycle", "lifecycle_interval", "offline", "pins", "savings", "tls", "warm"}
"""First words of the settings that hold at once; all others wait for a start."""


def lifecycle_rules(settings: Settings) -> LifecycleRules:
    """As they are in the settings."""
    assignments = tuple(Assignment(entry.repositories, entry.parsed) for entry in settings.lifecycle)
    return LifecycleRules(assignments, settings.lifecycle_interval)


def login_rules(settings: Settings) -> LoginRules:
    """As they are in the settings."""
    clients = settings.clients
    issuers = tuple(
        IssuerRules(Expected(each.issuer, each.audience, each.groups), each.jwks, each.ca_file)
        for each in clients.tokens
    )
    certificates = settings.names_clients_by_certificate
    allow = AllowRules.of((each.rule for each in settings.allow), clients.given or certificates, settings.anonymous)
    url, governed = settings.public_url or "", settings.asks_with_clients_logins
    if governed:  # so clients are to bring what they have
        allow = allow._replace(logins=True)
    return LoginRules(allow, clients.htpasswd, issuers, settings.token_key_file, url, certificates, governed)


def savings_rules(settings: Settings) -> SavingsRules:
    """As they are in the settings, with a path for each upstream."""
    savings = settings.savings
    paths = {
        name: savings.paths.get(name) or usual_path(name, host_of(upstream.url or name), savings.region)
        for name, upstream in settings.upstreams.items()
    }
    return SavingsRules(savings.prices.by_charge, paths, savings.other_zones, savings.running_cost, savings.region)


def warm_rules(settings: Settings) -> WarmRules:
    """As they are in the settings; without a platform those of this machine."""
    warm = settings.warm
    platforms = warm.platforms or (Platform.of_machine(platform.machine()),)
    return WarmRules(warm.wanted(), platforms, warm.schedule, warm.pin)


class Taken(NamedTuple):
    """Those who take what holds at once."""

    maintenance: Maintenance
    offline: Callable[[frozenset[str]], None]
    warm: WarmSchedule
    logins: Callable[[LoginSecrets], None]
    admin_token: Callable[[Path | None], None]
    savings: Callable[[SavingsRules], None]
    log_level: Callable[[str], None]
    tls: Callable[[ReadTls], None] | None = None  # None of a plain listener, which only a start makes another


class _Read(NamedTuple):
    """A configuration as it was read: its settings by their written paths, and what can hold at once."""

    written: dict[str, Any]
    logins: LoginSecrets
    rules: LifecycleRules
    pins: tuple[str, ...]
    offline: frozenset[str]
    admin_token: Path | None
    tls: ReadTls | None
    warm: WarmRules
    savings: SavingsRules
    log_level: str
    warnings: tuple[str, ...]


class Reload:
    """One at a time. Each reads the configuration when its turn comes, so the last one asked for has the last word.
    ``started_with`` is what the process was; ``meanwhile`` is entered for the time of each."""

    def __init__(
        self,
        started_with: Loaded,
        taken: Taken,
        pool: Executor,
        now: Callable[[], float],
        meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.counts: Counter[str] = Counter(taken=0, refused=0)
        self.last: ReloadResult | None = None
        self._source = started_with.source
        self._taken = taken
        self._pool = pool
        self._now = now
        self._meanwhile = meanwhile
        self._turn = asyncio.Lock()
        self._started_with = flat(effective(started_with.settings))
        self._in_force = self._started_with

    async def __call__(self) -> ReloadResult:
        """A faulty configuration changes nothing: what held before goes on to hold."""
        async with self._turn:
            with self._meanwhile():
                return await self._reloaded()

    async def _reloaded(self) -> ReloadResult:
        try:
            read = await off_loop(self._pool, partial(_read, partial(load, self._source, os.environ)))
        except (ConfigInvalid, ValueError, OSError) as refused:
            self.counts["refused"] += 1
            self.last = ReloadResult(at=self._now(), refused=str(refused))
            log.error("the configuration is refused, all stays as it was: %s", refused)
            return self.last
        self.last = self._take(read)
        for warning in read.warnings:
            log.warning("%s", warning)
        log.info("%s", self.last.told)
        return self.last

    async def compare(self, content: bytes, file: Path) -> Comparison:
        """What would change with that configuration: nothing does."""
        try:
            read = await off_loop(self._pool, partial(_read, partial(load_content, content, file, os.environ)))
        except (ConfigInvalid, ValueError, OSError) as refused:
            return Comparison(refused=str(refused))
        at_once = self._holds_at_once(read)
        either = self._started_with.keys() | self._in_force.keys()
        running = {key: (self._in_force if at_once(key) else self._started_with).get(key) for key in either}
        differences = [
            Difference(setting=key, running=running.get(key), written=read.written.get(key), restart=not at_once(key))
            for key in self._changed(running, read)
        ]
        return Comparison(differences=tuple(differences), warnings=read.warnings)

    async def on_hangup(self) -> None:
        """A job: the result goes to log and status."""
        await self()

    def _take(self, read: _Read) -> ReloadResult:
        lifecycle, pins = self._taken.maintenance.lifecycle, self._taken.maintenance.retention.pins
        changed = self._changed(self._in_force, read)
        lifecycle.configure(read.rules)
        pins.configure(read.pins)
        self._taken.offline(read.offline)
        self._taken.logins(read.logins)
        self._taken.admin_token(read.admin_token)
        if self._taken.warm.rules != read.warm:
            self._taken.warm.configure(read.warm)
        if read.tls is not None and self._taken.tls is not None:
            self._taken.tls(read.tls)
        self._taken.savings(read.savings)
        self._taken.log_level(read.log_level)
        self._in_force = read.written
        self.counts["taken"] += 1
        return ReloadResult(
            at=self._now(),
            changed=changed,
            applied=tuple(filter(self._holds_at_once(read), changed)),
            needs_restart=tuple(filterfalse(self._holds_at_once(read), differing(self._started_with, read.written))),
            policies=len(read.rules.assignments),
            pins=len(read.pins),
        )

    def _changed(self, before: dict[str, Any], read: _Read) -> tuple[str, ...]:
        changed = set(differing(before, read.written))
        rules = self._taken.maintenance.lifecycle.rules
        if rules.assignments != read.rules.assignments and not any(map(_is_policy, changed)):
            changed.add("lifecycle")  # a policy file has other contents under the same name
        return tuple(sorted(changed))

    def _holds_at_once(self, read: _Read) -> Callable[[str], bool]:
        """TLS that is turned on or off makes another listener."""
        same_listener = (read.tls is None) == (self._taken.tls is None)
        return lambda key: _holds_at_once(key) and (same_listener or not key.startswith("tls."))


def _read(loaded: Callable[[], Loaded]) -> _Read:
    """Raises ConfigInvalid, ValueError, OSError. Blocks."""
    settings, _, warnings = loaded()
    written, rules, warm = flat(effective(settings)), lifecycle_rules(settings), warm_rules(settings)
    offline, tls, token = settings.offline_upstreams(), read_tls(settings), settings.admin_token_file
    logins, savings = LoginSecrets.read(login_rules(settings), read_file), savings_rules(settings)
    level = settings.log.level
    return _Read(written, logins, rules, settings.pins, offline, token, tls, warm, savings, level, warnings)


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by their path, written with dots; lists are whole."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{above}.{key}" if above else str(key)
        if isinstance(value, dict) and value:
            found.update(flat(value, path))
        else:
            found[path] = value
    return found


def differing(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, ...]:
    """Paths that one of them has alone or with another value."""
    absent = object()
    return tuple(
        sorted(key for key in before.keys() | after.keys() if before.get(key, absent) != after.get(key, absent))
    )


def _holds_at_once(key: str) -> bool:
    return (
        key.partition(".")[0] in _TAKEN
        or key == "log.level"
        or (key.startswith("upstreams.") and key.endswith(".offline"))
    )


def _is_policy(key: str) -> bool:
    return key.partition(".")[0] == "lifecycle"

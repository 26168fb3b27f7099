"""SIGHUP: lifecycle policies and pins as the configuration has them now. What is wrong is refused whole."""

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from proxy.cache.lifecycle import LifecycleRules
from proxy.cache.maintenance import Maintenance
from proxy.config import ConfigInvalid, FileRefused, Settings, load
from proxy.core.lifecycle import PolicyInvalid
from proxy.core.policies import Assignment

log = logging.getLogger("entrepot.reload")


def lifecycle_rules(settings: Settings) -> LifecycleRules:
    """Raises FileRefused or PolicyInvalid. Reads files: blocks."""
    assignments = tuple(Assignment(entry.repositories, entry.read_policy()) for entry in settings.lifecycle)
    return LifecycleRules(assignments, settings.lifecycle_interval)


@dataclass(frozen=True, slots=True)
class Reload:
    source: Path | None
    maintenance: Maintenance

    async def __call__(self) -> None:
        """A faulty configuration changes nothing: what held before goes on to hold. Never raises."""
        lifecycle = self.maintenance.lifecycle
        try:
            rules, pins = await asyncio.to_thread(self._read)
        except (ConfigInvalid, FileRefused, PolicyInvalid, OSError) as refused:
            lifecycle.reloads["refused"] += 1
            log.error("the configuration is refused, policies and pins stay as they were: %s", refused)
            return
        lifecycle.configure(rules)
        self.maintenance.retention.pins.configure(pins)
        lifecycle.reloads["taken"] += 1
        log.info("%d lifecycle policies and %d pins are in force", len(rules.assignments), len(pins))

    def _read(self) -> tuple[LifecycleRules, tuple[str, ...]]:
        settings = load(self.source, os.environ).settings
        return lifecycle_rules(settings), settings.pins

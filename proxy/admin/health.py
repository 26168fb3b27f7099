"""Whether the proxy takes pulls, and what is wrong with it while it does.

Trouble takes no proxy out of service: what it holds or can fetch is still served, and its neighbours may have the same
trouble. So readiness is withdrawn before the start and for a stop only.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from proxy.tasks.jobs import JobState

Troubles = Callable[[], Mapping[str, str]]
"""What is wrong now, in a sentence each, by what it concerns; empty when all is well. Never waits."""


class Stage(StrEnum):
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class Health:
    def __init__(self, sources: Sequence[Troubles]) -> None:
        self.stage = Stage.STARTING
        self._sources = tuple(sources)

    def degraded(self) -> dict[str, str]:
        """Of all sources; a source that fails is a trouble itself."""
        found: dict[str, str] = {}
        for source in self._sources:
            try:
                found.update(source())
            except Exception as cause:  # whoever asks how we are must get an answer
                found["health"] = f"cannot be told: {type(cause).__name__}: {cause}"
        return found


def job_troubles(states: Mapping[str, JobState]) -> Troubles:
    """Of the jobs whose last run failed."""

    def troubles() -> Mapping[str, str]:
        return {
            f"job {name}": f"failed {_times(state.in_a_row)}, and is tried again: {state.trouble}"
            for name, state in states.items()
            if state.trouble
        }

    return troubles


_UNHARMED = frozenset({"intact", "new", "migrated"})


def catalog_troubles(recovered: Callable[[], str], compared: Callable[[], str]) -> Troubles:
    """Of a catalog that did not come up as it was left, until ``compared`` says that store and catalog have been made
    to agree since: what it has lost is won again by then."""

    def troubles() -> Mapping[str, str]:
        how = recovered()
        if how in _UNHARMED or compared() == how:
            return {}
        return {"catalog": _RECOVERED.get(how, f"came up {how}")}

    return troubles


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times in a row"


_RECOVERED = {
    "mended": "it was damaged, and was built anew without the rows that could not be read: what they told of is found "
    "again by a scan, or asked of upstream again",
    "foreign": "another version of Entrepot wrote it: it is kept aside, and what could be read was taken over; the "
    "rest is found again by a scan, or asked of upstream again",
    "from_copy": "it was lost or damaged, and came back from its copy: what was newer is found again by a scan",
    "empty": "it was lost or damaged and there was no copy: what is held is found again by a scan, and who may have it "
    "is asked of upstream again; pins and marks of use are gone",
}

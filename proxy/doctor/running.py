"""Whether an Entrepot runs, and whether it is well."""

from collections.abc import Sequence
from typing import NamedTuple

from proxy import __version__
from proxy.admin.client import AdminClient, AdminFailed, AdminRefused, AdminUnreachable
from proxy.admin.report import Status
from proxy.doctor.steps import Step, Verdict

SUBJECT = "proxy"


class Found(NamedTuple):
    """``status`` is None where nothing answers, or not as it should."""

    steps: Sequence[Step]
    status: Status | None


def look_at_proxy(client: AdminClient, absent: Verdict) -> Found:
    """Blocks. ``absent`` is the verdict on a proxy that does not run: no trouble before the first start."""
    name = "admin answers"
    try:
        status = client.status()
    except AdminUnreachable as cause:
        fix = "start it, or name the right address by --admin" if absent is Verdict.FAILED else ""
        return Found([Step(SUBJECT, name, absent, str(cause), fix)], None)
    except AdminRefused as cause:
        fix = "run doctor on its machine, or with its token"
        return Found([Step(SUBJECT, name, Verdict.FAILED, str(cause), fix)], None)
    except AdminFailed as cause:
        return Found([Step(SUBJECT, name, Verdict.FAILED, str(cause), "run this doctor of the proxy's version")], None)
    return Found([Step(SUBJECT, name, Verdict.OK, client.url), _version(status), _well(status)], status)


def _version(status: Status) -> Step:
    name = "same version"
    if status.version == __version__:
        return Step(SUBJECT, name, Verdict.OK, status.version)
    detail = f"it runs {status.version}, this is {__version__}"
    return Step(SUBJECT, name, Verdict.FAILED, detail, "restart it, so that what is installed runs")


def _well(status: Status) -> Step:
    name = "is well"
    if status.degraded:
        why = "; ".join(f"{what}: {words}" for what, words in status.degraded.items())
        return Step(SUBJECT, name, Verdict.FAILED, why, "see what each says; entrepot status shows it again")
    return Step(SUBJECT, name, Verdict.OK, status.state)

"""When it is time, by a line of cron (crontab(5)): minute, hour, day of the month, month, day of the week, in UTC."""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

_FIELDS = 5


def demand_cron(written: str) -> str:
    """The same. Raises ValueError with advice for what is none, and for what never comes."""
    advice = "not a schedule: write five fields as cron does, such as '0 3 * * *' for 03:00 UTC each day"
    if len(written) > 256 or len(written.split()) != _FIELDS:
        raise ValueError(advice)
    try:
        next(CronSim(written, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError:
        raise ValueError(advice) from None
    except StopIteration:
        raise ValueError("a schedule that never comes") from None
    return written


def next_time(cron: str, now: float) -> float:
    """The first time after ``now``, both in seconds since the epoch."""
    return next(CronSim(cron, datetime.fromtimestamp(now, UTC))).timestamp()

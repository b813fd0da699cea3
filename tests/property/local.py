"""Local time straight from zoneinfo."""

import datetime as dt
from zoneinfo import ZoneInfo

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def local_parts(at_us: int, zone: ZoneInfo) -> tuple[int, int, int]:
    """Local date in days since 1970-01-01, hour, and weekday."""
    local = (EPOCH + dt.timedelta(microseconds=at_us)).astimezone(zone)
    return local.date().toordinal() - dt.date(1970, 1, 1).toordinal(), local.hour, local.weekday()

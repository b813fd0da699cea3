"""The Complete Journey (84.51°, CC0): a grocery chain's households in 2017, as lead events.

====================  ===========================================================================
in the files          as an event
====================  ===========================================================================
household             lead
basket                ``purchase_completed``: amount = sum of its lines, channel ``store``
campaign received     ``campaign_received`` at 00:00 local on the campaign's first day
coupon redeemed       ``campaign_clicked`` at 12:00 local on its day
====================  ===========================================================================

Quirks of the files, and what is done about them:

- Times stand there without a zone, and they are UTC: the column ``week`` turns at midnight in New York, through
  both changes of daylight saving, and New York's clocks never showed some of the times on 12 March 2017.
  ``tests/unit/gateway/demo/test_complete_journey.py`` proves it. Dates are days in New York (``TIMEZONE``).
- One basket's id is written ``4.0128e+10``; read as a number it is whole and has eleven digits like all others.
- One line's value is 4.440892e-16, the residue of a subtraction of floats. Money is rounded to cents by line.
- A household may redeem several coupons of a campaign on one day, and a coupon more than once: coupon and
  occurrence are part of the event's id.
- The rows are a sample, so baskets are thinner than they were. Campaigns begin in November 2016.
"""

import csv
import datetime as dt
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from kernel.times import SECOND_US, format_time

TIMEZONE = "America/New_York"
CURRENCY = "USD"
SOURCE = "complete-journey"

#: The end of the year in the stores' zone: the last basket is an hour and a quarter before.
END_TEXT = "2018-01-01T00:00:00-05:00"
END_US = round(dt.datetime.fromisoformat(END_TEXT).timestamp()) * SECOND_US

_ZONE = ZoneInfo(TIMEZONE)
_CENT = Decimal("0.01")


class TimedEvent(NamedTuple):
    """An envelope as a client would send it, and its time in microseconds. Sorts by time, lead and id."""

    at_us: int
    lead: str
    id: str
    envelope: dict[str, Any]


def data_directory() -> Path:
    """Where the files are: inside the installed package, or in a checkout under ``examples/``."""
    packaged = Path(__file__).with_name("data")
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "examples" / "complete-journey"


def read_events(directory: Path | None = None) -> list[TimedEvent]:
    """All events of the year in order of time, with ids that are the same at every reading."""
    directory = directory or data_directory()
    events = [*_purchases(directory), *_campaigns(directory), *_redemptions(directory)]
    return sorted(events, key=lambda event: event[:3])


def _purchases(directory: Path) -> Iterator[TimedEvent]:
    lines: dict[tuple[str, ...], list[Decimal]] = defaultdict(list)
    for row in _rows(directory / "transactions.csv.gz"):
        basket = row["household_id"], row["basket_id"], row["store_id"], row["transaction_timestamp"]
        lines[basket].append(Decimal(row["sales_value"]).quantize(_CENT))
    for (household, basket_id, store_id, written), values in lines.items():
        order_id = str(int(Decimal(basket_id)))
        data = {"amount": str(sum(values)), "order_id": order_id, "channel": "store", "store_id": store_id}
        at_us = _micros(dt.datetime.fromisoformat(written).replace(tzinfo=dt.UTC))
        yield _event(household, f"basket-{order_id}", "purchase_completed", at_us, data)


def _campaigns(directory: Path) -> Iterator[TimedEvent]:
    campaigns = {row["campaign_id"]: row for row in _rows(directory / "campaign_descriptions.csv")}
    for row in _rows(directory / "campaigns.csv.gz"):
        campaign = campaigns[row["campaign_id"]]
        data = {"campaign_id": row["campaign_id"], "campaign_type": campaign["campaign_type"]}
        at_us = _local(campaign["start_date"], hour=0)
        yield _event(row["household_id"], f"campaign-{row['campaign_id']}", "campaign_received", at_us, data)


def _redemptions(directory: Path) -> Iterator[TimedEvent]:
    seen: Counter[tuple[str, ...]] = Counter()
    for row in _rows(directory / "coupon_redemptions.csv.gz"):
        campaign, coupon, date = row["campaign_id"], row["coupon_upc"], row["redemption_date"]
        seen[(row["household_id"], campaign, coupon, date)] += 1
        occurrence = seen[(row["household_id"], campaign, coupon, date)]
        data = {"campaign_id": campaign, "coupon_upc": coupon}
        name = f"coupon-{campaign}-{coupon}-{date}-{occurrence}"
        yield _event(row["household_id"], name, "campaign_clicked", _local(date, hour=12), data)


def _event(lead: str, event_id: str, type_: str, at_us: int, data: dict[str, str]) -> TimedEvent:
    envelope = {
        "id": event_id,
        "lead": lead,
        "type": type_,
        "time": format_time(at_us),
        "data": data,
        "source": SOURCE,
    }
    return TimedEvent(at_us, lead, event_id, envelope)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _local(date: str, *, hour: int) -> int:
    return _micros(dt.datetime.combine(dt.date.fromisoformat(date), dt.time(hour), _ZONE))


def _micros(moment: dt.datetime) -> int:
    return round(moment.timestamp()) * SECOND_US

"""The demo's data: their quirks are handled, and what their module claims about them is true."""

import csv
import datetime as dt
import gzip
from collections import Counter, defaultdict
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from gateway.demo import complete_journey
from gateway.demo.complete_journey import TimedEvent
from kernel.times import parse_rfc3339


@pytest.fixture(scope="module")
def events() -> list[TimedEvent]:
    return complete_journey.read_events()


@pytest.fixture(scope="module")
def lines() -> list[dict[str, str]]:
    path = complete_journey.data_directory() / "transactions.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_basket_campaign_and_redemption_is_one_event(events: list[TimedEvent]) -> None:
    types = Counter(event.envelope["type"] for event in events)
    assert types == {"purchase_completed": 47_243, "campaign_received": 6_589, "campaign_clicked": 2_102}
    assert len({event.lead for event in events}) == 2_379


def test_ids_are_unique_within_a_lead_and_the_same_at_every_reading(events: list[TimedEvent]) -> None:
    assert len({(event.lead, event.id) for event in events}) == len(events)
    assert [event[:3] for event in complete_journey.read_events()] == [event[:3] for event in events]


def test_events_come_in_order_of_time_and_none_after_the_end(events: list[TimedEvent]) -> None:
    times = [event.at_us for event in events]
    assert times == sorted(times)
    assert times[-1] < complete_journey.END_US
    assert all(parse_rfc3339(event.envelope["time"]) == event.at_us for event in events[:100])


def test_no_cent_is_lost(events: list[TimedEvent], lines: list[dict[str, str]]) -> None:
    sold = sum(Decimal(event.envelope["data"].get("amount", 0)) for event in events)
    assert sold == sum(Decimal(row["sales_value"]).quantize(Decimal("0.01")) for row in lines)
    assert abs(sold - sum(Decimal(row["sales_value"]) for row in lines)) < Decimal("0.000001")


def test_the_malformed_basket_id_is_a_whole_number_of_eleven_digits(events: list[TimedEvent]) -> None:
    orders = [event.envelope["data"]["order_id"] for event in events if "order_id" in event.envelope["data"]]
    assert "40128000000" in orders
    assert all(len(order) == 11 and order.isdigit() for order in orders)
    assert len(set(orders)) == len(orders)


def test_no_redemption_precedes_its_campaign(events: list[TimedEvent]) -> None:
    received = {(e.lead, e.envelope["data"]["campaign_id"]): e.at_us for e in events if e.id.startswith("campaign-")}
    clicks = [event for event in events if event.envelope["type"] == "campaign_clicked"]
    assert all(received[(e.lead, e.envelope["data"]["campaign_id"])] <= e.at_us for e in clicks)


def test_the_times_of_the_files_are_utc_since_weeks_turn_at_midnight_in_new_york(lines: list[dict[str, str]]) -> None:
    zone = ZoneInfo(complete_journey.TIMEZONE)
    weeks = defaultdict(set)
    for row in lines:
        moment = dt.datetime.fromisoformat(row["transaction_timestamp"]).replace(tzinfo=dt.UTC)
        weeks[moment.astimezone(zone).date()].add(row["week"])
    assert max(len(numbers) for numbers in weeks.values()) == 1, "no local day lies in two weeks"
    # Read as New York's own time the same days do lie in two weeks.
    naive = defaultdict(set)
    for row in lines:
        naive[row["transaction_timestamp"][:10]].add(row["week"])
    assert max(len(numbers) for numbers in naive.values()) == 2


def test_some_times_of_the_files_never_were_on_a_clock_in_new_york(lines: list[dict[str, str]]) -> None:
    skipped = [row for row in lines if row["transaction_timestamp"].startswith("2017-03-12 02:")]
    assert len(skipped) == 16

"""What the demo says at its end: what happened, what was measured, a few leads, and calls to try."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from gateway.demo.complete_journey import END_TEXT

FILE_NAME = "demo.json"

#: Households to look at: many baskets and campaigns, many coupons, the most spent, campaigns only.
SAMPLE = ("718", "2489", "1023", "572")
SHOWN = (
    "rfm:recency_days",
    "rfm:frequency_purchases_90d",
    "rfm:monetary_total",
    "rfm:monetary_avg_ticket",
    "temporal:preferred_hour_of_day",
    "temporal:preferred_day_of_week",
    "campaign:campaigns_received_30d",
    "campaign:campaign_click_rate",
    "campaign:campaign_ignored",
)


class Summary(msgspec.Struct, frozen=True):
    """Figures of one lived year; kept in the data directory, so that a second run can show them."""

    events: int
    leads: int
    campaign_ignored: int
    duplicates: int
    dead: int
    lived_s: float
    vectors: int
    features: int
    read_s: float
    leads_shown: dict[str, dict[str, Any]]

    def lines(self) -> list[str]:
        """The figures in sentences."""
        rate = (self.events + self.duplicates) / self.lived_s
        per_vector_us = self.read_s / max(1, self.vectors) * 1e6
        again = f" ({self.duplicates:,} were there already)" if self.duplicates else ""
        return [
            f"{self.events:,} events of {self.leads:,} households, posted in order of time while a clock went through "
            f"2017{again}",
            f"{self.campaign_ignored:,} campaign_ignored events written by the timer wheel on the way, "
            f"{self.dead:,} dead letters",
            f"{self.lived_s:.1f} s for the year: {rate:,.0f} events a second, each batch durable, folded and aged",
            f"{self.vectors:,} full vectors of {self.features} features read over HTTP in {self.read_s:.2f} s: "
            f"{per_vector_us:,.0f} µs each",
        ]

    def table(self) -> Table:
        """The sample households side by side."""
        table = Table(title=f"Households as of {END_TEXT}")
        table.add_column("feature", no_wrap=True)
        for lead in self.leads_shown:
            table.add_column(lead, justify="right", no_wrap=True)
        for name in SHOWN:
            table.add_row(name, *(_cell(values.get(name)) for values in self.leads_shown.values()))
        return table

    def save(self, directory: Path) -> None:
        (directory / FILE_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(self)))


def load(directory: Path) -> Summary | None:
    """The summary of a year that was lived in this directory; None when it was not, or not to its end."""
    try:
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=Summary)
    except (OSError, msgspec.MsgspecError):
        return None


def calls(url: str) -> Sequence[str]:
    """Calls to try on the served directory."""
    lead = f"{url}/v1/orgs/default/leads/{SAMPLE[0]}"
    event = f'{{"lead":"{SAMPLE[0]}","type":"purchase_completed","data":{{"amount":12.5,"channel":"store"}}}}'
    return [
        f"curl -s '{lead}/features?views=rfm&at={END_TEXT}'",
        f"curl -s '{lead}/events?limit=3'",
        f"curl -s {url}/v1/orgs/default/events -H 'Content-Type: application/json' -d '{event}'",
        f"curl -s '{lead}/features?features=rfm:frequency_purchases_90d'   # one more than before",
    ]


def values_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a features answer that the table shows."""
    values: dict[str, Any] = answer["values"]
    return {name: values[name] for name in SHOWN}


def _cell(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:,.2f}" if isinstance(value, float) and not value.is_integer() else f"{value:,.0f}"

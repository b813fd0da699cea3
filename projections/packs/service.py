"""Service: home services done for a customer, and the property they were done at."""

from typing import Annotated

from msgspec import Meta

from eventstore.fields import Count, Text
from eventstore.types import Payload
from projections.aggregators.ordered import latest
from projections.expressions import Dtype, both, either, greatest, if_null, when
from projections.instants import TimeText
from projections.language import Pack, events

pack = Pack("service", "Home services and the properties they are done at")


class Property(Payload, frozen=True):
    city: Text | None = None
    state: Text | None = None
    zip: Text | None = None
    property_type: Text | None = None
    square_feet: Count | None = None
    year_built: Count | None = None
    pest_issues: list[Text] | None = None


@pack.event(by="org")
class ServiceCompleted(Payload, frozen=True):
    service_type: Text | None = None
    satisfaction_score: Annotated[float, Meta(ge=0, le=5)] | None = None
    services_count: Count | None = None
    property: Property | None = None


@pack.event(by="org")
class PropertyUpdated(Property, frozen=True):
    pass


done, updated = events(ServiceCompleted), events(PropertyUpdated)

customer = pack.view("customer", "What the customer is worth")
customer["satisfaction_avg"] = if_null(done.mean("satisfaction_score"), 3.5).doc(
    "mean satisfaction score, where given; 3.5 without any", range="0 to 5"
)
customer["service_count"] = greatest(done.count(), if_null(done.latest("services_count", returns="int"), 0)).doc(
    "services completed, or the caller's own latest total if that is larger", unit="services"
)
count, satisfaction = customer["service_count"], customer["satisfaction_avg"]
customer["lifetime_value"] = when(
    both(count >= 6, satisfaction >= 4.0), "high", when(either(count >= 3, satisfaction >= 3.5), "medium", "low")
).doc("high, medium or low by number of services and satisfaction", vocabulary=("high", "medium", "low"))
customer["first_seen"] = TimeText(done.first_time()).doc("time of the first service", null="no service yet")
customer["last_updated"] = TimeText(events(ServiceCompleted, PropertyUpdated).last_time()).doc(
    "time of the latest event of this pack", null="none yet"
)

home = pack.view("property", "The latest known facts about the property")
FACTS: dict[str, tuple[Dtype, str]] = {
    "city": ("string", "city"),
    "state": ("string", "state"),
    "zip": ("string", "postal code"),
    "property_type": ("string", "type of property"),
    "square_feet": ("int", "size"),
    "year_built": ("int", "year of construction"),
    "pest_issues": ("list", "known pest issues"),
}
for name, (dtype, text) in FACTS.items():
    home[name] = latest(dtype, (updated.signal, name), (done.signal, f"property.{name}")).doc(
        f"latest {text} given", unit="square feet" if name == "square_feet" else "", null="never given"
    )

"""An academy that sells online courses: webinars attended, quotes requested and answered."""

from typing import Literal

from eventstore.fields import Amount, Count, Id, Quantity
from projections.language import Pack, Payload, days, events, feature, if_null, ratio, since, when

pack = Pack("academy", "Webinars and quotes")


@pack.event(by="lead")
class WebinarAttended(Payload, frozen=True):
    webinar_id: Id
    minutes: Quantity
    rating: Literal[1, 2, 3, 4, 5] | None = None


@pack.event(by="lead")
class QuoteRequested(Payload, frozen=True):
    quote_id: Id
    plan: Literal["solo", "team", "school"]
    seats: Count = 1


@pack.event(by="org")
class QuoteAnswered(Payload, frozen=True):
    quote_id: Id
    price: Amount


webinars, requests, answers = events(WebinarAttended), events(QuoteRequested), events(QuoteAnswered)
team = requests.where("plan", isin=("team", "school"))

learning = pack.view("learning", "How the lead learns")
learning["webinars_{w}"] = webinars.count().over(7, 30, 90).doc("webinars attended in {w}", unit="webinars")
learning["minutes_{w}"] = webinars.sum("minutes").over(7, 30).doc("minutes in webinars in {w}", unit="minutes")
learning["minutes_median"] = webinars.median("minutes").doc("half of the webinars were shorter", unit="minutes")
learning["days_since_webinar"] = since(webinars.last_time()).doc("whole days since the last webinar", unit="days")
learning["momentum"] = webinars.decayed(half_life=days(10)).doc("webinars, each halving every 10 days")


quotes = pack.view("quotes", "What the lead wants to buy")
quotes["plan"] = requests.latest("plan").doc("plan of the latest request", null="no request yet")
quotes["answer_hours"] = (requests.answered(answers, by="quote_id").mean_seconds() / 3600).doc(
    "mean time to our answer", unit="hours", null="none answered"
)
quotes["team_share"] = ratio(team.count(), requests.count()).over(90).doc("share of requests for teams in 90 days")
quotes.add(requests.count(), requests.max("seats"), answers.sum("price").over(30, 90))


quotes["heat"] = when(
    requests.count().over(30) > 0,
    learning["momentum"] + 2 * if_null(quotes["team_share"], 0) + when(feature("rfm:monetary_total") > 0, 1, 0),
    0.0,
).doc("momentum, twice the share for teams, one more for a customer; 0 without a request in 30 days")

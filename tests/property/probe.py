"""A pack with every aggregate over two event types: what ``test_aggregates`` compares with naive sentences."""

from typing import Literal

from eventstore.fields import Amount, Count, Id, Number
from eventstore.types import Payload
from projections.expressions import Expr, if_null, ratio
from projections.instants import TimeText, days_between, since
from projections.language import Pack, Window, days, events, hours
from projections.signals import DATE, HOUR, INTERACTIONS, TYPE, WEEKDAY, Computed

pack = Pack("probe", "Every aggregate")


@pack.event(by="lead")
class Beep(Payload, frozen=True):
    n: Number | None = None
    whole: Count | None = None
    paid: Amount | None = None
    word: Literal["red", "green", "blue"] | None = None
    tag: Id | None = None
    flag: bool = False


@pack.event(by="org")
class Boop(Payload, frozen=True):
    tag: Id | None = None


def half(beep: Beep) -> float | None:
    return None if beep.n is None else beep.n / 2


GAP, HALF_LIFE, STEP = hours(6), hours(12), Window(1_800_000_000, "30m")
WINDOWS = (hours(6), days(1), hours(36))

beeps, boops, both = events(Beep), events(Boop), events(Beep, Boop)
red = beeps.where("word", eq="red")
late_hours = beeps.where(HOUR, ge=12, lt=20)

#: Every aggregate that may look through a window, by name.
WINDOWED: dict[str, Expr] = {
    "count": beeps.count(),
    "count_both": both.count(),
    "count_red": red.count(),
    "count_late": late_hours.count(),
    "count_low": beeps.where("n", lt=-0.3).count(),
    "count_few": beeps.where("whole", isin=(1, 3)).count(),
    "count_flagged": beeps.where("flag", eq=True).count(),
    "count_untagged": beeps.where("tag", given=False).count(),
    "sum": beeps.sum("n"),
    "sum_paid": beeps.sum("paid"),
    "sum_flags": beeps.sum("flag"),
    "sum_of_red": red.sum("n"),
    "mean": beeps.mean("n"),
    "mean_half": beeps.mean(Computed(half)),
    "deviation": beeps.deviation("n"),
    "min": beeps.min("n"),
    "max": beeps.max("paid"),
    "median": beeps.median("n"),
    "quantile": beeps.quantile("whole", 0.9),
    "mode_word": beeps.mode("word"),
    "mode_whole": beeps.mode("whole"),
    "mode_number": beeps.mode("n"),
    "mode_hour": both.mode(HOUR),
    "mode_weekday": beeps.mode(WEEKDAY),
    "distinct": both.distinct("tag"),
    "distinct_dates": beeps.distinct(DATE),
    "distinct_types": both.distinct(TYPE),
    "distinct_interactions": events(INTERACTIONS).distinct("tag"),
    "first": beeps.first("n"),
    "first_word": beeps.first("word"),
    "latest": beeps.latest("n"),
    "latest_whole": beeps.latest("whole"),
    "latest_tag": both.latest("tag"),
    "latest_type": both.latest(TYPE),
    "latest_hour": beeps.latest(HOUR),
    "last": beeps.last("n"),
    "last_word": beeps.last("word"),
    "last_three": beeps.last_n("n", 3),
    "first_two": beeps.first_n("word", 2),
    "sessions": beeps.sessions(gap=GAP).count(),
    "session_minutes": both.sessions(gap=GAP).mean_minutes(),
    "turns": beeps.then(boops, by="tag").count(),
    "turn_seconds": beeps.then(boops, by="tag").mean_seconds(),
    "gap_seconds": beeps.then(beeps, by="tag").mean_seconds(),
    "replies": beeps.answered(boops, by="tag").count(),
    "reply_seconds": beeps.answered(boops, by="tag").mean_seconds(),
    "since_first": since(beeps.first_time()),
    "since_last": since(both.last_time()),
    "span": days_between(beeps.first_time(), both.last_time()),
    "last_at": TimeText(beeps.last_time()),
    "red_share": ratio(red.count(), beeps.count()),
    "combined": if_null(beeps.mean("n"), 0.5) * 2 + boops.count(),
}

#: Those of a lifetime only.
LIFELONG: dict[str, Expr] = {
    "streak": beeps.streak(),
    "decayed": beeps.decayed(half_life=HALF_LIFE),
    "decayed_finely": both.decayed(half_life=HALF_LIFE, step=STEP),
    "tags_of_both": beeps.distinct("tag").having(boops),
    "unanswered": beeps.answered(boops, by="tag").missing_after(hours(6)),
    "favourite_share": beeps.favourite("tag", last=3).share(),
    "favourite_mean": beeps.favourite("tag", last=3).mean("n"),
}

probe = pack.view("probe", "Every aggregate")
for name, expr in {**WINDOWED, **LIFELONG}.items():
    probe[name] = expr
for name, expr in WINDOWED.items():
    probe[f"{name}_{{w}}"] = expr.over(*WINDOWS)

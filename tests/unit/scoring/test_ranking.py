from typing import Any

import msgspec

from scoring.events import PredictionMade
from scoring.ranking import Ranking
from tests.unit.scoring.leads import KEEN, NOW_US, lead, scorer

MADE = scorer().predict([lead(KEEN)], because="request")[0]


def made(priority: int, probability: float = 0.5, tier: Any = "high") -> PredictionMade:
    main = msgspec.structs.replace(MADE.predictions[0], priority=priority, probability=probability, tier=tier)
    return msgspec.structs.replace(MADE, predictions=(main,))


def ranking(**priorities: int) -> Ranking:
    ranked = Ranking()
    for name, priority in priorities.items():
        ranked.note(name, f"~pm:{name}", made(priority), NOW_US)
    return ranked


def names(ranked: Ranking, limit: int = 10, **options: Any) -> list[str]:
    return [standing.lead for standing in ranked.best(limit, **options)]


def test_leads_stand_by_priority_then_probability_then_name() -> None:
    ranked = ranking(b=50, a=50, c=90, d=0, e=100)
    ranked.note("z", "~pm:z", made(50, 0.9), NOW_US)
    assert names(ranked) == ["e", "c", "z", "a", "b", "d"]
    assert names(ranked, 2) == ["e", "c"]
    assert names(ranked, least=50) == ["e", "c", "z", "a", "b"]
    assert names(ranked, least=101) == []
    assert ranked.best(1)[0].prediction == "e.conversion"


def test_one_tier_can_be_asked_for() -> None:
    ranked = ranking(a=90, b=80)
    ranked.note("t", "~pm:t", made(85, tier="top"), NOW_US)
    assert names(ranked, tier="top") == ["t"]
    assert names(ranked, tier="high") == ["a", "b"]


def test_the_next_page_goes_on_where_the_last_one_ended() -> None:
    ranked = ranking(**{f"lead{place:02d}": place % 3 for place in range(20)})
    pages, after = [], None
    while page := ranked.best(6, after=after):
        pages += [standing.lead for standing in page]
        after = page[-1]
    assert pages == names(ranked, 20)


def test_the_prediction_made_last_counts_in_whatever_order_they_come() -> None:
    ranked = ranking(a=10, b=20)
    ranked.note("a", "~pm:new", made(99), NOW_US + 1)
    ranked.note("a", "~pm:old", made(5), NOW_US - 1)
    assert names(ranked) == ["a", "b"]
    standing = ranked.get("a")
    assert standing is not None
    assert (standing.prediction, len(ranked)) == ("new.conversion", 2)


def test_an_erased_lead_is_gone() -> None:
    ranked = ranking(a=10, b=20)
    ranked.forget("b")
    ranked.forget("nobody")
    assert (names(ranked), len(ranked)) == (["a"], 1)


def test_what_predicts_no_conversion_has_no_place() -> None:
    ranked = Ranking()
    ranked.note("a", "~pm:a", msgspec.structs.replace(MADE, predictions=()), NOW_US)
    assert len(ranked) == 0

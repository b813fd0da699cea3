from typing import Any

from eventstore.event import Stream
from gateway.answers import MAX_PER_LEAD, OVERHEAD_BYTES, Answers
from kernel.settings import OrgSettings
from projections.answer import Answer
from projections.catalogue import Catalogue
from projections.entity import FoldedEntity

CATALOGUE = Catalogue("o", OrgSettings())


def lead(name: str) -> FoldedEntity:
    return FoldedEntity(Stream("o", "lead", name), 1, CATALOGUE)


def answer(size_bytes: int = 100) -> Answer:
    return Answer(b"x" * size_bytes, '"e"', None)


def kept(entity: FoldedEntity) -> list[Any]:
    return list(entity.answers or {})


def test_the_longest_kept_go_when_the_budget_is_spent() -> None:
    leads = {name: lead(name) for name in "abc"}
    answers = Answers(max_bytes=2 * (100 + OVERHEAD_BYTES), awake=lambda stream: leads[stream.id])
    for entity in leads.values():
        answers.keep(entity, "q", answer())
    assert [kept(entity) for entity in leads.values()] == [[], ["q"], ["q"]]
    assert answers.size_bytes == 2 * (100 + OVERHEAD_BYTES)


def test_a_lead_that_sleeps_is_passed_over() -> None:
    answers = Answers(max_bytes=1, awake=lambda stream: None)
    answers.keep(lead("a"), "q", answer())
    assert answers.size_bytes == 0


def test_one_lead_keeps_few_answers() -> None:
    entity = lead("a")
    answers = Answers(max_bytes=10**9, awake=lambda stream: entity)
    for number in range(3 * MAX_PER_LEAD + 1):
        answers.keep(entity, str(number), answer())
        assert 0 < len(kept(entity)) <= MAX_PER_LEAD
        assert kept(entity)[-1] == str(number)

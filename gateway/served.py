"""Answers about leads as they are kept and sent again: of the lead alone, or joined with its market's part.

The lead's part of a joined answer is kept beside it. An event of the market then costs a lead one joining of bytes
when it is read again, and nothing of what was encoded of the lead itself.
"""

from multidict import CIMultiDict

from gateway.asks import Ask
from gateway.feature_services import FeatureService
from gateway.market import Block
from gateway.seam import Seam
from projections.answer import Answer, Format, Part, encode_answer, own_part, span_answer
from projections.entity import FoldedEntity


class ServedAnswer(Answer, gc=False):
    """An answer with the headers it was sent with, good for one version of the lead.

    ``own`` and ``market`` are what it was joined from, ``service`` what it was asked by; None where it was not.
    ``seam`` lets another block of the market take the place of this one.
    """

    version: int = -1
    headers: CIMultiDict[str] | None = None
    head: bytes = b""
    own: Part | None = None
    market: Block | None = None
    service: FeatureService | None = None
    seam: Seam | None = None

    def holds(self, now_us: int) -> bool:
        """Whether neither time, nor the market, nor the service it was asked by has changed it."""
        return (
            (self.next_change_us is None or now_us < self.next_change_us)
            and (self.market is None or self.market.is_current)
            and (self.service is None or self.service.is_current)
        )


def own_answer(entity: FoldedEntity, ask: Ask) -> ServedAnswer:
    """The answer of an entity that was read, asked for nothing but its own."""
    own = ask.span.own
    change_us = entity.next_change_us(own)
    answer = encode_answer(entity.stream.id, entity.as_of_us, change_us, own, entity.values(own), format=_format(ask))
    return ServedAnswer(answer.body, answer.etag, answer.next_change_us, service=ask.service)


def joined_answer(entity: FoldedEntity, ask: Ask, market: Part) -> ServedAnswer:
    """The answer of an entity that was read, and of its market."""
    return _join(entity, ask, own_part(entity, ask.span, ask.format), market)


def renewed(kept: ServedAnswer | None, entity: FoldedEntity, ask: Ask, market: Block) -> ServedAnswer:
    """The same, where one was kept since the entity last changed: only the market's part is another one."""
    is_same = kept is not None and kept.own is not None and kept.service is ask.service
    own = kept.own if kept is not None and is_same else None
    return _join(entity, ask, own or own_part(entity, ask.span, ask.format), market)


def _join(entity: FoldedEntity, ask: Ask, own: Part, market: Part) -> ServedAnswer:
    answer = span_answer(entity.stream.id, ask.span, own, market, _format(ask))
    return ServedAnswer(
        answer.body,
        answer.etag,
        answer.next_change_us,
        own=own,
        market=market if isinstance(market, Block) else None,
        service=ask.service,
    )


def _format(ask: Ask) -> Format:
    return "vector" if ask.format == "vector" else "map"

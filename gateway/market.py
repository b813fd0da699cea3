"""The markets of all orgs at read: a fragment per subject, encoded once, joined into the answers of leads.

A fragment is good until its subject gets an event or reaches its next change. What many leads ask for is joined
once, as a block, and put into their answers as bytes; the first event marks it as out of date. Other times are
folded from the log with the help of each subject's ``Checkpoints``.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from eventstore.event import Event, Stream
from eventstore.store import EventStore
from gateway.market_past import Fragment, PastReader, fragment_of
from kernel.clock import Clock
from projections.answer import Form, Part, change_text, each_encoded, joined, part_of, time_text
from projections.catalogue import Catalogue
from projections.checkpoints import Checkpoints
from projections.entity import FoldedEntity
from projections.hindsight.walk import Walk
from projections.market import Span

MAX_BLOCKS = 64  # of an org: different questions about its market

Awake = Callable[[Stream], FoldedEntity | None]
Wake = Callable[[Sequence[Stream]], Awaitable[list[FoldedEntity | None]]]


class Block(Part, gc=False):
    """The market's part of an answer, with what is sent of it as bytes: seal, times, and ``tail``, the end of an answer.

    ``checked_us`` is when it was last found to hold.
    """

    is_current: bool = True
    checked_us: int = 0
    seal: bytes = b""
    as_of: bytes = b""
    change: bytes = b""
    tail: bytes = b""


class Market:
    """The subjects of one org."""

    def __init__(
        self, org: str, catalogue: Catalogue, *, awake: Awake, wake: Wake, store: EventStore, clock: Clock
    ) -> None:
        self._catalogue = catalogue
        self._features = catalogue.market
        self._awake, self._wake, self._store, self._clock = awake, wake, store, clock
        self._streams = {subject: Stream(org, "subject", subject) for subject in self._features.subjects}
        self._told = dict.fromkeys(self._streams, 0)
        self._fragments: dict[str, Fragment] = {}
        self._blocks: dict[tuple[str, Form], Block] = {}
        self._pasts: dict[str, PastReader] = {}
        self.encoded = 0  #: fragments made since the start

    def __contains__(self, subject: str) -> bool:
        return subject in self._streams

    def tell(self, event: Event) -> None:
        """An event was delivered, folded or on its way: nothing without it is served to who asks from now on."""
        subject = event.stream.id
        if subject in self._told:
            self._told[subject] += 1
            self._forget_blocks()
            reader = self._pasts.get(subject)
            if reader is not None:
                reader.past.note([event])

    def _forget_blocks(self) -> None:
        for block in self._blocks.values():
            block.is_current = False
        self._blocks.clear()

    def current(self, key: str, form: Form, now_us: int) -> Block | None:
        """The block of a span that was asked for before, if nothing has changed since. Does not wait."""
        block = self._blocks.get((key, form))
        return block if block is not None and block.holds(now_us) else None

    async def block(self, span: Span, form: Form) -> Block:
        """The market's part of a live answer. Does not wait while every subject that changed is awake."""
        now_us = self._clock.now_us()
        block = self._blocks.get((span.key, form))
        if block is None or not block.holds(now_us):
            now_us = await self._refresh(span.subjects)
            block = self._join(span, form)
            if len(self._blocks) >= MAX_BLOCKS:
                self._forget_blocks()
            # One whose subject got an event meanwhile is right for who asked before it, and for nobody else.
            block.is_current = all(self._fragments[each].seen == self._told[each] for each in span.subjects)
            if block.is_current:
                self._blocks[span.key, form] = block
        block.checked_us = now_us
        return block

    async def fragment(self, subject: str) -> Fragment:
        """One subject's values as of now."""
        await self._refresh((subject,))
        return self._fragments[subject]

    async def _refresh(self, subjects: Sequence[str]) -> int:
        """Bring fragments up to now; returns that time. Who sleeps is woken, all of them together."""
        woken: dict[str, tuple[FoldedEntity | None, int]] = {}
        while True:
            now_us = self._clock.now_us()
            missing = [subject for subject in subjects if not self._read(subject, now_us, woken)]
            if not missing:
                return now_us
            told = [self._told[subject] for subject in missing]  # before: an event that comes meanwhile is not in it
            entities = await self._wake([self._streams[subject] for subject in missing])
            woken |= zip(missing, zip(entities, told, strict=True), strict=True)

    def _read(self, subject: str, now_us: int, woken: dict[str, tuple[FoldedEntity | None, int]]) -> bool:
        """Make the fragment of a subject that is in memory, if it has none that holds; False: it must be woken."""
        kept, told = self._fragments.get(subject), self._told[subject]
        if kept is not None and kept.seen == told and kept.holds(now_us):
            return True
        stream = self._streams[subject]
        entity = self._awake(stream)
        if entity is None:
            if subject not in woken:
                return False
            entity, told = woken[subject]
        if entity is None:
            entity = FoldedEntity(stream, 0, self._catalogue)
        self._fragments[subject] = fragment_of(entity, now_us, told)
        self.encoded += 1
        return True

    def _join(self, span: Span, form: Form) -> Block:
        fragments = [self._fragments[subject] for subject in span.subjects]
        part = self._part(span, form, dict(zip(span.subjects, fragments, strict=True)))
        return Block(
            part.body,
            part.etag,
            part.next_change_us,
            part.as_of_us,
            part.pieces,
            seal=part.etag.encode(),
            tail=b",%b%b}" % (part.body, b"}" if form == "map" else b"]"),
            as_of=time_text(part.as_of_us),
            change=change_text(part.next_change_us),
        )

    def _part(self, span: Span, form: Form, fragments: dict[str, Fragment]) -> Part:
        for subject, fragment in fragments.items():
            if form not in fragment.pieces:
                everything = self._features.of_subject[subject].everything
                fragment.pieces = {**fragment.pieces, form: each_encoded(everything, fragment.values, form)}
        of = {subject: fragment.pieces[form] for subject, fragment in fragments.items()}
        runs = [span.market[run.start : run.stop] for run in span.runs if not run.is_own]
        pieces = tuple(joined([of[subject][row] for subject, row in run]) for run in runs)
        changes = [each.next_change_us for each in fragments.values() if each.next_change_us is not None]
        as_of_us = max(each.as_of_us for each in fragments.values())
        return part_of(pieces, as_of_us, min(changes, default=None))

    # Other times.

    async def part_at(self, span: Span, form: Form, at_us: int, known_at_us: int | None) -> Part:
        """The market's part of an answer as of another time."""
        fragments = {subject: await self.fragment_at(subject, at_us, known_at_us) for subject in span.subjects}
        return self._part(span, form, fragments)

    async def fragment_at(self, subject: str, at_us: int, known_at_us: int | None) -> Fragment:
        """One subject's values as of another time."""
        stream = self._streams[subject]
        if known_at_us is None and at_us >= self._clock.now_us():
            return await self._ahead(stream, at_us)
        reader = await self._past(subject)
        if reader is None:
            return fragment_of(FoldedEntity(stream, 0, self._catalogue), at_us, 0)
        return await reader.read(at_us, known_at_us)

    async def rows_at(self, span: Span, instants: Sequence[int], known_at_us: int | None) -> Iterator[list[Any]]:
        """The values of the market's features of a span, at each of many rising instants. O(events + instants)."""
        rows: dict[str, list[list[Any]]] = {}
        places: dict[str, int] = dict.fromkeys(span.subjects, 0)
        for subject in span.subjects:
            wanted = [row for each, row in span.market if each == subject]
            rows[subject] = await self._rows(subject, wanted, instants, known_at_us)
        order = []
        for subject, _ in span.market:
            order.append((rows[subject], places[subject]))
            places[subject] += 1
        return ([found[index][place] for found, place in order] for index in range(len(instants)))

    async def _rows(
        self, subject: str, wanted: Sequence[int], instants: Sequence[int], known_at_us: int | None
    ) -> list[list[Any]]:
        subjects = self._catalogue.subjects
        picks = [subjects.everything.picks[row] for row in wanted]
        reader = await self._past(subject)
        if reader is None:
            nothing = Walk(subjects.compiled, self._catalogue.event_types, (), picks)
            return [nothing.values(at_us) for at_us in instants]
        return await reader.rows(instants, known_at_us, picks)

    async def _past(self, subject: str) -> PastReader | None:
        """Who reads the past of a subject; None while it has no event."""
        reader = self._pasts.get(subject)
        if reader is None:
            stream = self._streams[subject]
            (info,) = await self._store.info([stream])
            if info is None:
                return None
            reader = self._pasts.setdefault(
                subject, PastReader(Checkpoints(stream, info.number, self._catalogue), self._store)
            )
        return reader

    async def _ahead(self, stream: Stream, at_us: int) -> Fragment:
        """The values if nothing more happens, from the live state."""
        live = self._awake(stream) or (await self._wake([stream]))[0]
        return fragment_of(FoldedEntity(stream, 0, self._catalogue) if live is None else live.copy(), at_us, 0)

    @property
    def past_bytes(self) -> int:
        """What the checkpoints take in memory."""
        return sum(reader.past.size_bytes for reader in self._pasts.values())


class Markets:
    """The market of each org, made when somebody asks for it."""

    def __init__(
        self, catalogue_of: Callable[[str], Catalogue], *, awake: Awake, wake: Wake, store: EventStore, clock: Clock
    ) -> None:
        self._catalogue_of = catalogue_of
        self._awake, self._wake, self._store, self._clock = awake, wake, store, clock
        self._markets: dict[str, Market] = {}

    def of(self, org: str) -> Market:
        market = self._markets.get(org)
        if market is None:
            market = self._markets[org] = Market(
                org,
                self._catalogue_of(org),
                awake=self._awake,
                wake=self._wake,
                store=self._store,
                clock=self._clock,
            )
        return market

    def tell(self, event: Event) -> None:
        """An event of a subject was delivered."""
        market = self._markets.get(event.stream.org)
        if market is not None:
            market.tell(event)

    @property
    def encoded(self) -> int:
        """Fragments made since the start."""
        return sum(market.encoded for market in self._markets.values())

    @property
    def past_bytes(self) -> int:
        """What the checkpoints take in memory."""
        return sum(market.past_bytes for market in self._markets.values())

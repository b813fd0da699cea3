"""The contract of a log. Subclass ``StoreSuite`` and say how a store is opened."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from eventstore.event import Event, NewEvent, Stream, StreamInfo
from eventstore.store import EventStore, Outcome, Refused, Stored
from kernel.clock import VirtualClock
from kernel.errors import StoreClosed
from kernel.ids import Position
from tests.contract.store_events import T0, lead, new_event, purchase, retraction

ANN, BOB = lead("ann"), lead("bob")


def stored(outcome: Outcome) -> Event:
    assert isinstance(outcome, Stored), outcome
    return outcome.event


def content(event: Event) -> tuple[object, ...]:
    return (
        event.stream,
        event.number,
        event.version,
        event.position,
        event.id,
        event.type,
        event.at_us,
        event.recorded_us,
        event.data,
        event.source,
    )


class StoreSuite:
    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock(T0)

    @pytest.fixture
    def store(self) -> EventStore:
        raise NotImplementedError("the subclass opens its store")

    # -- appending -------------------------------------------------------------------------------------

    async def test_an_appended_event_is_read_back_as_it_was_sent(self, store: EventStore) -> None:
        data = b'{ "amount":12.50, "extra":[1,"\xc3\xa4"] }'
        new = new_event(ANN, "e1", "purchase_completed", data, at_us=T0 - 5, source="shop")
        [outcome] = await store.append([new])
        event = stored(outcome)
        assert content(event) == (ANN, 1, 1, 1, "e1", "purchase_completed", T0 - 5, T0, data, "shop")
        assert event.payload == new.payload
        [read] = await store.read(ANN)
        assert content(read) == content(event)

    async def test_versions_count_within_the_stream_and_positions_along_the_log(self, store: EventStore) -> None:
        await store.append([new_event(ANN, "a1"), new_event(BOB, "b1"), new_event(ANN, "a2")])
        await store.append([new_event(ANN, "a3"), new_event(BOB, "b2")])
        log = await store.read_log()
        assert [(e.stream.id, e.version, e.position, e.id) for e in log] == [
            ("ann", 1, 1, "a1"),
            ("bob", 1, 2, "b1"),
            ("ann", 2, 3, "a2"),
            ("ann", 3, 4, "a3"),
            ("bob", 2, 5, "b2"),
        ]
        assert await store.last_position() == 5

    async def test_an_empty_append_stores_nothing(self, store: EventStore) -> None:
        assert await store.append([]) == []
        assert await store.append([], is_atomic=True) == []
        assert await store.last_position() == 0
        assert await store.read_log() == []

    async def test_recorded_time_is_the_clocks_and_never_decreases(
        self, store: EventStore, clock: VirtualClock
    ) -> None:
        await store.append([new_event(ANN, "a1")])
        clock.advance(2)
        await store.append([new_event(BOB, "b1")])
        assert [event.recorded_us for event in await store.read_log()] == [T0, T0 + 2_000_000]

    async def test_one_append_may_hold_more_events_than_a_page_of_the_log(self, store: EventStore) -> None:
        events = [new_event(lead(f"l{n % 700}"), f"e{n}") for n in range(2500)]
        outcomes = await store.append(events)
        assert [stored(outcome).position for outcome in outcomes] == list(range(1, 2501))
        log, after = [], Position(0)
        while page := await store.read_log(after=after):
            log += page
            after = page[-1].position
        assert [event.id for event in log] == [f"e{n}" for n in range(2500)]

    async def test_equal_ids_in_different_streams_orgs_and_kinds_are_different_events(self, store: EventStore) -> None:
        streams = [
            ANN,
            BOB,
            lead("ann", "other"),
            Stream("default", "subject", "ann"),
            Stream("default", "policy", "ann"),
        ]
        outcomes = await store.append([new_event(stream, "same") for stream in streams])
        assert [stored(outcome).number for outcome in outcomes] == [1, 2, 3, 4, 5]
        for stream in streams:
            assert [(e.stream, e.id) for e in await store.read(stream)] == [(stream, "same")]

    @pytest.mark.parametrize(
        "name",
        [
            "ä",
            "日本",
            "a/b",
            "👩‍💻"[:1],
            "%2F",
            "a'b\"c",
            "x" * 256,
            " ",
            "Ａ",
            "e\u0301",
            "\u00e9",
            "NULL",
            "🦊" * 256,
        ],
    )
    async def test_names_and_ids_are_kept_to_the_code_point(self, store: EventStore, name: str) -> None:
        stream = lead(name)
        await store.append([new_event(stream, name[:128], source=name), new_event(lead(name + "x"), "other")])
        [event] = await store.read(stream)
        assert (event.stream, event.id, event.source) == (stream, name[:128], name)
        assert [info.stream.id for info in await store.list_streams()] == [name, name + "x"]

    # -- duplicates and conflicts ----------------------------------------------------------------------

    async def test_the_same_event_again_is_a_duplicate_and_changes_nothing(
        self, store: EventStore, clock: VirtualClock
    ) -> None:
        [first] = await store.append([purchase(ANN, "e1", "12.50")])
        clock.advance(1)
        [again] = await store.append([purchase(ANN, "e1", 12.5)])
        assert isinstance(again, Stored)
        assert again.is_duplicate
        assert content(again.event) == content(stored(first))
        assert len(await store.read_log()) == 1
        assert store.statistics().duplicates == 1

    async def test_within_one_call_earlier_wins(self, store: EventStore) -> None:
        outcomes = await store.append(
            [purchase(ANN, "e1", 1), purchase(ANN, "e1", 1), purchase(ANN, "e1", 2), purchase(ANN, "e2", 3)]
        )
        assert [isinstance(o, Refused) or o.is_duplicate for o in outcomes] == [False, True, True, False]
        assert isinstance(outcomes[2], Refused)
        assert stored(outcomes[1]).position == stored(outcomes[0]).position == 1
        assert [(e.id, e.version, e.position) for e in await store.read(ANN)] == [("e1", 1, 1), ("e2", 2, 2)]

    @pytest.mark.parametrize(
        ("later", "path", "expected", "actual"),
        [
            (purchase(ANN, "e1", 11), "data.amount", "10", "11"),
            (
                purchase(ANN, "e1", 10, at_us=T0 + 1),
                "time",
                "2023-11-14T22:13:20.000000Z",
                "2023-11-14T22:13:20.000001Z",
            ),
            (new_event(ANN, "e1", "login"), "type", '"purchase_completed"', '"login"'),
        ],
    )
    async def test_other_content_under_a_taken_id_is_refused(
        self, store: EventStore, later: NewEvent, path: str, expected: str, actual: str
    ) -> None:
        await store.append([purchase(ANN, "e1", 10)])
        outcomes = await store.append([purchase(ANN, "e0"), later, purchase(ANN, "e2")])
        assert outcomes[1] == Refused("event_conflict", path, expected, actual)
        assert [event.id for event in await store.read(ANN)] == ["e1", "e0", "e2"]
        assert store.statistics().refused == 1

    async def test_a_duplicate_without_a_time_is_not_compared_by_time(self, store: EventStore) -> None:
        await store.append([purchase(ANN, "e1", at_us=T0 - 9)])
        [again] = await store.append([purchase(ANN, "e1", at_us=T0, has_time=False)])
        assert isinstance(again, Stored)
        assert again.is_duplicate
        assert again.event.at_us == T0 - 9

    # -- atomic ----------------------------------------------------------------------------------------

    async def test_an_atomic_append_stores_nothing_when_one_event_is_refused(self, store: EventStore) -> None:
        await store.append([purchase(ANN, "e1", 10)])
        outcomes = await store.append(
            [purchase(BOB, "b1"), purchase(ANN, "e1", 10), purchase(ANN, "e1", 11), purchase(BOB, "b1")], is_atomic=True
        )
        assert stored(outcomes[0]).version == 0
        assert isinstance(outcomes[1], Stored)
        assert outcomes[1].is_duplicate
        assert outcomes[1].event.version == 1
        assert isinstance(outcomes[2], Refused)
        assert isinstance(outcomes[3], Stored)
        assert outcomes[3].is_duplicate
        assert await store.last_position() == 1
        assert await store.info([BOB]) == [None]
        [after] = await store.append([purchase(BOB, "b1", 7)])
        assert (stored(after).version, stored(after).position) == (1, 2)

    async def test_an_atomic_append_without_refusals_is_stored_whole(self, store: EventStore) -> None:
        await store.append([purchase(ANN, "e1")])
        outcomes = await store.append([purchase(ANN, "e1"), purchase(ANN, "e2"), purchase(BOB, "b1")], is_atomic=True)
        assert [stored(outcome).position for outcome in outcomes] == [1, 2, 3]
        assert [stored(outcome).version for outcome in outcomes] == [1, 2, 1]

    async def test_a_refused_atomic_append_leaves_those_gathered_with_it_alone(self, store: EventStore) -> None:
        await store.append([purchase(ANN, "e1", 10)])
        before, refused, after = await asyncio.gather(
            store.append([purchase(BOB, "b1")]),
            store.append([purchase(BOB, "b2"), purchase(ANN, "e1", 11)], is_atomic=True),
            store.append([purchase(BOB, "b2", 5), purchase(BOB, "b3")]),
        )
        assert stored(before[0]).version == 1
        assert isinstance(refused[1], Refused)
        assert [stored(outcome).version for outcome in after] == [2, 3]
        assert [event.id for event in await store.read(BOB)] == ["b1", "b2", "b3"]

    # -- retractions -----------------------------------------------------------------------------------

    async def test_a_retraction_is_stored_whether_or_not_the_event_is_there(self, store: EventStore) -> None:
        await store.append([purchase(ANN, "e1")])
        outcomes = await store.append([retraction(ANN, "r1", "e1"), retraction(ANN, "r2", "to-come")])
        assert [stored(outcome).version for outcome in outcomes] == [2, 3]

    async def test_a_retraction_of_a_retraction_is_refused(self, store: EventStore) -> None:
        await store.append([retraction(ANN, "r1", "e1")])
        refused = Refused("event_invalid", "data.event_id", "an event that is no retraction", '"r1"')
        assert await store.append([retraction(ANN, "r2", "r1")]) == [refused]
        outcomes = await store.append(
            [retraction(ANN, "r3", "e1"), retraction(ANN, "r4", "r3"), retraction(BOB, "r5", "r1")]
        )
        assert [isinstance(outcome, Refused) for outcome in outcomes] == [False, True, False]

    async def test_a_stored_retraction_stays_a_duplicate_after_its_target_turns_out_to_be_one(
        self, store: EventStore
    ) -> None:
        await store.append([retraction(ANN, "r1", "r2")])
        await store.append([retraction(ANN, "r2", "e1")])
        [again] = await store.append([retraction(ANN, "r1", "r2")])
        assert isinstance(again, Stored)
        assert again.is_duplicate

    async def test_a_retracted_id_stays_taken(self, store: EventStore) -> None:
        await store.append([purchase(ANN, "e1", 1), retraction(ANN, "r1", "e1")])
        [same, other] = await store.append([purchase(ANN, "e1", 1), purchase(ANN, "e1", 2)])
        assert isinstance(same, Stored)
        assert same.is_duplicate
        assert isinstance(other, Refused)

    # -- concurrency -----------------------------------------------------------------------------------

    async def test_concurrent_appends_each_get_their_own_outcomes(self, store: EventStore) -> None:
        async def post(number: int) -> list[Outcome]:
            return await store.append([purchase(lead(f"l{number % 7}"), f"e{number}-{part}") for part in range(3)])

        answers = await asyncio.gather(*(post(number) for number in range(60)))
        for number, outcomes in enumerate(answers):
            assert [stored(outcome).id for outcome in outcomes] == [f"e{number}-{part}" for part in range(3)]
        log = await store.read_log()
        assert [event.position for event in log] == list(range(1, 181))
        for index in range(7):
            events = await store.read(lead(f"l{index}"))
            assert [event.version for event in events] == list(range(1, len(events) + 1))

    async def test_a_large_append_stands_in_the_log_as_it_was_given(self, store: EventStore) -> None:
        news = [purchase(lead(f"l{n % 7}"), f"e{n}", n, at_us=T0 - n) for n in range(45)]
        news += [new_event(lead("s"), "~x:1", source="shop"), purchase(ANN, "e1")]
        await store.append(news)
        log = await store.read_log()
        assert [event.position for event in log] == list(range(1, 48))
        assert [(e.stream, e.id, e.type, e.at_us, e.source, e.data) for e in log] == [
            (new.stream, new.id, new.type, new.at_us, new.source, new.data) for new in news
        ]

    async def test_an_id_that_is_taken_anywhere_in_a_large_append_leaves_the_others_stored(
        self, store: EventStore
    ) -> None:
        await store.append([purchase(ANN, "e20", 20), purchase(ANN, "e40", 1)])
        outcomes = await store.append([purchase(ANN, f"e{n}", n) for n in range(45)])
        assert [n for n, each in enumerate(outcomes) if isinstance(each, Stored) and each.is_duplicate] == [20]
        assert [n for n, each in enumerate(outcomes) if isinstance(each, Refused)] == [40]
        assert [event.version for event in await store.read(ANN)] == list(range(1, 46))

    async def test_the_same_event_from_many_callers_is_stored_once(self, store: EventStore) -> None:
        answers = await asyncio.gather(*(store.append([purchase(ANN, "e1")]) for _ in range(20)))
        assert (
            sorted(outcome.is_duplicate for [outcome] in answers if isinstance(outcome, Stored))
            == [False] + [True] * 19
        )
        assert len(await store.read_log()) == 1

    async def test_callers_that_disagree_are_told_apart(self, store: EventStore) -> None:
        answers = await asyncio.gather(*(store.append([purchase(ANN, "e1", amount)]) for amount in (1, 2, 1, 2)))
        assert sorted(isinstance(outcome, Refused) for [outcome] in answers) == [False, False, True, True]
        assert len(await store.read_log()) == 1

    async def test_a_cancelled_append_is_whole_or_absent_and_may_be_repeated(self, store: EventStore) -> None:
        events = [purchase(ANN, f"e{n}") for n in range(50)]
        for turns in range(6):
            task = asyncio.create_task(store.append(events))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        outcomes = await store.append(events)
        assert [stored(outcome).id for outcome in outcomes] == [event.id for event in events]
        assert [event.id for event in await store.read(ANN)] == [event.id for event in events]

    # -- reading ---------------------------------------------------------------------------------------

    async def test_a_stream_is_read_from_a_version_on_and_up_to_a_limit(self, store: EventStore) -> None:
        await store.append([new_event(stream, f"e{n}") for n in range(5) for stream in (ANN, BOB)])
        assert [e.version for e in await store.read(ANN, after_version=2)] == [3, 4, 5]
        assert [e.version for e in await store.read(ANN, after_version=1, limit=2)] == [2, 3]
        assert await store.read(ANN, after_version=5) == []
        assert await store.read(ANN, limit=0) == []

    async def test_a_list_that_was_read_is_the_readers_own(self, store: EventStore) -> None:
        await store.append([new_event(ANN, "a1"), new_event(ANN, "a2")])
        (many,) = await store.read_many([ANN])
        for read in (await store.read(ANN), many):
            read.clear()
        assert [event.id for event in await store.read(ANN)] == ["a1", "a2"]

    async def test_an_unknown_stream_is_empty(self, store: EventStore) -> None:
        assert await store.read(ANN) == []
        assert await store.read_many([ANN, BOB]) == [[], []]

    async def test_many_streams_are_read_in_the_order_asked(self, store: EventStore) -> None:
        await store.append([new_event(ANN, "a1"), new_event(BOB, "b1"), new_event(ANN, "a2")])
        read = await store.read_many([BOB, lead("nobody"), ANN, BOB])
        assert [[event.id for event in events] for events in read] == [["b1"], [], ["a1", "a2"], ["b1"]]

    async def test_the_log_is_read_after_a_position(self, store: EventStore) -> None:
        await store.append([new_event(ANN, f"e{n}") for n in range(5)])
        assert [e.position for e in await store.read_log(after=Position(1), limit=3)] == [2, 3, 4]
        assert await store.read_log(after=Position(5)) == []

    async def test_what_is_acknowledged_is_seen_by_the_next_read(self, store: EventStore) -> None:
        for number in range(30):
            [outcome] = await store.append([new_event(ANN, f"e{number}")])
            assert (await store.read(ANN, after_version=number))[0].position == stored(outcome).position
            [info] = await store.info([ANN])
            assert info is not None
            assert info.version == number + 1

    # -- streams ---------------------------------------------------------------------------------------

    async def test_info_tells_number_version_and_whether_a_stream_is_known(self, store: EventStore) -> None:
        await store.append([new_event(ANN, "a1"), new_event(ANN, "a2"), new_event(BOB, "~ci:1")])
        assert await store.info([BOB, lead("nobody"), ANN]) == [
            StreamInfo(BOB, 2, 1, False),
            None,
            StreamInfo(ANN, 1, 2, True),
        ]

    async def test_a_system_event_makes_no_stream_known_and_one_from_outside_does(self, store: EventStore) -> None:
        await store.append([new_event(ANN, "~1"), new_event(BOB, "~1"), new_event(BOB, "b1")])
        assert [info and info.is_known for info in await store.info([ANN, BOB])] == [False, True]
        await store.append([new_event(ANN, "~2")])
        assert [info and info.is_known for info in await store.info([ANN])] == [False]
        await store.append([new_event(ANN, "a1")])
        assert [info and info.is_known for info in await store.info([ANN])] == [True]
        assert [info.is_known for info in await store.list_streams()] == [True, True]

    async def test_system_events_are_found_by_id_in_whatever_stream_of_their_org(self, store: EventStore) -> None:
        other = Stream("acme", "lead", "ann")
        await store.append(
            [new_event(BOB, "~x:1", "login"), new_event(other, "~x:2", "login"), new_event(ANN, "e1", "login")]
        )
        found = await store.find("default", "~x:1")
        assert found is not None
        assert (found.stream, found.id) == (BOB, "~x:1")
        assert content(found) == content((await store.read(BOB))[0])
        assert await store.find("acme", "~x:1") is None
        assert await store.find("default", "e1") is None, "only the system's own"

    async def test_system_events_of_a_type_are_read_newest_first_a_page_at_a_time(self, store: EventStore) -> None:
        ids = [f"~x:{number}" for number in range(5)]
        await store.append([new_event([ANN, BOB][int(each[-1]) % 2], each, "login") for each in ids])
        await store.append([new_event(ANN, "e1", "login"), new_event(Stream("acme", "lead", "z"), "~x:9", "login")])
        page = await store.read_type("default", "login", limit=3)
        rest = await store.read_type("default", "login", before=page[-1].position, limit=3)
        assert [event.id for event in page + rest] == ids[::-1]
        assert await store.read_type("default", "signed_up") == []

    async def test_numbers_lead_back_to_streams(self, store: EventStore) -> None:
        await store.append([new_event(ANN, "a1"), new_event(BOB, "b1"), new_event(BOB, "b2")])
        assert await store.streams_of([2, 99, 1, 0, -1]) == [
            StreamInfo(BOB, 2, 2, True),
            None,
            StreamInfo(ANN, 1, 1, True),
            None,
            None,
        ]

    async def test_streams_are_listed_by_number_a_page_at_a_time(self, store: EventStore) -> None:
        await store.append([new_event(lead(f"l{n}"), "e") for n in range(7)])
        listed, after = [], 0
        while page := await store.list_streams(after_number=after, limit=3):
            listed += page
            after = page[-1].number
        assert [(info.number, info.stream.id, info.version) for info in listed] == [
            (n + 1, f"l{n}", 1) for n in range(7)
        ]

    # -- subscription ----------------------------------------------------------------------------------

    async def test_a_subscription_reads_what_is_there_and_then_waits_for_more(self, store: EventStore) -> None:
        await store.append([new_event(ANN, "a1"), new_event(ANN, "a2")])
        seen: list[str] = []
        async with asyncio.timeout(10), aclosing(store.subscribe(after=Position(1))) as batches:  # type: ignore[type-var]
            more: asyncio.Task[list[Outcome]] | None = None
            async for batch in batches:
                seen += [event.id for event in batch]
                if more is None:
                    more = asyncio.create_task(store.append([new_event(BOB, f"b{n}") for n in range(3)]))
                if len(seen) == 4:
                    break
            assert more is not None
            await more
        assert seen == ["a2", "b0", "b1", "b2"]

    async def test_a_subscription_misses_nothing_while_appends_go_on(self, store: EventStore) -> None:
        async def follow() -> list[int]:
            seen: list[int] = []
            async for batch in store.subscribe(after=Position(0)):
                seen += [event.position for event in batch]
                if len(seen) >= 100:
                    return seen
            return seen

        async with asyncio.timeout(10):
            follower = asyncio.create_task(follow())
            await asyncio.gather(*(store.append([new_event(lead(f"l{n}"), "e")]) for n in range(100)))
            assert await follower == list(range(1, 101))

    # -- closing ---------------------------------------------------------------------------------------

    async def test_a_closed_store_refuses_everything_and_ends_its_subscriptions(self, store: EventStore) -> None:
        await store.append([new_event(ANN, "a1")])
        ended = asyncio.create_task(_drain(store.subscribe(after=Position(0))))
        for _ in range(5):
            await asyncio.sleep(0)
        await store.close()
        await store.close()
        async with asyncio.timeout(10):
            await ended
        with pytest.raises(StoreClosed):
            await store.append([new_event(ANN, "a2")])
        with pytest.raises(StoreClosed):
            await store.read(ANN)
        with pytest.raises(StoreClosed):
            await store.info([ANN])

    async def test_closing_finishes_the_appends_that_were_begun(self, store: EventStore) -> None:
        tasks = [asyncio.create_task(store.append([new_event(ANN, f"e{n}")])) for n in range(10)]
        await asyncio.sleep(0)
        await store.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, list | StoreClosed) for result in results)

    # -- statistics ------------------------------------------------------------------------------------

    async def test_statistics_count_events_commits_duplicates_and_refusals(self, store: EventStore) -> None:
        await store.append(
            [purchase(ANN, "e1", 1), purchase(ANN, "e1", 1), purchase(ANN, "e1", 2), purchase(BOB, "e1")]
        )
        await store.append([purchase(ANN, "e1", 1)])
        found = store.statistics()
        assert (found.events, found.commits, found.duplicates, found.refused) == (2, 1, 2, 1)
        assert found.streams_cached == 2


async def _drain(batches: AsyncIterator[list[Event]]) -> None:
    async for _ in batches:
        pass

"""The clock of actors, the ledger, and the mailbox."""

from hypothesis import given
from hypothesis import strategies as st

from actors.entity import Entity
from actors.ledger import Ledger
from actors.mailbox import Mailbox
from actors.roster import Actor, Roster
from eventstore.event import Event
from kernel.ids import Position
from tests.simulation.toy import ToyFolds, stream


def seated(roster: Roster, name: str, turn: int) -> Actor:
    actor = roster.actors[stream(name)] = Actor(turn)
    actor.entity = ToyFolds().new(stream(name), 1)
    return actor


def picked(roster: Roster, before: int | None = None) -> str | None:
    found = roster.pick(before=before)
    return None if found is None else found[0].id


def test_the_first_in_goes_first() -> None:
    roster = Roster()
    for name in "abc":
        seated(roster, name, 0)
    assert picked(roster) == "a"
    roster.drop(stream("a"))
    assert (picked(roster), roster.awake) == ("b", 2)


def test_who_was_used_since_gets_another_round() -> None:
    roster = Roster()
    actors = {name: seated(roster, name, 0) for name in "abc"}
    actors["a"].used = 5
    assert picked(roster) == "b"
    actors["b"].used = actors["c"].used = 6
    assert picked(roster) == "a"  # in order again, and used before the others


def test_only_the_idle_go_when_a_time_is_given() -> None:
    roster = Roster()
    seated(roster, "a", 10)
    assert picked(roster, before=10) is None
    assert picked(roster, before=11) == "a"


async def test_a_busy_actor_never_goes() -> None:
    roster = Roster()
    busy = seated(roster, "a", 0)
    roster.occupy(busy, Mailbox(1))
    assert picked(roster) is None
    seated(roster, "b", 3)
    assert (picked(roster), roster.awake, roster.busy) == ("b", 1, 1)
    roster.drop(stream("a"))
    assert (roster.awake, roster.busy) == (1, 0)


async def test_a_mailbox_keeps_its_bound_and_remembers_that_it_did() -> None:
    mailbox = Mailbox(2)
    events = [Event(stream("a"), 1, version, Position(version), "e", "t", 0, 0, b"") for version in (1, 2, 3)]
    assert mailbox.has_room(2)
    for event in events:
        mailbox.put(event)
    assert (len(mailbox), mailbox.has_room(0)) == (2, False)
    assert mailbox.take() == (events[:2], True)
    assert mailbox.take() == ([], False)
    assert mailbox.has_room(2)


def test_the_claim_stops_before_the_first_thing_missing() -> None:
    ledger = Ledger()
    assert ledger.safe(Position(9)) == 9
    ledger.note(stream("a"), Position(5))
    ledger.note(stream("a"), Position(7))
    ledger.note(stream("b"), Position(6))
    assert ledger.safe(Position(9)) == 4
    ledger.settle(stream("a"))
    assert ledger.safe(Position(9)) == 5
    token = ledger.begin(Position(2))
    assert ledger.safe(Position(9)) == 2
    ledger.end(token)
    ledger.settle(stream("b"))
    assert ledger.safe(Position(9)) == 9


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("note"), st.integers(0, 5), st.integers(1, 50)),
            st.tuples(st.just("settle"), st.integers(0, 5), st.just(0)),
        ),
        max_size=400,
    )
)
def test_the_ledger_knows_the_smallest_first_position(steps: list[tuple[str, int, int]]) -> None:
    ledger, model = Ledger(), dict[int, int]()
    for kind, name, position in steps:
        if kind == "note":
            ledger.note(stream(name), Position(position))
            model[name] = min(model.get(name, 99), position)  # keeps its place
        else:
            ledger.settle(stream(name))
            model.pop(name, None)
        assert ledger.safe(Position(60)) == min(model.values(), default=61) - 1
        assert len(ledger) == len(model)
        assert len(ledger._heap) <= 3 * len(model) + 128
    assert ledger.noted(up_to=Position(25)) == [stream(name) for name, position in model.items() if position <= 25]


def test_the_toy_is_an_entity() -> None:
    entity: Entity = ToyFolds().new(stream("a"), 1)
    assert entity.version == 0

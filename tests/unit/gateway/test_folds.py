"""A policy's long stream is folded in slices: never whole in memory, and to the same bytes."""

from collections.abc import Sequence

import pytest

from actors.activation import READ_EVENTS, Activator
from actors.rebuild import Rebuild
from actors.verification import Verification
from bandit.events import TYPES, PolicyDefined, policy_defined_event, settlement_event
from bandit.learners.learner import LearnerSettings
from bandit.policy_entity import PolicyEntity
from eventstore.event import Event, Stream
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots
from eventstore.system import BUILT_IN
from eventstore.types import EventTypes
from gateway.folds import FoldsByKind, policy_folds
from kernel.clock import VirtualClock
from kernel.settings import BanditSettings
from kernel.steps import finish
from projections.refolding import FoldedEntities
from tests.unit.bandit.logs import CATALOGUE, COLUMNS, NOON, POLICY, a_policy
from tests.unit.bandit.test_policy_entity import a_settlement

COUNT = READ_EVENTS + 300


class Watched(MemoryEventStore):
    """Notes the most events that a read of one stream returned."""

    most = 0

    async def read(self, stream: Stream, *, after_version: int = 0, limit: int | None = None) -> list[Event]:
        found = await super().read(stream, after_version=after_version, limit=limit)
        self.most = max(self.most, len(found))
        return found

    async def read_many(self, streams: Sequence[Stream]) -> list[list[Event]]:
        found = await super().read_many(streams)
        self.most = max(self.most, *map(len, found), 0)
        return found


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOON)


@pytest.fixture
async def store(clock: VirtualClock) -> Watched:
    """Settlements, and a policy that changed its learner amidst them and its arms later on."""
    store = Watched(types=EventTypes([*BUILT_IN, *TYPES]), clock=clock)
    learners = {1: LearnerSettings(kind="vw", exploration="epsilon"), 2: LearnerSettings(), 3: LearnerSettings()}
    events = [settlement_event(POLICY, a_settlement(number)) for number in range(COUNT)]
    for version, place in ((3, COUNT - 50), (2, 2000), (1, 0)):
        policy = a_policy(learner=learners[version], floor=0.02 * version)
        events.insert(place, policy_defined_event(POLICY, PolicyDefined(version, policy, list(COLUMNS)), NOON))
    await store.append(events)
    return store


@pytest.fixture
def folds(clock: VirtualClock) -> FoldsByKind:
    leads = FoldedEntities(lambda org: CATALOGUE, clock)
    return FoldsByKind(leads, {"policy": policy_folds(BanditSettings(version_updates=700))})


async def whole(store: MemoryEventStore, folds: FoldsByKind) -> PolicyEntity:
    entity = finish(folds.refold(POLICY, 1, await MemoryEventStore.read(store, POLICY)))
    assert isinstance(entity, PolicyEntity)
    return entity


async def test_a_policy_without_a_snapshot_wakes_page_by_page(store: Watched, folds: FoldsByKind) -> None:
    expected = await whole(store, folds)
    woken = (await Activator(store=store, snapshots=MemorySnapshots(), folds=folds).load([POLICY]))[POLICY]
    assert isinstance(woken, PolicyEntity)
    assert store.most < 1000
    assert (woken.version, woken.updates) == (COUNT + 3, COUNT)
    assert woken.dump() == expected.dump()
    assert [each.updates for each in woken.models.listed[:3]] == [700, 1400, 2100]


async def test_a_replay_and_a_verification_read_it_page_by_page(
    store: Watched, folds: FoldsByKind, clock: VirtualClock
) -> None:
    expected = await whole(store, folds)
    target = MemorySnapshots()
    await Rebuild(store=store, folds=folds, target=target, clock=clock).run()
    assert store.most < 1000
    assert target.get(1) == expected.dump()
    verification = Verification(store=store, folds=folds, snapshots=target, differs=lambda a, b: a.dump() != b.dump())
    assert (await verification.run()).checked == 1
    assert store.most < 1000


async def test_a_verification_notices_one_that_differs(store: Watched, folds: FoldsByKind, clock: VirtualClock) -> None:
    target = MemorySnapshots()
    await Rebuild(store=store, folds=folds, target=target, clock=clock).run()
    wrong = await whole(store, folds)
    wrong.not_learned += 1
    target.put(wrong.dump())
    verification = Verification(store=store, folds=folds, snapshots=target, differs=lambda a, b: a.dump() != b.dump())
    assert (await verification.run()).differing == (POLICY,)


async def test_streams_that_are_refolded_whole_are_never_begun_in_slices(folds: FoldsByKind) -> None:
    lead = Stream("default", "lead", "42")
    assert folds.foretold(lead) == ()
    with pytest.raises(TypeError, match="lead"):
        folds.start(lead, 1, [])

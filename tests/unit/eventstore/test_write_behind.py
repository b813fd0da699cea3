"""The queue of snapshots: order, visibility, failure, and what an applied position waits for."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eventstore.snapshots import Snapshot
from eventstore.write_behind import WriteBehind
from kernel.ids import Position


def snapshot(number: int, version: int) -> Snapshot:
    return Snapshot(number, version, "f", b"")


def test_a_mark_waits_for_everything_put_before_it() -> None:
    queue = WriteBehind()
    for number in (1, 2, 3):
        queue.put(number, snapshot(number, 1))
    queue.note_applied(Position(7))
    queue.put(1, snapshot(1, 2))  # keeps its place
    queue.put(4, snapshot(4, 1))
    first = queue.take(2)
    assert (list(first.changes), first.mark) == ([1, 2], None)
    queue.written()
    second = queue.take(2)
    assert list(second.changes) == [3, 4]
    assert second.mark is not None
    assert second.mark.position == 7


def test_a_failed_batch_goes_back_and_newer_snapshots_win() -> None:
    queue = WriteBehind()
    queue.put(1, snapshot(1, 1))
    queue.put(2, snapshot(2, 1))
    queue.note_applied(Position(7))
    goal = queue.count
    queue.take(10)
    queue.put(2, snapshot(2, 2))
    queue.put(3, None)
    queue.failed()
    assert not queue.is_written(goal)
    batch = queue.take(10)
    assert {number: change.snapshot for number, change in batch.changes.items()} == {
        1: snapshot(1, 1),
        2: snapshot(2, 2),
        3: None,
    }
    assert batch.mark is not None
    queue.written()
    assert queue.is_written(goal)


class QueueMachine(RuleBasedStateMachine):
    """Against a medium in memory: nothing lost, nothing claimed too early, the newest always seen."""

    @initialize()
    def begin(self) -> None:
        self.queue = WriteBehind()
        self.medium: dict[int, Snapshot] = {}
        self.newest: dict[int, Snapshot] = {}
        self.claims: list[tuple[int, dict[int, Snapshot]]] = []
        self.versions = 0

    @rule(number=st.integers(1, 5))
    def put(self, number: int) -> None:
        self.versions += 1
        self.newest[number] = snapshot(number, self.versions)
        self.queue.put(number, self.newest[number])

    @rule(number=st.integers(1, 5))
    def remove(self, number: int) -> None:
        self.newest.pop(number, None)
        self.queue.put(number, None)

    @rule()
    def note(self) -> None:
        self.claims.append((len(self.claims) + 1, dict(self.newest)))
        self.queue.note_applied(Position(len(self.claims)))

    @rule(limit=st.integers(1, 3), is_failing=st.booleans(), number=st.integers(1, 5))
    def write(self, limit: int, is_failing: bool, number: int) -> None:
        batch = self.queue.take(limit)
        self.put(number)  # while it is written
        if is_failing:
            self.queue.failed()
            return
        for each, change in batch.changes.items():
            if change.snapshot is None:
                self.medium.pop(each, None)
            else:
                self.medium[each] = change.snapshot
        self.queue.written()
        if batch.mark is not None:
            _, claimed = self.claims[batch.mark.position - 1]
            for each, old in claimed.items():
                assert each not in self.medium or self.medium[each].version >= old.version
                assert each in self.medium or each not in self.newest or self.queue.find(each) is not None

    @invariant()
    def the_newest_is_always_seen(self) -> None:
        for number in range(1, 6):
            change = self.queue.find(number)
            seen = self.medium.get(number) if change is None else change.snapshot
            assert seen == self.newest.get(number)


QueueMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
test_the_queue_loses_nothing_and_claims_nothing_too_early = QueueMachine.TestCase

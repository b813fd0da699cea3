"""The feed of an org beside a follower that does what the test says."""

import asyncio
from typing import Any, cast

from gateway.feed.following import Following
from gateway.feed.org_feed import OrgFeed
from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from kernel.settings import StreamSettings


class Follower:
    """Notes what it is asked, and fails when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bell = asyncio.Event()
        self.is_overrun = False
        self.errors: list[Exception] = []
        self.worked = 0

    def follow(self, lead: str) -> None:
        self.asked.append(f"follow {lead}")

    def leave(self, lead: str) -> None:
        self.asked.append(f"leave {lead}")

    def follow_all(self) -> None:
        self.asked.append("follow all")

    def leave_all(self) -> None:
        self.asked.append("leave all")

    def end(self) -> None:
        self.asked.append("end")

    async def work(self) -> None:
        self.worked += 1
        if self.errors:
            raise self.errors.pop()


class World:
    def __init__(self, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.follower = Follower()
        self.over: list[OrgFeed] = []
        self.feed = OrgFeed(
            clock=self.clock,
            settings=StreamSettings(**settings),
            make_following=lambda feed: cast("Following", self.follower),
            on_over=self.over.append,
        )

    async def pass_time(self, seconds: float) -> None:
        await settle()
        self.clock.advance(seconds)
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_listened_to_is_followed_and_for_a_while_longer() -> None:
    world = World(keep_s=60)
    everything, _ = world.feed.listen(None, None, None)
    first, _ = world.feed.listen("a", None, None)
    second, _ = world.feed.listen("a", None, None)
    assert world.follower.asked == ["follow all", "follow a"]
    world.feed.leave(first)
    world.feed.leave(everything)
    world.feed.leave(everything)
    await world.pass_time(61)
    assert world.follower.asked[2:] == ["leave all"]
    world.feed.leave(second)
    await world.pass_time(59)
    assert world.over == []
    await world.pass_time(2)
    assert world.follower.asked[3:] == ["leave a", "end"]
    assert world.over == [world.feed]
    await world.feed.stop()


async def test_only_what_was_followed_ever_since_can_be_resumed() -> None:
    world = World(keep_s=60)
    one, _ = world.feed.listen("a", None, None)
    world.feed.publish("features", "a", {})
    last_id = one.mark().decode().removeprefix("id: ").strip()
    world.feed.leave(one)
    assert world.feed.listen("a", None, last_id)[1]
    assert not world.feed.listen("b", None, last_id)[1]
    assert not world.feed.listen(None, None, last_id)[1]
    world.feed.publish("features", "a", {})
    newer = world.feed.listen("b", None, None)[0].mark().decode().removeprefix("id: ").strip()
    assert world.feed.listen("b", None, newer)[1]
    assert world.feed.listen(None, None, newer)[1]
    assert world.feed.resets == 2
    await world.feed.stop()


async def test_other_kinds_of_entries_reach_whoever_listens_to_their_lead() -> None:
    world = World()
    narrow, _ = world.feed.listen("a", frozenset({"v:x"}), None)
    other, _ = world.feed.listen("b", None, None)
    world.feed.publish("alert", "a", {"lead": "a", "rule": "churn"})
    assert b'event: alert\ndata: {"lead":"a","rule":"churn"}\n' in narrow.take()
    assert other.take() == b""
    await world.feed.stop()


async def test_a_log_that_cannot_be_read_is_tried_again() -> None:
    world = World()
    one, _ = world.feed.listen(None, None, None)
    world.follower.errors = [StoreUnavailable("away"), StoreUnavailable("away")]
    world.follower.bell.set()
    for _ in range(3):
        await world.pass_time(1)
    assert world.follower.worked >= 3
    assert not one.has_ended
    await world.feed.stop()


async def test_a_worker_that_fails_resets_everybody_and_ends_the_feed() -> None:
    for is_overrun in (False, True):
        world = World()
        one, _ = world.feed.listen(None, None, None)
        world.follower.errors = [] if is_overrun else [ZeroDivisionError()]
        world.follower.is_overrun = is_overrun
        world.follower.bell.set()
        await settle()
        assert one.is_lost
        assert (world.feed.resets, world.over) == (1, [world.feed])
        assert world.follower.asked[-1] == "end"
        await world.feed.stop()


async def test_leads_that_nobody_listens_to_any_more_are_bounded() -> None:
    world = World(listeners_max=3)
    for number in range(10):
        listener, _ = world.feed.listen(f"l{number}", None, None)
        world.clock.advance(0.001)
        world.feed.leave(listener)
    left = [ask for ask in world.follower.asked if ask.startswith("leave")]
    assert left == [f"leave l{number}" for number in range(7)]
    await world.feed.stop()

"""Living a year of data: the clock follows the events, the events enter as requests, the wheel does what is due.

The service under the clock is the one that ``serve`` runs; only its time is given. So every event is recorded
when it happened, and every absence is written as its time comes, not all at once at the end.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from gateway.client import Client
from gateway.demo.complete_journey import TimedEvent
from kernel.clock import VirtualClock
from kernel.times import HOUR_US

#: How far the clock goes at once: small against the seven days after which a campaign counts as ignored.
STEP_US = 12 * HOUR_US
#: Events of one request, whatever the step holds.
BATCH = 1000


class Lived(msgspec.Struct):
    """What became of the events."""

    accepted: int = 0
    duplicates: int = 0
    dead: int = 0


async def live(
    events: Sequence[TimedEvent],
    *,
    clock: VirtualClock,
    client: Client,
    settle: Callable[[], Awaitable[None]],
    until_us: int,
    progress: Callable[[int, int], None],
) -> Lived:
    """Post events in order of time, moving the clock before each step, up to ``until_us``.

    Parameters
    ----------
    settle : returns when what the clock's time made due is done.
    progress : called after each step with the clock's time and the number of events posted.

    Raises
    ------
    Refused, Unreachable
        An event was refused: the data are not what they were taken for.
    """
    lived, posted = Lived(), 0
    for step_end_us, group in steps(events, until_us):
        clock.set(max(clock.now_us(), step_end_us))
        for start in range(0, len(group), BATCH):
            body = b"\n".join(msgspec.json.encode(event.envelope) for event in group[start : start + BATCH])
            answer = await client.send(
                "POST", "/events", query={"atomic": "true"}, body=body, media="application/x-ndjson"
            )
            lived.accepted += answer["accepted"]
            lived.duplicates += answer["duplicates"]
            lived.dead += answer["dead"]
        await settle()
        posted += len(group)
        progress(clock.now_us(), posted)
    return lived


def steps(events: Sequence[TimedEvent], until_us: int) -> Iterator[tuple[int, Sequence[TimedEvent]]]:
    """(end of the step, its events) for every step from the first event on; the last one ends at ``until_us``.

    An event belongs to the step in which its time lies, the end included: it is never ahead of the clock.
    """
    place = 0
    end_us = -(-events[0].at_us // STEP_US) * STEP_US if events else until_us
    while True:
        end_us = min(end_us, until_us)
        start = place
        while place < len(events) and events[place].at_us <= end_us:
            place += 1
        yield end_us, events[start:place]
        if end_us >= until_us:
            return
        end_us += STEP_US

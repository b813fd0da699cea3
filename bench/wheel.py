"""The timer wheel at a million timers: schedule, cancel, the worst tick, a tick without work; ``heapq`` beside it.

Processor time throughout: a wheel only computes, and what a neighbour takes is none of its ticks.
"""

import heapq
import random
import time

from actors.wheel import TimerWheel
from bench.harness import LOAD_CORE, Claim, in_turns, pin_self, report, run_main, say, settled_rss_bytes
from kernel.times import DAY_US, SECOND_US

TIMERS = 1_000_000
START_US = 1_767_225_600 * SECOND_US


def main() -> None:
    pin_self(LOAD_CORE)
    say(f"wheel: {TIMERS:,} timers over 7 days, ticks of 1 s, one core")
    chance = random.Random(1)
    dues = [START_US + chance.randrange(SECOND_US, 7 * DAY_US) for _ in range(TIMERS)]
    made: list[TimerWheel] = []

    def add_ns() -> float:
        made[:] = [TimerWheel(start_us=START_US)]
        schedule = made[0].schedule
        began_ns = time.process_time_ns()
        for entity, due_us in enumerate(dues):
            schedule(entity, "ignored", due_us)
        return (time.process_time_ns() - began_ns) / TIMERS

    def heap_ns() -> float:
        heap: list[tuple[int, int, str]] = []
        push = heapq.heappush
        began_ns = time.process_time_ns()
        for entity, due_us in enumerate(dues):
            push(heap, (due_us, entity, "ignored"))
        return (time.process_time_ns() - began_ns) / TIMERS

    before = settled_rss_bytes()
    add_ns()
    memory_mb = (settled_rss_bytes() - before) / 2**20
    medians = in_turns(3, add_ns=add_ns, heapq_push_ns=heap_ns)

    wheel = made[0]
    began_ns = time.process_time_ns()
    for entity in range(0, TIMERS, 10):
        wheel.cancel(entity, "ignored")
    cancel_ns = (time.process_time_ns() - began_ns) / (TIMERS / 10)

    worst_ms, busy_ms, fired, calls = run_week(wheel)
    idle_ns = idle_tick_ns(dues[-1])
    report(
        "wheel",
        [
            Claim("schedule", medians["add_ns"] / 1000, 1.0, "µs", is_upper_bound=True),
            Claim("worst tick", worst_ms, 30.0, "ms", is_upper_bound=True),
            Claim("tick without work, a million timers waiting", idle_ns / 1000, 5.0, "µs", is_upper_bound=True),
        ],
        {
            "cancel_ns": cancel_ns,
            "heapq_push_ns": medians["heapq_push_ns"],
            "memory_mb": memory_mb,
            "fired": fired,
            "calls": calls,
            "week_ms": busy_ms,
        },
    )


def run_week(wheel: TimerWheel) -> tuple[float, float, int, int]:
    """Advance second by second for seven days: worst call, all calls, timers fired, calls made."""
    worst_ns = busy_ns = fired = calls = 0
    for second in range(7 * 86_400 + 1):
        now_us = START_US + second * SECOND_US
        while True:
            began_ns = time.process_time_ns()
            fired += len(wheel.advance(now_us, 500))
            took_ns = time.process_time_ns() - began_ns
            worst_ns, busy_ns, calls = max(worst_ns, took_ns), busy_ns + took_ns, calls + 1
            if not wheel.is_behind(now_us):
                break
    if len(wheel) or fired != TIMERS - TIMERS // 10:
        raise RuntimeError(f"{len(wheel)} timers left, {fired} fired")
    return worst_ns / 1e6, busy_ns / 1e6, fired, calls


def idle_tick_ns(far_us: int) -> float:
    """A tick while all timers lie days ahead."""
    wheel = TimerWheel(start_us=START_US)
    for entity in range(TIMERS):
        wheel.schedule(entity, "ignored", far_us + 30 * DAY_US + entity)
    ticks = 100_000
    began_ns = time.process_time_ns()
    for second in range(ticks):
        wheel.advance(START_US + second * SECOND_US, 500)
    return (time.process_time_ns() - began_ns) / ticks


if __name__ == "__main__":
    run_main(main)

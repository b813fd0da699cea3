"""From a synthetic lead's moves, day by day, to its events.

What the moves do not say (hours, ratings, amounts, which kind of activity) is drawn here and decides on nothing.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernel.times import DAY_US, HOUR_US, SECOND_US

Told = tuple[int, str, dict[str, Any]]
Moves = npt.NDArray[np.uint8]

_TUTORS = ("ada", "boris", "chen", "dora", "emil")
_SUBJECTS = ("algebra", "chemistry", "english", "physics")


class Story(NamedTuple):
    """A lead: when it came, who it is, and what it did on each day of the log."""

    rng: np.random.Generator
    start_us: int
    born: int
    profile: dict[str, Any]
    signup: dict[str, Any]
    deal_moves: Moves
    habit_moves: Moves


def events_of(story: Story) -> list[Told]:
    """All events of a life, in order of time; no two at the same."""
    days = np.flatnonzero(story.deal_moves | story.habit_moves)
    told = _beginning(story)
    stage = 0
    for day in days.tolist():
        deal, habit = int(story.deal_moves[day]), int(story.habit_moves[day])
        happened = [*_selling(story, day, deal, stage), *_learning(story, day, habit)]
        stage += deal == 2
        times = _times(story, day, len(happened))
        told += [(at_us, type_, data) for at_us, (type_, data) in zip(times, happened, strict=True)]
    return told


def _times(story: Story, day: int, count: int) -> list[int]:
    """Rising times of a day between 07:00 and 21:00."""
    drawn = np.sort(story.rng.integers(7 * 3600, 21 * 3600 - count, count)) + np.arange(count)
    midnight_us = story.start_us + day * DAY_US
    return [midnight_us + int(second) * SECOND_US for second in drawn]


def _beginning(story: Story) -> list[Told]:
    rng = story.rng
    grade = int(rng.integers(1, 13))
    happened: list[tuple[str, dict[str, Any]]] = [
        ("lead_created", {"source": str(story.signup["channel"])}),
        ("profile_updated", story.profile | {"phone": "+1 555 0100"}),
        ("signed_up", story.signup | {"grade_level": grade, "subject_category": "STEM", "region": "north"}),
        ("sequence_enrolled", {"sequence_id": "welcome", "steps": 5}),
        ("page_viewed", {"url": "/pricing"}),
    ]
    noon_us = story.start_us + story.born * DAY_US + 12 * HOUR_US
    return [(noon_us + place * SECOND_US, type_, data) for place, (type_, data) in enumerate(happened)]


def _selling(story: Story, day: int, move: int, stage: int) -> Iterator[tuple[str, dict[str, Any]]]:
    rng = story.rng
    if move == 4:
        yield "deal_won", {"amount": round(float(rng.gamma(4.0, 120.0)), 2)}
        yield "sequence_finished", {"sequence_id": "welcome", "outcome": "completed"}
    elif move == 3:
        yield "deal_lost", {"reason": "budget"}
        yield "sequence_finished", {"sequence_id": "welcome", "outcome": "stopped"}
    elif move == 2:
        kind = "form_submitted" if stage == 0 else "meeting_held"
        yield kind, {"form_id": "quote"} if stage == 0 else {"meeting_id": f"m{stage}"}
        yield "sequence_step_completed", {"sequence_id": "welcome", "step": stage + 1}
    elif move == 1:
        yield from _browsing(rng, day)


def _browsing(rng: np.random.Generator, day: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for number in range(1 + int(rng.random() < 0.3)):
        drawn, email = rng.random(), f"m{day}-{number}"
        if drawn < 0.5:
            yield "page_viewed", {"url": f"/course/{int(rng.integers(20))}"}
            continue
        yield "email_sent", {"email_id": email, "sequence_id": "welcome"}
        yield "email_opened", {"email_id": email}
        if drawn > 0.8:
            yield "email_clicked", {"email_id": email}


def _learning(story: Story, day: int, move: int) -> Iterator[tuple[str, dict[str, Any]]]:
    rng = story.rng
    if move & 1:
        yield from _visiting(rng, day)
    if move & 2:
        sentiment = rng.uniform(-0.9, -0.35) if move & 4 else rng.uniform(-0.25, 0.9)
        yield (
            "inbound_call",
            {
                "duration_seconds": int(rng.gamma(3.0, 90.0)),
                "sentiment_score": round(float(sentiment), 2),
                "issue_category": "billing" if move & 4 else "question",
                "escalated": bool(move & 4 and rng.random() < 0.4),
            },
        )
    if move & 8:
        yield "subscription_cancelled", {"reason": "other"}
        yield "profile_updated", {"phone": None}  # erased with the account, so that features show a cancellation


def _visiting(rng: np.random.Generator, day: int) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "login", {}
    if rng.random() < 0.4:
        return
    session = {"session_id": f"s{day}", "tutor_id": _TUTORS[int(rng.integers(len(_TUTORS)))]}
    if rng.random() < 0.1:
        yield "session_cancelled", session | {"cancelled_by": "tutor" if rng.random() < 0.5 else "student"}
        return
    rating = {"student_rating": int(rng.integers(3, 6))} if rng.random() < 0.7 else {}
    subject = _SUBJECTS[int(rng.integers(len(_SUBJECTS)))]
    yield "session_completed", session | {"duration_minutes": 60, "subject": subject} | rating
    if rng.random() < 0.3:
        yield "payment_succeeded" if rng.random() < 0.95 else "payment_failed", {"amount": 40}

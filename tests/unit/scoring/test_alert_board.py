from kernel.times import format_time
from scoring.alert_board import AlertBoard
from scoring.alert_rules import CompiledRule
from scoring.alerts import acknowledged_event, look, resolved_event
from scoring.events import AlertRule
from scoring.identity import alert_id
from tests.unit.scoring.leads import CATALOGUE, NOW_US, STREAM, event, stored

RULE = CompiledRule("quiet", 1, AlertRule("rfm.recency_days > 10"), CATALOGUE)


def raise_one(board: AlertBoard, lead: str, after_us: int = 0) -> str:
    (raised,) = look(STREAM._replace(id=lead), [RULE], None, {"rfm:recency_days": 11}.get, NOW_US + after_us).events
    board.fold(stored(raised, 1))
    return alert_id(lead, "quiet", 1)


def resolve(board: AlertBoard, lead: str, after_us: int = 0) -> None:
    board.fold(stored(resolved_event(STREAM._replace(id=lead), "quiet", 1, "person", NOW_US + after_us), 2))


def test_alerts_are_listed_newest_first_with_their_state() -> None:
    board = AlertBoard()
    first, second = raise_one(board, "ann"), raise_one(board, "bob", 1)
    assert [alert.id for alert in board.newest_first()] == [second, first]
    alert = board.get(first)
    assert alert is not None
    assert (alert.state, alert.lead, alert.values) == ("open", "ann", {"rfm:recency_days": 11})
    board.fold(stored(acknowledged_event(STREAM, "quiet", 1, NOW_US + 2), 2))
    assert (alert.state, alert.acknowledged_at) == ("acknowledged", format_time(NOW_US + 2))
    resolve(board, "ann", 3)
    assert (alert.state, alert.resolved_by, alert.resolved_at) == ("resolved", "person", format_time(NOW_US + 3))
    board.fold(stored(acknowledged_event(STREAM, "quiet", 1, NOW_US + 9), 4))
    assert alert.acknowledged_at == format_time(NOW_US + 2)


def test_open_alerts_are_all_kept_and_of_the_others_the_newest() -> None:
    board = AlertBoard(kept=1)
    ids = [raise_one(board, name) for name in ("ann", "bob", "cyd")]
    resolve(board, "bob")
    resolve(board, "ann")
    assert [alert.id for alert in board.newest_first()] == [ids[2], ids[0]]


def test_an_erased_leads_alerts_are_forgotten() -> None:
    board = AlertBoard()
    kept, gone = raise_one(board, "ann"), raise_one(board, "bob")
    resolve(board, "bob")
    board.forget("bob")
    assert (board.get(gone), [alert.id for alert in board.newest_first()]) == (None, [kept])


def test_events_about_unknown_alerts_and_other_things_are_passed_over() -> None:
    board = AlertBoard()
    resolve(board, "nobody")
    board.fold(stored(acknowledged_event(STREAM, "quiet", 1, NOW_US), 2))
    board.fold(event(1, "login", NOW_US))
    broken = event(1, "alert_raised", NOW_US)
    board.fold(broken)
    assert list(board.newest_first()) == []

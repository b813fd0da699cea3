"""Writes docs/reference from the code: features, events, settings, errors, metrics, routes, commands.

``make docs`` runs it; ``tests/docs/test_reference.py`` fails when a page is out of date.
"""

import inspect as python_inspect
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from bandit import events as bandit_events
from eventstore.event import Event, Stream
from eventstore.system import BUILT_IN
from eventstore.types import EventType
from gateway.app import ROUTES
from gateway.cli import app as command_line
from gateway.problems import CODES
from gateway.routing import Route
from kernel import errors, settings, settings_scoring, settings_topics, settings_webhooks
from kernel.ids import Position
from kernel.metrics import METRICS
from kernel.times import parse_rfc3339
from projections.catalogue import Catalogue
from projections.refolding import refolded
from scoring import (
    accuracy,
    alert_rules,
    alerts,
    book,
    confidence,
    explanation,
    llm,
    pace,
    points,
    predicting,
    priority,
    recommend,
    risks,
)
from scoring.claims import Claims, comparison_text
from scoring.events import ALERT_RULE_DEFINED, SCORING_TYPES

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"

#: Where an event of the system stands; those that are not named here stand in their lead's stream.
STREAMS = {
    **dict.fromkeys((bandit_events.DECISION_MADE, bandit_events.DECISION_ACTIVATED), "lead, or decision"),
    bandit_events.REWARD_RECEIVED: "lead, or decision",
    bandit_events.DECISION_CLAIMED: "decision",
    **dict.fromkeys((bandit_events.REWARD_SETTLED, bandit_events.MODEL_PROMOTED), "policy"),
    **dict.fromkeys((bandit_events.POLICY_DEFINED, bandit_events.POLICY_DELETED), "policy"),
    **dict.fromkeys(("service_defined", ALERT_RULE_DEFINED), "org"),
}

#: Fields of an org's table that have sections of their own.
_TABLES = ("scoring", "webhooks", "topics_in", "topics_out")

_HEAD = "<!-- Written by `make docs` from the code; do not edit. -->\n"


def pages() -> dict[str, str]:
    """All pages of the reference, by file name."""
    catalogue = Catalogue(settings.DEFAULT_ORG, settings.OrgSettings())
    return {
        "features.md": features_page(catalogue),
        "events.md": events_page(catalogue),
        "scoring.md": scoring_page(),
        "settings.md": settings_page(),
        "errors.md": errors_page(),
        "metrics.md": metrics_page(),
        "http.md": http_page(ROUTES),
        "commands.md": commands_page(),
    }


def features_page(catalogue: Catalogue) -> str:
    lines = [
        "A value is a function of the lead's stored, unretracted events up to the as-of time. *Null* is not zero: the",
        "column says what it means, and a dash that the value is never null. A window is half open: an event exactly as",
        "old as the window is out. An *interaction* is any event initiated by the lead. The examples are the values of one",
        "invented lead, [example.json](../example.json), and of one subject of the market.",
    ]
    examples = example_values(catalogue)
    interactions = {each.name for each in catalogue.event_types if each.by == "lead" and each.about == "lead"}
    view = ""
    for feature in (*catalogue.features, *catalogue.subjects.features):
        if feature.view != view:
            view = feature.view
            lines += [
                "",
                f"## {view}",
                "",
                f"{catalogue_description(catalogue, view)}.",
                "",
                "| feature | what | type | range | null means | window | example | moved by |",
                "| - | - | - | - | - | - | - | - |",
            ]
        reads = _reads(feature.affected_by, interactions)
        kind = feature.dtype + (f", {feature.unit}" if feature.unit else "")
        what = feature.description.replace("|", "\\|")
        null = feature.null_means or "–"
        window = ", ".join(feature.windows) or "lifetime"
        example = _text(msgspec.json.encode(examples[feature.reference]).decode())
        shown = feature.reference + ("_{subject}" if feature in catalogue.subjects.features else "")
        cells = (f"`{shown}`", what, kind, _text(feature.range), null, window, f"`{example}`", reads)
        lines.append(f"| {' | '.join(cells)} |")
    return _page("Features", lines)


def catalogue_description(catalogue: Catalogue, view: str) -> str:
    """What a view is about."""
    return (catalogue.view_descriptions | catalogue.subjects.view_descriptions)[view]


def example_values(catalogue: Catalogue) -> dict[str, Any]:
    """Every feature's value of the lead and the subject in ``example.json``."""
    example = msgspec.json.decode((ROOT / "docs" / "example.json").read_bytes())
    at_us = parse_rfc3339(example["at"])
    values: dict[str, Any] = {}
    for kind in ("lead", "subject"):
        stream = Stream(settings.DEFAULT_ORG, kind, "example")  # type: ignore[arg-type]
        rows = enumerate(example[kind], 1)
        events = [_event(stream, version, row, at_us) for version, row in rows]
        entity = refolded(stream, 1, catalogue, events)
        if entity.dead:
            raise ValueError(f"example.json: {entity.dead}")
        entity.read(at_us)
        everything = entity.entities.everything
        values |= zip(everything.names, entity.values(everything), strict=True)
    return values


def _event(stream: Stream, version: int, row: dict[str, Any], recorded_us: int) -> Event:
    data = msgspec.json.encode(row["data"])
    at_us = parse_rfc3339(row["time"])
    return Event(stream, 1, version, Position(version), f"e{version:03d}", row["type"], at_us, recorded_us, data)


def events_page(catalogue: Catalogue) -> str:
    lines = [
        "Types that can be posted, and those that the service writes itself (`system`; refused from outside). Required",
        "fields are bold. An undeclared field is kept in the log and read by no feature.",
    ]
    pack = ""
    for each in catalogue.event_types:
        if each.by == "system":
            continue
        if each.pack != pack:
            pack = each.pack
            lines += ["", f"## {pack}", "", "| type | by | about | data |", "| - | - | - | - |"]
        lines.append(f"| `{each.name}` | {each.by} | {each.about} | {_fields(each) or '–'} |")
    return _page("Events", [*lines, "", *_system_events()])


def _system_events() -> Iterator[str]:
    yield from (
        "## system",
        "",
        "Written by the service, into the stream that is named: of the lead, of a decision that is about no lead, of the policy, of the",
        "organisation. Their ids begin with `~` and follow from what caused them, so that none is written twice. They feed no feature, are",
        "no interaction and make no lead known; replays, models and records are folds of them.",
        "",
        "| type | stream | what | data |",
        "| - | - | - | - |",
    )
    written = [each for each in (*BUILT_IN, *bandit_events.TYPES, *SCORING_TYPES) if each.by == "system"]
    for each in written:
        said = (each.payload.__doc__ or "").partition("\n\n")[0].replace("``", "`")
        what = " ".join(said.split()).replace("|", "\\|")
        yield f"| `{each.name}` | {STREAMS.get(each.name, 'lead')} | {what} | {_fields(each)} |"


def _fields(event_type: EventType) -> str:
    info = inspect.type_info(event_type.payload)
    return ", ".join(_field(field) for field in info.fields)  # type: ignore[attr-defined]


def settings_page() -> str:
    lines = [
        "`leadwheel.toml` in the data directory (or `--config FILE`) < environment (`LEADWHEEL_SERVER__PORT=8780`) < flags.",
        "An unknown key or a wrong type stops the start and names the key, where it came from, and what was expected.",
    ]
    sections: list[tuple[str, type[msgspec.Struct]]] = [
        *((name, section) for name, section in settings.SECTIONS.items()),
        ("org.NAME", settings.OrgSettings),
        ("org.NAME.browsing", settings.BrowsingSettings),
        ("org.NAME.browsing.engagement_weights", settings.EngagementWeights),
        ("org.NAME.scoring.NAME", settings_scoring.ScoringSettings),
        ("org.NAME.scoring.NAME.thresholds", settings_scoring.ThresholdSettings),
        ("org.NAME.scoring.NAME.weights", settings_scoring.CategoryWeights),
        ("org.NAME.scoring.NAME.retraining", settings_scoring.RetrainingSettings),
        ("org.NAME.scoring.NAME.language_model", settings_scoring.LanguageModelSettings),
        ("org.NAME.webhooks.NAME", settings_webhooks.WebhookSettings),
        ("org.NAME.topics_in.NAME", settings_topics.TopicInSettings),
        ("org.NAME.topics_out.NAME", settings_topics.TopicOutSettings),
    ]
    for name, section in sections:
        comments = _field_comments(section)
        lines += ["", f"## `[{name}]`", "", "| key | default | why |", "| - | - | - |"]
        for field in msgspec.structs.fields(section):
            if isinstance(field.default, msgspec.Struct) or field.name in _TABLES:
                continue
            lines.append(f"| `{field.name}` | {_default(field)} | {comments.get(field.name, '')} |")
    return _page("Settings", lines)


def scoring_page() -> str:
    lines = [
        "What predictions of leads are made of, and every table behind them. The weights of the categories, the thresholds of",
        "the tiers and the horizon are those of `[org.NAME.scoring.NAME]` in the [settings](settings.md).",
    ]
    for title, module, table in (
        ("Predictions", predicting, []),
        ("The rules' score", points, _points_tables()),
        ("Priority and tier", priority, []),
        ("Confidence", confidence, []),
        ("Explanation", explanation, []),
        ("Days to close", pace, _table("when|factor|text", _pace_rows())),
        ("Risk factors", risks, _table("code|severity|when|text", _risk_rows())),
        ("Recommendations", recommend, _table("topic|kind|when|text|reason|due within", _advice_rows())),
        ("Language models", llm, _table("reason|meaning", ((f"`{n}`", text) for n, text in llm.FAILURES.items()))),
        ("What came of a prediction", book, []),
        ("Accuracy", accuracy, []),
        ("Alerts", alerts, []),
        ("Alert rules", alert_rules, _table("rule|when|until|severity|cooldown", _rule_rows())),
    ):
        lines += ["", f"## {title}", "", *_prose(module), *table]
    return _page("Scoring", lines)


def _prose(module: Any) -> list[str]:
    """A module's docstring as Markdown: names in single backquotes, what is indented after ``::`` in a fence."""
    lines: list[str] = []
    is_code = False
    for line in (python_inspect.getdoc(module) or "").splitlines():
        if is_code and line and not line.startswith("    "):
            lines[-1:] = ["```", ""]
            is_code = False
        if is_code:
            lines.append(line.removeprefix("    "))
        elif line.endswith("::"):
            lines += [*([line[:-1].replace("``", "`"), ""] if line != "::" else []), "```text"]
            is_code = True
        else:
            lines.append(line.replace("``", "`"))
    while is_code and not lines[-1]:
        lines.pop()
    return [*_without_empty_starts(lines), *(["```"] if is_code else [])]


def _without_empty_starts(lines: list[str]) -> list[str]:
    """A fence does not begin with an empty line."""
    return [line for place, line in enumerate(lines) if line or not place or not lines[place - 1].startswith("```text")]


def _table(header: str, rows: Iterable[tuple[str, ...]]) -> list[str]:
    names = header.split("|")
    cells = (" | ".join(each.replace("|", "\\|") for each in row) for row in rows)
    return ["", f"| {' | '.join(names)} |", f"| {' | '.join('-' for _ in names)} |", *(f"| {row} |" for row in cells)]


def _points_tables() -> list[str]:
    lines: list[str] = []
    for category in points.CATEGORIES:
        lines += ["", f"### {category.name}: {category.question}"]
        rows = (
            (
                f"`{scored.feature}`",
                "; ".join(
                    f"{comparison_text(each.comparison, each.operand)}: {each.points:g}" for each in scored.lines
                ),
            )
            for scored in category.scored
        )
        lines += _table("feature|points of the category's 100", rows)
    return lines


def _claims(claims: Claims) -> str:
    return " and ".join(f"`{claim.name}` {comparison_text(claim.comparison, claim.operand)}" for claim in claims)


def _pace_rows() -> Iterator[tuple[str, ...]]:
    return ((_claims(each.claims), f"{each.factor:g}", each.text) for each in pace.PACES)


def _risk_rows() -> Iterator[tuple[str, ...]]:
    return ((f"`{each.code}`", each.severity, _claims(each.claims), each.text) for each in risks.RISKS)


def _advice_rows() -> Iterator[tuple[str, ...]]:
    return (
        (each.topic, f"`{each.kind}`", _claims(each.claims), each.text, each.reason, f"{each.within_hours} h")
        for each in recommend.ADVICE
    )


def _rule_rows() -> Iterator[tuple[str, ...]]:
    return (
        (f"`{name}`", f"`{rule.when}`", f"`{rule.until}`", rule.severity, f"{rule.cooldown_s} s")
        for name, rule in alert_rules.BUILT_IN_RULES.items()
    )


def errors_page() -> str:
    lines = [
        "A refusal is a problem document (RFC 9457, `application/problem+json`). Its `code` is part of the contract: codes",
        "are added, never renamed. `503` carries `Retry-After`, and stored nothing of the request.",
        "",
        "## Codes",
        "",
        "| code | status | meaning |",
        "| - | - | - |",
        *(f"| `{code}` | {status} | {title} |" for code, (status, title) in CODES.items()),
        "",
        "## Errors inside",
        "",
        "| error | meaning | try again |",
        "| - | - | - |",
    ]
    for each in _subclasses(errors.LeadwheelError):
        first = (each.__doc__ or "").strip().splitlines()[0]
        lines.append(f"| `{each.__name__}` | {first} | {'yes' if each.is_transient else 'no'} |")
    return _page("Errors", lines)


def metrics_page() -> str:
    lines = [
        "`GET /metrics`, in Prometheus' text form; counters carry the suffix `_total`. A route's label is its pattern, never",
        "the path.",
        "",
        "| metric | kind | labels | meaning |",
        "| - | - | - | - |",
    ]
    for each in METRICS:
        labels = ", ".join(f"`{label}`" for label in each.labels) or "–"
        meaning = f"{each.meaning} (nodes only)" if each.is_of_nodes else each.meaning
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {meaning} |")
    return _page("Metrics", lines)


def http_page(routes: Iterable[Route]) -> str:
    lines = [
        "The same table as `/openapi.json`. *Scope* is what a key needs; `open` needs none, `local` none on this machine.",
        "",
        "| route | scope | what | query, headers |",
        "| - | - | - | - |",
    ]
    for each in routes:
        query = "; ".join(f"`{q.name}` {q.meaning}" for q in (*each.query, *each.headers)).replace("|", "\\|") or "–"
        lines.append(f"| `{each.method} {each.path}` | {each.access} | {each.summary} | {query} |")
    return _page("HTTP routes", lines)


def commands_page() -> str:
    lines = [
        "Results go to standard output, progress and logs to standard error. Exit code 0: done; 1: done, but something was",
        "refused, differed or was not found; 2: usage or settings; 3: directory in use, or service unreachable.",
        "",
        *command_line.generate_docs(output_format="markdown", heading_level=2).splitlines(),
    ]
    # Run as ``python -m pytest``, the generator takes that for a part of the command's name.
    lines = [re.sub(r"^(leadwheel .*?)-m \S+ ", r"\1", line) for line in lines]
    return _page("Commands", lines)


def _reads(types: Iterable[str], interactions: set[str]) -> str:
    """The event types that a feature reads; all of those initiated by the lead in two words."""
    names, words = set(types), []
    if interactions <= names:
        names -= interactions
        words = ["any interaction"]
    return ", ".join([*words, *(f"`{each}`" for each in types if each in names)])


def _page(title: str, lines: Iterable[str]) -> str:
    return f"{_HEAD}# {title}\n\n" + "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _field(field: inspect.Field) -> str:
    name = f"**{field.encode_name}**" if field.required else field.encode_name
    kind = _kind(field.type)
    return f"{name} ({kind})" if kind else name


def _kind(node: inspect.Type) -> str:
    """A field's type in a few words; empty for plain text."""
    match node:
        case inspect.Metadata():
            return _kind(node.type)
        case inspect.UnionType():
            return " or ".join(filter(None, (_kind(each) for each in node.types)))
        case inspect.FloatType() | inspect.IntType():
            word = "whole number" if isinstance(node, inspect.IntType) else "number"
            low, high = (_bound(each) for each in (node.ge, node.le))
            return f"{word} {low} to {high}" if high else f"{word} from {low}" if low else word
        case inspect.LiteralType() | inspect.EnumType():
            return ", ".join(f"`{value}`" for value in getattr(node, "values", ()))
        case inspect.CustomType():
            return "amount"
        case inspect.BoolType():
            return "true or false"
        case inspect.ListType() | inspect.VarTupleType():
            return "list"
        case inspect.DictType():
            return "object"
        case inspect.BytesType():
            return "bytes in base64"
        case inspect.StructType():
            return "object: " + ", ".join(each.encode_name for each in node.fields)
        case _:
            return ""


def _bound(value: float | None) -> str:
    return "" if value is None or abs(value) >= 1e12 else f"{value:g}"


def _text(value: Any) -> str:
    return "–" if value in (None, "", ()) else str(value).replace("|", "\\|")


def _default(field: msgspec.structs.FieldInfo) -> str:
    default = field.default
    if field.required:
        return "required"
    if default is msgspec.NODEFAULT:
        default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None  # type: ignore[operator]
    shown = msgspec.json.encode(default).decode()
    return (
        f"`{shown}`"
        if len(shown) <= 60
        else f"{len(default)} entries, from `{msgspec.json.encode(default[0]).decode()}`"
    )


def _field_comments(section: type[msgspec.Struct]) -> dict[str, str]:
    """What stands beside each field in the source: the comment on the lines of its declaration."""
    source = python_inspect.getsource(section)
    comments: dict[str, str] = {}
    name = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        words = token.line.split(":")[0].strip()
        if token.type == tokenize.NAME and token.string == words and words.isidentifier():
            name = words
        elif token.type == tokenize.COMMENT and name:
            comments[name] = f"{comments.get(name, '')} {token.string.lstrip('# ')}".strip().replace("|", "\\|")
    return comments


def _subclasses(root: type[errors.LeadwheelError]) -> Iterator[type[errors.LeadwheelError]]:
    for each in root.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from _subclasses(each)


def main() -> None:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()

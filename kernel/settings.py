"""All settings: frozen structs with their defaults, one section per package, and what must hold between them.

``kernel.settings_sources`` reads them; components take their own section by keyword and never look further.
"""

import re
import zoneinfo
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kernel.errors import SettingsError
from kernel.sections import AtLeastOne, Must, NotNegative, Seconds, Section, Weight
from kernel.sections import Secret as Secret
from kernel.settings_kafka import KafkaSettings, check_kafka
from kernel.settings_nodes import NodesSettings, check_nodes
from kernel.settings_scoring import DEFAULT_CONFIGURATION, ScoringSettings, check_scoring
from kernel.settings_topics import TopicInSettings, TopicOutSettings, check_topics
from kernel.settings_webhooks import ALWAYS_TOLD, WebhookSettings, check_webhook

DEFAULT_ORG = "default"
ORG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)

_SUBJECT = re.compile(r"[a-z0-9_]{1,64}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_PACK = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)

# fmt: off
DEFAULT_SUBJECTS = (
    "algebra", "geometry", "calculus", "statistics", "physics", "chemistry", "biology", "computer_science",
    "programming", "engineering", "english", "writing", "history", "geography", "economics", "spanish",
    "french", "sat_prep", "act_prep", "gre_prep",
)
# fmt: on

# fmt: off
DEFAULT_FREE_EMAIL_DOMAINS = (
    "gmail.com", "googlemail.com", "yahoo.com", "yahoo.co.uk", "yahoo.de", "yahoo.fr", "ymail.com",
    "hotmail.com", "hotmail.co.uk", "hotmail.de", "hotmail.fr", "outlook.com", "outlook.de", "live.com",
    "msn.com", "icloud.com", "me.com", "mac.com", "aol.com", "proton.me", "protonmail.com", "pm.me", "gmx.de",
    "gmx.net", "gmx.com", "web.de", "t-online.de", "mail.ru", "yandex.ru", "yandex.com", "zoho.com",
    "fastmail.com", "mail.com", "qq.com", "163.com", "126.com", "orange.fr", "free.fr", "libero.it",
)
# fmt: on


class ServerSettings(Section, frozen=True):
    """``[server]``: the HTTP service."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"  # only loopback until a key exists
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8780  # 0 takes a free one
    max_body_mb: Annotated[int, Meta(ge=1, le=256)] = 16  # of a request, after gzip: memory held per request
    max_event_kb: Annotated[int, Meta(ge=1, le=1024)] = 64  # of one event: beyond it an attachment, not a fact
    max_events: Annotated[int, Meta(ge=1, le=100_000)] = 10_000  # in one request: one commit, about 0.1 s
    answers_mb: Annotated[int, Meta(ge=1, le=65_536)] = (
        128  # encoded answers kept until their lead changes, about 5 KB each
    )
    shutdown_timeout_s: Annotated[float, Meta(gt=0, le=9)] = (
        6.0  # for requests in flight; the rest of 10 s is for snapshots
    )
    keep_alive_s: Seconds = 75.0  # longer than the 60 s after which common proxies give an idle connection up
    access_log: bool = False  # a line per request costs a fifth of the throughput; metrics count them anyway


class StoreSettings(Section, frozen=True):
    """``[store]``: the log."""

    kind: Literal["sqlite", "kafka", "memory"] = (
        "sqlite"  # kafka: see `[kafka]`; memory forgets at stop: for trying out
    )
    durability: Literal["power", "process"] = (
        "power"  # process: the last commits may be lost with the machine (not with kafka)
    )
    batch_events: AtLeastOne = 4000  # of one commit, so that it takes below 0.1 s; a larger request is one commit
    pending_events: AtLeastOne = 50_000  # may wait for a commit; further appends wait for room
    heads_max: AtLeastOne = 200_000  # streams whose number and version are in memory, about 300 bytes each
    checkpoint_events: AtLeastOne = 8000  # after so many the write-ahead log is folded back into the file
    checkpoint_interval_s: Seconds = 5.0  # and after this time; emptied when nothing was appended meanwhile
    high_water_interval_s: Seconds = 1.0  # the acknowledged position is synced in a file of its own
    cache_kib: AtLeastOne = 64 * 1024  # page cache of the writer; the reader has a quarter of it


class ActorsSettings(Section, frozen=True):
    """``[actors]``: who is awake, for how long, and what time does."""

    max_awake: AtLeastOne = 50_000  # leads in memory, about 6 KB each
    idle_timeout_s: Seconds = 900.0  # a lead nobody called for this long goes to sleep
    snapshot_interval_s: Seconds = 5.0  # changed leads are written this often: what a crash folds again
    snapshot_slice: AtLeastOne = 50  # leads dumped between two turns of the loop: about 2 ms
    mailbox_events: AtLeastOne = 10_000  # that wait for one busy lead; past it 503
    backlog_max: AtLeastOne = 5000  # unwritten snapshots past which deliveries wait; past twice that 503
    intake_events: AtLeastOne = 100_000  # accepted and not folded yet, of all leads; past it 503
    intake_mb: AtLeastOne = 256  # likewise in memory
    recovery_batch: AtLeastOne = 64  # sleeping leads brought up to date in one go after a crash
    tick_s: Seconds = 1.0  # of the timer wheel
    due_budget: AtLeastOne = 500  # missed deadlines worked off per tick after downtime
    snapshot_max_gb: Annotated[float, Meta(gt=0, le=4096)] = 64.0  # address space of the snapshot file, not disk


class ListsSettings(Section, frozen=True):
    """``[lists]``: ranked lists of leads, and search."""

    columns_max: AtLeastOne = 32  # features kept of every lead, 8 bytes each; the one asked for longest ago gives way
    build_wait_s: Annotated[float, Meta(ge=0, le=60)] = 0.5  # the first question waits so long for its list; then 503
    refresh_s: Seconds = 0.25  # changed leads enter the lists this often, so that a question finds few left to do
    paging_mb: AtLeastOne = 64  # lists somebody pages through stay as begun; past this the longest unused go
    paging_s: Seconds = 600.0  # and after this time without a next page


class StreamSettings(Section, frozen=True):
    """``[stream]``: the change feed."""

    keep_s: Seconds = 600.0  # changes are kept this long for those who resume, and leads followed for them
    keep_changes: AtLeastOne = 100_000  # and at most so many changed values of an organisation, about 200 bytes each
    waiting_max: AtLeastOne = 2000  # entries that wait for one slow listener; past it the listener is reset
    listeners_max: AtLeastOne = 1000  # open streams; past it 503
    leads_max: AtLeastOne = 10_000  # leads held in memory a second time while somebody listens, about 6 KB each
    heartbeat_s: Seconds = 15.0  # a sign of life in silence: proxies give up after 60 s
    send_timeout_s: Seconds = 30.0  # a listener that takes nothing for this long is cut off
    tick_s: Seconds = 0.1  # a change that time makes is told at most this late


class AlertsSettings(Section, frozen=True):
    """``[alerts]``: watching leads for what alert rules hold of them."""

    tick_s: Seconds = 0.25  # an alert is raised at most about so long after what it is about
    marked_max: AtLeastOne = 200_000  # leads that wait to be looked at, 400 bytes each; past it all leads are looked at
    market_s: Seconds = 60.0  # all leads are looked at no more often than this where a rule is about the market


class BanditSettings(Section, frozen=True):
    """``[bandit]``: what holds for all policies; the rest is each policy's own."""

    version_updates: AtLeastOne = 1000  # a version of a model after so many updates, to roll back to; changed: all anew
    version_interval_s: Seconds = 3600.0  # and before the first update that comes so long after the last version


class EngagementWeights(Section, frozen=True):
    """What each action of the browsing pack is worth."""

    view: Weight = 1.0
    click: Weight = 2.0
    inquiry: Weight = 3.0
    message: Weight = 4.0
    schedule: Weight = 5.0


class BrowsingSettings(Section, frozen=True):
    """``[org.X.browsing]``."""

    min_interactions: AtLeastOne = 1  # below it every feature of the view is null
    max_interaction_gap_hours: Annotated[float, Meta(gt=0, le=8760)] = 72.0  # a longer gap starts a new session
    engagement_weights: EngagementWeights = EngagementWeights()
    business_hours: tuple[Annotated[int, Meta(ge=0, le=24)], Annotated[int, Meta(ge=0, le=24)]] = (
        9,
        17,
    )  # local, [from, to)


class OrgSettings(Section, frozen=True):
    """``[org.X]``: one organisation."""

    timezone: str = "UTC"  # IANA: hours, weekdays and dates of the features are local to it
    currency: Annotated[str, Meta(min_length=1)] = "USD"  # ISO 4217: amounts in another one are refused
    packs: tuple[str, ...] = (
        "commerce",
        "tutoring",
        "service",
        "browsing",
        "sales",
    )  # built-in names, or modules of your own
    subjects: tuple[str, ...] = DEFAULT_SUBJECTS  # of the market
    ranked: tuple[str, ...] = ()  # features whose lists are built at start; others when a list is first asked for
    max_clock_skew_s: Annotated[float, Meta(ge=0, le=86_400)] = 300.0  # an event further ahead of the clock is refused
    trigger_max_age_s: NotNegative = 86_400  # an older event moves features, but triggers nothing
    absence_grace_s: NotNegative = 3600  # an absence is written this long after its cause and old news were recorded
    prompt_template: str = ""  # file with the template of prompt blocks, relative to this file; empty: the one shipped
    browsing: BrowsingSettings = BrowsingSettings()
    free_email_domains: tuple[str, ...] = DEFAULT_FREE_EMAIL_DOMAINS  # an address there tells nothing of a company
    scoring: dict[str, ScoringSettings] = msgspec.field(default_factory=dict)
    webhooks: dict[str, WebhookSettings] = msgspec.field(default_factory=dict)
    topics_in: dict[str, TopicInSettings] = msgspec.field(default_factory=dict)
    topics_out: dict[str, TopicOutSettings] = msgspec.field(default_factory=dict)

    def scoring_of(self, configuration: str) -> ScoringSettings | None:
        """A scoring configuration by its name; ``default`` exists without being written."""
        written = self.scoring.get(configuration)
        return _DEFAULT_SCORING if written is None and configuration == DEFAULT_CONFIGURATION else written


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, as loaded. ``sources`` says per dotted key where it came from; what is not in it is a default."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    actors: ActorsSettings = ActorsSettings()
    kafka: KafkaSettings = KafkaSettings()
    nodes: NodesSettings = NodesSettings()
    lists: ListsSettings = ListsSettings()
    stream: StreamSettings = StreamSettings()
    alerts: AlertsSettings = AlertsSettings()
    bandit: BanditSettings = BanditSettings()
    org: dict[str, OrgSettings] = {}
    sources: dict[str, str] = {}

    def of_org(self, name: str) -> OrgSettings:
        """The org's table, or the defaults of an org that exists by a key alone."""
        return self.org.get(name, _DEFAULT_ORG_SETTINGS)


_DEFAULT_SCORING = ScoringSettings()
_DEFAULT_ORG_SETTINGS = OrgSettings()
SECTIONS: dict[str, type[Section]] = {
    "server": ServerSettings,
    "store": StoreSettings,
    "kafka": KafkaSettings,
    "nodes": NodesSettings,
    "actors": ActorsSettings,
    "lists": ListsSettings,
    "stream": StreamSettings,
    "alerts": AlertsSettings,
    "bandit": BanditSettings,
}


def source_of(key: str, sources: dict[str, str]) -> str:
    """Where a dotted key came from: its own source, or that of the nearest table around it."""
    while key:
        if key in sources:
            return sources[key]
        key = key.rpartition(".")[0]
    return "default"


def check_relations(settings: Settings) -> None:
    """The relations and forms that types cannot say."""
    server, store, actors = settings.server, settings.store, settings.actors

    def must(holds: bool, key: str, expected: str) -> None:
        if not holds:
            raise SettingsError(key, source_of(key, settings.sources), expected)

    must(
        store.pending_events >= server.max_events,
        "store.pending_events",
        f"expected at least server.max_events ({server.max_events}), or the largest request could never be stored",
    )
    must(
        actors.intake_events >= server.max_events,
        "actors.intake_events",
        f"expected at least server.max_events ({server.max_events}), or the largest request could never be taken",
    )
    must(
        actors.mailbox_events <= actors.intake_events,
        "actors.mailbox_events",
        f"expected at most actors.intake_events ({actors.intake_events})",
    )
    check_kafka(settings.kafka, is_used=store.kind == "kafka", must=must)
    check_nodes(settings.nodes, is_kafka=store.kind == "kafka", must=must)
    for name, org in settings.org.items():
        _check_org(f"org.{name}", org, must)
        check_topics(f"org.{name}", org.topics_in, org.topics_out, settings.kafka, must)


def _check_org(key: str, org: OrgSettings, must: Must) -> None:
    must(
        _is_zone(org.timezone),
        f"{key}.timezone",
        f"expected an IANA time zone like Europe/Berlin, got {org.timezone!r}",
    )
    must(
        bool(_CURRENCY.fullmatch(org.currency)),
        f"{key}.currency",
        f"expected three letters like EUR, got {org.currency!r}",
    )
    must(len(set(org.packs)) == len(org.packs), f"{key}.packs", "expected each pack once")
    for pack in org.packs:
        must(bool(_PACK.fullmatch(pack)), f"{key}.packs", f"expected names of packs or modules, got {pack!r}")
    must(len(set(org.subjects)) == len(org.subjects), f"{key}.subjects", "expected each subject once")
    for subject in org.subjects:
        must(bool(_SUBJECT.fullmatch(subject)), f"{key}.subjects", f"expected [a-z0-9_]{{1,64}}, got {subject!r}")
    for domain in org.free_email_domains:
        must(domain == domain.strip().lower() and "@" not in domain, f"{key}.free_email_domains", f"got {domain!r}")
    start, end = org.browsing.business_hours
    must(
        start < end, f"{key}.browsing.business_hours", f"expected [from, to] with from before to, got [{start}, {end}]"
    )
    for name, scoring in org.scoring.items():
        check_scoring(f"{key}.scoring.{name}", scoring, must)
    for name, webhook in org.webhooks.items():
        told = " and ".join(ALWAYS_TOLD)
        must(name not in ALWAYS_TOLD, f"{key}.webhooks.{name}", f"expected another name: {told} are always told")
        check_webhook(f"{key}.webhooks.{name}", webhook, must)


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True

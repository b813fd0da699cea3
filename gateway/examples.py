"""An example of each body, by the name of its struct or its media type: what the OpenAPI document shows.

``tests/unit/gateway/test_openapi.py`` decodes every one of them into its struct.
"""

from typing import Any

from gateway.examples_scoring import SCORING_EXAMPLES

_EVENT = {
    "id": "order-4711",
    "lead": "42",
    "type": "purchase_completed",
    "time": "2026-11-21T10:00:00+01:00",
    "data": {"amount": "12.50", "channel": "store"},
    "source": "shop",
}
_CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "A-4711",
    "source": "/shop/berlin",
    "type": "purchase_completed",
    "subject": "42",
    "time": "2026-11-21T10:00:00+01:00",
    "datacontenttype": "application/json",
    "data": {"amount": "12.50", "channel": "store"},
}
_LOGGED = {
    **_EVENT,
    "time": "2026-11-21T09:00:00.000000Z",
    "version": 7,
    "position": "0000000000004711",
    "recorded": "2026-11-21T09:00:00.412000Z",
    "retracted": False,
}
_FEATURE = {
    "feature": "rfm:monetary_avg_ticket",
    "view": "rfm",
    "dtype": "float",
    "unit": "currency",
    "range": "",
    "null_means": "no purchase yet",
    "description": "mean amount of a purchase",
    "affected_by": ["purchase_completed"],
    "windows": [],
    "fingerprint": "7d84c5529f11fd7b",
    "definition": "0e95b07b74447075",
    "settings": {},
    "pack": "commerce",
    "vocabulary": [],
}
_SERVICE = {
    "name": "next-best-offer",
    "version": 1,
    "features": ["rfm:recency_days", "rfm:monetary_total"],
    "fingerprint": "0770a5a466a590cd",
    "defined": "2026-11-21T10:00:00.000000Z",
}
_JOB = {
    "id": "0194f0c2-8a1e-7c3d-9b2f-6a5d4e3c2b1a",
    "kind": "verify",
    "state": "running",
    "created": "2026-11-21T10:00:00.000000Z",
    "ended": None,
    "progress": {"done": 120, "total": 2379, "unit": "leads", "rate": 60.0, "eta_s": 37.7},
    "result": None,
    "error": None,
    "log": [{"at": "2026-11-21T10:00:00.000000Z", "text": "2379 leads"}],
}
_POLICY = {
    "arms": [
        {"id": "mail-anna", "features": {"agent": "anna", "channel": "mail", "cost": 0.1}, "enabled": True},
        {"id": "call-ben", "features": {"agent": "ben", "channel": "phone", "cost": 4}, "enabled": True},
    ],
    "context": "next-best-offer",
    "learner": {"kind": "linear", "exploration": "", "args": ""},
    "baseline": "mail-anna",
    "floor": 0.02,
    "seed": 1,
    "reward": {
        "rules": [{"on": "purchase_completed", "within_s": 1209600, "value": "amount / 100"}],
        "wait_s": 1209600,
        "default": 0,
        "aggregation": "sum",
        "attribution": "last",
    },
    "guardrails": {
        "share": {"call-ben": {"min": 0, "max": 0.5}},
        "per_day": {"call-ben": 40},
        "eligible": {"call-ben": "rfm.monetary_total > 100.0"},
        "per_lead_week": {"total": 3, "arms": {}, "channels": {"phone": 1}},
        "opt_out": None,
        "holdout": 0.05,
        "apprentice": False,
        "kill": False,
    },
}
_POLICY_DOCUMENT = {"name": "offers", "version": 1, "defined": "2026-11-21T10:00:00.000000Z", **_POLICY}
_DECISION = {
    "decision_id": "d-4711",
    "arm": "mail-anna",
    "probability": 0.87,
    "ranking": [
        {"arm": "mail-anna", "probability": 0.87, "score": 0.21},
        {"arm": "call-ben", "probability": 0.13, "score": 0.17},
    ],
    "model_version": "1.250",
    "policy_version": 1,
    "reason": "exploit",
}
_DECISION_DOCUMENT = {
    **_DECISION,
    "policy": "offers",
    "lead": "42",
    "context": {"rfm:recency_days": 3, "rfm:monetary_total": 641.25, "page": "prices"},
    "state": "settled",
    "rewards": [{"id": "~order-4711/0", "value": 0.125, "at": "2026-11-21T12:00:00.000000Z"}],
    "reward": 0.125,
    "decided": "2026-11-21T10:00:00.000000Z",
}
_MODEL = {
    "version": "1.250",
    "updates": 250,
    "position": "0000000000004711",
    "recorded": "2026-11-21T10:00:00.000000Z",
    "settings": {"kind": "linear", "exploration": "", "args": ""},
    "library": "numpy",
    "sha256": "9f31c1d7a0b2e4f6",
    "size_bytes": 18211,
    "kept": True,
    "decides": False,
}
_DEAD_LETTER = {
    "id": "3-7",
    "event_id": "order-4711",
    "type": "purchase_completed",
    "error": "ZeroDivisionError: division by zero",
    "at": "2026-11-21T10:00:00.000000Z",
    "lead": "42",
}
_ALERT_RULE = {
    "when": "prediction.churn_risk_30d > 0.6 && rfm.monetary_total > 500.0",
    "until": "prediction.churn_risk_30d < 0.5",
    "severity": "high",
    "cooldown_s": 86400,
    "sinks": ["crm"],
}
_ALERT_RULE_DOCUMENT = {"name": "valuable-and-leaving", "version": 1, **_ALERT_RULE, "built_in": False, "error": None}
_ALERT = {
    "id": "5f3c0d1e9b7a48c2a6d4e8f0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0",
    "lead": "42",
    "rule": "valuable-and-leaving",
    "episode": 1,
    "severity": "high",
    "when": "prediction.churn_risk_30d > 0.6 && rfm.monetary_total > 500.0",
    "values": {"prediction:churn_risk_30d": 0.71, "rfm:monetary_total": 641.25},
    "sinks": ["crm"],
    "state": "acknowledged",
    "raised_at": "2026-11-21T10:00:00.000000Z",
    "acknowledged_at": "2026-11-21T10:05:00.000000Z",
    "resolved_at": None,
    "resolved_by": None,
}
_WEBHOOK_DEAD_LETTER = {
    "id": "0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c05f3c0d1e9b7a48c2a6d4e8f",
    "webhook": "crm",
    "webhook_id": "raised_5f3c0d1e9b7a48c2a6d4e8f0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0",
    "type": "alert.raised",
    "alert": "5f3c0d1e9b7a48c2a6d4e8f0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0",
    "lead": "42",
    "attempts": 12,
    "error": "answered 500: try later",
    "at": "2026-11-21T11:10:00.000000Z",
}

#: Name of a struct, or a media type without one → a value of it.
EXAMPLES: dict[str, Any] = {
    "EventDocument": _EVENT,
    "application/x-ndjson": '{"lead": "42", "type": "message_received", "data": {"conversation_id": "c-1"}}\n'
    '{"lead": "43", "type": "campaign_opened", "data": {"campaign_id": "spring"}}\n',
    "CloudEvent": _CLOUD_EVENT,
    "IngestAnswer": {
        "accepted": 2,
        "duplicates": 1,
        "rejected": [
            {
                "index": 3,
                "code": "event_invalid",
                "path": "data.amount",
                "expected": "a number or decimal string from 0 to 10^12 with at most 6 decimals",
                "actual": "-1",
                "detail": "data.amount: expected a number or decimal string from 0 to 10^12 with at most 6 decimals,"
                " got -1",
            }
        ],
        "dead": 0,
        "last_position": "0000000000004711",
    },
    "FeaturesAnswer": {
        "lead": "42",
        "as_of": "2026-11-21T10:00:00.000000Z",
        "next_change": "2026-11-22T09:59:59.000000Z",
        "catalogue": "f3a9c1",
        "values": {"rfm:recency_days": 3, "rfm:monetary_avg_ticket": None},
    },
    "BatchRequest": {"leads": ["42", "43"], "features": ["rfm:recency_days", "rfm:monetary_total"]},
    "BatchAnswer": {
        "names": ["rfm:recency_days", "rfm:monetary_total"],
        "as_of": "2026-11-21T10:00:00.000000Z",
        "catalogue": "f3a9c1",
        "results": [
            {"lead": "42", "status": "found", "values": [3, 641.25]},
            {"lead": "43", "status": "not_found", "values": None},
        ],
    },
    "ExtractRequest": {
        "events": [{"type": "purchase_completed", "time": "2026-11-18T10:00:00Z", "data": {"amount": 12.5}}],
        "at": "2026-11-21T10:00:00Z",
        "views": ["rfm"],
    },
    "Timeline": {"items": [_LOGGED], "cursor": None},
    "LeadList": {
        "items": [
            {
                "lead": "42",
                "values": {"rfm:monetary_total": 641.25},
                "name": "Anna Müller",
                "email": "anna@example.com",
                "company": None,
                "as_of": "2026-11-21T10:00:00.000000Z",
            }
        ],
        "cursor": None,
    },
    "ExplainAnswer": {
        "feature": "rfm:frequency_purchases_90d",
        "as_of": "2026-11-21T10:00:00.000000Z",
        "value": 1,
        "sentence": "Number of purchases in the last 90 days: 1, from one event, the purchase_completed of 2026-11-21"
        " 09:00 UTC.",
        "definition": "count(purchase_completed) over 90 days",
        "window": {"from": "2026-08-23T10:00:00.000000Z", "to": "2026-11-21T10:00:00.000000Z"},
        "events": [{"id": "order-4711", "type": "purchase_completed", "time": "2026-11-21T09:00:00.000000Z"}],
        "event_count": 1,
        "next_change": "2027-02-19T09:00:00.000000Z",
        "next_value": 0,
    },
    "HistoryAnswer": {
        "names": ["rfm:recency_days", "rfm:monetary_total"],
        "items": [
            {"at": "2026-11-21T09:00:00.000000Z", "values": [0, 641.25]},
            {"at": "2026-11-22T09:00:00.000000Z", "values": [1, 641.25]},
        ],
    },
    "PromptAnswer": {
        "lead": "42",
        "as_of": "2026-11-21T10:00:00.000000Z",
        "text": "Total of purchases: 641.25 EUR\nLast purchase: less than a day ago",
        "facts": [
            {"label": "Total of purchases", "value": "641.25 EUR", "features": ["rfm:monetary_total"]},
            {
                "label": "Last purchase",
                "value": "less than a day ago",
                "features": ["behavior:days_since_last_purchase"],
            },
        ],
        "omitted": 0,
    },
    "SubjectAnswer": {
        "subject": "algebra",
        "as_of": "2026-11-21T10:00:00.000000Z",
        "next_change": "2026-11-28T09:00:00.000000Z",
        "catalogue": "f992d3e9b021088b",
        "values": {"market:utilization_rate_algebra": 0.0, "market:tutor_count_algebra": 1},
    },
    "ServiceRequest": {"features": _SERVICE["features"]},
    "ServiceDocument": _SERVICE,
    "ServiceList": {"items": [_SERVICE], "cursor": None},
    "FeatureDocument": _FEATURE,
    "FeatureList": {"items": [_FEATURE], "cursor": "WyI5ZjMxYzIiXQ"},
    "Policy": _POLICY,
    "PolicyDocument": _POLICY_DOCUMENT,
    "PolicyList": {"items": [_POLICY_DOCUMENT], "cursor": None},
    "Request": {"lead": "42", "context": {"page": "prices"}, "exclude": ["call-ben"], "decision_id": "d-4711"},
    "Decision": _DECISION,
    "RewardRequest": {"value": 0.2, "id": "reply-1"},
    "RewardAnswer": {"late": False, "learned": True, "duplicate": False},
    "ActivationAnswer": {"late": False},
    "DecisionDocument": _DECISION_DOCUMENT,
    "DecisionList": {"items": [_DECISION_DOCUMENT], "cursor": None},
    "ModelList": {"items": [_MODEL], "cursor": None, "deciding": None},
    "RollbackRequest": {"version": "1.250"},
    "RollbackAnswer": {"deciding": "1.250"},
    "JobRequest": {"kind": "verify", "sample": 100},
    "JobDocument": _JOB,
    "JobList": {"items": [_JOB], "cursor": None},
    "DeadLetterList": {"items": [_DEAD_LETTER], "cursor": None},
    "Retried": {"folded": True},
    "AlertRuleRequest": _ALERT_RULE,
    "AlertRuleDocument": _ALERT_RULE_DOCUMENT,
    "AlertRuleList": {"items": [_ALERT_RULE_DOCUMENT], "cursor": None},
    "Alert": _ALERT,
    "AlertList": {"items": [_ALERT], "cursor": None},
    "WebhookDeadLetterList": {"items": [_WEBHOOK_DEAD_LETTER], "cursor": None},
    "Redelivered": {"delivered": True},
    **SCORING_EXAMPLES,
    "Health": {"status": "ok"},
    "Readiness": {"status": "ready", "reasons": []},
    "Version": {"name": "leadwheel", "version": "1.0.0"},
}

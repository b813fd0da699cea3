"""Examples of the bodies of lead scoring and of its models, as ``examples`` has those of all others."""

from typing import Any

_PREDICTION = {
    "id": "7d84c5529f11fd7b.conversion",
    "leadId": "42",
    "configId": "default",
    "type": "CONVERSION",
    "probability": 0.41,
    "confidence": 0.83,
    "score": 41.0,
    "priority": 50,
    "tier": "high",
    "daysToClose": {
        "expected": 21.5,
        "optimistic": 9.0,
        "pessimistic": 48.0,
        "factors": ["Needs somebody else's decision"],
        "accelerators": ["A meeting is held or scheduled"],
    },
    "breakdown": {"demographic": 18.0, "behavioral": 21.0, "temporal": 14.0, "engagement": 9.0},
    "explanation": {
        "base": 6.0,
        "items": [
            {"feature": "activity:meeting_count", "value": 1, "contribution": 22.5},
            {"feature": "timing:days_since_last_activity", "value": 0, "contribution": 14.0},
            {"feature": "other", "value": None, "contribution": -1.5},
        ],
    },
    "riskFactors": [{"code": "missing_title", "severity": "low", "text": "No title is known"}],
    "recommendations": [
        {
            "kind": "follow_up",
            "priority": 1,
            "text": "Write or call personally",
            "reason": "The lead is in the high tier",
            "dueAt": "2026-11-24T10:00:00.000000Z",
        }
    ],
    "source": "model",
    "modelVersion": "conversion-0002",
    "createdAt": "2026-11-21T10:00:00.000000Z",
    "validated": False,
    "wasAccurate": None,
}
_SPAN = {"rows": 24269, "positives": {"conversion": 1638}}
_CARD = {
    "family": "conversion",
    "estimator": "boosting",
    "created_us": 1795255200000000,
    "log_until_us": 1795240800000000,
    "horizon_days": 30.0,
    "seed": 1,
    "slices": {
        "train": {"from_us": 1772323200000000, "until_us": 1784419200000000, **_SPAN},
        "calibration": {"from_us": 1787011200000000, "until_us": 1788566400000000, **_SPAN},
        "test": {"from_us": 1791158400000000, "until_us": 1792627200000000, **_SPAN},
    },
    "outcomes": {"conversion": "deal_won or purchase_completed within 30 days"},
    "metrics": {
        "conversion": {
            "measures": {"auc": {"value": 0.821, "low": 0.813, "high": 0.83}},
            "bins": [{"predicted": 0.012, "observed": 0.011, "rows": 2427}],
        }
    },
    "beats_rules": True,
    "notes": ["boosting was kept for its log loss on the calibration rows (boosting 0.1913, logistic 0.1923)"],
    "features": ["timing:days_since_last_activity"],
    "columns": ["timing:days_since_last_activity"],
    "fingerprint": "ee0badc6388f7281",
    "calibration": {"conversion": "isotonic"},
    "thresholds": {"bestF1": 0.17},
    "coverage": {"timing:days_since_last_activity": 0.98},
    "reference": {"timing:days_since_last_activity": {"edges": [1.0, 7.0], "shares": [0.4, 0.3, 0.28, 0.02]}},
    "importance": [{"feature": "timing:days_since_last_activity", "importance": 0.068, "std": 0.005}],
    "libraries": {"scikit-learn": "1.9.1", "skops": "0.16.0"},
    "asked": {"outcome": None, "horizon_days": None, "at": [], "features": None, "step_days": 15, "seed": 1},
    "beats_champion": True,
}
_MODEL = {
    "id": "conversion-0002",
    "family": "conversion",
    "config": "default",
    "state": "champion",
    "promoted": "2026-11-21T10:00:00.000000Z",
    "refused": None,
    "sha256": "c7f9390c9614f682b903e678c05f2aa80ba6b35654cb59cf9f113aa443f03d73",
    "size_bytes": 58597,
    "drift": {
        "measured": "2026-11-21T11:00:00.000000Z",
        "leads": 1000,
        "share": 0.04,
        "columns": {"timing:days_since_last_activity": 0.03},
    },
    "card": _CARD,
}

SCORING_EXAMPLES: dict[str, Any] = {
    "PredictRequest": {"forceRefresh": False, "ruleBasedOnly": False, "configId": "default"},
    "BulkRequest": {"limit": 1000, "minScore": 20, "forceRefresh": False},
    "BulkAnswer": {"jobId": "0194f0c2-8a1e-7c3d-9b2f-6a5d4e3c2b1a"},
    "ValidateRequest": {"wasAccurate": True},
    "Prediction": _PREDICTION,
    "PredictionList": {"items": [_PREDICTION], "cursor": None},
    "ModelRecord": _MODEL,
    "ScoringModelList": {"items": [_MODEL], "cursor": None},
}

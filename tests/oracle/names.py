"""Every built-in feature by name and dtype, in the order of the specification's tables."""

from typing import Literal, NamedTuple

Dtype = Literal["int", "float", "string", "list"]

SUBJECTS = [
    "algebra",
    "geometry",
    "calculus",
    "statistics",
    "physics",
    "chemistry",
    "biology",
    "computer_science",
    "programming",
    "engineering",
    "english",
    "writing",
    "history",
    "geography",
    "economics",
    "spanish",
    "french",
    "sat_prep",
    "act_prep",
    "gre_prep",
]


class Name(NamedTuple):
    """One feature: its reference ``view:name``, its dtype, its pack."""

    reference: str
    dtype: Dtype
    pack: str

    @property
    def view(self) -> str:
        return self.reference.split(":")[0]


# A row is "name dtype"; "{w}" stands for 7d, 14d, 30d.
_TABLES: dict[str, dict[str, str]] = {
    "commerce": {
        "rfm": """
            recency_days int
            frequency_conversations_30d int
            frequency_purchases_90d int
            monetary_total float
            monetary_avg_ticket float
        """,
        "engagement": """
            avg_response_time_seconds float
            avg_messages_per_conversation float
            sentiment_avg_30d float
        """,
        "behavior": """
            discount_request_rate float
            conversion_rate float
            support_ticket_rate_30d int
            days_since_last_purchase int
            has_purchased int
            engagement_score float
        """,
        "temporal": """
            preferred_hour_of_day int
            preferred_day_of_week int
            channel_diversity int
        """,
        "campaign": """
            campaign_open_rate float
            campaign_click_rate float
            campaigns_received_30d int
            campaign_ignored int
        """,
    },
    "tutoring": {
        "window": """
            session_count_{w} int
            session_frequency_{w} float
            avg_session_rating_{w} float
            session_completion_rate_{w} float
            cancellation_rate_{w} float
            no_show_rate_{w} float
            avg_session_duration_{w} float
            ib_call_count_{w} int
            avg_call_duration_{w} float
            negative_sentiment_calls_{w} int
            escalation_count_{w} int
            login_count_{w} int
            message_count_{w} int
            days_active_{w} int
            payment_success_rate_{w} float
            payment_amount_{w} float
        """,
        "recency": """
            days_since_last_session int
            days_since_last_login int
            days_since_last_payment int
            days_since_last_ib_call int
            days_since_signup int
        """,
        "lifetime": """
            total_sessions_lifetime int
            total_spend_lifetime float
            customer_tenure_days int
            subscription_tier int
            first_session_was_success int
            referral_count int
            avg_lifetime_rating float
        """,
        "tutor": """
            primary_tutor_rating float
            tutor_consistency_score float
            tutor_switch_count_30d int
            avg_tutor_response_time float
            tutor_cancellation_rate float
        """,
        "segment": """
            acquisition_channel string
            student_grade_level int
            primary_subject_category string
            geographic_region string
        """,
        "trend": """
            session_velocity_change float
            rating_trend float
            engagement_trend int
            spend_acceleration float
        """,
    },
    "service": {
        "customer": """
            satisfaction_avg float
            service_count int
            lifetime_value string
            first_seen string
            last_updated string
        """,
        "property": """
            city string
            state string
            zip string
            property_type string
            square_feet int
            year_built int
            pest_issues list
        """,
    },
    "browsing": {
        "interaction": """
            total_interactions int
            unique_action_types int
            days_since_first int
            days_since_last int
            interaction_timespan_days int
            view_frequency float
            click_frequency float
            inquiry_frequency float
            message_frequency float
            schedule_frequency float
            peak_hour int
            peak_day int
            weekend_ratio float
            business_hours_ratio float
            engagement_score_total float
            engagement_score_avg float
            engagement_score_median float
            total_sessions int
            avg_session_length_minutes float
            avg_actions_per_session float
        """,
    },
    "sales": {
        "demographic": """
            has_company int
            has_title int
            has_phone int
            email_domain_type string
            title_seniority string
            company_size_estimate string
        """,
        "activity": """
            email_open_count int
            email_click_count int
            page_view_count int
            form_submit_count int
            meeting_count int
            call_count int
            activity_velocity float
            channel_diversity int
            high_value_action_count int
        """,
        "timing": """
            days_since_created int
            days_since_last_activity int
            recency_score float
            activity_burst int
            day_pattern string
            time_pattern string
        """,
        "outreach": """
            email_open_rate float
            email_click_rate float
            sequence_engagement float
            avg_response_time float
            is_in_active_sequence int
        """,
    },
}

_MARKET = "supply_demand_ratio float avg_match_time float utilization_rate float tutor_count int"


def _pairs(table: str) -> list[tuple[str, Dtype]]:
    words = table.split()
    return list(zip(words[::2], words[1::2], strict=True))  # type: ignore[arg-type]


def _expanded(name: str) -> list[str]:
    return [name.replace("{w}", window) for window in ("7d", "14d", "30d")] if "{w}" in name else [name]


LEAD_FEATURES: tuple[Name, ...] = tuple(
    Name(f"{view}:{expanded}", dtype, pack)
    for pack, views in _TABLES.items()
    for view, table in views.items()
    for name, dtype in _pairs(table)
    for expanded in _expanded(name)
)

MARKET_FEATURES: tuple[Name, ...] = tuple(
    Name(f"market:{name}_{subject}", dtype, "tutoring") for name, dtype in _pairs(_MARKET) for subject in SUBJECTS
)

DTYPES: dict[str, Dtype] = {each.reference: each.dtype for each in (*LEAD_FEATURES, *MARKET_FEATURES)}

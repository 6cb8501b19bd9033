"""The gold tables about persons: each reads the days on which persons were active."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal

from pipelines.settings import Settings, Site, Sites, TierSettings

from .sessions import Row, Session

WEEK, MONTH = 7, 30
"""Days of the trailing windows, the date itself included."""

LAST_N = {"day": 90, "week": 52, "month": 24}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _ratio(part: int, whole: int) -> float:
    """part / whole in one division; 0 where there is no whole."""
    return part / whole if whole else 0.0


ActiveDays = dict[date, set[str]]


def _active_days(user_days: list[Row], sites: Sites) -> dict[str, ActiveDays]:
    """Site → date → persons active on it."""
    active: dict[str, ActiveDays] = defaultdict(lambda: defaultdict(set))
    for day in user_days:
        if day["events"] >= sites.of(day["site_id"]).activity_threshold:
            active[day["site_id"]][day["date"]].add(day["person_id"])
    return active


def _dates_by_person(active: ActiveDays, last: date = date.max) -> dict[str, set[date]]:
    """Person → dates up to `last` on which they were active."""
    dates: dict[str, set[date]] = defaultdict(set)
    for day, persons in active.items():
        for person in persons:
            if day <= last:
                dates[person].add(day)
    return dates


def _days_with_a_month(active: Iterable[date]) -> list[date]:
    """Every date whose 30-day window holds an active day, whether or not it is one itself."""
    return sorted({day + timedelta(days=ahead) for day in active for ahead in range(MONTH)})


def _persons(active: ActiveDays, last: date, days: int) -> list[str]:
    """Persons of the `days` days that end on `last`, once for each day on which they were active."""
    return [person for back in range(days) for person in active.get(last - timedelta(days=back), ())]


# --- windows --------------------------------------------------------------------------------------------------------


def _users(active: ActiveDays) -> list[Row]:
    """Distinct persons of the date, the week and the month that end on it."""
    rows = []
    for day in _days_with_a_month(active):
        dau, wau, mau = (len(set(_persons(active, day, window))) for window in (1, WEEK, MONTH))
        rows.append({"date": day, "dau": dau, "wau": wau, "mau": mau, "stickiness": _ratio(dau, mau)})
    return rows


def active_users_daily(user_days: list[Row], sites: Sites) -> list[Row]:
    return [
        {"site_id": site_id, **row}
        for site_id, active in _active_days(user_days, sites).items()
        for row in _users(active)
    ]


def active_users_by_segment_daily(
    user_days: list[Row], sessions: list[Row], sites: Sites, settings: Settings
) -> list[Row]:
    """The same within each segment: an active day counts in the segments that it shows."""
    segments: dict[tuple[str, str, str], ActiveDays] = defaultdict(lambda: defaultdict(set))
    for site_id, active in _active_days(user_days, sites).items():
        if "tier" in settings.segments:
            for day, persons in active.items():
                active_days = Counter(_persons(active, day, MONTH))
                for person in persons:
                    value = _tier(active_days[person], settings.tiers)
                    if value is not None:
                        segments[site_id, "tier", value][day].add(person)
        for session in sessions:
            day, person = session["session_date"], session["person_id"]
            if session["site_id"] == site_id and session["is_countable"] and person in active.get(day, ()):
                for dimension in settings.segments:
                    if dimension != "tier":
                        value = "(unknown)" if session[dimension] is None else session[dimension]
                        segments[site_id, dimension, value][day].add(person)
    return [
        {"site_id": site_id, "dimension": dimension, "value": value, **row}
        for (site_id, dimension, value), active in segments.items()
        for row in _users(active)
    ]


def activity_histogram(user_days: list[Row], sites: Sites) -> list[Row]:
    """Persons by how many of the 30 days that end on the date they were active on."""
    return [
        {"site_id": site_id, "date": day, "active_days": days, "users": users}
        for site_id, active in _active_days(user_days, sites).items()
        for day in _days_with_a_month(active)
        for days, users in Counter(Counter(_persons(active, day, MONTH)).values()).items()
    ]


def engagement_tiers_daily(user_days: list[Row], sites: Sites, tiers: TierSettings) -> list[Row]:
    """The same by tier."""
    rows = []
    for site_id, active in _active_days(user_days, sites).items():
        for day in _days_with_a_month(active):
            active_days = Counter(_persons(active, day, MONTH))
            users = Counter(_tier(days, tiers) for days in active_days.values())
            rows += [
                {"site_id": site_id, "date": day, "tier": tier, "users": count}
                for tier, count in users.items()
                if tier is not None
            ]
    return rows


def _tier(active_days: int, tiers: TierSettings) -> str | None:
    least = {"power": tiers.power, "core": tiers.core, "regular": tiers.regular, "casual": tiers.casual}
    return next((tier for tier, days in least.items() if active_days >= days), None)


# --- periods --------------------------------------------------------------------------------------------------------


def _start(period: str, day: date, site: Site) -> date:
    """First date of the period that holds the day."""
    if period == "month":
        return day.replace(day=1)
    while period == "week" and WEEKDAYS[day.weekday()] != site.week_start:
        day -= timedelta(days=1)
    return day


def _following(period: str, start: date) -> date:
    """Start of the period after the one that starts then."""
    if period == "month":
        return (start + timedelta(days=31)).replace(day=1)
    return start + timedelta(days=WEEK if period == "week" else 1)


def lifecycle(user_days: list[Row], sites: Sites) -> list[Row]:
    """Each period with activity, and each after one: who is in both, only in this, only in the one before."""
    rows = []
    for site_id, active in _active_days(user_days, sites).items():
        for period in LAST_N:
            persons: dict[date, set[str]] = defaultdict(set)
            for day, found in active.items():
                persons[_start(period, day, sites.of(site_id))] |= found
            before = {_following(period, start): found for start, found in persons.items()}
            for start in {*persons, *before}:
                here, there = persons.get(start, set()), before.get(start, set())
                ever = {person for earlier, found in persons.items() if earlier < start for person in found}
                counts = {
                    "new": len(here - ever),
                    "returning": len(here & there),
                    "resurrected": len((here & ever) - there),
                    "dormant": -len(there - here),
                }
                if any(counts.values()):
                    rows.append({"site_id": site_id, "period": period, "period_start": start, **counts})
    return rows


def cohort_retention(user_days: list[Row], sites: Sites, as_of: date) -> list[Row]:
    rows = []
    for site_id, active in _active_days(user_days, sites).items():
        dates = _dates_by_person(active, as_of)
        for period in LAST_N:
            cohorts: dict[date, list[str]] = defaultdict(list)
            for person, days in dates.items():
                cohorts[_start(period, min(days), sites.of(site_id))].append(person)
            for start, members in cohorts.items():
                rows += [
                    {"site_id": site_id, "period": period, "cohort_start": start, **row}
                    for row in _cohort(period, start, [dates[person] for person in members], as_of)
                ]
    return rows


def _cohort(period: str, start: date, members: list[set[date]], as_of: date) -> list[Row]:
    rows: list[Row] = []
    begin = start
    for n in range(LAST_N[period] + 1):
        end = _following(period, begin)  # the first date after it
        if end > as_of + timedelta(days=1):
            break
        active = sum(any(begin <= day < end for day in days) for days in members)
        later = sum(any(begin <= day for day in days) for days in members)
        stickiness = None
        if period == "day":
            window = begin - timedelta(days=min(30, n + 1) - 1)
            stickiness = _ratio(active, sum(any(window <= day <= begin for day in days) for days in members))
        rows.append(
            {
                "n": n,
                "cohort_size": len(members),
                "active": active,
                "retention": active / len(members),
                "unbounded_retention": later / len(members),
                "stickiness": stickiness,
            }
        )
        begin = end
    return rows


# --- profiles -------------------------------------------------------------------------------------------------------


def user_engagement(
    user_days: list[Row], sessions: list[Session], sites: Sites, settings: Settings, as_of: date
) -> list[Row]:
    rows = []
    for site_id, active in _active_days(user_days, sites).items():
        site = sites.of(site_id)
        for person, days in _dates_by_person(active, as_of).items():
            recent = [as_of - timedelta(days=back) for back in range(MONTH)]
            started = [
                day["sessions"]
                for day in user_days
                if (day["site_id"], day["person_id"]) == (site_id, person) and day["date"] in recent
            ]
            own = [
                session
                for session in sessions
                if (session.site_id, session.events[0]["person_id"]) == (site_id, person)
                and session.is_countable
                and session.session_date in recent
            ]
            zero = 0 if site.single_event_duration == "zero" else None
            durations = [zero if session.duration_us is None else session.duration_us for session in own]
            measured = [duration for duration in durations if duration is not None]
            profile = {
                "site_id": site_id,
                "person_id": person,
                "as_of_date": as_of,
                "first_active_date": min(days),
                "active_days_30": len(days.intersection(recent)),
                "avg_daily_sessions": sum(started) / MONTH,
                "avg_session_duration_seconds": sum(measured) / (len(measured) * 1_000_000) if measured else None,
                "days_since_active": (as_of - max(days)).days,
                "active_days_current_week": len(days.intersection(recent[:WEEK])),
                "active_days_previous_week": len(days.intersection(recent[WEEK : 2 * WEEK])),
            }
            rows.append({**profile, **_judged(profile, sum(started), settings)})
    return rows


def _judged(profile: Row, sessions: int, settings: Settings) -> Row:
    """Trend, risk and tier by the shipped limits."""
    now, before = profile["active_days_current_week"], profile["active_days_previous_week"]
    trend = "increasing" if 10 * now > 12 * before else "declining" if 10 * now < 8 * before else "stable"
    away, days = profile["days_since_active"], profile["active_days_30"]
    tenths = 4 if away > 7 else 2 if away > 3 else 0
    tenths += 3 if days < 3 else 1 if days < 6 else 0
    tenths += 2 if sessions < 15 else 1 if sessions < 30 else 0
    tenths += {"declining": 2, "increasing": -1, "stable": 0}[trend]
    tenths = max(0, min(10, tenths))
    return {
        "trend": trend,
        "churn_risk": Decimal(tenths) / 10,
        "is_at_risk": tenths >= 6,
        "tier": "at_risk" if away > 7 else _tier(days, settings.tiers) or "(none)",
    }


def cohort_progression(profiles: list[Row]) -> list[Row]:
    cohorts: dict[tuple[str, date], list[Row]] = defaultdict(list)
    for profile in profiles:
        cohorts[profile["site_id"], profile["first_active_date"].replace(day=1)].append(profile)
    return [
        {
            "site_id": site_id,
            "cohort_month": month,
            "tier": tier,
            "users": users,
            "total": len(members),
            "avg_churn_risk": float(sum(member["churn_risk"] for member in members)) / len(members),
        }
        for (site_id, month), members in cohorts.items()
        for tier, users in Counter(member["tier"] for member in members).items()
    ]


# --- actions --------------------------------------------------------------------------------------------------------


def engagement_actions_daily(sessions: list[Session], closing_sources: frozenset[str]) -> list[Row]:
    """What countable sessions hold beside page views; of closing sources only where they were closed."""
    counts: Counter[tuple[str, date, str]] = Counter()
    holding: Counter[tuple[str, date, str]] = Counter()
    for session in sessions:
        countable = [event for event in session.events if session.is_countable_event(event)]
        types = Counter(event["event_type"] for event in countable)
        if "session_end" not in types and any(event["source"] in closing_sources for event in countable):
            continue
        for action, count in types.items():
            if action not in ("page_view", "session_start", "session_end"):
                key = (session.site_id, session.session_date, action)
                counts[key] += count
                holding[key] += 1
    return [
        {"site_id": site_id, "date": day, "action": action, "count": counts[key], "sessions": holding[key]}
        for key in counts
        for site_id, day, action in [key]
    ]

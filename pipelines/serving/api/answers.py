"""From a checked request to the bytes of its answer, by the cache or by the engine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import duckdb
import orjson
from pydantic import BaseModel

from pipelines.contracts import contract
from pipelines.serving.api.cache import Cache
from pipelines.serving.api.endpoints import ENDPOINTS, Endpoint, answered, values_of
from pipelines.serving.api.engine import Snapshot
from pipelines.serving.api.models import parameters
from pipelines.serving.api.problems import ProblemError
from pipelines.serving.api.sandbox import plain
from pipelines.serving.api.settings import ApiSettings
from pipelines.serving.api.telemetry import Telemetry

log = logging.getLogger("api")

SESSION_FILTERS = ("converted", "bounced", "had_error", "is_countable", "channel", "device_type", "country")
_SESSION = answered([column for column in contract("silver.sessions").columns if column.name != "site_id"])


@dataclass(frozen=True)
class Answer:
    """The body of a response, and where it came from."""

    body: bytes
    data_version: str
    hit: bool


class Answers:
    """Answers of the endpoints, each for one site of one snapshot."""

    def __init__(self, settings: ApiSettings, cache: Cache, telemetry: Telemetry) -> None:
        self._settings = settings
        self._cache = cache
        self._telemetry = telemetry

    def keep(
        self, snapshot: Snapshot, site: str, endpoint: str, parameters: dict[str, Any], make: Callable[[], Any]
    ) -> Answer:
        """The kept answer, else what `make` gives, kept from now on."""
        key = self._cache.key(snapshot.data_version, site, endpoint, parameters)
        found = self._cache.get(key)
        self._telemetry.looked_up(endpoint, hit=found is not None)
        if found is not None:
            return Answer(found, snapshot.data_version, hit=True)
        body = encode(make())
        self._cache.put(key, body, self._settings.cache.ttl(endpoint))
        return Answer(body, snapshot.data_version, hit=False)

    def rows(self, snapshot: Snapshot, endpoint: Endpoint, asked: BaseModel, of: str | None) -> Answer:
        """An endpoint's rows; `of` is the value in its path."""
        self._must_have(snapshot, endpoint.table)
        site: str = asked.site  # type: ignore[attr-defined]
        first, last = dates(snapshot, asked, endpoint.default_days)
        filters = values_of(asked, endpoint.filters)
        limit, offset = asked.limit, asked.offset  # type: ignore[attr-defined]
        fixed = [] if of is None else [of]
        values = [first, last, *fixed, *filters.values()]

        def make() -> dict[str, Any]:
            rows = _ask(snapshot, site, endpoint.rows_sql(list(filters)), [*values, limit + 1, offset])
            if not rows and of is not None:
                self._must_exist(snapshot, endpoint, site, of)
            answer = envelope(snapshot, site, first, last, rows, limit, offset)
            if endpoint.totals:
                answer["totals"] = _ask(snapshot, site, endpoint.totals_sql(list(filters)), values)
            return answer

        given = {"from": first, "to": last, "of": of, "limit": limit, "offset": offset, **filters}
        return self.keep(snapshot, site, endpoint.name, given, make)

    def sessions(self, snapshot: Snapshot, asked: BaseModel) -> Answer:
        """Sessions of the range, the newest first."""
        site: str = asked.site  # type: ignore[attr-defined]
        self._must_have(snapshot, "silver.sessions")
        first, last = dates(snapshot, asked, 30)
        filters = values_of(asked, SESSION_FILTERS)
        limit, offset = asked.limit, asked.offset  # type: ignore[attr-defined]
        conditions = "".join(f' and "{name}" = ${at}' for at, name in enumerate(filters, 5))
        # The table lies in the answer's order, see Endpoint.rows_sql.
        where = f"session_date between $1 and $2{conditions}"
        sql = f"select {_SESSION} from silver.sessions where {where} limit $3 offset $4"

        def make() -> dict[str, Any]:
            rows = _ask(snapshot, site, sql, [first, last, limit + 1, offset, *filters.values()])
            return envelope(snapshot, site, first, last, rows, limit, offset)

        given = {"from": first, "to": last, "limit": limit, "offset": offset, **filters}
        return self.keep(snapshot, site, "sessions", given, make)

    def session(self, snapshot: Snapshot, site: str, session_id: str) -> Answer:
        """One session; 404 where the site has none of this id."""
        self._must_have(snapshot, "silver.sessions")

        def make() -> dict[str, Any]:
            look_up = "select start_time from lookup.session_ids where hashed = hash($1::varchar) and session_id = $1"
            times = _ask(snapshot, site, look_up, [session_id])
            if not times:
                raise ProblemError(404, f"site {site!r} has no session {session_id!r}")
            sql = f"select {_SESSION} from silver.sessions where sessions.start_time = $1 and session_id = $2"
            row = _ask(snapshot, site, sql, [times[0]["start_time"], session_id])[0]
            return {"data_version": snapshot.data_version, "site": site, "session": row}

        return self.keep(snapshot, site, "sessions/one", {"session_id": session_id}, make)

    def journey(self, snapshot: Snapshot, asked: BaseModel, user_id: str) -> Answer:
        """A person's sessions of the range, the oldest first; 404 for a person whom the site has never seen."""
        site: str = asked.site  # type: ignore[attr-defined]
        self._must_have(snapshot, "silver.sessions")
        limit, offset = asked.limit, asked.offset  # type: ignore[attr-defined]
        first, last = dates(snapshot, asked, 365)

        def make() -> dict[str, Any]:
            person = "lookup.persons where hashed = hash($1::varchar) and person = $1"
            sql = f"""
                select {_SESSION} from {person} and session_date between $2 and $3
                order by persons.start_time, session_id limit $4 offset $5
            """
            rows = _ask(snapshot, site, sql, [user_id, first, last, limit + 1, offset])
            if not rows and not _ask(snapshot, site, f"select 1 from {person} limit 1", [user_id]):
                raise ProblemError(404, f"site {site!r} has no user {user_id!r}")
            return {**envelope(snapshot, site, first, last, rows, limit, offset), "user_id": user_id}

        given = {"user_id": user_id, "from": first, "to": last, "limit": limit, "offset": offset}
        return self.keep(snapshot, site, "users/journey", given, make)

    def warm(self, snapshot: Snapshot) -> None:
        """Answer every endpoint's usual question ahead, before the snapshot is served."""
        usual = parameters("Usual", {}, self._settings.paging)
        for site in list(snapshot.files)[: self._settings.cache.warm_sites]:
            asked = usual.model_validate({"site": site})
            for endpoint in ENDPOINTS:
                if endpoint.parameter is None and endpoint.table in snapshot.tables:
                    self._try(partial(self.rows, snapshot, endpoint, asked, None))
            if "silver.sessions" in snapshot.tables:
                self._try(partial(self.sessions, snapshot, asked))

    @staticmethod
    def _try(answer: Callable[[], Answer]) -> None:
        try:
            answer()
        except (ProblemError, duckdb.Error) as error:  # whoever asks will be told
            log.warning("warm-up: %s", error)

    @staticmethod
    def _must_have(snapshot: Snapshot, table: str) -> None:
        if table not in snapshot.tables:
            raise ProblemError(404, f"{table} is not published")

    @staticmethod
    def _must_exist(snapshot: Snapshot, endpoint: Endpoint, site: str, of: str) -> None:
        """No rows in the range are an answer; something that the site has never had is a mistake."""
        sql = f'select 1 from {endpoint.table} where "{endpoint.path_column}" = $1 limit 1'
        if not _ask(snapshot, site, sql, [of]):
            raise ProblemError(404, f"site {site!r} has no {endpoint.path_column} {of!r}")


def dates(snapshot: Snapshot, asked: BaseModel, days: int) -> tuple[date, date]:
    """The range that is asked; without one, so many days up to the site's newest date."""
    first: date | None = asked.from_  # type: ignore[attr-defined]
    last: date | None = asked.to  # type: ignore[attr-defined]
    last = last or max(snapshot.last_dates[asked.site], first or date.min)  # type: ignore[attr-defined]
    if first is None:
        first = date.fromordinal(max(1, last.toordinal() - days + 1))
    return first, last


def envelope(
    snapshot: Snapshot, site: str, first: date, last: date, rows: list[dict[str, Any]], limit: int, offset: int
) -> dict[str, Any]:
    """An answer of rows, of which one more than `limit` were asked to see whether there are more."""
    more = offset + limit if len(rows) > limit else None
    return {
        "data_version": snapshot.data_version,
        "site": site,
        "from": first,
        "to": last,
        "rows": rows[:limit],
        "page": {"limit": limit, "offset": offset, "next_offset": more},
    }


def encode(answer: Any) -> bytes:
    """JSON in UTF-8; dates and decimals as text, no NaN."""
    return orjson.dumps(answer, default=plain, option=orjson.OPT_NON_STR_KEYS)


def _ask(snapshot: Snapshot, site: str, sql: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    columns, rows = snapshot.ask(site, sql, values)
    return [dict(zip(columns, row, strict=True)) for row in rows]

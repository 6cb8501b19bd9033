"""The HTTP service: `make_app` puts engine, keys, cache and endpoints together."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from fastapi import Path as InPath
from fastapi.responses import Response
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.contracts import load_contracts
from pipelines.serving.api import gate, models
from pipelines.serving.api.answers import SESSION_FILTERS, Answer, Answers, encode
from pipelines.serving.api.cache import Cache
from pipelines.serving.api.endpoints import ENDPOINTS, Endpoint
from pipelines.serving.api.engine import Engine, Snapshot
from pipelines.serving.api.keys import ApiKey, Keys
from pipelines.serving.api.problems import Problem, ProblemError, install
from pipelines.serving.api.sandbox import BusyError, Sandbox
from pipelines.serving.api.settings import ApiSettings
from pipelines.serving.api.telemetry import CONTENT_TYPE, Telemetry

MOST_BODY_BYTES = 100_000
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {"application/problem+json": {}}} for status in (401, 403, 404, 422, 503)
}
_BEARER = HTTPBearer(auto_error=False, description="An API key (`make api-key`).")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same, as a header of its own.")
_Id = Annotated[str, InPath(min_length=1, max_length=2000)]


@dataclass
class Service:
    """What the endpoints share."""

    settings: ApiSettings
    keys: Keys
    telemetry: Telemetry
    cache: Cache
    answers: Answers
    engine: Engine
    sandbox: Sandbox

    @classmethod
    def of(cls, root: str, settings: ApiSettings) -> Service:
        telemetry = Telemetry()
        cache = Cache(settings.cache, telemetry)
        answers = Answers(settings, cache, telemetry)
        engine = Engine(root, settings, answers.warm)
        return cls(settings, Keys(settings.keys_file), telemetry, cache, answers, engine, Sandbox(settings.query))

    def snapshot(self) -> Snapshot:
        if self.engine.current is None:
            raise ProblemError(503, "nothing is published yet")
        return self.engine.current

    def snapshot_of(self, site: str, key: ApiKey) -> Snapshot:
        """The served snapshot, if the key may see the site; of others not even their existence is told."""
        if site not in key.sites:
            raise ProblemError(403, f"this key may not see site {site!r}")
        snapshot = self.snapshot()
        if site not in snapshot.files:
            raise ProblemError(404, f"site {site!r} has no published data")
        return snapshot


class SqlQuery(BaseModel):
    """A query over the key's own sites."""

    model_config = ConfigDict(extra="forbid")

    sql: str = Field(
        min_length=1,
        description="One query in DuckDB's SQL over the tables that GET /query/tables lists.",
        examples=["select date, sum(sessions) as sessions from gold.traffic_sources_daily group by all order by all"],
    )
    sites: list[str] | None = Field(None, description="Of the key's sites; default: all of them.", examples=[["shop"]])
    limit: int = Field(1000, ge=1, description="At most so many rows.")


class SqlColumn(BaseModel):
    name: str = Field(examples=["date"])
    type: str = Field(description="DuckDB's type.", examples=["DATE"])


class SqlAnswer(BaseModel):
    """Rows as lists of values in the order of `columns`."""

    data_version: str = Field(examples=["12-20260201T0400Z"])
    sites: list[str] = Field(examples=[["shop"]])
    columns: list[SqlColumn]
    rows: list[list[Any]] = Field(examples=[[["2026-01-31", 120]]])
    truncated: bool = Field(description="There were more rows.", examples=[False])


class TableDescription(BaseModel):
    table: str = Field(examples=["gold.active_users_daily"])
    description: str
    grain: str
    columns: dict[str, str] = Field(description="Column → its meaning.")


class Health(BaseModel):
    status: str = Field(description="ok; stale: a newer version could not be taken over; empty: nothing published.")
    data_version: str | None
    published_at: datetime | None


class _Watch:
    """Measures requests."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += [(b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            route = scope.get("route")
            name = getattr(route, "path", "(none)").replace(":path}", "}")
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            self._telemetry.requests.labels(name, method, status).inc()
            self._telemetry.seconds.labels(name).observe(time.perf_counter() - started)


def make_app(root: str, settings: ApiSettings) -> FastAPI:
    """The service over the lake at `root`."""
    service = Service.of(root, settings)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.sandbox.warm()
        service.engine.start()
        yield
        service.engine.stop()
        service.sandbox.close()

    app = FastAPI(
        title="Web analytics",
        version="1",
        description="Published tables of sites, read-only. Every answer names the `data_version` that it is from. "
        "Dates are of the site's time zone, timestamps UTC, decimals text.",
        lifespan=life,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        max_body_size=MOST_BODY_BYTES,
    )
    app.state.service = service
    app.add_middleware(_Watch, telemetry=service.telemetry)
    install(app)
    key = _authentication(service)
    for endpoint in ENDPOINTS:
        _add(app, service, endpoint, key)
    _add_sessions(app, service, key)
    _add_query(app, service, key)
    _add_operations(app, service)
    return app


def _authentication(service: Service) -> Any:
    async def key(  # async: it waits for nothing, and needs no thread
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
        header: Annotated[str | None, Depends(_HEADER)],
    ) -> ApiKey:
        given = bearer.credentials if bearer else header
        found = service.keys.find(given) if given else None
        if found is None:
            words = "no such API key" if given else "send an API key: Authorization: Bearer KEY"
            raise ProblemError(401, words, {"WWW-Authenticate": "Bearer"})
        return found

    return Annotated[ApiKey, Depends(key)]


def _add(app: FastAPI, service: Service, endpoint: Endpoint, key: Any) -> None:
    """One endpoint of rows; its models come from its table's contract."""
    filters = {name: models.filter_field(endpoint.table, name) for name in endpoint.filters}
    asked = models.parameters(f"{endpoint.title}Parameters", filters, service.settings.paging)
    totals = endpoint.totals_model()
    answer = models.answer_model(f"{endpoint.title}Answer", endpoint.row_model(), totals)

    def rows(caller: ApiKey, parameters: Any) -> Response:
        return _response(service.answers.rows(service.snapshot_of(parameters.site, caller), endpoint, parameters, None))

    def rows_of(caller: ApiKey, parameters: Any, of: str) -> Response:
        return _response(service.answers.rows(service.snapshot_of(parameters.site, caller), endpoint, parameters, of))

    handler: Any = rows_of if endpoint.parameter else rows
    handler.__annotations__ |= {"caller": key, "parameters": Annotated[asked, Query()]}
    if endpoint.parameter:
        handler.__annotations__["of"] = Annotated[str, InPath(alias=endpoint.parameter, min_length=1, max_length=2000)]
    handler.__name__ = endpoint.name.replace("/", "_").replace("-", "_")
    options: dict[str, Any] = {"responses": _PROBLEMS, "tags": ["rows"]}
    app.get(endpoint.path, summary=endpoint.summary, response_model=answer, **options)(handler)


def _add_sessions(app: FastAPI, service: Service, key: Any) -> None:
    columns = [column for column in models.columns_of("silver.sessions") if column.name != "site_id"]
    row = models.row_model("Session", columns)
    filters = {name: models.filter_field("silver.sessions", name) for name in SESSION_FILTERS}
    asked = models.parameters("SessionParameters", filters, service.settings.paging)
    journey_asked = models.parameters("JourneyParameters", {}, service.settings.paging)
    sessions_answer = models.answer_model("SessionsAnswer", row)
    session_answer = create_model("SessionAnswer", data_version=(str, ...), site=(str, ...), session=(row, ...))
    journey_answer = create_model("JourneyAnswer", __base__=models.answer_model("Journey", row), user_id=(str, ...))

    def sessions(caller: Any, parameters: Any) -> Response:
        return _response(service.answers.sessions(service.snapshot_of(parameters.site, caller), parameters))

    def session(caller: Any, session_id: _Id, site: Any) -> Response:
        return _response(service.answers.session(service.snapshot_of(site.site, caller), site.site, session_id))

    def journey(caller: Any, user_id: _Id, parameters: Any) -> Response:
        return _response(service.answers.journey(service.snapshot_of(parameters.site, caller), parameters, user_id))

    site_only = create_model(
        "SiteParameter", __config__=ConfigDict(extra="forbid"), site=(str, Field(min_length=1, max_length=200))
    )
    sessions.__annotations__ |= {"caller": key, "parameters": Annotated[asked, Query()]}
    session.__annotations__ |= {"caller": key, "session_id": _Id, "site": Annotated[site_only, Query()]}
    journey.__annotations__ |= {
        "caller": key, "user_id": _Id, "parameters": Annotated[journey_asked, Query()]
    }  # fmt: skip
    options: dict[str, Any] = {"responses": _PROBLEMS, "tags": ["sessions"]}
    app.get("/sessions", summary="Sessions, the newest first", response_model=sessions_answer, **options)(sessions)
    app.get("/sessions/{session_id:path}", summary="One session", response_model=session_answer, **options)(session)
    app.get(
        "/users/{user_id:path}/journey",
        summary="A person's sessions, the oldest first (user_id: person_id or user_id)",
        response_model=journey_answer,
        **options,
    )(journey)


def _add_query(app: FastAPI, service: Service, key: Any) -> None:
    def tables(caller: Any) -> list[TableDescription]:
        contracts = load_contracts()
        return [
            TableDescription(
                table=name,
                description=contracts[name].description,
                grain=contracts[name].grain,
                columns={column.name: column.description for column in contracts[name].columns},
            )
            for name in sorted(service.snapshot().tables)
        ]

    def query(caller: ApiKey, asked: SqlQuery) -> Response:
        sites = sorted(set(asked.sites if asked.sites is not None else caller.sites))
        if not sites:
            raise ProblemError(422, "sites: name at least one")
        if asked.sites is None:
            snapshot = service.snapshot()
            sites = [site for site in sites if site in snapshot.files]
            if not sites:
                raise ProblemError(404, "the key's sites have no published data")
        else:
            for site in sites:
                snapshot = service.snapshot_of(site, caller)
        limits = service.settings.query
        limit = min(asked.limit, limits.max_rows)
        try:
            named = gate.check(asked.sql, snapshot.tables, limits)
        except gate.RefusedError as error:
            raise ProblemError(422, str(error)) from None

        def make() -> dict[str, Any]:
            try:
                found = service.sandbox.ask(asked.sql, named, [snapshot.files[site] for site in sites], limit)
            except gate.RefusedError as error:
                raise ProblemError(422, str(error)) from None
            except BusyError:
                raise ProblemError(503, "too many queries at the same time; try again") from None
            return {"data_version": snapshot.data_version, "sites": sites, **found}

        given = {"sql": asked.sql, "limit": limit}
        return _response(service.answers.keep(snapshot, "\n".join(sites), "query", given, make))

    tables.__annotations__["caller"] = key
    query.__annotations__["caller"] = key
    options: dict[str, Any] = {"responses": _PROBLEMS, "tags": ["query"]}
    app.get("/query/tables", summary="What POST /query may ask", **options)(tables)
    app.post("/query", summary="Ask in SQL, over the key's own sites", response_model=SqlAnswer, **options)(query)


def _add_operations(app: FastAPI, service: Service) -> None:
    @app.get("/health", summary="Whether there is data, and from when", tags=["operations"], response_model=Health)
    def health() -> Response:
        engine = service.engine
        status = "empty" if engine.current is None else "stale" if engine.error else "ok"
        body = Health(
            status=status,
            data_version=engine.current.data_version if engine.current else None,
            published_at=engine.current.published_at if engine.current else None,
        )
        return Response(
            encode(body.model_dump()), status_code=503 if status == "empty" else 200, media_type="application/json"
        )

    @app.get("/metrics", summary="Numbers about the service, for Prometheus", tags=["operations"])
    def metrics() -> Response:
        if service.engine.current:
            service.telemetry.published_at.set(service.engine.current.published_at.timestamp())
        return Response(service.telemetry.text(), headers={"Content-Type": CONTENT_TYPE})


def _response(answer: Answer) -> Response:
    return Response(
        answer.body,
        media_type="application/json",
        headers={
            "Cache-Control": "private, no-cache",
            "X-Data-Version": answer.data_version,
            "X-Cache": "hit" if answer.hit else "miss",
        },
    )

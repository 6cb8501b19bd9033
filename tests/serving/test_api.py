"""What the endpoints answer, to whom, and how they refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import TypeAdapter

from pipelines.serving.api.endpoints import ENDPOINTS
from pipelines.serving.api.keys import Keys, add_key, revoke_key
from tests.serving.conftest import SECRET, Api

ROWS = [
    "/pages/%2Fcart/metrics", "/funnels/stages/conversion", "/journey-funnels", "/sessions/stats", "/traffic-sources",
    "/sessions", "/users/ann0/journey",
]  # fmt: skip


def test_a_page_is_answered_a_row_a_date_with_the_range_s_totals(api: Api) -> None:
    answer = api.get("/pages/%2Fcart/metrics", **{"from": "2026-01-30", "to": "2026-01-31"}).json()
    assert [(row["date"], row["page"], row["views"]) for row in answer["rows"]] == [
        ("2026-01-30", "/cart", 10),
        ("2026-01-31", "/cart", 10),
    ]
    assert answer["totals"][0]["views"] == 20
    assert answer["data_version"] == "0-run-1"
    assert answer["page"] == {"limit": 100, "offset": 0, "next_offset": None}


def test_a_page_s_path_may_hold_any_character(api: Api) -> None:
    answer = api.get("/pages/%2Fa%20b%2F100%25%3F/metrics").json()
    assert [row["page"] for row in answer["rows"]] == ["/a b/100%?"]


def test_a_funnel_s_totals_follow_its_formulas_over_the_range(api: Api) -> None:
    totals = api.get("/funnels/stages/conversion").json()["totals"]
    kept = ("step", "count", "drop_off", "drop_off_rate", "step_rate", "conversion_rate")
    assert [tuple(row[name] for name in kept) for row in totals] == [
        ("Entry", 20, 0, 0.6, 1.0, 1.0),
        ("Cart", 8, 12, 0.75, 0.4, 0.4),
        ("Confirmation", 2, 6, 0.0, 0.25, 0.1),
    ]


def test_sessions_come_newest_first_and_page_by_page(api: Api) -> None:
    first = api.get("/sessions", limit=4).json()
    second = api.get("/sessions", limit=4, offset=first["page"]["next_offset"]).json()
    assert [row["session_id"] for row in first["rows"]] == ["s0", "s1", "s2", "s3"]
    assert [row["session_id"] for row in second["rows"]] == ["s4", "s5"]
    assert second["page"]["next_offset"] is None


def test_sessions_may_be_filtered(api: Api) -> None:
    assert [row["session_id"] for row in api.get("/sessions", converted="true").json()["rows"]] == ["s3"]


def test_one_session_is_found_whatever_its_date(api: Api) -> None:
    found = api.get("/sessions/old").json()["session"]
    assert (found["session_id"], found["start_time"]) == ("old", "2025-07-15T12:00:00.000000Z")


def test_a_person_s_journey_is_oldest_first_within_its_dates(api: Api) -> None:
    journey = api.get("/users/ann0/journey").json()
    assert [row["session_id"] for row in journey["rows"]] == ["old", "s4", "s2", "s0"]
    recent = api.get("/users/ann0/journey", **{"from": "2026-01-01", "limit": 2}).json()
    assert [row["session_id"] for row in recent["rows"]] == ["s4", "s2"]
    assert recent["page"]["next_offset"] == 2


@pytest.mark.parametrize("path", ROWS)
def test_answers_are_of_the_declared_models(api: Api, path: str) -> None:
    schema = api.client.get("/openapi.json").json()
    assert path.split("/")[1] in " ".join(schema["paths"])
    answer = api.get(path).json()
    models = {endpoint.name: endpoint for endpoint in ENDPOINTS}
    name = "/".join(part for part in path.strip("/").split("/") if part not in ("%2Fcart", "stages") or part == "x")
    if name in models:
        row = models[name].row_model()
        TypeAdapter(list[row]).validate_python(answer["rows"])  # type: ignore[valid-type]
        assert set(answer["rows"][0]) == set(row.model_fields)


def test_every_endpoint_has_an_example_and_a_model(api: Api) -> None:
    schema = api.client.get("/openapi.json").json()
    for endpoint in ENDPOINTS:
        operation = schema["paths"][endpoint.path.replace(":path", "")]["get"]
        assert operation["summary"] == endpoint.summary
        reference = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        properties = schema["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]
        assert properties["site"]["examples"] == ["shop"]


@pytest.mark.parametrize(
    ("path", "parameters", "status", "words"),
    [
        ("/devices", {"site": ""}, 422, "site: String should have at least 1 character"),
        ("/devices", {"from": "31.1.2026"}, 422, "from: expected a date such as 2026-01-31"),
        ("/devices", {"from": "2026-02-01", "to": "2026-01-01"}, 422, "`from` (2026-02-01) is after `to` (2026-01-01)"),
        ("/devices", {"form": "2026-02-01"}, 422, "form: no such parameter"),
        ("/sessions", {"limit": "0"}, 422, "limit: Input should be greater than or equal to 1"),
        ("/sessions", {"limit": "100000"}, 422, "limit: Input should be less than or equal to 1000"),
        ("/sessions", {"offset": "-1"}, 422, "offset: Input should be greater than or equal to 0"),
        ("/sessions", {"converted": "perhaps"}, 422, "converted: Input should be a valid boolean"),
        ("/pages/%2Fnowhere/metrics", {}, 404, "site 'shop' has no page '/nowhere'"),
        ("/funnels/none/conversion", {}, 404, "site 'shop' has no funnel 'none'"),
        ("/sessions/none", {}, 404, "site 'shop' has no session 'none'"),
        ("/users/nobody/journey", {}, 404, "site 'shop' has no user 'nobody'"),
        ("/kpis", {}, 404, "gold.kpi_daily is not published"),
        ("/nothing", {}, 404, "Not Found"),
    ],
)
def test_a_mistake_is_one_sentence_in_problem_json(
    api: Api, path: str, parameters: dict[str, str], status: int, words: str
) -> None:
    answer = api.get(path, **parameters)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert set(answer.json()) == {"title", "status", "detail", "errors"}


def test_a_body_that_is_too_large_or_no_json_is_refused(api: Api) -> None:
    assert api.query("select 1 -- " + "x" * 200_000).status_code == 413
    assert api.client.post("/query", content=b"[" * 5000).status_code in (400, 422)
    assert api.client.post("/query", content=b"{'sql': 1}").status_code == 422


@pytest.mark.parametrize("key", [None, "", "x", "abcd.efgh", "." * 500])
def test_without_a_valid_key_nothing_is_answered(api: Api, key: str | None) -> None:
    headers = {} if key is None else {"X-API-Key": key}
    paths = [endpoint.path.replace("{", "").replace("}", "").replace(":path", "") for endpoint in ENDPOINTS]
    for path in [*paths, "/sessions", "/sessions/s1", "/users/ann0/journey", "/query/tables"]:
        answer = httpx.get(api.url + path, params={"site": "shop"}, headers=headers, trust_env=False)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
    assert httpx.post(api.url + "/query", json={"sql": "select 1"}, headers=headers, trust_env=False).status_code == 401


def test_another_site_is_never_visible_and_not_told_from_none(api: Api) -> None:
    paths = [*ROWS, f"/sessions/{SECRET}", f"/users/{SECRET}/journey", f"/pages/%2F{SECRET}/metrics", "/devices"]
    for path in paths:
        other, none = api.get(path, site="blog"), api.get(path, site="no such site")
        assert (other.status_code, none.status_code) == (403, 403)
        assert other.text.replace("blog", "*") == none.text.replace("no such site", "*")
    for path in ROWS:
        assert SECRET not in api.get(path, **{"from": "2000-01-01", "to": "2100-01-01"}).text
    for path in (f"/sessions/{SECRET}", f"/users/{SECRET}/journey", f"/pages/%2F{SECRET}/metrics"):
        assert api.get(path).status_code == 404
    assert api.query("select 1", sites=["blog"]).status_code == 403
    assert api.query("select 1", sites=["shop", "blog"]).status_code == 403


def test_a_query_answers_from_the_key_s_own_sites_with_limits(api: Api) -> None:
    sql = "select site_id, count(*) as sessions, max(exit_page) as page from silver.sessions group by all"
    answer = api.query(sql).json()
    assert answer["rows"] == [["shop", 7, "/cart"]]
    assert [column["name"] for column in answer["columns"]] == ["site_id", "sessions", "page"]
    cut = api.query("from silver.sessions order by session_id", limit=2).json()
    assert (len(cut["rows"]), cut["truncated"]) == (2, True)
    tables = [found["table"] for found in api.client.get("/query/tables").json()]
    assert tables == sorted(tables)
    assert "gold.funnel_daily" in tables


def test_keys_are_kept_as_hashes_and_may_be_revoked_or_expire(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    keys = Keys(path)
    key = add_key(path, ["shop"])
    short = add_key(path, ["blog"], expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert key.split(".")[1] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    found = keys.find(key)
    assert found is not None
    assert found.sites == ("shop",)
    assert keys.find(short, at=datetime.now(UTC) + timedelta(hours=2)) is None
    assert keys.find(key[:-1]) is None
    assert revoke_key(path, key.split(".")[0])
    assert keys.find(key) is None
    assert keys.find(short) is not None
